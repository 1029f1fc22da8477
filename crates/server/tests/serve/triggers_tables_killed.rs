//! The server is killed with `kill -9` again and again while rows are written: each becomes one job, in the order of the commits.
#![cfg(feature = "postgres")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use backroom::tokio_postgres::{self, NoTls};

use crate::{
    cli_support::Place,
    serve_support::{PATIENCE, Server},
    triggers_killed::{each_once, kill, named},
};

const KILLS: usize = 20;
/// The kinds of the jobs: by what their rows are in.
const KINDS: [&str; 2] = ["sqlite", "postgres"];

/// Kills the server while `write` writes a row for each number into each table, until every row is a job.
#[expect(clippy::disallowed_methods, reason = "the test lets other processes work for a while")]
fn killed_while(place: &Place, write: impl Fn(usize) + Sync) {
    let (stop, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(SeqCst) {
                let n = written.load(SeqCst);
                write(n);
                written.store(n + 1, SeqCst);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        for n in 0..KILLS {
            let server = Server::start(place, &[]);
            // Differently long in each life, so that it dies at different points.
            std::thread::sleep(Duration::from_millis(100 + 37 * (n as u64 % 7)));
            kill(server);
        }
        stop.store(true, SeqCst);
    });
    let written = written.load(SeqCst);
    assert!(written > 100, "there was load: {written} rows");
    let server = Server::start(place, &[]);
    let begun = Instant::now();
    for kind in KINDS {
        while named(place, kind, "id").len() < written {
            let found = named(place, kind, "id").len();
            assert!(begun.elapsed() < PATIENCE * 2, "{found} of {written} rows of {kind}: {}", server.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    server.stop();
    for kind in KINDS {
        let mut ids = named(place, kind, "id");
        each_once(&ids, (0..written).map(|n| n.to_string()));
        // The newest job comes first.
        ids.reverse();
        assert!(ids.iter().enumerate().all(|(n, id)| *id == n.to_string()), "{kind}: {ids:?}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test waits for another process")]
fn twenty_kills_lose_no_row_of_a_table_and_make_none_twice() {
    let place = Place::new();
    let app = rusqlite::Connection::open(place.path("app.db")).unwrap();
    app.busy_timeout(PATIENCE).unwrap();
    app.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE rows (id INTEGER PRIMARY KEY)").unwrap();
    let app = Mutex::new(app);
    let url = crate::postgres_place::server();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (client, connection) = runtime.block_on(tokio_postgres::connect(&url, NoTls)).unwrap();
    runtime.spawn(connection);
    let schema = format!("killed_{}", std::process::id());
    let run = |sql: &str| runtime.block_on(client.batch_execute(sql)).unwrap();
    run(&format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.rows (id bigint PRIMARY KEY)"));
    let text = format!(
        r#"
[triggers.rows]
type = "sqlite"
kind = "sqlite"
path = "app.db"
table = "rows"
pointer = "/row"
poll = "10ms"

[triggers.{schema}]
type = "postgres"
kind = "postgres"
url = "{url}"
table = "{schema}.rows"
pointer = "/row"
poll = "10ms"
"#
    );
    let path = place.path("backroom.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    // The first server installs what records the changes.
    let server = Server::start(&place, &[]);
    let begun = Instant::now();
    for trigger in ["rows", schema.as_str()] {
        let runs = format!("backroom_trigger_activity{{trigger=\"{trigger}\",activity=\"running\"}} 1");
        while !server.get("/metrics").text().contains(&runs) {
            assert!(begun.elapsed() < PATIENCE, "{}", server.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    kill(server);
    killed_while(&place, |n| {
        let id = i64::try_from(n).unwrap();
        app.lock().unwrap().execute("INSERT INTO rows VALUES (?1)", [id]).unwrap();
        run(&format!("INSERT INTO {schema}.rows VALUES ({n})"));
    });
    run(&format!("DROP SCHEMA {schema} CASCADE; DROP SCHEMA backroom_trigger_{schema} CASCADE"));
}
