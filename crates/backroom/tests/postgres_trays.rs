//! Jobs that one claim took together: each lies in one place at any moment, whoever wants something of it.

#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod postgres_support;

use std::{sync::Arc, time::Duration};

use backroom::{
    ErrorKind, Json, UniqueRule,
    core::{
        Change, Draft, Event, Job, JobId, LogLine, Progress, Shown, State, bounds::later, transition::apply,
    },
    store::{
        Claim, Committed, Deleted, Extend, Filter, Held, Inserted, Note, Prune, Record, Store,
        postgres::{PostgresOptions, PostgresStore},
    },
};
use postgres_support::{Place, lease, success, until_somebody_waits, waiting_for_locks};
use tokio_postgres::Client;

/// A store in which every claim is kept together, another process's store over the same tables, and somebody who looks.
struct Office {
    place: Place,
    store: Arc<PostgresStore>,
    other: PostgresStore,
    client: Client,
}

impl Office {
    async fn open() -> Self {
        let place = Place::new();
        let options = || PostgresOptions { trays_from: 1, ..PostgresOptions::default() };
        let store = Arc::new(PostgresStore::connect(&place.url(), options()).await.unwrap());
        let other = PostgresStore::connect(&place.url(), options()).await.unwrap();
        let client = place.client().await;
        Self { place, store, other, client }
    }

    /// With so many jobs, claimed together.
    async fn with_a_tray_of(jobs: usize) -> (Self, Vec<Job>) {
        let office = Self::open().await;
        let new = (0..jobs).map(|_| office.place.new_job()).collect();
        office.store.insert(Arc::new(new), office.place.now).await.unwrap();
        let taken = office.place.claim(&*office.store, jobs).await;
        assert_eq!((taken.len(), office.rows().await), (jobs, Rows { jobs: 0, trays: 1, finished: 0 }));
        (office, taken)
    }

    async fn rows(&self) -> Rows {
        let count = async |table: &str| -> i64 {
            self.client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap().get(0)
        };
        Rows { jobs: count("jobs").await, trays: count("trays").await, finished: count("finished").await }
    }

    async fn commit(&self, store: &PostgresStore, change: Change) -> Committed {
        store.commit(Arc::new(vec![change])).await.unwrap().remove(0)
    }

    async fn succeed(&self, jobs: &[Job]) {
        let changes = jobs.iter().map(|job| success(job, self.place.now)).collect();
        let answers = self.store.commit(Arc::new(changes)).await.unwrap();
        assert!(answers.iter().all(|answer| *answer == Committed::Done), "{answers:?}");
    }

    fn decide(&self, job: &Job, event: Event) -> Change {
        apply(job, event, self.place.now).unwrap().expect("something to do")
    }

    async fn extend(&self, store: &PostgresStore, jobs: &[Job]) -> Vec<Held> {
        let leases = jobs.iter().map(|job| (job.id, lease(job))).collect();
        let until = later(self.place.now, Duration::from_secs(60));
        store.extend(Arc::new(Extend { leases, until }), self.place.now).await.unwrap()
    }

    /// Of all that completed so far.
    async fn prune(&self) -> u64 {
        let at = later(self.place.now, Duration::from_secs(1));
        let prune = Prune {
            queue: "default".into(),
            state: State::Completed,
            finished_before: Some(at),
            beyond: None,
            limit: 10,
        };
        self.store.prune(Arc::new(prune), at).await.unwrap()
    }

    /// Progress and a line of a run.
    fn note(&self, job: &Job) -> Note {
        let line = LogLine { lease_id: lease(job), seq: 0, at: self.place.now, line: "begun".into() };
        let progress = Progress { percent: 50, message: "half".into() };
        Note { job: job.id, lease: lease(job), progress: Some(progress), lines: vec![line] }
    }

