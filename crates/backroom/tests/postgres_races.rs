//! Two writers of one row: the second decides on what the first wrote, not on what it read before.

#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod postgres_support;

use std::{sync::Arc, time::Duration};

use backroom::{
    core::{Change, Event, JobRow, State, transition::apply},
    store::{Committed, JobVerbs as _, ReadVerbs as _},
};
use postgres_support::{Place, lease, success, until_a_statement_waits};

/// What becomes of a change that waits behind `first`, a statement about the one running job.
async fn behind(first: &str, change: impl Fn(&JobRow, &Place) -> Change) -> (Committed, JobRow) {
    let place = Place::new();
    let store = Arc::new(place.open().await);
    let id = place.insert(&*store, place.new_job()).await;
    let job = place.claim(&*store, 1).await.remove(0);
    let (mut other, watcher) = (place.client().await, place.client().await);
    let transaction = other.transaction().await.unwrap();
    assert_eq!(transaction.execute(first, &[]).await.unwrap(), 1, "{first}");
    let commit = {
        let (store, change) = (Arc::clone(&store), change(&job, &place));
        tokio::spawn(async move { store.commit(Arc::new(vec![change])).await })
    };
    until_a_statement_waits(&watcher, &place.schema).await;
    transaction.commit().await.unwrap();
    let answer = commit.await.unwrap().unwrap().remove(0);
    (answer, store.job(id).await.unwrap().expect("the job is there"))
}

fn succeed(job: &JobRow, place: &Place) -> Change {
    success(job, place.now)
}

fn snooze(job: &JobRow, place: &Place) -> Change {
    let event = Event::Snooze { lease: lease(job), delay: Duration::from_secs(5) };
    apply(job, event, place.now).unwrap().unwrap()
}

const EXTEND: &str = "UPDATE jobs SET lease_until = lease_until + interval '30 seconds'";
const NOTE: &str = "UPDATE jobs SET progress_percent = 50, progress_message = 'half'";
const RESCUE: &str = "UPDATE jobs SET state = 'queued', lease_until = NULL, crashes = 1, \
     suspicion = '{\"on_trial\":0,\"alone\":0,\"at\":\"2026-01-01T00:00:00Z\",\"ran_ms\":1}', revision = revision + 1";

#[tokio::test(flavor = "multi_thread")]
async fn a_success_behind_a_write_that_keeps_the_revision_is_accepted() {
    let (answer, job) = behind(EXTEND, succeed).await;
    assert_eq!((answer, job.state), (Committed::Done, State::Completed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snooze_behind_a_write_that_keeps_the_revision_is_accepted() {
    let (answer, job) = behind(EXTEND, snooze).await;
    assert_eq!((answer, job.state), (Committed::Done, State::Queued));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_behind_a_note_keeps_what_was_noted() {
    let (answer, job) = behind(NOTE, succeed).await;
    assert_eq!((answer, job.state), (Committed::Done, State::Completed));
    assert_eq!(job.progress.expect("progress").message, "half");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_behind_a_rescue_is_stale() {
    let (answer, job) = behind(RESCUE, succeed).await;
    assert_eq!((answer, job.state, job.crashes), (Committed::Stale, State::Queued, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snooze_behind_a_rescue_is_stale() {
    let (answer, job) = behind(RESCUE, snooze).await;
    assert_eq!((answer, job.state, job.crashes), (Committed::Stale, State::Queued, 1));
}
