//! The runs of this worker: each holds a lease until its end is recorded.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use backroom_core::{Job, JobId, LeaseId, Timestamp, bounds::later};
use tokio_util::sync::CancellationToken;

use super::notes::Said;

/// One claimed job on its way through this worker.
pub(crate) struct Run {
    pub(crate) job: Job,
    pub(crate) lease: LeaseId,
    /// Tells the handler to stop.
    pub(crate) stop: CancellationToken,
    /// Why it was told, and when.
    told: OnceLock<(Stop, Timestamp)>,
    /// The lease is gone: whatever the handler returns is dropped.
    lost: AtomicBool,
    /// Its end was reported, or it was given back: a result that comes later is dropped.
    over: AtomicBool,
    /// When the attempt runs out of time, in microseconds; `i64::MAX` for never.
    deadline_micros: AtomicI64,
    /// Restarts the timeout once the handler has its core.
    began: tokio::sync::Notify,
    reported_stuck: AtomicBool,
    pub(crate) said: Mutex<Said>,
}

/// Why a handler was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Somebody cancelled the job.
    Cancelled,
    /// The job runs elsewhere by now, or is finished or gone.
    LeaseLost,
    /// The attempt ran out of time.
    TimedOut,
    /// The worker stops.
    Stopping,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "the job was cancelled",
            Self::LeaseLost => "the lease was lost",
            Self::TimedOut => "the attempt ran out of time",
            Self::Stopping => "the worker is stopping",
        })
    }
}

impl Run {
    pub(crate) fn new(job: Job, lease: LeaseId) -> Self {
        Self {
            job,
            lease,
            stop: CancellationToken::new(),
            told: OnceLock::new(),
            lost: AtomicBool::new(false),
            over: AtomicBool::new(false),
            deadline_micros: AtomicI64::new(i64::MAX),
            began: tokio::sync::Notify::new(),
            reported_stuck: AtomicBool::new(false),
            said: Mutex::default(),
        }
    }

    /// Tells the handler to stop; only the first reason counts.
    pub(crate) fn tell(&self, why: Stop, now: Timestamp) {
        if why == Stop::LeaseLost {
            self.lost.store(true, Ordering::Release);
        }
        let _ = self.told.set((why, now));
        self.stop.cancel();
    }

    /// Why the handler was told to stop, if it was.
    pub(crate) fn told(&self) -> Option<(Stop, Timestamp)> {
        self.told.get().copied()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Claims the right to report the end; false if somebody has.
    pub(crate) fn end(&self) -> bool {
        !self.over.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// True once: for a report that must not be repeated.
    pub(crate) fn first_stuck_report(&self) -> bool {
        !self.reported_stuck.swap(true, Ordering::Relaxed)
    }

    /// The handler begins in earnest; waiting for a core does not count against its timeout.
    pub(crate) fn begins(&self) {
        self.began.notify_one();
    }

    pub(crate) async fn begun(&self) {
        self.began.notified().await;
    }

    pub(crate) fn set_deadline(&self, at: Timestamp) {
        self.deadline_micros.store(at.as_microsecond(), Ordering::Relaxed);
    }

    /// Moves the deadline, if there is one, to no earlier than `at`.
    pub(crate) fn extend_deadline(&self, at: Timestamp) {
        self.deadline_micros.fetch_max(at.as_microsecond(), Ordering::Relaxed);
    }

    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        Timestamp::from_microsecond(self.deadline_micros.load(Ordering::Relaxed)).ok()
    }

    /// Whether it goes on although it was told to stop `span` or longer ago.
    pub(crate) fn is_stuck(&self, span: Duration, now: Timestamp) -> bool {
        self.told().is_some_and(|(_, at)| later(at, span) <= now)
    }
}

/// All runs whose leases this worker keeps.
#[derive(Default)]
pub(crate) struct Held {
    runs: Mutex<HashMap<JobId, Arc<Run>>>,
}

impl Held {
    /// Keeps the leases of newly claimed runs. A job whose earlier run is still held here was rescued unnoticed and
    /// came back: nobody would ask about the old lease again, so its handler is told now.
    pub(crate) fn add(&self, claimed: &[Arc<Run>], now: Timestamp) {
        let mut runs = self.runs();
        for run in claimed {
            if let Some(displaced) = runs.insert(run.job.id, Arc::clone(run)) {
                displaced.tell(Stop::LeaseLost, now);
            }
        }
    }

    /// Forgets runs. One that was claimed anew meanwhile stays.
    pub(crate) fn remove<'a>(&self, gone: impl IntoIterator<Item = &'a Arc<Run>>) {
        let mut runs = self.runs();
        for run in gone {
            if runs.get(&run.job.id).is_some_and(|held| held.lease == run.lease) {
                runs.remove(&run.job.id);
            }
        }
    }

    /// In the order of their ids: the order of a map differs from run to run, and with it that of everything that
    /// follows, so that a seed would not repeat it.
    pub(crate) fn all(&self) -> Vec<Arc<Run>> {
        let mut all: Vec<_> = self.runs().values().cloned().collect();
        all.sort_unstable_by_key(|run| run.job.id);
        all
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs().is_empty()
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<JobId, Arc<Run>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
