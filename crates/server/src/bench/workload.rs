//! The no-op job, and keeping count of it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use backroom::{
    Backroom, Context, Error, Failure, Job, Retention, RetentionLimit, RunningWorker, Timestamp, Worker,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::{args::BenchArgs, place::Place};

/// A job that does nothing, and carries its number and some bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Noop {
    pub(crate) number: u64,
    pub(crate) filler: String,
}

impl Job for Noop {
    const KIND: &'static str = "bench_noop";
    const QUEUE: &'static str = "bench";
    type Output = ();
}

impl Noop {
    /// Job `number` with about `bytes` of JSON.
    pub(crate) fn new(number: u64, bytes: u32) -> Self {
        // Braces, names and quotes take some thirty bytes.
        Self { number, filler: "x".repeat((bytes as usize).saturating_sub(30)) }
    }

    pub(crate) fn many(count: u32, bytes: u32) -> impl Iterator<Item = Self> + Send + 'static {
        (0..u64::from(count)).map(move |number| Self::new(number, bytes))
    }
}

/// What the handlers saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    runs: AtomicU64,
    /// The first moment of each run, with the job's number.
    began: Mutex<Vec<(u64, Timestamp)>>,
    rang: Notify,
}

impl Seen {
    pub(crate) fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    /// Returns when `count` runs have begun.
    pub(crate) async fn reach(&self, count: u64) {
        loop {
            let rang = self.rang.notified();
            tokio::pin!(rang);
            rang.as_mut().enable();
            if self.runs() >= count {
                return;
            }
            rang.await;
        }
    }

    pub(crate) fn take_began(&self) -> Vec<(u64, Timestamp)> {
        std::mem::take(&mut *self.began.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn run(&self, number: u64, at: Timestamp) {
        self.began.lock().unwrap_or_else(PoisonError::into_inner).push((number, at));
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.rang.notify_waiters();
    }
}

/// A worker for the no-op jobs that notes when each began.
pub(crate) async fn noting_worker(
    args: &BenchArgs,
    place: &Place,
) -> Result<(RunningWorker, Arc<Seen>), Error> {
    let seen = Arc::new(Seen::default());
    let (noting, clock) = (Arc::clone(&seen), Arc::clone(place.backroom.clock()));
    let noop = move |job: Noop, _: Context| {
        noting.run(job.number, clock.now());
        std::future::ready(Ok::<_, Failure>(()))
    };
    let worker = Worker::new(&place.backroom).queue(Noop::QUEUE, args.slots);
    let worker = worker.lease(Duration::from_millis(args.lease_ms)).handle(noop);
    Ok((worker.start().await?, seen))
}

/// A worker for the no-op jobs that does nothing else.
pub(crate) fn plain_worker(args: &BenchArgs, place: &Place) -> Worker {
    let noop = |_: Noop, _: Context| std::future::ready(Ok::<_, Failure>(()));
    Worker::new(&place.backroom).queue(Noop::QUEUE, args.slots).handle(noop)
}

/// A worker for the no-op jobs of other processes. Each answers when its handler began, in microseconds since 1970.
pub(crate) async fn telling_worker(backroom: &Backroom, slots: u32) -> Result<RunningWorker, Error> {
    let clock = Arc::clone(backroom.clock());
    let noop = move |_: Timed, _: Context| std::future::ready(Ok::<_, Failure>(clock.now().as_microsecond()));
    Worker::new(backroom).queue(Noop::QUEUE, slots).handle(noop).start().await
}

/// The no-op job, with another output.
#[derive(Debug, Serialize, Deserialize)]
struct Timed {
    number: u64,
}

impl Job for Timed {
    const KIND: &'static str = Noop::KIND;
    type Output = i64;
}

/// Says how long finished jobs are retained: for ever, or (`--no-history`) not at all.
pub(crate) async fn set_history(args: &BenchArgs, place: &Place) -> Result<(), Error> {
    let keep = if args.no_history { RetentionLimit::newest(0) } else { RetentionLimit::FOREVER };
    let retention = Retention { completed: keep, ..Retention::FOREVER };
    place.backroom.retain(Noop::QUEUE, retention).await
}
