//! The recorder by itself: no worker runs here.

use std::sync::Arc;

use backroom_core::{Event, JobRow, Json, LeaseId, State, bounds::later};

use super::{Entry, LeaseLost, Recorder};
use crate::{
    Backroom, Ending, ErrorKind, Options,
    ended::Times,
    ends::Ends,
    repeated::Repeats,
    store::{Call, Claim, MemoryStore, Share, layer::Verb},
    testing::faults::Faults,
};

fn recorder() -> (Backroom, Recorder) {
    let backroom = Options::new().over(Arc::new(MemoryStore::new()));
    let engine = backroom.engine().clone();
    let ends = Arc::new(Ends::new(&engine, Vec::new(), false));
    (backroom, Recorder::new(engine, ends, Arc::new(Repeats::default())))
}

/// A job that a caller outside of any worker has claimed.
async fn claimed(backroom: &Backroom) -> (JobRow, LeaseId) {
    backroom.enqueue_untyped("work", Json::null()).await.expect("enqueue");
    let engine = backroom.engine();
    let (now, lease) = (engine.clock.now(), engine.ids.lease());
    let claim = Claim {
        worker: "remote".into(),
        shares: vec![Share { queue: "default".into(), at_most: 1 }],
        kinds: Arc::new(vec!["work".into()].into()),
        limit: 1,
        bytes_max: usize::MAX,
        lease,
        until: later(now, std::time::Duration::from_secs(30)),
        due: engine.clock.due(),
    };
    let jobs = engine.store.claim(Arc::new(claim), now, Call::First).await.expect("claim");
    (jobs.into_iter().next().expect("a job"), lease)
}

fn success(lease: LeaseId) -> Event {
    Event::Succeed { lease, output: Json::null() }
}

#[tokio::test]
async fn an_end_is_recorded_from_the_ids_of_its_job_and_lease() {
    let (backroom, recorder) = recorder();
    let (job, lease) = claimed(&backroom).await;
    let waiting = recorder.record(vec![Entry::new(job.id, lease, success(lease))]).await;
    assert!(waiting.is_empty());
    assert_eq!(backroom.job(job.id).await.expect("the job").state, State::Completed);
}

#[tokio::test]
async fn an_end_is_decided_again_when_the_row_has_changed_since_the_claim() {
    let (backroom, recorder) = recorder();
    let (job, lease) = claimed(&backroom).await;
    backroom.cancel(job.id).await.expect("cancel");
    let event = Event::Release { lease };
    let entry = Entry::new(job.id, lease, event).known_as(
        Arc::new(job.clone()),
        Ending::Released,
        Times::default(),
        LeaseLost::default(),
    );
    assert!(recorder.record(vec![entry]).await.is_empty());
    assert_eq!(backroom.job(job.id).await.expect("the job").state, State::Cancelled);
}

#[tokio::test]
async fn an_end_under_a_lease_that_is_lost_changes_nothing() {
    let (backroom, recorder) = recorder();
    let (job, lease) = claimed(&backroom).await;
    let other = backroom.engine().ids.lease();
    assert!(recorder.record(vec![Entry::new(job.id, other, success(other))]).await.is_empty());
    // The holder knows that it is lost, although the store does not say so yet.
    let lost = LeaseLost::default();
    lost.set();
    let entry = Entry::new(job.id, lease, success(lease)).known_as(
        Arc::new(job.clone()),
        Ending::Succeeded,
        Times::default(),
        lost,
    );
    assert!(recorder.record(vec![entry]).await.is_empty());
    assert_eq!(backroom.job(job.id).await.expect("the job"), job);
}

#[tokio::test]
async fn the_end_of_a_deleted_job_is_dropped_and_those_beside_it_are_recorded() {
    let (backroom, recorder) = recorder();
    let (gone, of_gone) = claimed(&backroom).await;
    recorder.record(vec![Entry::new(gone.id, of_gone, success(of_gone))]).await;
    backroom.delete(gone.id).await.expect("delete");
    let (job, lease) = claimed(&backroom).await;
    let entries =
        vec![Entry::new(gone.id, of_gone, success(of_gone)), Entry::new(job.id, lease, success(lease))];
    assert!(recorder.record(entries).await.is_empty());
    assert_eq!(backroom.job(job.id).await.expect("the job").state, State::Completed);
}

#[tokio::test]
async fn an_end_whose_row_cannot_be_read_waits_and_holds_up_neither_the_others_nor_the_claims() {
    let faults = Arc::new(Faults::new(Arc::new(MemoryStore::new())));
    let backroom = Options::new().over(Arc::clone(&faults) as _);
    let engine = backroom.engine().clone();
    let ends = Arc::new(Ends::new(&engine, Vec::new(), false));
    let recorder = Recorder::new(engine, ends, Arc::new(Repeats::default()));
    let ((unread, of_unread), (job, lease)) = (claimed(&backroom).await, claimed(&backroom).await);
    faults.refuse(Verb::Job, ErrorKind::Unusable);
    let known = Entry::new(job.id, lease, success(lease)).known_as(
        Arc::new(job.clone()),
        Ending::Succeeded,
        Times::default(),
        LeaseLost::default(),
    );
    let entries = vec![Entry::new(unread.id, of_unread, success(of_unread)), known];
    let waiting = recorder.record(entries).await;
    assert_eq!(waiting.iter().map(Entry::key).collect::<Vec<_>>(), [(unread.id, of_unread)]);
    assert!(!recorder.is_stopped_by_store());
    assert!(!recorder.record_again(waiting, || true).await.is_empty());
    faults.heal();
    assert_eq!(backroom.job(job.id).await.expect("the job").state, State::Completed);
    assert!(recorder.record(vec![Entry::new(unread.id, of_unread, success(of_unread))]).await.is_empty());
    assert_eq!(backroom.job(unread.id).await.expect("the job").state, State::Completed);
}
