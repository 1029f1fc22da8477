//! `doctor` says what holds the slots, and one check that cannot be made hides no other.

use crate::cli_support::{Place, Said};
use backroom::{Backroom, DisplayState, Json, Worker};
use serde_json::Value;

async fn open(place: &Place) -> Backroom {
    Backroom::open(&format!("sqlite:{}", place.path("backroom.db").display())).await.unwrap()
}

fn doctor(place: &Place) -> Value {
    let said: Said = place.run(["doctor", "--json"]);
    said.json()
}

fn check(answer: &Value, name: &str) -> (bool, String) {
    let checks = answer["checks"].as_array().unwrap();
    let check =
        checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}: {answer}"));
    (check["ok"].as_bool().unwrap(), check["found"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn hung_jobs_that_hold_every_slot_are_named_and_fail_the_check_after_minutes() {
    let place = Place::new();
    let backroom = open(&place).await;
    let worker = Worker::new(&backroom).queue("default", 3).queue("mail", 2);
    let worker =
        worker.handle_untyped("hang", |_: Json, _| std::future::pending::<Result<Json, backroom::Failure>>());
    let worker = worker.grace(std::time::Duration::ZERO).start().await.unwrap();
    let hung: Vec<String> = (0..3).map(|_| place.enqueue(&["hang"])).collect();
    for id in &hung {
        while place.job(id)["state"] != "running" {
            tokio::task::yield_now().await;
        }
    }
    let waits = place.enqueue(&["hang"]);
    let answer = doctor(&place);
    let (ok, found) = check(&answer, "slots");
    assert!(ok, "they may just be busy: {found}");
    assert!(found.contains("all 3 slots of queue default are taken"), "{found}");
    assert!(hung.iter().any(|id| found.contains(id)), "{found}");
    assert!(check(&answer, "longest running").1.contains("(hang) on"));
    let why = place.job(&waits)["reasons"][0]["words"].as_str().unwrap().to_owned();
    assert!(
        why.contains("all slots that could run it are taken (3 running on 3 slots); for longest by job"),
        "{why}"
    );

    // As if they had been claimed an hour ago.
    let hour_ago = backroom.clock().now().as_microsecond() - 3_600_000_000;
    let file = rusqlite::Connection::open(place.path("backroom.db")).unwrap();
    file.execute("UPDATE backroom_jobs SET started_at = ?1 WHERE state = 'running'", [hour_ago]).unwrap();
    let (ok, found) = check(&doctor(&place), "slots");
    assert!(!ok && found.contains("for 1h") && found.contains("backroom job ID"), "{found}");
    worker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn hung_jobs_are_named_although_a_thousand_newer_ones_run() {
    let place = Place::new();
    let backroom = open(&place).await;
    let hang = |_: Json, _| std::future::pending::<Result<Json, backroom::Failure>>();
    let start = async |queue, slots| {
        let worker = Worker::new(&backroom).queue(queue, slots).handle_untyped("hang", hang);
        worker.grace(std::time::Duration::ZERO).start().await.unwrap()
    };
    let running = async |jobs| {
        let count = async || {
            let counts = backroom.counts().await.unwrap();
            counts
                .iter()
                .filter(|count| count.state == DisplayState::Running)
                .map(|count| count.jobs)
                .sum::<u64>()
        };
        while count().await < jobs {
            tokio::task::yield_now().await;
        }
    };
    let worker = start("default", 1).await;
    let hung = place.enqueue(&["hang"]);
    running(1).await;
    let bulk = start("bulk", 1100).await;
    backroom.enqueue_many_untyped("hang", (0..1100).map(|_| Json::null())).queue("bulk").await.unwrap();
    running(1101).await;
    let waits = place.enqueue(&["hang"]);
    let answer = doctor(&place);
    let found = check(&answer, "slots").1;
    assert!(found.contains("queue default are taken") && found.contains(&hung), "{found}");
    let found = check(&answer, "longest running").1;
    assert!(found.starts_with(&format!("job {hung} ")), "{found}");
    let why = place.job(&waits)["reasons"][0]["words"].as_str().unwrap().to_owned();
    assert!(why.contains(&hung), "{why}");
    bulk.stop().await.unwrap();
    worker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kinds_that_fail_most_are_named() {
    let place = Place::new();
    let backroom = open(&place).await;
    for _ in 0..3 {
        backroom.enqueue_untyped("bad", Json::null()).await.unwrap();
    }
    let discard = |_: Json, _| async { Err::<Json, _>(backroom::Failure::discard("no")) };
    Worker::new(&backroom).handle_untyped("bad", discard).run_until_empty().await.unwrap();
    let (ok, found) = check(&doctor(&place), "failing most");
    assert!(ok && found.contains("bad (0 wait for a retry, 3 discarded in 24h)"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_cannot_be_made_fails_and_hides_no_other() {
    let place = Place::new();
    place.enqueue(&["k"]);
    let file = rusqlite::Connection::open(place.path("backroom.db")).unwrap();
    // A row of a worker that cannot be read.
    file.execute_batch("INSERT INTO backroom_queues (name, retention) VALUES ('broken', '{\"completed\":');")
        .unwrap();
    let answer = doctor(&place);
    assert_eq!(answer["ok"], false);
    let (ok, found) = check(&answer, "queues");
    assert!(!ok && found.contains("could not be checked"), "{found}");
    for name in ["longest running", "failing most", "handlers", "clock"] {
        assert!(check(&answer, name).0, "{name}: {answer}");
    }
    let said = place.run(["doctor"]);
    assert_eq!(said.code, 1);
    assert!(said.out.contains("FAIL  queues: this could not be checked"), "{said:?}");
}
