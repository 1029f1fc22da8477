//! What callers get while the PostgreSQL server is away: 503 with `Retry-After`, and what they stored is there afterwards.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod cli_support;
mod postgres_place;
mod serve_support;

use backroom_testbed::{Login, Place as Folder, Server as Database};
use cli_support::Place;
use postgres_place::variable;
use serde_json::json;
use serve_support::{Answer, Server, eventually};

/// A killed server loses nothing without the sync: that protects against the loss of the machine.
const SETTINGS: [&str; 3] = ["listen_addresses=127.0.0.1", "fsync=off", "full_page_writes=off"];

#[test]
fn a_store_that_is_away_is_a_503_and_comes_back_without_a_restart() {
    let bin = variable("BACKROOM_TEST_PG_BIN").into();
    let mut database = Database::make(Folder::make().unwrap(), bin, &SETTINGS, Login::Trust).unwrap();
    database.start().unwrap();
    let place = Place::new();
    let server = Server::start(&place, &["--store", &database.url("postgres")]);
    let job = json!({"kind": "k", "args": {}});
    let enqueue = || server.post("/v1/jobs", &job);
    let stored = enqueue();
    assert_eq!(stored.status, 202, "{}", stored.text());
    assert_eq!(server.get("/readyz").status, 200);

    database.stop("immediate").unwrap();
    let location = stored.header("location").unwrap();
    let asks: [&(dyn Fn() -> Answer + Sync); 5] = [
        &enqueue,
        &|| server.post("/v1/jobs/batch", &json!([job, job])),
        &|| server.get("/v1/queues"),
        &|| server.get(location),
        &|| server.get("/readyz"),
    ];
    // At the same time: each waits for as long as the library tries to reach the database.
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let asking: Vec<_> = asks.iter().map(|ask| scope.spawn(ask)).collect();
        asking.into_iter().map(|answer| answer.join().unwrap()).collect()
    });
    for answer in answers {
        answer.is_problem(503, "unavailable");
        let secs = answer.header("retry-after").and_then(|secs| secs.parse::<u64>().ok());
        assert!(secs.is_some_and(|secs| secs > 0), "{answer:?}");
        // Where the database is, is for the operator.
        assert!(!answer.text().contains("postgres"), "{}", answer.text());
    }
    // A stream of lines may have begun its answer: then the line has the problem.
    let lines = [("content-type", "application/x-ndjson")];
    let answer = server.call("POST", "/v1/jobs/batch", &lines, format!("{job}\n").as_bytes());
    assert_eq!(answer.json()["code"], "unavailable", "{}", answer.text());
    assert_eq!(server.get("/livez").status, 200, "the process lives");

    database.start().unwrap();
    eventually("the server is ready again", || server.get("/readyz").status == 200);
    eventually("it takes jobs again", || enqueue().status == 202);
    assert_eq!(server.get(location).status, 200, "an acknowledged job is there");
    server.stop();
    database.stop("fast").unwrap();
}
