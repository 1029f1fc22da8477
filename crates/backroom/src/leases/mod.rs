//! Leases for workers outside of this program: they claim, extend and commit by calls, as the workers of [`Worker`](crate::Worker)
//! do by themselves.
//!
//! A remote worker has a row among the workers. Each call of it moves its heartbeat; a worker that makes no calls for its lease is
//! dead as any other, and its jobs run elsewhere. The end of a run goes through the [`recorder`](crate::recorder).
//!
//! Start reading at [`Leases::claim`]. `worker` knows who calls, `held` what was claimed lately, `extend` answers which leases
//! still hold and gives back what its worker does not know of, `commit` records ends, `note` writes progress and log lines, and `workflow`
//! writes the journals of workflows.

mod claim;
mod commit;
mod extend;
mod held;
mod note;
mod outcome;
#[cfg(feature = "sealed")]
mod sealed;
mod worker;
mod workflow;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backroom_core::{JobId, LeaseId};

pub use self::{
    claim::ClaimOrder,
    commit::{Commit, Settled},
    extend::{Extended, LeaseHeld},
    note::Report,
    outcome::RunOutcome,
    worker::RemoteWorker,
    workflow::{AskAnswer, RemoteAsk, UndoDue, WorkflowAnswer, WorkflowCall, WorkflowStatus, WorkflowThen},
};
use self::{held::Held, worker::Known};
use crate::{Backroom, Ended, Error, ends::Ends, engine::Engine, recorder::Recorder, repeated::Repeats};

/// The time between two writes of what was counted.
const STATS_SPAN: Duration = Duration::from_secs(10);

/// One run: a job and the lease under which it was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunKey {
    /// The job.
    pub job: JobId,
    /// The lease.
    pub lease: LeaseId,
}

/// Claims, extends and commits for workers outside of this program. Made by [`Backroom::leases`]; cheap to clone, and meant to be
/// made once per process.
#[derive(Clone)]
pub struct Leases {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    recorder: Recorder,
    ends: Arc<Ends>,
    /// The name under which ends are counted.
    counted_as: String,
    known: Mutex<Known>,
    held: Mutex<Held>,
    /// The reading of the monotonic clock at the last write of what was counted.
    counted_at: Mutex<Duration>,
}

impl Backroom {
    /// Leases for workers outside of this program, such as those that ask a server over HTTP.
    pub fn leases(&self) -> Leases {
        self.leases_reporting(|_| {})
    }

    /// As [`leases`](Self::leases), and calls `hook` with every end that is recorded, as [`Worker::on_end`](crate::Worker::on_end).
    pub fn leases_reporting(&self, hook: impl Fn(&Ended<'_>) + Send + Sync + 'static) -> Leases {
        let engine = self.engine().clone();
        let ends = Arc::new(Ends::new(&engine, vec![Arc::new(hook)], false));
        let recorder = Recorder::new(engine.clone(), Arc::clone(&ends), Arc::new(Repeats::default()));
        let random = engine.ids.lease().0.simple().to_string();
        let counted_as = format!("leases-{}-{}-{}", crate::process::host(), std::process::id(), &random[..6]);
        let held = Held::new(engine.bytes_max);
        Leases {
            inner: Arc::new(Inner {
                counted_at: Mutex::new(engine.clock.monotonic()),
                engine,
                recorder,
                ends,
                counted_as,
                known: Mutex::default(),
                held: Mutex::new(held),
            }),
        }
    }
}

impl Leases {
    /// Writes what was counted since the last write: for the end of the process. It is written every ten seconds, too.
    pub async fn write_stats(&self) -> Result<(), Error> {
        let Inner { ends, engine, .. } = &*self.inner;
        ends.sum_up();
        let (tally, mut written) = (ends.tally(), Ok(()));
        for row in tally.take_changed(&self.inner.counted_as) {
            let minute = row.minute;
            if let Err(error) = engine.store.put_stats(Arc::new(row), engine.clock.now()).await {
                tally.put_back(minute);
                written = Err(error);
            }
        }
        tally.forget(engine.clock.now());
        written
    }

    /// Writes what was counted if that is due.
    async fn write_stats_if_due(&self) {
        let now = self.inner.engine.clock.monotonic();
        {
            let mut at = self.inner.counted_at.lock().unwrap_or_else(PoisonError::into_inner);
            if now.saturating_sub(*at) < STATS_SPAN {
                return;
            }
            *at = now;
        }
        // The store's decorator reports outages; the rows are written the next time.
        let _ = self.write_stats().await;
    }
}

impl Inner {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases").finish_non_exhaustive()
    }
}
