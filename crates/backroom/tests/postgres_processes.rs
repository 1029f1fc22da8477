//! Four worker processes on one database: workers are killed and the database crashes while jobs come in, and in the end
//! every acknowledged job is finished once in the record.

#![cfg(all(feature = "postgres", unix))]

mod postgres_support;
mod postgres_testbed;

use std::time::Duration;

use backroom::{
    clock::{Clock, SystemClock},
    ids::Ids,
};
use postgres_testbed::{crew::Crew, feed::Feed, record, server, shift};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

const WORKERS: usize = 4;
/// Workers killed between two crashes of the database.
const KILLS: usize = 6;
/// The database crashes so often, and stays away for so long: at most for a moment, for longer than a heartbeat, for
/// longer than a lease and than the patience of a call.
const ABSENCES: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(4)];

/// Set to repeat the order of a run that failed; when things happen within it remains the machine's.
const SEED_VARIABLE: &str = "BACKROOM_TEST_SEED";

#[test]
fn worker_process() {
    shift::work_if_asked();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_workers_and_a_crashing_database_lose_nothing_and_finish_nothing_twice() {
    let seed = seed();
    println!("{SEED_VARIABLE}={seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let mut server = server::make();
    server.start().unwrap();
    let backroom = shift::open(&server::url(&server)).await.unwrap();
    record::note_finishes(&server::url(&server)).await;
    let mut crew = Crew::start(&server::url(&server), WORKERS);
    let feed = Feed::start(&backroom);
    for absence in ABSENCES {
        kill_some(&mut crew, &feed, &mut chance).await;
        let victim = chance.random_range(0..WORKERS);
        server.stop("immediate").unwrap();
        // One dies as well, and its successor finds no database.
        crew.kill(victim);
        crew.begin(victim);
        SystemClock::default().sleep(absence).await;
        server.start().unwrap();
    }
    kill_some(&mut crew, &feed, &mut chance).await;
    let acknowledged = feed.stop().await;
    record::settled(&backroom).await;
    let said = crew.stop().await;
    let summary = record::check(&backroom, &server::url(&server), &acknowledged).await;
    println!("{summary:?}");
    assert!(summary.crashes > 0, "no job was ever taken from a dead worker");
    record::no_flood(&said, WORKERS * ABSENCES.len());
    backroom.close().await.unwrap();
}

/// Kills workers at moments that chance chooses, each while jobs come in.
async fn kill_some(crew: &mut Crew, feed: &Feed, chance: &mut StdRng) {
    for _ in 0..KILLS {
        let victim = chance.random_range(0..WORKERS);
        feed.more(chance.random_range(50..500)).await;
        crew.kill(victim);
        // Away for a while, or back at once.
        feed.more(chance.random_range(0..200)).await;
        crew.begin(victim);
    }
    feed.more(chance.random_range(50..500)).await;
}

fn seed() -> u64 {
    match std::env::var(SEED_VARIABLE) {
        Ok(seed) => seed.parse().expect("a number"),
        // The low half of an id is chance.
        Err(_) => Ids::from_entropy().lease().0.as_u64_pair().1,
    }
}
