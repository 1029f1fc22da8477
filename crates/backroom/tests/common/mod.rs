//! What the tests of client and worker share: jobs, and a fresh store of each kind.
#![allow(
    dead_code,
    reason = "every test file uses its own part; one that used all could not expect any to be dead"
)]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::{sync::Arc, time::Duration};

use backroom::{
    Backroom, Context, Failure, Job, JobHandle, JobId, Options, State,
    store::{MemoryStore, Store},
    testing::{TestClock, faults::Faults},
};
use serde::{Deserialize, Serialize};

/// A fresh store and what must live as long as it.
pub(crate) struct Fresh {
    pub(crate) backroom: Backroom,
    pub(crate) clock: Arc<TestClock>,
    _dir: tempfile::TempDir,
}

/// Fresh stores of every embedded kind on a clock that the test moves.
pub(crate) async fn fresh_stores() -> Vec<Fresh> {
    let mut stores = Vec::new();
    for scheme in ["memory", "sqlite"] {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::default());
        let url = format!("{scheme}:{}", dir.path().join("backroom.db").display());
        let backroom = Options::new().clock(Arc::clone(&clock) as _).seed(7).open(&url).await.unwrap();
        stores.push(Fresh { backroom, clock, _dir: dir });
    }
    stores
}

/// A SQLite store on the machine's own clock.
pub(crate) async fn sqlite() -> (Backroom, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("backroom.db").display());
    (Backroom::open(&url).await.unwrap(), dir)
}

/// Fails the test instead of hanging it.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(Duration::from_secs(20), future).await {
        Ok(output) => output,
        Err(_) => panic!("waited 20 s in vain: {what}"),
    }
}

/// Lets the other tasks run until the condition holds.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    soon(what, waiting).await;
}

