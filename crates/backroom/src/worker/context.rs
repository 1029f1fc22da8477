//! What a handler gets beside its args.

use std::{fmt, sync::Arc, time::Duration};

use backroom_core::{JobId, JobRow, LeaseId};

use super::{
    resources::Resources,
    run::{Run, StopReason},
};
use crate::{Backroom, Error, ErrorKind, Failure, store::LeaseStatus};

/// A running handler's view of its job and its worker. Cheap to clone; all calls work from plain functions as well
/// as from async ones, except where they say `async`.
#[derive(Clone)]
pub struct Context {
    resources: Arc<Resources>,
    run: Arc<Run>,
}

impl Context {
    pub(super) fn new(resources: Arc<Resources>, run: Arc<Run>) -> Self {
        Self { resources, run }
    }

    /// The job as it was claimed.
    pub fn job(&self) -> &JobRow {
        self.run.open_job()
    }

    /// The job's id.
    pub fn id(&self) -> JobId {
        self.run.job.id
    }

    /// The parent of what the handler traces, and what it passes on to the services that it calls, as a W3C `traceparent`: the
    /// span of this attempt where the program has a [`TraceContext`](crate::TraceContext), else the span of the caller that
    /// enqueued the job, if it gave one.
    pub fn traceparent(&self) -> Option<&str> {
        self.run.traceparent()
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.run.job.attempt
    }

    /// A client on the worker's store, for enqueueing further jobs.
    pub fn backroom(&self) -> Backroom {
        Backroom::from_engine(self.resources.engine.clone())
    }

    /// Reports how far the work is: 0 to 100 (more counts as 100) and a short message. Cheap: it is written at most four times a
    /// second, and the last report is always written.
    pub fn progress(&self, percent: u8, message: impl Into<String>) {
        self.resources.notes.progress(&self.run, percent, &message.into());
    }

    /// Writes a line to the job's log, which people see beside the job. At most a thousand lines of 4 KiB are stored per run;
    /// the log says how many were left out.
    pub fn log(&self, line: impl Into<String>) {
        self.resources.notes.log(&self.run, &line.into(), self.resources.engine.clock.now());
    }

    /// Returns when the handler should stop: the job was cancelled, its lease was lost, it ran out of time, or the
    /// worker is stopping. What a handler returns after that still counts if the job was cancelled (success wins), or
    /// if the worker is stopping and its grace is not over. It is dropped if the lease was lost or the time was up.
    pub async fn cancelled(&self) {
        self.run.stop.cancelled().await;
    }

    /// Whether the handler should stop; for loops in plain functions.
    pub fn is_cancelled(&self) -> bool {
        self.run.stop.is_cancelled()
    }

    /// Why the handler should stop, in words; none while it should not.
    pub fn why_cancelled(&self) -> Option<String> {
        self.run.stop_reason().map(|reason| reason.to_string())
    }

    /// Ends the handler early when it should stop: `ctx.checkpoint()?` between two steps of a long computation.
    pub fn checkpoint(&self) -> Result<(), Failure> {
        match self.run.stop_reason() {
            None => Ok(()),
            // Nothing failed, and the next worker may begin at once.
            Some(StopReason::Stopping) => Err(Failure::snooze(Duration::ZERO)),
            // Recorded as cancelled: the handler did what it was asked for.
            Some(why @ StopReason::Cancelled) => Err(Failure::cancel(why.to_string())),
            Some(why @ (StopReason::LeaseLost | StopReason::TimedOut)) => {
                Err(Failure::retry(why.to_string()))
            }
        }
    }

    /// Asks for at least `span` from now: the timeout, if there is one, is moved, once the store has said that the lease holds.
    /// Leases hold by themselves for as long as the worker lives. This is for work that finds out how long it takes, and for a
    /// last check before a step that must not happen twice. [`Refused`](ErrorKind::Refused) if the lease was lost: stop.
    pub async fn extend(&self, span: Duration) -> Result<(), Error> {
        let engine = &self.resources.engine;
        let leases = vec![(self.run.job.id, self.run.lease)];
        let held = engine.store.lease_status(Arc::new(leases)).await?;
        let now = engine.clock.monotonic();
        match held.first() {
            Some(LeaseStatus::Held) => {}
            Some(LeaseStatus::CancelRequested) => self.run.request_stop(StopReason::Cancelled, now),
            Some(LeaseStatus::Lost) | None => {
                self.run.request_stop(StopReason::LeaseLost, now);
                let message =
                    format!("extend job {}: its lease was lost; stop working on it", self.run.job.id);
                return Err(Error::new(ErrorKind::Refused, message));
            }
        }
        if self.run.job.extras.timeout.is_some() {
            self.run.extend_deadline(now.saturating_add(span));
        }
        Ok(())
    }

    /// How much of the timeout is left; none without a timeout.
    pub fn time_left(&self) -> Option<Duration> {
        self.run.job.extras.timeout?;
        Some(self.run.deadline()?.saturating_sub(self.resources.engine.clock.monotonic()))
    }

    /// Counts log lines that come after as many as are stored.
    #[cfg(all(feature = "exec", target_os = "linux"))]
    pub(crate) fn leave_out_lines(&self, lines: u32) {
        super::notes::Notes::leave_out(&self.run, lines);
    }

    /// Why the handler should stop, if it should.
    pub(crate) fn stop_reason(&self) -> Option<StopReason> {
        self.run.stop_reason()
    }

    pub(crate) fn lease(&self) -> LeaseId {
        self.run.lease
    }

    /// What seals what the handler leaves behind; none if its kind is not sealed.
    #[cfg(feature = "sealed")]
    pub(crate) fn codec(&self) -> Option<&crate::sealed::Codec> {
        self.run.codec()
    }

    pub(super) fn run(&self) -> &Arc<Run> {
        &self.run
    }

    pub(crate) fn resources(&self) -> &Arc<Resources> {
        &self.resources
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("job", &self.run.job.id).finish_non_exhaustive()
    }
}
