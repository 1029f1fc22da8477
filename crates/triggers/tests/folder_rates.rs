//! How fast a folder is read. Run by hand: `cargo test --release --test folder_rates -- --ignored --nocapture`.

#![cfg(feature = "folder")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod support;

use std::{fs, time::Duration};

use backroom::Backroom;
use backroom_triggers::{Folder, Mapping, RunningTriggers, Status, Triggers};
use support::{Place, jobs, until};

const FILES: usize = 100_000;

async fn start(backroom: &Backroom, folder: Folder) -> RunningTriggers {
    let mapping = Mapping::kind("file").build().unwrap();
    Triggers::new(backroom).add("in", folder, mapping).start().await.unwrap()
}

async fn enqueued(backroom: &Backroom, triggers: &RunningTriggers, wanted: usize) {
    until(backroom, "all are jobs", async || {
        triggers.status("in").is_some_and(|status| status.counters.enqueued as usize >= wanted)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it measures, and takes a machine of its own"]
async fn a_hundred_thousand_files_are_scanned_and_a_change_is_a_job_at_once() {
    let place = Place::new();
    for n in 0..FILES {
        place.write(&format!("{:03}/{n:06}.txt", n % 100), "x");
    }
    let backroom = place.open().await;
    let folder = || Folder::new(place.inbox()).settle(Duration::ZERO).rescan(Duration::from_secs(3));
    let clock = backroom.clock();
    let begun = clock.monotonic();
    let triggers = start(&backroom, folder()).await;
    enqueued(&backroom, &triggers, FILES).await;
    println!("first scan of {FILES} files, all of them durable jobs: {:?}", clock.monotonic() - begun);
    let scan = async || {
        let found = |status: &Status| status.details["last_scan"]["took_ms"].as_u64();
        let before = triggers.status("in").unwrap();
        until(&backroom, "a scan has ended", async || {
            let status = triggers.status("in").unwrap();
            status.details != before.details && found(&status).is_some()
        })
        .await;
        triggers.status("in").unwrap().details["last_scan"].clone()
    };
    for _ in 0..3 {
        println!("scan: {}", scan().await);
    }
    triggers.stop().await;
    let settle = Duration::from_millis(200);
    let folder = Folder::new(place.inbox()).settle(settle).rescan(Duration::from_secs(600));
    let triggers = start(&backroom, folder).await;
    until(&backroom, "it reads", async || {
        triggers
            .status("in")
            .is_some_and(|status| status.details["last_scan"]["files"].as_u64() == Some(FILES as u64))
    })
    .await;
    let mut took = Vec::new();
    for n in 0..100 {
        let path = place.inbox().join(format!("new{n}"));
        fs::write(&path, "x").unwrap();
        let written = clock.monotonic();
        let before = triggers.status("in").unwrap().counters.enqueued;
        while triggers.status("in").unwrap().counters.enqueued == before {
            clock.sleep(Duration::from_millis(1)).await;
        }
        took.push((clock.monotonic() - written).saturating_sub(settle));
    }
    took.sort_unstable();
    println!("from settled to a durable job: p50 {:?}, p99 {:?}", took[50], took[98]);
    assert_eq!(jobs(&backroom).await.len(), FILES + 100);
    triggers.stop().await;
}

/// The largest amount of memory that this process has had.
fn memory_max() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("unknown").trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a million files take a machine of its own for some minutes"]
async fn a_million_files_at_once_become_one_job_each_in_bounded_memory() {
    const MILLION: u64 = 1_000_000;
    let place = Place::new();
    for n in 0..MILLION {
        place.write(&format!("{:04}/{n:07}", n % 1000), "");
    }
    let backroom = place.open().await;
    let clock = backroom.clock();
    let folder = Folder::new(place.inbox()).settle(Duration::ZERO).rescan(Duration::from_secs(5));
    let before = memory_max();
    let begun = clock.monotonic();
    let triggers = start(&backroom, folder).await;
    let wait_for = async |holds: &dyn Fn(&Status) -> bool| {
        while !holds(&triggers.status("in").unwrap()) {
            assert!(clock.monotonic() - begun < Duration::from_secs(3600), "{:?}", triggers.status("in"));
            clock.sleep(Duration::from_millis(100)).await;
        }
    };
    wait_for(&|status| status.counters.enqueued >= MILLION).await;
    println!("{MILLION} files are durable jobs after {:?}", clock.monotonic() - begun);
    wait_for(&|status| status.details["last_scan"]["files"].as_u64() == Some(MILLION)).await;
    let first = triggers.status("in").unwrap().details["last_scan"].clone();
    wait_for(&|status| status.details["last_scan"] != first).await;
    let status = triggers.status("in").unwrap();
    println!("scan: {}; memory: {before} before, {} at most", status.details["last_scan"], memory_max());
    assert_eq!((status.counters.enqueued, status.counters.refused), (MILLION, 0));
    triggers.stop().await;
}
