//! Every command of the real binary on a real PostgreSQL server, by nothing but the store's URL.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod cli_support;
#[path = "cli/links.rs"]
mod links;
#[cfg(unix)]
#[path = "../../backroom/tests/pgbouncer/mod.rs"]
mod pgbouncer;
mod postgres_place;

use cli_support::{Place, Said};
use postgres_place::{password, server, with_schema};
use serde_json::Value;

/// A folder and a store.
struct Side {
    place: Place,
    store: String,
}

impl Side {
    fn new(test: &str) -> Self {
        Self::at(&server(), test)
    }

    /// By another way to the server.
    fn at(url: &str, test: &str) -> Self {
        Self { place: Place::new(), store: with_schema(url, test) }
    }

    fn run(&self, args: &[&str]) -> Said {
        self.place.run(args.iter().chain(&["--store", &self.store]))
    }

    fn json(&self, args: &[&str]) -> Value {
        let said = self.run(&[args, &["--json"]].concat());
        assert_eq!(said.code, 0, "{said:?}");
        said.json()
    }

    fn enqueue(&self, args: &[&str]) -> String {
        self.json(&[&["enqueue"], args].concat())["id"].as_str().unwrap().into()
    }
}

#[test]
fn a_job_goes_through_the_hands_of_every_command() {
    let side = Side::new("job");
    let id = side.enqueue(&["mail", r#"{"to":"ada"}"#, "--queue", "mails", "--tag", "t"]);
    let listed = side.json(&["jobs", "--queue", "mails"]);
    assert_eq!(listed["jobs"][0]["id"], id.as_str());
    let job = side.json(&["job", &id]);
    assert_eq!((&job["args"]["to"], &job["shown"]), (&"ada".into(), &"available".into()));

    side.run(&["queues", "pause", "mails"]).succeeded();
    assert_eq!(side.json(&["job", &id])["reasons"][0]["reason"], "queue_paused");
    side.run(&["queues", "resume", "mails"]).succeeded();
    side.run(&["queues", "retain", "mails", "--completed", "1d"]).succeeded();
    assert_eq!(side.json(&["queues"])["queues"][0]["counts"]["available"], 1);

    side.run(&["cancel", &id]).succeeded();
    assert_eq!(side.json(&["job", &id])["state"], "cancelled");
    side.run(&["retry", &id]).succeeded();
    assert_eq!(side.json(&["job", &id])["state"], "queued");
    assert!(side.run(&["workers"]).succeeded().out.contains("no worker"));
    side.run(&["delete", &id]).succeeded();
    side.run(&["job", &id]).failed_naming(&id);
}

#[test]
fn many_lines_are_enqueued_and_paged_through() {
    let side = Side::new("lines");
    let lines: String = (0..2500).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let args = ["enqueue", "k", "--lines", "--json", "--store", &side.store];
    let said = side.place.run_with(lines.as_bytes(), &args);
    assert_eq!(said.succeeded().json()["created"], 2500);
    let page = side.json(&["jobs", "-n", "1000"]);
    assert_eq!(page["jobs"].as_array().unwrap().len(), 1000);
    let next = page["next"].as_str().unwrap();
    assert_eq!(side.json(&["jobs", "-n", "1000", "--before", next])["jobs"].as_array().unwrap().len(), 1000);
}

#[test]
fn doctor_examines_the_server() {
    let side = Side::new("doctor");
    side.enqueue(&["k", "--delay", "1h"]);
    let said = side.run(&["doctor", "--json"]);
    let health = said.json();
    assert!(health["engine"].as_str().unwrap().starts_with("PostgreSQL "), "{health}");
    assert!(health["bytes"].as_u64().unwrap() > 0, "{health}");
    // The tests' server may trade safety for speed, which doctor reports; nothing else is amiss.
    let failed: Vec<_> =
        health["checks"].as_array().unwrap().iter().filter(|check| check["ok"] == false).collect();
    assert!(failed.iter().all(|check| check["name"] == "durable writes"), "{failed:?}");
    assert!(!said.out.contains(password(&server())), "the password is shown: {said:?}");
}

#[test]
fn bench_measures_the_server() {
    let side = Side::new("bench");
    let report = side.json(&["bench", "--scenario", "drain", "--jobs", "2000"]);
    assert!(["postgres", "postgresql"].contains(&report["store"].as_str().unwrap()), "{report}");
    assert!(report["drain_per_s"].as_f64().unwrap() > 0.0, "{report}");
    // It runs them twice: all enqueued before, and all while they are enqueued.
    assert_eq!(side.json(&["queues"])["queues"][0]["counts"]["completed"], 4000);
}

#[cfg(unix)]
#[test]
fn every_command_works_through_pgbouncer_in_transaction_mode() {
    let program = postgres_place::variable("BACKROOM_TEST_PGBOUNCER");
    let bouncer = pgbouncer::PgBouncer::start(&program, &server());
    let side = Side::at(&format!("{}?listen=false", bouncer.url), "bouncer");
    assert!(side.run(&["migrate"]).succeeded().out.contains("from version 0 to "));

    let id = side.enqueue(&["mail", r#"{"to":"ada"}"#, "--queue", "mails"]);
    let lines: String = (0..500).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    let args = ["enqueue", "k", "--lines", "--json", "--store", &side.store];
    let said = side.place.run_with(lines.as_bytes(), &args);
    assert_eq!(said.succeeded().json()["created"], 500);
    assert_eq!(side.json(&["jobs", "--queue", "mails"])["jobs"][0]["id"], id.as_str());
    assert_eq!(side.json(&["jobs", "-n", "1000"])["jobs"].as_array().unwrap().len(), 501);

    side.run(&["queues", "pause", "mails"]).succeeded();
    assert_eq!(side.json(&["job", &id])["reasons"][0]["reason"], "queue_paused");
    side.run(&["queues", "resume", "mails"]).succeeded();
    assert_eq!(side.json(&["job", &id])["shown"], "available");
    side.run(&["queues", "retain", "mails", "--completed", "1d"]).succeeded();
    side.run(&["cancel", &id]).succeeded();
    side.run(&["retry", &id]).succeeded();
    side.run(&["delete", &id]).succeeded();
    side.run(&["job", &id]).failed_naming(&id);

    // Workers, too: without any notification they find the jobs by polling.
    let report = side.json(&["bench", "--scenario", "drain", "--jobs", "300"]);
    assert!(report["drain_per_s"].as_f64().unwrap() > 0.0, "{report}");
    let queues = side.json(&["queues"]);
    let completed: u64 = queues["queues"]
        .as_array()
        .unwrap()
        .iter()
        .map(|queue| queue["counts"]["completed"].as_u64().unwrap())
        .sum();
    assert_eq!(completed, 600, "{queues}");
    side.run(&["workers"]).succeeded();

    let health = side.run(&["doctor", "--json"]).json();
    assert!(health["engine"].as_str().unwrap().starts_with("PostgreSQL "), "{health}");
    let amiss: Vec<_> =
        health["checks"].as_array().unwrap().iter().filter(|check| check["ok"] == false).collect();
    let queues = amiss.iter().find(|check| check["name"] == "queues").expect("no worker serves the 500");
    assert!(queues["found"].as_str().unwrap().contains("500 due"), "{queues}");
    assert!(
        amiss.iter().all(|check| check["name"] == "queues" || check["name"] == "durable writes"),
        "{amiss:?}"
    );

    // Without the parameter, it is said that it is missing.
    let without = side.store.replace("listen=false&", "");
    side.place.run(["jobs", "--store", &without]).failed_naming("listen=false");
}

#[test]
fn looking_creates_no_schema() {
    let side = Side::new("look");
    for command in [vec!["jobs"], vec!["queues"], vec!["workers"], vec!["doctor"]] {
        side.run(&command).failed_naming("no tables of Backroom");
    }
    assert_eq!(side.json(&["migrate", "--print"])["from"], 0);
}

#[test]
fn migrate_says_from_where_to_where() {
    let side = Side::new("migrate");
    let unmigrated = format!("{}&migrate=false", side.store);
    side.place.run(["enqueue", "k", "--store", &unmigrated]).failed_naming("backroom migrate");
    let printed = side.run(&["migrate", "--print"]);
    assert!(printed.succeeded().out.contains("CREATE TABLE \"cli_migrate_"), "{printed:?}");
    let ran = side.place.run(["migrate", "--store", &unmigrated]);
    assert!(ran.succeeded().out.contains("from version 0 to "), "{ran:?}");
    assert!(!ran.out.contains(password(&server())), "the password is shown: {ran:?}");
    assert!(side.run(&["migrate"]).succeeded().out.contains("already"));
    assert_eq!(side.run(&["migrate", "--print"]).succeeded().out, "");
    side.place.run(["enqueue", "k", "--store", &unmigrated]).succeeded();
}

#[test]
fn a_store_moves_there_and_back() {
    let side = Side::new("move");
    let file = "sqlite:backroom.db";
    let lines: String = (0..1500).map(|n| format!("{{\"n\":{n},\"text\":\"grüße\"}}\n")).collect();
    side.place.run_with(lines.as_bytes(), &["enqueue", "k", "--lines", "--queue", "many"]).succeeded();
    side.place.run(["bench", "--jobs", "300", "--store", file]).succeeded();
    let key =
        side.place.enqueue(&["k", "{}", "--unique-key", "k", "--meta", "a=b", "--retry-exponential", "5s"]);
    let discarded = side.place.enqueue(&["k"]);
    side.place.run(["cancel", &discarded]).succeeded();

    let moved = side.place.run(["move", "--from", file, "--to", &side.store]);
    assert!(moved.succeeded().out.contains("holds all 2,102 jobs"), "{moved:?}");
    assert!(!moved.out.contains(password(&server())), "the password is shown: {moved:?}");
    let back = ["move", "--from", &side.store, "--to", "sqlite:back.db", "--json"];
    let answer = side.place.json(back[..5].iter());
    assert_eq!((&answer["whole"], &answer["written"]), (&true.into(), &2102.into()), "{answer}");
    for id in [&key, &discarded] {
        let job = |store: &str| {
            let mut job = side.place.json(["job", id, "--store", store]);
            // Of these one tells of the queue, which was paused by the move.
            job.as_object_mut().unwrap().remove("reasons");
            job
        };
        assert_eq!(job(&side.store), job(file));
        assert_eq!(job("sqlite:back.db"), job(file));
    }
    // The way back has paused the server's queues in turn; a second run finds all there.
    let again = side.place.json(["move", "--from", file, "--to", &side.store]);
    assert_eq!((&again["whole"], &again["written"]), (&true.into(), &0.into()), "{again}");
}

#[test]
fn a_server_that_is_not_there_is_named_with_a_remedy() {
    let place = Place::new();
    for command in [["jobs"].as_slice(), &["enqueue", "k"], &["doctor"], &["migrate"]] {
        // No program listens on port 9.
        let said = place.run(command.iter().chain(&["--store", "postgres://ada:hidden@127.0.0.1:9/jobs"]));
        said.failed_naming("127.0.0.1:9/jobs");
        assert!(said.err.contains("is it running"), "{said:?}");
        assert!(!said.err.contains("hidden"), "{said:?}");
    }
}

#[test]
fn a_wrong_password_and_a_missing_database_are_told_apart() {
    let place = Place::new();
    let real = server();
    let wrong = real.replacen(&format!(":{}@", password(&real)), ":wr0ng-secret@", 1);
    let said = place.run(["jobs", "--store", &wrong]);
    said.failed_naming("check user and password");
    assert!(!said.err.contains("wr0ng-secret"), "{said:?}");

    let (base, _) = real.split_once('?').unwrap_or((&real, ""));
    let missing = format!("{}/no_such_db", base.rsplit_once('/').unwrap().0);
    let said = place.run(["jobs", "--store", &missing]);
    said.failed_naming("no_such_db");
    assert!(said.err.contains("create the database"), "{said:?}");
    assert!(!said.err.contains(password(&real)), "{said:?}");
}

#[test]
fn urls_that_are_not_understood_give_no_password_away() {
    let place = Place::new();
    for url in [
        "postgre://ada:hidden@host/db",
        "postgres://ada:hidden@host/db?schema=Not%20One",
        "postgres://ada:hidden@host/db?lisen=false",
        "postgres://ada:hidden@host:port/db",
        "postgres://ada:hid den@:::/db",
    ] {
        let said = place.run(["enqueue", "k", "--store", url]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(!said.err.contains("hidden"), "{said:?}");
    }
}

#[test]
fn batches_graphs_and_signals() {
    links::batches(&Place::of(with_schema(&server(), "batches")));
    links::graphs(&Place::of(with_schema(&server(), "graphs")));
    links::signals(&Place::of(with_schema(&server(), "signals")));
}
