//! One trial of a suspect, and what the worker's row says about trials.
//!
//! A *suspect* is a job that ran when a worker process died; the rules are in core ([`JobRow::standing`]). Before a suspect
//! begins, the worker writes into its own row that it is on trial, and waits until that is durable. If the process dies, the
//! process that rescues its jobs reads there which job to charge.
//!
//! [`JobRow::standing`]: backroom_core::JobRow::standing

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backroom_core::{
    JobId, LeaseId, Timestamp,
    blame::{self, Trials},
    bounds::PASSED_MAX,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::row_writes::RowWrites;

/// What the worker's row says about trials.
#[derive(Debug, Default)]
pub(crate) struct TrialRecord(Mutex<Trials>);

impl TrialRecord {
    pub(crate) fn trials(&self) -> Trials {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Trials> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far a trial is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The run has no slot yet, or its handler has no thread, or the row is being written.
    Waiting,
    /// The handler runs.
    Running,
    /// The run has ended.
    Over,
}

/// A run that begins on trial, as its slot sees it.
pub(crate) struct Trial {
    job: JobId,
    lease: LeaseId,
    alone: bool,
    record: Arc<TrialRecord>,
    rows: RowWrites,
    stage: watch::Sender<Stage>,
    /// Cancelled when the run must leave its slot, because its handler waited too long for a thread.
    withdrawn: CancellationToken,
}

/// The same trial, as the task sees it that lets suspects begin.
pub(crate) struct TrialView {
    job: JobId,
    lease: LeaseId,
    record: Arc<TrialRecord>,
    stages: watch::Receiver<Stage>,
    withdrawn: CancellationToken,
}

impl Trial {
    /// A trial that waits. `alone` says that nothing else runs in the process.
    pub(crate) fn new(
        (job, lease): (JobId, LeaseId),
        alone: bool,
        record: &Arc<TrialRecord>,
        rows: &RowWrites,
    ) -> (Self, TrialView) {
        let (stage, stages) = watch::channel(Stage::Waiting);
        let withdrawn = CancellationToken::new();
        let (record, rows) = (Arc::clone(record), rows.clone());
        let view =
            TrialView { job, lease, record: Arc::clone(&record), stages, withdrawn: withdrawn.clone() };
        (Self { job, lease, alone, record, rows, stage, withdrawn }, view)
    }

    /// Whether the run has the process for itself.
    pub(crate) fn is_alone(&self) -> bool {
        self.alone
    }

    /// The handler has its slot, and its thread if it needs one: writes that it is on trial. False if that could not be
    /// written, or if `may_begin` no longer holds when it is; then the handler must not begin.
    pub(crate) async fn begin(&self, since: Timestamp, may_begin: impl Fn() -> bool) -> bool {
        let trial = blame::Trial { job: self.job, lease: self.lease, alone: self.alone, since };
        {
            let mut trials = self.record.lock();
            if self.is_over() {
                return false;
            }
            trials.on = Some(trial);
        }
        let written = self.rows.write().await;
        let mut trials = self.record.lock();
        // While the row was written, the worker may have learned that the lease is lost.
        if written.is_err() || !may_begin() || self.is_over() {
            trials.on.take_if(|on| on.lease == self.lease && on.job == self.job);
            return false;
        }
        self.stage.send_replace(Stage::Running);
        true
    }

    /// Returns when the run must leave its slot although its handler has no thread yet.
    pub(crate) async fn withdrawn(&self) {
        self.withdrawn.cancelled().await;
    }

    /// The run has ended when the guard is dropped.
    pub(crate) fn over_when_dropped(&self) -> Over<'_> {
        Over(self)
    }

    fn is_over(&self) -> bool {
        *self.stage.borrow() == Stage::Over
    }
}

/// Ends a trial when this is dropped.
pub(crate) struct Over<'a>(&'a Trial);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        let trial = self.0;
        let mut trials = trial.record.lock();
        // A later run of the same job may be on trial by now.
        trials.on.take_if(|on| on.job == trial.job && on.lease == trial.lease);
        trials.passed.retain(|passed| *passed != trial.job);
        // Under the lock, so that a thread that comes late does not begin a trial that is over.
        trial.stage.send_replace(Stage::Over);
    }
}

impl TrialView {
    /// Returns once the handler runs, or the run is over.
    pub(crate) async fn begun(&mut self) {
        // An error says that the run is gone, so it is over.
        let _ = self.stages.wait_for(|stage| *stage != Stage::Waiting).await;
    }

    /// Returns once the run is over.
    pub(crate) async fn over(&mut self) {
        let _ = self.stages.wait_for(|stage| *stage == Stage::Over).await;
    }

    pub(crate) fn is_over(&self) -> bool {
        *self.stages.borrow() == Stage::Over
    }

    /// Asks the run to leave its slot if its handler still waits for a thread.
    pub(crate) fn withdraw(&self) {
        self.withdrawn.cancel();
    }

    /// The span of the trial has passed and the run goes on.
    pub(crate) fn pass(&self) {
        let mut trials = self.record.lock();
        if trials.on.take_if(|on| on.job == self.job && on.lease == self.lease).is_some()
            && trials.passed.len() < PASSED_MAX
        {
            trials.passed.push(self.job);
        }
    }
}
