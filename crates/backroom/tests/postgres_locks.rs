//! Another program has locked rows in a transaction that it leaves open. Calls that need just these rows wait for a while, and
//! no other call suffers. Leases are renewed, jobs are claimed, and other runs end.

#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;
mod postgres_support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use backroom::{
    Backroom, ErrorKind, Json, UniqueRule, Worker,
    clock::{Clock, SystemClock},
    core::{Change, Draft, Event, JobRow, Progress, State, draft::NewJob, transition::apply},
    store::{
        Call, Committed, Deleted, Inserted, JobVerbs as _, LeaseStatus, Note, QueueVerbs as _,
        ReadVerbs as _, postgres::PostgresStore,
    },
};
use common::{Double, double, soon};
use postgres_support::{Place, died, lease, success, until_a_statement_waits};
use tokio_postgres::{Client, Transaction};
use tokio_util::sync::CancellationToken;

/// A store with three running jobs, the second of which holds a key.
struct Runs {
    place: Place,
    store: Arc<PostgresStore>,
    runs: Vec<JobRow>,
}

impl Runs {
    async fn new() -> Self {
        let place = Place::new();
        let store = Arc::new(place.open().await);
        for new in [place.new_job(), keyed(&place), place.new_job()] {
            place.insert(&*store, new).await;
        }
        let mut runs = place.claim(&*store, 3).await;
        runs.sort_by_key(|job| job.id);
        Self { place, store, runs }
    }

    /// A person at a prompt keeps the row of the second.
    async fn hold_the_second<'a>(&self, client: &'a mut Client) -> Transaction<'a> {
        let transaction = client.transaction().await.unwrap();
        let held = "SELECT FROM jobs WHERE id = $1 FOR UPDATE";
        assert_eq!(transaction.execute(held, &[&self.runs[1].id.0]).await.unwrap(), 1);
        transaction
    }

    /// Enqueues the key of the second once more in a transaction of the caller's.
    async fn meet_the_second<'a>(&self, client: &'a mut Client) -> Transaction<'a> {
        let transaction = client.transaction().await.unwrap();
        let new = keyed(&self.place);
        let answers =
            PostgresStore::insert_in(&transaction, &self.place.schema, &[new], self.place.now).await;
        assert_eq!(answers.unwrap(), [Inserted::Duplicate(self.runs[1].id)]);
        transaction
    }

    async fn row(&self, index: usize) -> JobRow {
        self.store.job(self.runs[index].id).await.unwrap().expect("it is there")
    }

    async fn states(&self) -> [State; 3] {
        [self.row(0).await.state, self.row(1).await.state, self.row(2).await.state]
    }
}