    async fn state(&self, id: JobId) -> State {
        self.store.job(id).await.unwrap().expect("the job is there").state
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Rows {
    jobs: i64,
    trays: i64,
    finished: i64,
}

#[tokio::test]
async fn jobs_of_one_claim_are_one_row_until_the_last_has_ended() {
    let (office, jobs) = Office::with_a_tray_of(5).await;
    office.succeed(&jobs[..2]).await;
    assert_eq!(office.rows().await, Rows { jobs: 0, trays: 1, finished: 2 });
    office.succeed(&jobs[2..]).await;
    assert_eq!(office.rows().await, Rows { jobs: 0, trays: 0, finished: 5 });
}

#[tokio::test]
async fn a_job_on_a_tray_is_read_listed_and_counted_as_the_running_job_it_is() {
    let (office, jobs) = Office::with_a_tray_of(3).await;
    office.succeed(&jobs[..1]).await;
    for job in &jobs[1..] {
        assert_eq!(office.other.job(job.id).await.unwrap().as_ref(), Some(job));
    }
    let filter = Arc::new(Filter { states: vec![State::Running], ..Filter::default() });
    let mut running = jobs[1..].to_vec();
    running.sort_by_key(|job| std::cmp::Reverse(job.id));
    assert_eq!(office.other.list(filter, None, 10).await.unwrap(), running);
    assert_eq!(office.other.list(Arc::default(), None, 10).await.unwrap().len(), 3);
    let counts = office.other.counts(office.place.now).await.unwrap();
    let count = |shown| counts.iter().find(|count| count.state == shown).map(|count| count.jobs);
    assert_eq!((count(Shown::Running), count(Shown::Completed)), (Some(2), Some(1)));
}

#[tokio::test]
async fn a_job_that_holds_a_key_or_is_large_keeps_its_row() {
    let office = Office::open().await;
    let keyed = Draft { unique: Some(UniqueRule::by_key("k")), ..Draft::new("work", Json::null()) };
    let large = Draft::new("work", Json::parse(format!("\"{}\"", "x".repeat(2000))).unwrap());
    let new = vec![office.place.checked(keyed), office.place.checked(large), office.place.new_job()];
    office.store.insert(Arc::new(new), office.place.now).await.unwrap();
    let taken = office.place.claim(&*office.store, 3).await;
    assert_eq!((taken.len(), office.rows().await), (3, Rows { jobs: 2, trays: 1, finished: 0 }));
    office.succeed(&taken).await;
    assert_eq!(office.rows().await, Rows { jobs: 0, trays: 0, finished: 3 });
}

#[tokio::test]
async fn a_heartbeat_unloads_what_has_not_ended() {
    let (office, jobs) = Office::with_a_tray_of(3).await;
    office.succeed(&jobs[..1]).await;
    assert_eq!(office.extend(&office.store, &jobs).await, [Held::Lost, Held::Yes, Held::Yes]);
    assert_eq!(office.rows().await, Rows { jobs: 2, trays: 0, finished: 1 });
    office.succeed(&jobs[1..]).await;
    assert_eq!(office.rows().await, Rows { jobs: 0, trays: 0, finished: 3 });
}

#[tokio::test]
async fn a_failure_unloads_the_tray_and_leaves_its_neighbours_running() {
    let (office, jobs) = Office::with_a_tray_of(3).await;
    let snoozed =
        office.decide(&jobs[0], Event::Snooze { lease: lease(&jobs[0]), delay: Duration::from_secs(5) });
    let changes = vec![snoozed, success(&jobs[1], office.place.now)];
    assert_eq!(office.store.commit(Arc::new(changes)).await.unwrap(), [Committed::Done, Committed::Done]);
    assert_eq!(office.state(jobs[0].id).await, State::Queued);
    assert_eq!(office.state(jobs[2].id).await, State::Running);
    office.succeed(&jobs[2..]).await;
    assert_eq!(office.rows().await, Rows { jobs: 1, trays: 0, finished: 2 });
}

#[tokio::test]
async fn progress_and_log_lines_of_a_job_on_a_tray_are_kept() {
    let (office, jobs) = Office::with_a_tray_of(2).await;
    let note = office.note(&jobs[0]);
    office.other.note(Arc::new(vec![note.clone()]), office.place.now).await.unwrap();
    assert_eq!(office.store.job(jobs[0].id).await.unwrap().unwrap().progress, note.progress);
    assert_eq!(office.store.logs(jobs[0].id, 0, 10).await.unwrap(), note.lines);
    office.succeed(&jobs).await;
}

#[tokio::test]
async fn another_process_ends_renews_and_cancels_what_it_did_not_claim() {
    let (office, jobs) = Office::with_a_tray_of(3).await;
    assert_eq!(office.commit(&office.other, success(&jobs[0], office.place.now)).await, Committed::Done);

    let (office, jobs) = Office::with_a_tray_of(3).await;
    assert_eq!(office.extend(&office.other, &jobs[..1]).await, [Held::Yes]);

    let (office, jobs) = Office::with_a_tray_of(3).await;
    let seen = office.other.job(jobs[0].id).await.unwrap().unwrap();
    let mark = office.decide(&seen, Event::Cancel { reason: "stop".into() });
    assert_eq!(office.commit(&office.other, mark).await, Committed::Done);
    assert_eq!(office.extend(&office.store, &jobs[..2]).await, [Held::CancelRequested, Held::Yes]);
    // Decided on the row as it was claimed; the mark has moved it on.
    assert_eq!(office.commit(&office.store, success(&jobs[0], office.place.now)).await, Committed::Stale);
    office.succeed(&jobs[1..]).await;
}

#[tokio::test]
async fn jobs_on_a_tray_are_found_when_their_lease_has_run_out() {
    let (office, jobs) = Office::with_a_tray_of(3).await;
    office.succeed(&jobs[..1]).await;
    let at = later(office.place.now, Duration::from_secs(31));
    assert!(office.other.lapsed(None, 10, office.place.now).await.unwrap().is_empty());
    assert_eq!(office.rows().await.trays, 1, "a lease that holds is left alone");
    let lapsed = office.other.lapsed(None, 10, at).await.unwrap();
    assert_eq!(lapsed.len(), 2);
    let rescue = |job: &Job| apply(job, Event::LeaseExpired, at).unwrap().unwrap();
    assert_eq!(office.commit(&office.other, rescue(&lapsed[0])).await, Committed::Done);
    let late = jobs.iter().find(|job| job.id == lapsed[0].id).unwrap();
    assert_eq!(office.commit(&office.store, success(late, office.place.now)).await, Committed::Stale);
}

#[tokio::test]
async fn an_end_told_twice_is_written_once() {
    let (office, jobs) = Office::with_a_tray_of(3).await;
    office.succeed(&jobs[..1]).await;
    // The tray is there still and has a copy of the first.
    office.succeed(&jobs[..2]).await;
    office.succeed(&jobs).await;
    assert_eq!(office.rows().await, Rows { jobs: 0, trays: 0, finished: 3 });
}

#[tokio::test]
async fn a_repeated_insert_of_a_job_on_a_tray_stores_nothing() {
    let office = Office::open().await;
    let new = Arc::new(vec![office.place.new_job(), office.place.new_job()]);
    office.store.insert(Arc::clone(&new), office.place.now).await.unwrap();
    let taken = office.place.claim(&*office.store, 2).await;
    for store in [&*office.store, &office.other] {
        let again = store.insert_again(Arc::clone(&new), office.place.now).await.unwrap();
        assert_eq!(again, [Inserted::Created, Inserted::Created]);
        assert_eq!(office.rows().await, Rows { jobs: 0, trays: 1, finished: 0 });
    }
    office.succeed(&taken).await;
    assert_eq!(office.rows().await, Rows { jobs: 0, trays: 0, finished: 2 });
}

#[tokio::test]
async fn a_repeated_claim_answers_with_what_is_on_the_tray() {
    let office = Office::open().await;
    office
        .store
        .insert(Arc::new(vec![office.place.new_job(), office.place.new_job()]), office.place.now)
        .await
        .unwrap();
    let wish = office.place.wish(2);
    let first = office.store.claim(Arc::new(wish.clone()), office.place.now).await.unwrap();
    office.succeed(&first[..1]).await;
    let again = Claim { repeat: true, ..wish };
    assert_eq!(office.store.claim(Arc::new(again), office.place.now).await.unwrap(), first[1..]);
}

/// What ended, and was then taken out of the history, does not come back when the rest of its tray is unloaded.
async fn does_not_come_back(take_out: impl AsyncFnOnce(&Office, &Job)) {
    let (office, jobs) = Office::with_a_tray_of(2).await;
    office.succeed(&jobs[..1]).await;
    take_out(&office, &jobs[0]).await;
    assert_eq!(office.extend(&office.store, &jobs[1..]).await, [Held::Yes]);
    let taken = office.place.claim(&*office.store, 10).await;
    assert!(taken.is_empty(), "{taken:?}");
    let lapsed =
        office.store.lapsed(None, 10, later(office.place.now, Duration::from_secs(99))).await.unwrap();
    assert_eq!(lapsed.iter().map(|job| job.id).collect::<Vec<_>>(), [jobs[1].id]);
}

#[tokio::test]
async fn a_deleted_job_does_not_come_back_from_its_tray() {
    does_not_come_back(async |office, job| {
        assert_eq!(office.store.delete(job.id).await.unwrap(), Deleted::Yes);
        assert_eq!(office.store.job(job.id).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_pruned_job_does_not_come_back_from_its_tray() {
    does_not_come_back(async |office, _| {
        assert_eq!(office.prune().await, 0, "its tray has it still");
    })
    .await;
}

#[tokio::test]
async fn a_job_is_pruned_when_its_tray_is_gone() {
    let (office, jobs) = Office::with_a_tray_of(2).await;
    office.succeed(&jobs).await;
    assert_eq!(office.prune().await, 2);
}

#[tokio::test]
async fn a_job_that_is_retried_by_hand_runs_once_more_and_not_twice() {
    let (office, jobs) = Office::with_a_tray_of(2).await;
    office.succeed(&jobs[..1]).await;
    let done = office.store.job(jobs[0].id).await.unwrap().unwrap();
    let again = office.decide(&done, Event::Retry);
    assert_eq!(office.commit(&office.other, again).await, Committed::Done);
    assert_eq!(office.rows().await, Rows { jobs: 2, trays: 0, finished: 0 }, "its neighbour is unloaded");
    let second = office.place.claim(&*office.store, 10).await;
    assert_eq!(second.iter().map(|job| job.id).collect::<Vec<_>>(), [jobs[0].id]);
    office.succeed(&second).await;
    office.succeed(&jobs[1..]).await;
    assert_eq!(office.rows().await, Rows { jobs: 0, trays: 0, finished: 2 });
}

/// It waits for a tenth of a second only, which a busy machine may miss.
async fn until_it_waits_or_ends<T>(office: &Office, task: &tokio::task::JoinHandle<T>) {
    let look = async {
        while !task.is_finished() && waiting_for_locks(&office.client, &office.place.schema).await.is_empty()
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), look).await.expect("it waits or ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_unloads_behind_an_end_sees_that_it_ended() {
    let (office, jobs) = Office::with_a_tray_of(2).await;
    let mut ending = office.place.client().await;
    // What the store does to end the first, by hand and slowly.
    let transaction = ending.transaction().await.unwrap();
    transaction.batch_execute("SELECT FROM trays FOR UPDATE").await.unwrap();
    let finish = "INSERT INTO finished (id, kind, queue, priority, state, args, attempt, max_attempts, crashes, \
                  scheduled_at, unique_held, lease_id, worker, output, woken, created_at, started_at, finished_at, \
                  revision) \
                  SELECT id, kind, queue, priority, 'completed', args, attempt, max_attempts, crashes, scheduled_at, \
                  false, lease_id, worker, 'null', false, created_at, started_at, now(), revision + 1 \
                  FROM jobs_on_trays WHERE id = $1";
    assert_eq!(transaction.execute(finish, &[&jobs[0].id.0]).await.unwrap(), 1);
    transaction.batch_execute("UPDATE trays SET live = live - 1").await.unwrap();
    let unloading = {
        let (store, leases) =
            (Arc::clone(&office.store), jobs.iter().map(|job| (job.id, lease(job))).collect());
        let (until, now) = (later(office.place.now, Duration::from_secs(60)), office.place.now);
        tokio::spawn(async move { store.extend(Arc::new(Extend { leases, until }), now).await })
    };
    until_it_waits_or_ends(&office, &unloading).await;
    transaction.commit().await.unwrap();
    // On a machine that is held up the wait may be over before the commit: then the tray counts as kept.
    if unloading.await.unwrap().unwrap() == [Held::Yes, Held::Yes] {
        assert_eq!(office.extend(&office.store, &jobs).await, [Held::Lost, Held::Yes]);
    }
    assert_eq!(office.rows().await, Rows { jobs: 1, trays: 0, finished: 1 });
}

#[tokio::test(flavor = "multi_thread")]
async fn who_ends_behind_an_unload_finds_the_job_in_its_row() {
    let (office, jobs) = Office::with_a_tray_of(2).await;
    let mut unloading = office.place.client().await;
    let transaction = unloading.transaction().await.unwrap();
    transaction
        .batch_execute(
            "SELECT FROM trays FOR UPDATE; \
             INSERT INTO jobs SELECT (every_job).* FROM every_job WHERE state = 'running'; \
             DELETE FROM trays",
        )
        .await
        .unwrap();
    let ending = {
        let (store, change) = (Arc::clone(&office.store), success(&jobs[0], office.place.now));
        tokio::spawn(async move { store.commit(Arc::new(vec![change])).await })
    };
    until_it_waits_or_ends(&office, &ending).await;
    transaction.commit().await.unwrap();
    // On a machine that is held up the wait may be over before the commit.
    if ending.await.unwrap().unwrap() == [Committed::RowKept] {
        office.succeed(&jobs[..1]).await;
    }
    assert_eq!(office.rows().await, Rows { jobs: 1, trays: 0, finished: 1 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_deleted_the_moment_it_ends_does_not_come_back() {
    let office = Office::open().await;
    for _ in 0..50 {
        let new = vec![office.place.new_job(), office.place.new_job()];
        office.store.insert(Arc::new(new), office.place.now).await.unwrap();
        let jobs = office.place.claim(&*office.store, 2).await;
        let ending = {
            let (store, change) = (Arc::clone(&office.store), success(&jobs[0], office.place.now));
            tokio::spawn(async move { store.commit(Arc::new(vec![change])).await })
        };
        while office.other.delete(jobs[0].id).await.unwrap() != Deleted::Yes {}
        ending.await.unwrap().unwrap();
        assert_eq!(office.store.job(jobs[0].id).await.unwrap(), None);
        assert_eq!(office.extend(&office.store, &jobs[1..]).await, [Held::Yes]);
        office.succeed(&jobs[1..]).await;
        assert_eq!(office.rows().await, Rows { jobs: 0, trays: 0, finished: 1 });
        assert_eq!(office.other.delete(jobs[1].id).await.unwrap(), Deleted::Yes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tray_that_somebody_keeps_holds_up_nothing_else() {
    let (office, jobs) = Office::with_a_tray_of(2).await;
    let keyed = Draft { unique: Some(UniqueRule::by_key("k")), ..Draft::new("work", Json::null()) };
    office.place.insert(&*office.store, office.place.checked(keyed)).await;
    let mut in_row = office.place.claim(&*office.store, 1).await;
    let mut keeper = office.place.client().await;
    let transaction = keeper.transaction().await.unwrap();
    transaction.batch_execute("SELECT FROM trays FOR UPDATE").await.unwrap();

    let all: Vec<Job> = jobs.iter().chain(&in_row).cloned().collect();
    assert_eq!(office.extend(&office.store, &all).await, [Held::Yes; 3]);
    assert_eq!(office.extend(&office.other, &all).await, [Held::Yes; 3]);
    in_row[0] = office.store.job(in_row[0].id).await.unwrap().unwrap();
    assert!(in_row[0].lease_until > jobs[0].lease_until, "its lease was renewed");
    let notes = vec![office.note(&jobs[0]), office.note(&in_row[0])];
    office.store.note(Arc::new(notes.clone()), office.place.now).await.unwrap();
    assert_eq!(office.store.job(in_row[0].id).await.unwrap().unwrap().progress, notes[1].progress);
    assert_eq!(office.store.job(jobs[0].id).await.unwrap().unwrap().progress, None, "left out");
    assert_eq!(office.store.logs(jobs[0].id, 0, 10).await.unwrap(), notes[0].lines);

    let snooze = Event::Snooze { lease: lease(&jobs[1]), delay: Duration::from_secs(5) };
    let changes = vec![
        success(&jobs[0], office.place.now),
        office.decide(&jobs[1], snooze),
        success(&in_row[0], office.place.now),
    ];
    let answers = office.store.commit(Arc::new(changes.clone())).await.unwrap();
    assert_eq!(answers, [Committed::RowKept, Committed::RowKept, Committed::Done]);
    transaction.rollback().await.unwrap();
    assert_eq!(office.store.commit(Arc::new(changes)).await.unwrap(), [Committed::Done; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_on_a_tray_that_somebody_keeps_is_neither_revived_nor_deleted() {
    let (office, jobs) = Office::with_a_tray_of(2).await;
    office.succeed(&jobs[..1]).await;
    let mut keeper = office.place.client().await;
    let transaction = keeper.transaction().await.unwrap();
    transaction.batch_execute("SELECT FROM trays FOR UPDATE").await.unwrap();
    let done = office.store.job(jobs[0].id).await.unwrap().unwrap();
    let again = office.decide(&done, Event::Retry);
    for store in [&*office.store, &office.other] {
        assert_eq!(office.commit(store, again.clone()).await, Committed::RowKept);
        assert_eq!(store.delete(jobs[0].id).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert_eq!(office.rows().await, Rows { jobs: 0, trays: 1, finished: 1 });
    transaction.rollback().await.unwrap();
    assert_eq!(office.commit(&office.other, again).await, Committed::Done);
    assert_eq!(office.rows().await, Rows { jobs: 2, trays: 0, finished: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_free_tray_beside_many_that_somebody_keeps_is_unloaded() {
    let office = Office::open().await;
    let mut jobs = Vec::new();
    for _ in 0..6 {
        office.place.insert(&*office.store, office.place.new_job()).await;
        jobs.extend(office.place.claim(&*office.store, 1).await);
    }
    // In the order of leases, in which they would be met.
    jobs.sort_by_key(lease);
    let kept: Vec<_> = jobs[..5].iter().map(|job| lease(job).0).collect();
    let mut keeper = office.place.client().await;
    let transaction = keeper.transaction().await.unwrap();
    let keep = "SELECT FROM trays WHERE lease_id = ANY ($1) FOR UPDATE";
    assert_eq!(transaction.execute(keep, &[&kept]).await.unwrap(), 5);
    assert_eq!(office.extend(&office.store, &jobs).await, [Held::Yes; 6]);
    assert_eq!(office.rows().await, Rows { jobs: 1, trays: 5, finished: 0 });
    assert!(office.store.job(jobs[5].id).await.unwrap().unwrap().lease_until > jobs[5].lease_until);
}

#[tokio::test]
async fn an_end_beside_a_tray_leaves_it_as_it_is() {
    let office = Office::open().await;
    let keyed = Draft { unique: Some(UniqueRule::by_key("k")), ..Draft::new("work", Json::null()) };
    let new = vec![office.place.checked(keyed), office.place.new_job(), office.place.new_job()];
    let keyed_id = new[0].job.id;
    office.store.insert(Arc::new(new), office.place.now).await.unwrap();
    let (in_row, on_tray): (Vec<Job>, Vec<Job>) =
        office.place.claim(&*office.store, 3).await.into_iter().partition(|job| job.id == keyed_id);
    office.succeed(&in_row).await;
    assert_eq!(office.rows().await, Rows { jobs: 0, trays: 1, finished: 1 });
    office.succeed(&on_tray).await;
    assert_eq!(office.rows().await, Rows { jobs: 0, trays: 0, finished: 3 });
}

#[tokio::test]
async fn a_job_that_is_on_a_tray_and_in_a_row_stops_no_rescue() {
    let office = Office::open().await;
    let new = Arc::new(vec![office.place.new_job(), office.place.new_job()]);
    office.store.insert(Arc::clone(&new), office.place.now).await.unwrap();
    let jobs = office.place.claim(&*office.store, 2).await;
    // Against the rule: the first insert of an id that is stored.
    office.store.insert(Arc::new(vec![new[0].clone()]), office.place.now).await.unwrap();
    let at = later(office.place.now, Duration::from_secs(31));
    let lapsed = office.other.lapsed(None, 10, at).await.unwrap();
    assert_eq!(lapsed.iter().map(|job| job.id).collect::<Vec<_>>(), [jobs[1].id]);
    assert_eq!(office.rows().await, Rows { jobs: 2, trays: 0, finished: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_repeated_while_the_first_is_being_written_answers_with_what_that_took() {
    let office = Office::open().await;
    let new = vec![office.place.new_job(), office.place.new_job()];
    office.store.insert(Arc::new(new), office.place.now).await.unwrap();
    let wish = Claim { repeat: true, ..office.place.wish(1) };
    let mut first = office.place.client().await;
    let transaction = first.transaction().await.unwrap();
    let take = "WITH taken AS (DELETE FROM jobs WHERE id = (SELECT id FROM jobs ORDER BY scheduled_at, id LIMIT 1) \
                RETURNING *) \
                INSERT INTO trays (lease_id, lease_until, worker, started_at, live, first_id, last_id, jobs) \
                SELECT $1, now(), 'w', now(), 1, id, id, ARRAY[ROW(id, kind, queue, lane, priority, args, 1, max_attempts, \
                crashes, scheduled_at, expires_at, timeout_ms, retry, created_at, tags, meta, 1)::tray_job] FROM taken";
    assert_eq!(transaction.execute(take, &[&wish.lease.0]).await.unwrap(), 1);
    let repeating = {
        let (store, wish, now) = (Arc::clone(&office.store), wish.clone(), office.place.now);
        tokio::spawn(async move { store.claim(Arc::new(wish), now).await })
    };
    until_somebody_waits(&office.client, &office.place.schema).await;
    transaction.commit().await.unwrap();
    let taken = repeating.await.unwrap().unwrap();
    assert_eq!((taken.len(), office.rows().await), (1, Rows { jobs: 1, trays: 1, finished: 0 }));
    assert_eq!(taken[0].lease_id, Some(wish.lease));
}

#[tokio::test]
async fn lapsed_trays_are_unloaded_page_by_page_in_the_order_in_which_they_ran_out() {
    let office = Office::open().await;
    let mut expected = Vec::new();
    for tray in 0..5 {
        let new = (0..2).map(|_| office.place.new_job()).collect();
        office.store.insert(Arc::new(new), office.place.now).await.unwrap();
        let until = later(office.place.now, Duration::from_secs(10 - tray));
        let wish = Claim { until, ..office.place.wish(2) };
        let mut ids: Vec<JobId> = office
            .store
            .claim(Arc::new(wish), office.place.now)
            .await
            .unwrap()
            .iter()
            .map(|job| job.id)
            .collect();
        ids.sort_unstable();
        expected.splice(0..0, ids);
    }
    let at = later(office.place.now, Duration::from_secs(11));
    let first = office.other.lapsed(None, 3, at).await.unwrap();
    assert_eq!(office.rows().await, Rows { jobs: 4, trays: 3, finished: 0 }, "no more than the page needs");
    let (mut found, mut page): (Vec<JobId>, Vec<Job>) = (Vec::new(), first);
    while let Some(last) = page.last() {
        let after = Some((last.lease_until.unwrap(), last.id));
        found.extend(page.iter().map(|job| job.id));
        page = office.other.lapsed(after, 3, at).await.unwrap();
    }
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_job_on_a_tray_is_neither_imported_nor_inserted_beside_a_key_once_more() {
    let office = Office::open().await;
    let new = office.place.new_job();
    office.store.insert(Arc::new(vec![new.clone()]), office.place.now).await.unwrap();
    let taken = office.place.claim(&*office.store, 1).await;
    let record = Record { job: taken[0].clone(), attempts: vec![], lines: vec![] };
    assert_eq!(office.other.import(Arc::new(vec![record])).await.unwrap(), 0);
    let keyed = Draft { unique: Some(UniqueRule::by_key("k")), ..Draft::new("work", Json::null()) };
    let both = vec![new, office.place.checked(keyed)];
    let answers = office.other.insert_again(Arc::new(both), office.place.now).await.unwrap();
    assert_eq!(answers, [Inserted::Created, Inserted::Created]);
    assert_eq!(office.rows().await, Rows { jobs: 1, trays: 1, finished: 0 });
}

#[tokio::test]
async fn trays_are_taken_while_there_is_a_backlog_whose_jobs_succeed_many_at_a_time() {
    let place = Place::new();
    let options = PostgresOptions { trays_from: 4, ..PostgresOptions::default() };
    let store = PostgresStore::connect(&place.url(), options).await.unwrap();
    let client = place.client().await;
    let trays = async || -> i64 { client.query_one("SELECT count(*) FROM trays", &[]).await.unwrap().get(0) };
    let insert = async |jobs: usize| {
        let new = (0..jobs).map(|_| place.new_job()).collect();
        store.insert(Arc::new(new), place.now).await.unwrap();
    };
    let commit = async |changes: Vec<Change>| store.commit(Arc::new(changes)).await.unwrap();
    insert(40).await;
    let first = place.claim(&store, 16).await;
    assert_eq!((first.len(), trays().await), (16, 0), "nothing is known yet");
    commit(first.iter().map(|job| success(job, place.now)).collect()).await;
    let second = place.claim(&store, 8).await;
    assert_eq!((second.len(), trays().await), (8, 1), "a backlog whose jobs succeed");
    let snooze = Event::Snooze { lease: lease(&second[0]), delay: Duration::from_secs(5) };
    commit(vec![apply(&second[0], snooze, place.now).unwrap().unwrap()]).await;
    let third = place.claim(&store, 8).await;
    assert_eq!((third.len(), trays().await), (8, 0), "one did not succeed");
    commit(second[1..].iter().chain(&third).map(|job| success(job, place.now)).collect()).await;
    assert_eq!((place.claim(&store, 3).await.len(), trays().await), (3, 0), "it asks for few");
    insert(20).await;
    assert_eq!((place.claim(&store, 8).await.len(), trays().await), (8, 0), "the one before got few");
    assert_eq!((place.claim(&store, 7).await.len(), trays().await), (7, 1), "all is well again");
}