/// Lets time pass in steps in which all tasks keep up. For stores in memory: those on a disk have threads.
pub(crate) async fn pass(clock: &TestClock, span: Duration) {
    const STEP: Duration = Duration::from_millis(50);
    for _ in 0..span.as_millis() / STEP.as_millis() {
        clock.advance(STEP);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

/// A client in memory whose calls can fail, and one beside it on the same store whose calls do not.
pub(crate) fn with_faults() -> (Backroom, Backroom, Arc<Faults>, Arc<TestClock>) {
    let (clock, store) = (Arc::new(TestClock::default()), Arc::new(MemoryStore::new()));
    let faults = Arc::new(Faults::new(Arc::clone(&store) as Arc<dyn Store>));
    let options = || Options::new().clock(Arc::clone(&clock) as _);
    (options().seed(7).over(Arc::clone(&faults) as _), options().seed(8).over(store), faults, clock)
}

/// How many jobs are shown in this state.
pub(crate) async fn jobs_in(backroom: &Backroom, shown: &str) -> u64 {
    let counts = backroom.counts().await.unwrap();
    counts.iter().filter(|count| count.state.as_str() == shown).map(|count| count.jobs).sum()
}

pub(crate) async fn is_finished<J: Job>(job: &JobHandle<J>) -> bool {
    job.status().await.unwrap().state.is_finished()
}

/// Returns when the job is in this state.
pub(crate) async fn wait_for(backroom: &Backroom, id: JobId, state: State) {
    let waiting = async {
        while backroom.job(id).await.unwrap().state != state {
            tokio::task::yield_now().await;
        }
    };
    soon("the job's state", waiting).await;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Double(pub(crate) u32);

impl Job for Double {
    const KIND: &'static str = "double";
    type Output = u32;
}

pub(crate) async fn double(job: Double, _: Context) -> Result<u32, Failure> {
    Ok(job.0 * 2)
}

/// Does as its args say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Act {
    Succeed,
    Fail,
    FailUntilAttempt(u32),
    Panic,
    Discard,
    Cancel,
    SnoozeOnce,
    Hang,
}

impl Job for Act {
    const KIND: &'static str = "act";
    type Output = String;
}

pub(crate) async fn act(job: Act, ctx: Context) -> Result<String, Failure> {
    match job {
        Act::Succeed => Ok("done".into()),
        Act::Fail => Err(Failure::retry("it failed")),
        Act::FailUntilAttempt(attempt) if ctx.attempt() < attempt => {
            Err(std::io::Error::other("not yet").into())
        }
        Act::FailUntilAttempt(_) => Ok("at last".into()),
        Act::Panic => panic!("out of cheese"),
        Act::Discard => Err(Failure::discard("worthless")),
        Act::Cancel => Err(Failure::cancel("no longer wanted")),
        Act::SnoozeOnce if ctx.job().extras.meta.contains_key("snoozed") => Ok("awake".into()),
        Act::SnoozeOnce => Err(Failure::snooze(Duration::from_secs(60))),
        Act::Hang => {
            ctx.cancelled().await;
            Err(Failure::retry("asked to stop"))
        }
    }
}

/// Jobs with edges and batches in a transaction of the caller, the same for every driver. Needs the client, how a transaction begins, the
/// method that enqueues in it, and how the transaction is handed over.
#[allow(unused_macros, reason = "every test file uses its own part")]
macro_rules! linked_within {
    ($backroom:expr, begin $begin:expr, $within:ident(|$transaction:ident| $handed:expr)) => {{
        use backroom::{ErrorKind, OnFailure, State, Worker};
        use common::{Double, double, soon};
        let backroom = &$backroom;
        let ended = backroom.enqueue(Double(1)).await.unwrap();
        let worker = Worker::new(backroom).handle(double).start().await.unwrap();
        soon("the first job", ended.wait()).await.unwrap();
        soon("stop", worker.stop()).await.unwrap();
        let cancelled = backroom.enqueue(Double(2)).await.unwrap();
        cancelled.cancel().await.unwrap();
        let live = backroom.enqueue(Double(3)).await.unwrap();
        let (batch, closed) = (backroom.open_batch().await.unwrap(), backroom.open_batch().await.unwrap());
        closed.close().await.unwrap();

        #[allow(unused_mut, reason = "not every driver needs it")]
        let mut $transaction = $begin;
        let gone = backroom.enqueue(Double(4)).after(&live).batch(&batch).$within($handed).await.unwrap();
        $transaction.rollback().await.unwrap();
        assert_eq!(gone.status().await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(batch.status().await.unwrap().counts.live, 0);

        #[allow(unused_mut, reason = "not every driver needs it")]
        let mut $transaction = $begin;
        let first = backroom.enqueue(Double(5)).batch(&batch).$within($handed).await.unwrap();
        let second = backroom.enqueue(Double(6)).after(&live).after(&first).batch(&batch);
        let second = second.$within($handed).await.unwrap();
        let at_once = backroom.enqueue(Double(7)).after(&ended).$within($handed).await.unwrap();
        let never =
            backroom.enqueue(Double(8)).after(&cancelled).batch(&batch).$within($handed).await.unwrap();
        let anyway = backroom.enqueue(Double(9)).after_with(&cancelled, OnFailure::Run);
        let anyway = anyway.$within($handed).await.unwrap();
        let many = backroom.enqueue_many((10..13).map(Double)).after(&live).batch(&batch);
        assert_eq!(many.$within($handed).await.unwrap().created, 3);
        // Refusals leave the transaction as it was.
        let unknown = backroom::JobId(uuid::Uuid::from_u128(7));
        let refused = backroom.enqueue(Double(0)).after(unknown).$within($handed).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
        let refused = backroom.enqueue(Double(0)).batch(&closed).$within($handed).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
        $transaction.commit().await.unwrap();

        for (job, state) in [
            (&first, State::Queued),
            (&second, State::Waiting),
            (&at_once, State::Queued),
            (&never, State::Cancelled),
            (&anyway, State::Queued),
        ] {
            assert_eq!(job.status().await.unwrap().state, state, "{}", job.id());
        }
        let counts = batch.status().await.unwrap().counts;
        assert_eq!((counts.live, counts.cancelled), (5, 1));
        batch.close().await.unwrap();
        let worker = Worker::new(backroom).handle(double).start().await.unwrap();
        assert_eq!(soon("the dependant", second.wait()).await.unwrap(), 12);
        let counts = soon("the batch ends", batch.finished()).await.unwrap().counts;
        assert_eq!((counts.completed, counts.cancelled, counts.live), (5, 1, 0));
        soon("stop", worker.stop()).await.unwrap();
    }};
}
#[allow(unused_imports, reason = "every test file uses its own part")]
pub(crate) use linked_within;
