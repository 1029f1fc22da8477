//! `backroom backup` while another process enqueues and runs jobs, restored and worked to the end.

#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod cli_support;

use std::{
    collections::HashSet,
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use backroom::{Backroom, JobId, Json, State, Worker};
use cli_support::Place;

/// Bytes of one line of the ledger: a UUID and a line feed.
const LINE_BYTES: u64 = 37;

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_made_under_load_holds_all_that_was_acknowledged_and_can_be_restored() {
    let place = Place::new();
    let ledger = place.path("ledger");
    let mut child = place
        .command()
        .args(["bench", "--scenario", "steady", "--jobs", "1000000", "--store", "sqlite:jobs.db", "--ledger"])
        .arg(&ledger)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut copies = Vec::new();
    for copy in ["first.db", "second.db"] {
        wait_until_longer(&ledger, &mut child, 500);
        let acknowledged = read(&ledger);
        let answer = place.json(["backup", copy, "--store", "sqlite:jobs.db"]);
        assert!(answer["jobs"].as_u64().unwrap() >= acknowledged.len() as u64, "{answer}");
        copies.push((copy, acknowledged));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let left: Vec<_> =
        std::fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains(".part")), "{left:?}");

    for (copy, acknowledged) in copies {
        // Restored: put in the place of a store.
        let file = place.path("restored.db");
        std::fs::rename(place.path(copy), &file).unwrap();
        let backroom = Backroom::open(&format!("sqlite:{}", file.display())).await.unwrap();
        assert!(backroom.health().await.unwrap().checks.iter().all(|check| check.ok));
        let worker = Worker::new(&backroom).queue("bench", 50);
        let worker =
            worker.handle_untyped("bench_noop", async |_, _| Ok(Json::null())).start().await.unwrap();
        for id in &acknowledged {
            let handle = backroom.handle_untyped(*id);
            let job = tokio::time::timeout(Duration::from_secs(90), handle.finished()).await.unwrap();
            assert_eq!(job.expect("an acknowledged job is in the copy").state, State::Completed);
        }
        worker.stop().await.unwrap();
        backroom.close().await.unwrap();
        std::fs::remove_file(&file).unwrap();
    }
}

#[test]
fn a_backup_replaces_no_file_and_says_what_it_cannot_copy() {
    let place = Place::new();
    place.run(["backup", "copy.db"]).failed_naming("backroom.db");
    assert!(!place.path("backroom.db").exists(), "it creates no store");
    place.enqueue(&["mail"]);
    std::fs::write(place.path("precious"), "a letter").unwrap();
    place.run(["backup", "precious"]).failed_naming("replaces none");
    assert_eq!(std::fs::read_to_string(place.path("precious")).unwrap(), "a letter");
    place.run(["backup", "backroom.db"]).failed_naming("replaces none");
    place.run(["backup", "no/such/copy.db"]).failed_naming("no/such");
    place.run(["backup", "copy.db", "--store", "sqlite:precious"]).failed_naming("not a SQLite database");
    let said =
        place.run(["backup", "copy.db", "--store", "postgres://ada:secret@localhost/shop?schema=jobs"]);
    said.failed_naming("pg_dump --format=custom");
    assert!(said.err.contains("jobs") && !said.err.contains("secret"), "{said:?}");
    assert!(place.run(["backup", "copy.db"]).succeeded().out.contains("backed up 1 job"));
    assert_eq!(place.json(["jobs", "--store", "sqlite:copy.db"])["jobs"].as_array().unwrap().len(), 1);
}

#[expect(clippy::disallowed_methods, reason = "another process is waited for, on the machine's clock")]
fn wait_until_longer(ledger: &Path, child: &mut Child, lines: u64) {
    let size = || std::fs::metadata(ledger).map_or(0, |found| found.len());
    let (enough, start) = (size() + LINE_BYTES * lines, Instant::now());
    while size() < enough {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        assert!(start.elapsed() < Duration::from_secs(90), "it enqueues nothing");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whole lines only: the last one may be half written.
fn read(ledger: &Path) -> HashSet<JobId> {
    std::fs::read_to_string(ledger).unwrap().lines().filter_map(|line| line.parse().ok()).collect()
}
