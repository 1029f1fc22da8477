//! How an attempt ended: what [`Worker::on_end`](crate::Worker::on_end) is called with.

use std::{fmt, time::Duration};

use backroom_core::{AttemptEnd, Change, Event, JobId, JobRow, Loss, State, Timestamp, bounds::span_until};

/// One attempt that has ended, after the store has recorded it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Ended<'a> {
    /// The job.
    pub id: JobId,
    /// Its kind.
    pub kind: &'a str,
    /// Its queue.
    pub queue: &'a str,
    /// Which attempt it was, from 1; 0 for a job that expired before its first attempt.
    pub attempt: u32,
    /// How many attempts the job is allowed.
    pub max_attempts: u32,
    /// The worker that ran it; none for a job that expired before its first attempt.
    pub worker: Option<&'a str>,
    /// In which way it ended.
    pub ending: Ending,
    /// The job's state afterwards: `Queued` means that it runs again, `Discarded` that it never does.
    pub state: State,
    /// How long the job waits for its next attempt; none if there is none.
    pub retry_in: Option<Duration>,
    /// Why it ended so: the error with a panic's place and backtrace, or the reason of a cancel or discard. At most
    /// [`ERROR_BYTES_MAX`](crate::core::bounds::ERROR_BYTES_MAX) bytes.
    pub error: Option<&'a str>,
    /// From the moment the job was due until its handler began; none if the handler never began, or another worker ran it.
    pub waited: Option<Duration>,
    /// How long the handler ran; none if it never began, or another worker ran it.
    pub ran: Option<Duration>,
    /// When the end was decided.
    pub ended_at: Timestamp,
    /// The job before that, which says what is hidden from logs.
    pub(crate) job: Unshown<'a>,
}

/// A job that `Debug` does not show: its args may have what is hidden.
#[derive(Clone, Copy)]
pub(crate) struct Unshown<'a>(pub(crate) Option<&'a JobRow>);

impl fmt::Debug for Unshown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("_")
    }
}

/// In which way an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// The handler returned its output.
    Succeeded,
    /// The handler returned an error.
    Failed,
    /// The handler panicked.
    Panicked,
    /// The handler ran longer than the job's timeout.
    TimedOut,
    /// The args did not decode, so the handler did not run.
    Undecoded,
    /// The handler discarded the job.
    Discarded,
    /// The handler ended the job as cancelled, or stopped because the job was cancelled.
    Cancelled,
    /// The handler postponed the job.
    Snoozed,
    /// The worker gave the job back unfinished.
    Released,
    /// The run waits for a timer, a signal or another job.
    Suspended,
    /// The worker's process died while it ran the job. Upkeep found it.
    Crashed,
    /// The worker lost its lease while its process lived. Upkeep found it.
    Lost,
    /// The worker's process died before the handler began. Upkeep found it.
    NotBegun,
    /// `expires_at` passed before an attempt began.
    Expired,
}

impl Ending {
    /// The name in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
            Self::TimedOut => "timedout",
            Self::Undecoded => "undecoded",
            Self::Discarded => "discarded",
            Self::Cancelled => "cancelled",
            Self::Snoozed => "snoozed",
            Self::Released => "released",
            Self::Suspended => "suspended",
            Self::Crashed => "crashed",
            Self::Lost => "lost",
            Self::NotBegun => "notbegun",
            Self::Expired => "expired",
        }
    }

    /// Whether the attempt failed: the handler did not do what the job asks for, and neither the handler nor a client wanted that. A
    /// snooze, a release, a cancel and an expiry are no failures.
    pub const fn is_failure(self) -> bool {
        match self {
            Self::Failed
            | Self::Panicked
            | Self::TimedOut
            | Self::Undecoded
            | Self::Discarded
            | Self::Crashed
            | Self::Lost => true,
            Self::Succeeded
            | Self::Cancelled
            | Self::Snoozed
            | Self::Released
            | Self::Suspended
            | Self::NotBegun
            | Self::Expired => false,
        }
    }

    /// In which way an event ends an attempt; none if it does not end it.
    pub(crate) fn of(event: &Event) -> Option<Self> {
        match event {
            Event::Succeed { .. } => Some(Self::Succeeded),
            Event::Fail { end, .. } => Some(Self::of_attempt(*end)),
            Event::Discard { .. } => Some(Self::Discarded),
            Event::Stop { .. } => Some(Self::Cancelled),
            Event::Snooze { .. } => Some(Self::Snoozed),
            Event::Release { .. } => Some(Self::Released),
            Event::Suspend { .. } => Some(Self::Suspended),
            Event::LeaseLost(Loss::Died { .. }) => Some(Self::Crashed),
            Event::LeaseLost(Loss::Outlived { .. }) => Some(Self::Lost),
            Event::LeaseLost(Loss::NotBegun { .. }) => Some(Self::NotBegun),
            Event::Expire => Some(Self::Expired),
            Event::Claim { .. }
            | Event::Wake
            | Event::Cancel { .. }
            | Event::Retry
            | Event::GiveUp { .. }
            | Event::Amend { .. } => None,
        }
    }

    fn of_attempt(end: AttemptEnd) -> Self {
        match end {
            AttemptEnd::Failed => Self::Failed,
            AttemptEnd::Panicked => Self::Panicked,
            AttemptEnd::TimedOut => Self::TimedOut,
            AttemptEnd::Crashed => Self::Crashed,
            AttemptEnd::Lost => Self::Lost,
            AttemptEnd::Discarded => Self::Discarded,
            AttemptEnd::Cancelled => Self::Cancelled,
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How long a run waited and ran; none where this process did not run it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Times {
    pub(crate) waited: Option<Duration>,
    pub(crate) ran: Option<Duration>,
}

impl<'a> Ended<'a> {
    /// The end of `job`'s current attempt, as `change` recorded it.
    pub(crate) fn new(
        job: &'a JobRow,
        ending: Ending,
        change: &'a Change,
        times: Times,
        now: Timestamp,
    ) -> Self {
        let error = change.attempt_ended().map(|attempt| attempt.error.as_str());
        Self {
            id: job.id,
            kind: &job.kind,
            queue: &job.queue,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            worker: job.worker.as_deref(),
            ending,
            state: change.state,
            retry_in: (change.state == State::Queued).then(|| span_until(now, change.scheduled_at)),
            error: error.or(change.reason.as_deref()).filter(|_| ending != Ending::Succeeded),
            waited: times.waited,
            ran: times.ran,
            ended_at: now,
            job: Unshown(Some(job)),
        }
    }
}
