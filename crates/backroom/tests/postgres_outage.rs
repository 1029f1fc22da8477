//! The PostgreSQL store when its server goes away: nothing acknowledged is lost, nothing is done twice, and it comes
//! back by itself.

#![cfg(all(feature = "postgres", unix))]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod postgres_support;
mod postgres_testbed;

use backroom::store::{Call, JobVerbs as _};
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use backroom::{
    clock::{Clock, SystemClock},
    core::{Change, State},
    store::{
        Committed, Filter, Observed, Store,
        postgres::{PostgresOptions, PostgresStore},
    },
};
use postgres_support::{Place, success};
use postgres_testbed::server;
use tokio::sync::watch;

/// Claims and completes until nothing is left and no task adds more; answers how many were accepted.
async fn drain(store: Arc<dyn Store>, place: Arc<Place>, is_over: Arc<AtomicBool>) -> usize {
    let mut done = 0;
    loop {
        let was_over = is_over.load(Ordering::SeqCst);
        let taken = store.claim(Arc::new(place.wish(20)), place.now, Call::First).await.unwrap();
        if taken.is_empty() && was_over {
            return done;
        }
        let changes: Vec<Change> = taken.iter().map(|job| success(job, place.now)).collect();
        let answers = store.commit(Arc::new(changes)).await.unwrap();
        done += answers.iter().filter(|answer| **answer == Committed::Done).count();
        tokio::task::yield_now().await;
    }
}

/// Returns when so many more jobs were acknowledged.
async fn work(mut feeding: watch::Receiver<usize>) {
    let enough = *feeding.borrow() + 100;
    let fed = tokio::time::timeout(Duration::from_secs(60), feeding.wait_for(|fed| *fed >= enough)).await;
    fed.expect("the store takes jobs").expect("the feeder feeds");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_restarted_in_mid_work_loses_nothing_and_does_nothing_twice() {
    let mut server = server::make();
    server.start().unwrap();
    let place = Arc::new(Place { server: server::url(&server), ..Place::new() });
    let store = PostgresStore::connect(&place.url(), PostgresOptions::default()).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(Observed::new(Arc::new(store), Arc::new(SystemClock::default())));
    let is_over = Arc::new(AtomicBool::new(false));
    let drainer = tokio::spawn(drain(Arc::clone(&store), Arc::clone(&place), Arc::clone(&is_over)));
    let (fed, feeding) = watch::channel(0);
    let feeder = {
        let (store, place, is_over) = (Arc::clone(&store), Arc::clone(&place), Arc::clone(&is_over));
        tokio::spawn(async move {
            let mut acknowledged = HashSet::new();
            while !is_over.load(Ordering::SeqCst) {
                acknowledged.insert(place.insert(&*store, place.new_job()).await);
                fed.send_replace(acknowledged.len());
            }
            acknowledged
        })
    };
    for mode in ["immediate", "fast"] {
        work(feeding.clone()).await;
        server.stop(mode).unwrap();
        server.start().unwrap();
    }
    work(feeding).await;
    is_over.store(true, Ordering::SeqCst);
    let acknowledged = feeder.await.unwrap();
    let done = drainer.await.unwrap();
    let jobs = store.list(Arc::new(Filter::default()), None, 1_000_000).await.unwrap();
    let stored: HashSet<_> = jobs.iter().map(|job| job.id).collect();
    assert!(acknowledged.is_subset(&stored), "an acknowledged job is lost");
    let completed = jobs.iter().filter(|job| job.state == State::Completed).count();
    // What a lost claim took in vain runs until its lease ends; it is not lost.
    let running = jobs.iter().filter(|job| job.state == State::Running).count();
    assert_eq!(completed + running, jobs.len());
    assert_eq!(done, completed, "each outcome is accepted once");
    assert!(jobs.iter().all(|job| job.attempt == 1), "nothing ran twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verb_that_meets_a_dead_server_is_unavailable_and_works_again_after() {
    let mut server = server::make();
    server.start().unwrap();
    let place = Place { server: server::url(&server), ..Place::new() };
    let store = place.open().await;
    place.insert(&store, place.new_job()).await;
    server.stop("immediate").unwrap();
    let error = store.insert(Arc::new(vec![place.new_job()]), place.now, Call::First).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    server.start().unwrap();
    let clock = SystemClock::default();
    for _ in 0..100 {
        match store.claim(Arc::new(place.wish(1)), place.now, Call::First).await {
            Ok(taken) => {
                assert_eq!(taken.len(), 1, "what was acknowledged is there");
                return;
            }
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
        clock.sleep(Duration::from_millis(20)).await;
    }
    panic!("the store did not come back");
}
