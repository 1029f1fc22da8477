//! The server is killed with `kill -9` again and again while rows are written: each becomes one job, in the order of the commits.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    time::{Duration, Instant},
};

use crate::{
    cli_support::Place,
    serve_support::{PATIENCE, Server},
    triggers_killed::{each_once, kill, named},
};

const KILLS: usize = 20;

/// Kills the server while `write` writes a row for each number, until every row is a job.
#[expect(clippy::disallowed_methods, reason = "the test lets other processes work for a while")]
fn killed_while(place: &Place, write: impl Fn(usize) + Sync) {
    // It installs what records the changes.
    kill(Server::start(place, &[]));
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
    while named(place, "row", "id").len() < written {
        let found = named(place, "row", "id").len();
        assert!(begun.elapsed() < PATIENCE, "{found} of {written} rows are jobs: {}", server.log());
        std::thread::sleep(Duration::from_millis(200));
    }
    server.stop();
    let mut ids = named(place, "row", "id");
    each_once(&ids, (0..written).map(|n| n.to_string()));
    // The newest job comes first.
    ids.reverse();
    assert!(ids.iter().enumerate().all(|(n, id)| *id == n.to_string()), "{ids:?}");
}

#[test]
fn twenty_kills_lose_no_row_of_a_sqlite_table_and_make_none_twice() {
    let place = Place::new();
    let path = place.path("app.db");
    let app = rusqlite::Connection::open(&path).unwrap();
    app.busy_timeout(PATIENCE).unwrap();
    app.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE rows (id INTEGER PRIMARY KEY)").unwrap();
    let text = "[triggers.rows]\ntype = \"sqlite\"\nkind = \"row\"\npath = \"app.db\"\ntable = \"rows\"\npointer = \"/row\"\npoll = \"10ms\"\n";
    fs::write(place.path("backroom.toml"), text).unwrap();
    let app = std::sync::Mutex::new(app);
    killed_while(&place, |n| {
        let id = i64::try_from(n).unwrap();
        app.lock().unwrap().execute("INSERT INTO rows VALUES (?1)", [id]).unwrap();
    });
}

#[cfg(feature = "postgres")]
#[test]
fn twenty_kills_lose_no_row_of_a_postgresql_table_and_make_none_twice() {
    use backroom::tokio_postgres::{self, NoTls};
    let url = crate::postgres_place::server();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (client, connection) = runtime.block_on(tokio_postgres::connect(&url, NoTls)).unwrap();
    runtime.spawn(connection);
    let schema = format!("killed_{}", std::process::id());
    let run = |sql: &str| runtime.block_on(client.batch_execute(sql)).unwrap();
    run(&format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.rows (id bigint PRIMARY KEY)"));
    let place = Place::new();
    let text = format!(
        "[triggers.{schema}]\ntype = \"postgres\"\nkind = \"row\"\nurl = \"{url}\"\ntable = \"{schema}.rows\"\npointer = \"/row\"\npoll = \"10ms\"\n"
    );
    let path = place.path("backroom.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    killed_while(&place, |n| run(&format!("INSERT INTO {schema}.rows VALUES ({n})")));
    run(&format!("DROP SCHEMA {schema} CASCADE; DROP SCHEMA backroom_trigger_{schema} CASCADE"));
}
