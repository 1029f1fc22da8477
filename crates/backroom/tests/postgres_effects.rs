//! A change and its stored effects are one transaction: both are written, or neither.

#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod postgres_support;

use std::{sync::Arc, time::Duration};

use backroom::{
    ErrorKind,
    core::{AttemptEnd, Change, Event, JobRow, RetryPolicy, State, transition::apply},
    store::{Committed, JobVerbs as _, ReadVerbs as _, Store},
};
use postgres_support::{Place, lease, success};

fn failure(job: &JobRow, error: &str, place: &Place) -> Change {
    let retry = RetryPolicy::constant(Duration::from_secs(1));
    let (end, error) = (AttemptEnd::Failed, error.into());
    let event = Event::Fail { lease: lease(job), end, error, delay: None, retry, chance: 0.0 };
    apply(job, event, place.now).unwrap().unwrap()
}

async fn running(place: &Place, store: &dyn Store, jobs: usize) -> Vec<JobRow> {
    for _ in 0..jobs {
        place.insert(store, place.new_job()).await;
    }
    place.claim(store, jobs).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_not_written_if_its_effect_cannot_be() {
    let place = Place::new();
    let store = place.open().await;
    let runs = running(&place, &store, 3).await;
    let client = place.client().await;
    client.batch_execute("ALTER TABLE attempts ADD CONSTRAINT short CHECK (error <> 'long')").await.unwrap();
    let changes = vec![
        failure(&runs[0], "long", &place),
        success(&runs[1], place.now),
        failure(&runs[2], "short", &place),
    ];
    let refused = store.commit(Arc::new(changes.clone())).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    for index in [0, 2] {
        let job = store.job(runs[index].id).await.unwrap().unwrap();
        assert_eq!(job, runs[index], "neither the change nor a part of it is written");
        assert_eq!(store.attempts(job.id).await.unwrap(), []);
    }
    let completed = store.job(runs[1].id).await.unwrap().unwrap();
    assert_eq!(completed.state, State::Completed, "a change without effects does not depend on theirs");

    client.batch_execute("ALTER TABLE attempts DROP CONSTRAINT short").await.unwrap();
    assert_eq!(store.commit(Arc::new(changes.clone())).await.unwrap(), [Committed::Done; 3]);
    for index in [0, 2] {
        assert_eq!(store.attempts(runs[index].id).await.unwrap().len(), 1);
    }
    // The answer may have been lost: asked again, the store writes nothing a second time.
    assert_eq!(store.commit(Arc::new(changes)).await.unwrap(), [Committed::Done; 3]);
    assert_eq!(store.attempts(runs[0].id).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_guard_does_not_match_has_no_effect() {
    let place = Place::new();
    let store = place.open().await;
    let runs = running(&place, &store, 2).await;
    let late = failure(&runs[0], "late", &place);
    let released = apply(&runs[0], Event::Release { lease: lease(&runs[0]) }, place.now);
    let released = vec![released.unwrap().unwrap()];
    assert_eq!(store.commit(Arc::new(released)).await.unwrap(), [Committed::Done]);
    let changes = vec![late, failure(&runs[1], "in time", &place)];
    assert_eq!(store.commit(Arc::new(changes)).await.unwrap(), [Committed::Stale, Committed::Done]);
    assert_eq!(store.attempts(runs[0].id).await.unwrap(), []);
    assert_eq!(store.attempts(runs[1].id).await.unwrap().len(), 1);
}
