//! What a claim of the SQLite store costs, and what it survives.

#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod sqlite_support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use backroom::store::Store;
use sqlite_support::Place;

#[expect(clippy::disallowed_methods, reason = "measures what a claim really takes")]
async fn usual_time_of_a_claim(place: &Place, store: &dyn Store) -> Duration {
    let mut times = Vec::new();
    for _ in 0..15 {
        let begun = Instant::now();
        assert_eq!(place.claim(store, 1).await.len(), 1);
        let queues = Arc::new(vec!["default".to_owned()]);
        let next = store.next_due(queues, Arc::new(vec!["mail".into()]), place.now).await.unwrap();
        assert_eq!(next, Some(place.now));
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn due_jobs_of_an_unhandled_kind_cost_a_claim_nothing() {
    let place = Place::new();
    let store = place.open().await;
    let usual = (0..100).map(|_| place.job()).collect();
    store.insert(Arc::new(usual), place.now).await.unwrap();
    let before = usual_time_of_a_claim(&place, &store).await;
    for _ in 0..100 {
        let of_kind = |index: u8| {
            let mut draft = place.draft();
            draft.kind = "unhandled".into();
            draft.priority = index % 2;
            place.checked(draft)
        };
        let unhandled = (0..1000_u32).map(|index| of_kind((index % 10) as u8)).collect();
        store.insert(Arc::new(unhandled), place.now).await.unwrap();
    }
    let after = usual_time_of_a_claim(&place, &store).await;
    // Passing over each of them takes some 30 ms, a claim well under one.
    assert!(after < before * 10 + Duration::from_millis(5), "{before:?} before, {after:?} after");
}