fn keyed(place: &Place) -> NewJob {
    place.checked(Draft { unique: Some(UniqueRule::by_key("k")), ..Draft::new("work", Json::null()) })
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_looked_at_although_another_transaction_has_locked_the_row_of_one_of_them() {
    let runs = Runs::new().await;
    let mut client = runs.place.client().await;
    let transaction = runs.hold_the_second(&mut client).await;
    let leases = Arc::new(runs.runs.iter().map(|job| (job.id, lease(job))).collect());
    assert_eq!(runs.store.lease_status(leases).await.unwrap(), [LeaseStatus::Held; 3]);
    transaction.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_holder_speaks_beside_a_transaction_that_met_its_key() {
    let runs = Runs::new().await;
    let mut client = runs.place.client().await;
    let transaction = runs.meet_the_second(&mut client).await;
    let (id, lease) = (runs.runs[1].id, lease(&runs.runs[1]));
    assert_eq!(runs.store.lease_status(Arc::new(vec![(id, lease)])).await.unwrap(), [LeaseStatus::Held]);
    let progress = Some(Progress { percent: 50, message: "half".into() });
    let note = Note { job: id, lease, progress: progress.clone(), lines: Vec::new() };
    runs.store.note(Arc::new(vec![note]), runs.place.now).await.unwrap();
    assert_eq!(runs.row(1).await.progress, progress);
    // It must not end: the caller got the answer that the key is held.
    let locked = runs.store.commit(Arc::new(vec![success(&runs.runs[1], runs.place.now)])).await.unwrap();
    assert_eq!(locked, [Committed::RowLocked]);
    // A change that leaves the row live is written, though the row is known to be locked.
    let cancel = apply(&runs.row(1).await, Event::Cancel { reason: "no".into() }, runs.place.now);
    let cancelled = runs.store.commit(Arc::new(vec![cancel.unwrap().unwrap()])).await.unwrap();
    assert_eq!(cancelled, [Committed::Done]);
    transaction.commit().await.unwrap();
    let row = runs.row(1).await;
    assert!(row.cancel_requested_at.is_some());
    let ended = runs.store.commit(Arc::new(vec![success(&row, runs.place.now)])).await.unwrap();
    assert_eq!(ended, [Committed::Done]);
}

// On one thread, so that both calls are handed in before either is taken.
#[tokio::test]
async fn runs_end_although_somebody_holds_the_row_of_one_of_them() {
    let runs = Runs::new().await;
    let mut client = runs.place.client().await;
    let transaction = runs.hold_the_second(&mut client).await;
    let change = |index: usize| success(&runs.runs[index], runs.place.now);
    // Both go with one batch, and each hears of its own jobs.
    let (with_the_held, without) = tokio::join!(
        runs.store.commit(Arc::new(vec![change(0), change(1)])),
        runs.store.commit(Arc::new(vec![change(2)])),
    );
    assert_eq!(without.unwrap(), [Committed::Done]);
    assert_eq!(with_the_held.unwrap(), [Committed::Done, Committed::RowLocked]);
    // Known to be locked by now.
    let again = runs.store.commit(Arc::new(vec![change(0), change(1)])).await.unwrap();
    assert_eq!(again, [Committed::Done, Committed::RowLocked]);
    assert_eq!(runs.states().await, [State::Completed, State::Running, State::Completed]);
    transaction.rollback().await.unwrap();
    let again = runs.store.commit(Arc::new(vec![change(0), change(1)])).await.unwrap();
    assert_eq!(again, [Committed::Done; 2]);
    assert_eq!(runs.states().await, [State::Completed; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_given_back_beside_kept_rows_counts_as_written_though_it_runs_elsewhere_by_then() {
    let runs = Runs::new().await;
    let mut client = runs.place.client().await;
    let transaction = client.transaction().await.unwrap();
    let held = "SELECT FROM jobs WHERE id = ANY($1) FOR UPDATE";
    let first_two = vec![runs.runs[0].id.0, runs.runs[1].id.0];
    assert_eq!(transaction.execute(held, &[&first_two]).await.unwrap(), 2);
    let release = Event::Release { lease: lease(&runs.runs[2]) };
    let released = apply(&runs.runs[2], release, runs.place.now).unwrap().unwrap();
    let successes = [0, 1].map(|index| success(&runs.runs[index], runs.place.now));
    let changes = successes.into_iter().chain([released]).collect();
    let claimed_elsewhere = async {
        loop {
            let claimed = runs.place.claim(&*runs.store, 1).await;
            if !claimed.is_empty() {
                break claimed;
            }
            tokio::task::yield_now().await;
        }
    };
    let (answers, claimed) = tokio::join!(
        runs.store.commit(Arc::new(changes)),
        soon("the job that is given back is claimed", claimed_elsewhere)
    );
    assert_eq!(claimed[0].id, runs.runs[2].id);
    assert_eq!(answers.unwrap(), [Committed::RowLocked, Committed::RowLocked, Committed::Done]);
    transaction.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_wait_for_keys_about_to_be_taken_do_not_hold_up_the_ends_of_others() {
    let place = Place::new();
    let store = place.open().await;
    let keyed = |number: u32| {
        let unique = Some(UniqueRule::by_key(format!("k{number}")));
        place.checked(Draft { unique, ..Draft::new("work", Json::null()) })
    };
    // More of them than there are waits in one call.
    let mut finished = Vec::new();
    for number in 0..8 {
        place.insert(&store, keyed(number)).await;
        let job = place.claim(&store, 1).await.remove(0);
        let discard = Event::Discard { lease: lease(&job), reason: "no".into() };
        let discard = apply(&job, discard, place.now).unwrap().unwrap();
        assert_eq!(store.commit(Arc::new(vec![discard])).await.unwrap(), [Committed::Done]);
        finished.push(store.job(job.id).await.unwrap().unwrap());
    }
    place.insert(&store, place.new_job()).await;
    let other = place.claim(&store, 1).await.remove(0);
    let mut client = place.client().await;
    let transaction = client.transaction().await.unwrap();
    let theirs: Vec<NewJob> = (0..8).map(keyed).collect();
    PostgresStore::insert_in(&transaction, &place.schema, &theirs, place.now).await.unwrap();
    let retry = |job: &JobRow| apply(job, Event::Retry, place.now).unwrap().unwrap();
    let mut changes: Vec<_> = finished.iter().map(retry).collect();
    changes.push(success(&other, place.now));
    let answers = store.commit(Arc::new(changes.clone())).await.unwrap();
    assert_eq!(answers[..8], [Committed::RowLocked; 8]);
    assert_eq!(answers[8], Committed::Done);
    transaction.commit().await.unwrap();
    let answers = store.commit(Arc::new(changes)).await.unwrap();
    let holders = theirs.iter().map(|new| Committed::KeyHeld(new.job.id)).chain([Committed::Done]);
    assert_eq!(answers, holders.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_cancels_a_job_whose_row_somebody_holds_is_told() {
    let place = Place::new();
    let backroom = Backroom::open(&place.url()).await.unwrap();
    let job = backroom.enqueue(Double(1)).await.unwrap();
    let mut client = place.client().await;
    let transaction = client.transaction().await.unwrap();
    transaction.execute("SELECT FROM jobs WHERE id = $1 FOR UPDATE", &[&job.id().0]).await.unwrap();
    let error = backroom.cancel(job.id()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("another transaction on the database has locked its row"), "{error}");
    transaction.rollback().await.unwrap();
    backroom.cancel(job.id()).await.unwrap();
    assert_eq!(job.status().await.unwrap().state, State::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_say_is_written_although_somebody_holds_the_row_of_one_of_them() {
    let runs = Runs::new().await;
    let mut client = runs.place.client().await;
    let transaction = runs.hold_the_second(&mut client).await;
    let note = |job: &JobRow| Note {
        job: job.id,
        lease: lease(job),
        progress: Some(Progress { percent: 50, message: "half".into() }),
        lines: Vec::new(),
    };
    let notes: Arc<Vec<Note>> = Arc::new(runs.runs.iter().map(note).collect());
    runs.store.note(Arc::clone(&notes), runs.place.now).await.unwrap();
    let says = async |index| runs.row(index).await.progress.is_some();
    assert_eq!([says(0).await, says(1).await, says(2).await], [true, false, true]);
    transaction.rollback().await.unwrap();
    runs.store.note(notes, runs.place.now).await.unwrap();
    assert!(says(1).await);
}

// On one thread, so that both calls are handed in before either is taken.
#[tokio::test]
async fn jobs_are_stored_although_a_key_beside_them_is_about_to_be_taken() {
    let place = Place::new();
    let store = place.open().await;
    // So that its name is known.
    place.insert(&store, place.new_job()).await;
    let mut client = place.client().await;
    let transaction = client.transaction().await.unwrap();
    let theirs = keyed(&place);
    PostgresStore::insert_in(&transaction, &place.schema, &[theirs], place.now).await.unwrap();
    // Both go with one batch.
    let (ours, other) = (vec![keyed(&place)], vec![place.new_job()]);
    let (ours, other) = tokio::join!(
        store.insert(Arc::new(ours), place.now, Call::First),
        store.insert(Arc::new(other), place.now, Call::First)
    );
    assert_eq!(ours.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(other.unwrap(), [Inserted::Created]);
    transaction.commit().await.unwrap();
    assert_eq!(place.claim(&store, 10).await.len(), 3);
}

#[tokio::test]
async fn a_job_with_a_key_is_stored_at_once_although_another_transaction_is_about_to_name_its_queue() {
    let place = Place::new();
    let store = place.open().await;
    let mut client = place.client().await;
    let in_new_queue = || Draft { queue: "new".into(), ..Draft::new("work", Json::null()) };
    let transaction = client.transaction().await.unwrap();
    let theirs = place.checked(in_new_queue());
    PostgresStore::insert_in(&transaction, &place.schema, &[theirs], place.now).await.unwrap();
    let ours = place.checked(Draft { unique: Some(UniqueRule::by_key("k")), ..in_new_queue() });
    let stored = soon("the enqueue", store.insert(Arc::new(vec![ours]), place.now, Call::First)).await;
    assert_eq!(stored.unwrap(), [Inserted::Created]);
    transaction.rollback().await.unwrap();
}

#[tokio::test]
async fn a_row_that_another_transaction_has_locked_does_not_stop_the_delete_of_others() {
    let place = Place::new();
    let store = place.open().await;
    let jobs = [place.new_job(), place.new_job(), place.new_job()];
    let ids = jobs.clone().map(|new| (new.job.id, 0));
    store.insert(Arc::new(jobs.to_vec()), place.now, Call::First).await.unwrap();
    let mut client = place.client().await;
    let transaction = client.transaction().await.unwrap();
    transaction.execute("SELECT FROM jobs WHERE id = $1 FOR UPDATE", &[&ids[1].0.0]).await.unwrap();
    let deleted =
        soon("the delete", store.delete_unmoved(Arc::new(ids.to_vec()), backroom::Timestamp::UNIX_EPOCH))
            .await;
    assert_eq!(deleted.unwrap(), [Deleted::Yes, Deleted::RowLocked, Deleted::Yes]);
    transaction.rollback().await.unwrap();
    let deleted = store.delete_unmoved(Arc::new(vec![ids[1]]), backroom::Timestamp::UNIX_EPOCH).await;
    assert_eq!(deleted.unwrap(), [Deleted::Yes]);
}

#[tokio::test]
async fn jobs_are_stored_although_somebody_is_about_to_name_their_queue() {
    let place = Place::new();
    let store = place.open().await;
    let mut client = place.client().await;
    let in_new_queue = || place.checked(Draft { queue: "new".into(), ..Draft::new("work", Json::null()) });
    let names =
        async || store.queues().await.unwrap().into_iter().map(|queue| queue.name).collect::<Vec<_>>();
    let transaction = client.transaction().await.unwrap();
    PostgresStore::insert_in(&transaction, &place.schema, &[in_new_queue()], place.now).await.unwrap();
    let answers = store.insert(Arc::new(vec![in_new_queue()]), place.now, Call::First).await.unwrap();
    assert_eq!(answers, [Inserted::Created]);
    transaction.rollback().await.unwrap();
    assert_eq!(names().await, Vec::<String>::new());
    store.insert(Arc::new(vec![in_new_queue()]), place.now, Call::First).await.unwrap();
    assert_eq!(names().await, ["new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_dead_worker_whose_row_another_transaction_has_locked_is_rescued_later_and_holds_up_no_other()
 {
    let runs = Runs::new().await;
    let mut client = runs.place.client().await;
    let transaction = runs.hold_the_second(&mut client).await;
    let worker = runs.runs[0].worker.clone().unwrap();
    let lapsed = runs.store.running_of(&worker, None, 10).await.unwrap();
    assert_eq!(
        lapsed.iter().map(|running| running.job.id).collect::<Vec<_>>(),
        runs.runs.iter().map(|job| job.id).collect::<Vec<_>>()
    );
    let rescue = |job: &JobRow| apply(job, died(), runs.place.now).unwrap().unwrap();
    let rescues: Vec<Change> = lapsed.iter().map(|running| rescue(&running.job)).collect();
    let began_at = SystemClock::default().now();
    let answers = runs.store.commit(Arc::new(rescues.clone())).await.unwrap();
    assert_eq!(answers, [Committed::Done, Committed::RowLocked, Committed::Done]);
    let took = SystemClock::default().now().duration_since(began_at);
    assert!(took.as_millis() < 1000, "nothing waited for the row: {took:?}");
    transaction.rollback().await.unwrap();
    assert_eq!(runs.store.commit(Arc::new(vec![rescues[1].clone()])).await.unwrap(), [Committed::Done]);
}

/// Jobs that count their runs and end when they are let.
#[derive(Clone, Default)]
struct Long {
    runs: Arc<AtomicU32>,
    release: CancellationToken,
}

impl Long {
    /// One that runs these and short ones.
    fn worker(&self, backroom: &Backroom, slots: u32) -> Worker {
        let long = self.clone();
        Worker::new(backroom).queue("default", slots).lease(LEASE).handle(double).handle_untyped(
            "long",
            move |_, _| {
                let long = long.clone();
                async move {
                    long.runs.fetch_add(1, Ordering::SeqCst);
                    long.release.cancelled().await;
                    Ok(Json::null())
                }
            },
        )
    }

    async fn until_there_run(&self, count: u32) {
        soon("they run", async {
            while self.runs.load(Ordering::SeqCst) < count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// Short, so that it would run out several times within the test.
const LEASE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_goes_on_beside_an_open_transaction_that_takes_a_key() {
    let place = Place::new();
    let backroom = Backroom::open(&place.url()).await.unwrap();
    let long = Long::default();
    let worker = long.worker(&backroom, 8);
    let worker = worker.start().await.unwrap();
    let held =
        backroom.enqueue_untyped("long", Json::null()).unique(UniqueRule::by_key("held")).await.unwrap();
    let free = backroom.enqueue_untyped("long", Json::null()).await.unwrap();
    long.until_there_run(2).await;

    // Somebody's transaction takes one key, and asks for another, which a running job holds.
    let (mut theirs, watcher) = (place.client().await, place.client().await);
    let transaction = theirs.transaction().await.unwrap();
    let taken = backroom.enqueue(Double(1)).unique(UniqueRule::by_key("taken"));
    let taken = taken.within_postgres(&transaction).await.unwrap();
    let same = backroom.enqueue_untyped("long", Json::null()).unique(UniqueRule::by_key("held"));
    assert_eq!(same.within_postgres(&transaction).await.unwrap().id(), held.id());
    // This program wants the key as well, so it waits for the transaction.
    let waiting = tokio::spawn({
        let backroom = backroom.clone();
        async move { backroom.enqueue(Double(2)).unique(UniqueRule::by_key("taken")).await }
    });
    until_a_statement_waits(&watcher, &place.schema).await;

    let beats = async || backroom.workers().await.unwrap()[0].beats;
    let long_after = beats().await + 5;
    let mut quick = 0;
    // Jobs come and go, until there were heartbeats for more than two leases.
    soon("heartbeats", async {
        loop {
            let job = backroom.enqueue(Double(quick)).await.unwrap();
            assert_eq!(job.wait().await.unwrap(), quick * 2);
            quick += 1;
            let row = free.status().await.unwrap();
            assert_eq!((row.state, row.crashes), (State::Running, 0), "{row:?}");
            if beats().await > long_after {
                break;
            }
        }
    })
    .await;
    assert!(quick > 2, "only {quick} jobs came through");

    transaction.commit().await.unwrap();
    let same = soon("the key is free", waiting).await.unwrap();
    // A duplicate, or stored if the other one has run by then.
    let same = same.unwrap();
    soon("the job that was waited for", taken.wait()).await.unwrap();
    soon("the one that waited", same.wait()).await.unwrap();
    long.release.cancel();
    let row = soon("the long run", free.finished()).await.unwrap();
    assert_eq!((row.state, row.attempt, row.crashes), (State::Completed, 1, 0), "{row:?}");
    worker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_whose_rows_somebody_keeps_hold_up_no_other_ends() {
    let place = Place::new();
    let backroom = Backroom::open(&place.url()).await.unwrap();
    let long = Long::default();
    let worker = long.worker(&backroom, 24).start().await.unwrap();
    let keyed = |number: u32| {
        let unique = UniqueRule::by_key(format!("k{number}"));
        backroom.enqueue_untyped("long", Json::null()).unique(unique)
    };
    let mut kept = Vec::new();
    for number in 0..20 {
        kept.push(keyed(number).await.unwrap());
    }
    long.until_there_run(20).await;
    let mut theirs = place.client().await;
    let transaction = theirs.transaction().await.unwrap();
    for (number, kept) in (0..).zip(&kept) {
        assert_eq!(keyed(number).within_postgres(&transaction).await.unwrap().id(), kept.id());
    }
    long.release.cancel();
    soon("others end one after the other", async {
        for number in 0..50 {
            let quick = backroom.enqueue(Double(number)).await.unwrap();
            assert_eq!(quick.wait().await.unwrap(), number * 2);
        }
    })
    .await;
    for kept in &kept {
        assert_eq!(kept.status().await.unwrap().state, State::Running);
    }
    transaction.commit().await.unwrap();
    for kept in &kept {
        let row = soon("the end of the locked job", kept.finished()).await.unwrap();
        assert_eq!((row.state, row.attempt, row.crashes), (State::Completed, 1, 0), "{row:?}");
    }
    worker.stop().await.unwrap();
}
