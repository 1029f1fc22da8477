//! What can happen to a job.

use std::time::Duration;

use crate::{Amendment, AttemptEnd, Json, LeaseId, RetryPolicy, Timestamp};

/// Something that happened. [`transition::apply`](crate::transition::apply) decides what follows.
/// Events of a run name its lease; one from a lease that is no longer current is refused.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A worker takes the job.
    Claim {
        /// Fresh for this claim call.
        lease: LeaseId,
        /// Until when the claim holds unless extended.
        until: Timestamp,
        /// Later than now only for a while after the store's clock was set back: up to this moment jobs are due that were
        /// stored before that.
        due: Timestamp,
        /// The worker's name.
        worker: String,
    },
    /// The handler returned its output.
    Succeed {
        /// The run.
        lease: LeaseId,
        /// What it returned.
        output: Json,
    },
    /// The handler failed, panicked or ran out of time; it may be tried again.
    Fail {
        /// The run.
        lease: LeaseId,
        /// In which way it ended.
        end: AttemptEnd,
        /// What to show people.
        error: String,
        /// How long the handler asks to wait, instead of what the policy says; what is beyond
        /// [`SPAN_MAX`](crate::bounds::SPAN_MAX) counts as that.
        delay: Option<Duration>,
        /// The policy in force: the job's own, else its kind's.
        retry: RetryPolicy,
        /// Uniform in `[0, 1)`: places the delay within the policy's jitter.
        chance: f64,
    },
    /// The handler gives the job up for good.
    Discard {
        /// The run.
        lease: LeaseId,
        /// Why.
        reason: String,
    },
    /// The handler ends the job as cancelled.
    Stop {
        /// The run.
        lease: LeaseId,
        /// Why.
        reason: String,
    },
    /// The handler postpones the job without blame.
    Snooze {
        /// The run.
        lease: LeaseId,
        /// For how long; what is beyond [`SPAN_MAX`](crate::bounds::SPAN_MAX) counts as that.
        delay: Duration,
    },
    /// The worker gives the job back unfinished because it is stopping.
    Release {
        /// The run.
        lease: LeaseId,
    },
    /// The run parks itself until something wakes the job.
    Suspend {
        /// The run.
        lease: LeaseId,
    },
    /// The worker lost the job: it is dead, cut off, or asleep.
    LeaseLost(Loss),
    /// A timer, signal, child or dependency wakes the job.
    Wake,
    /// A person or a program asks for the job to stop.
    Cancel {
        /// Why; shown to people.
        reason: String,
    },
    /// A person or a program asks for the job to run now, or once more.
    Retry,
    /// A person or a program gives up a job that does not run: it ends as after its last attempt.
    GiveUp {
        /// Why; shown to people.
        reason: String,
    },
    /// `expires_at` passed before the job began.
    Expire,
    /// A caller changes a job that waits for its turn.
    Amend {
        /// What changes.
        to: Amendment,
    },
}

impl Event {
    /// The name in the table of `docs/state-machine.md`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Claim { .. } => "claim",
            Self::Succeed { .. } => "succeed",
            Self::Fail { .. } => "fail",
            Self::Discard { .. } => "discard",
            Self::Stop { .. } => "stop",
            Self::Snooze { .. } => "snooze",
            Self::Release { .. } => "release",
            Self::Suspend { .. } => "suspend",
            Self::LeaseLost(loss) => loss.name(),
            Self::Wake => "wake",
            Self::Cancel { .. } => "cancel",
            Self::Retry => "retry by hand",
            Self::GiveUp { .. } => "give up by hand",
            Self::Expire => "expire",
            Self::Amend { .. } => "amend",
        }
    }

    /// The lease the event speaks for, if it is about a run.
    pub const fn lease(&self) -> Option<LeaseId> {
        match self {
            Self::Succeed { lease, .. }
            | Self::Fail { lease, .. }
            | Self::Discard { lease, .. }
            | Self::Stop { lease, .. }
            | Self::Snooze { lease, .. }
            | Self::Release { lease }
            | Self::Suspend { lease } => Some(*lease),
            // A claim brings a lease; it does not speak for one.
            Self::Claim { .. } => None,
            Self::LeaseLost(_)
            | Self::Wake
            | Self::Cancel { .. }
            | Self::Retry
            | Self::GiveUp { .. }
            | Self::Expire
            | Self::Amend { .. } => None,
        }
    }
}

/// In which way a worker lost a job that it had claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// The worker's process died while it ran the job, or is silent on another host and presumed dead.
    Died {
        /// What is known of the job's part in it.
        part: Part,
        /// How long a crash is remembered.
        span: Duration,
    },
    /// The worker's process died before it began the job. Nothing is charged.
    NotBegun {
        /// Another job explains the death that this one was suspected of.
        cleared: bool,
    },
    /// The worker's process lives, but the worker did not renew the lease. Nothing is charged.
    Outlived {
        /// What is known of the cause; shown to people.
        why: String,
    },
}

/// A job's part in the death of the process that ran it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// No other job ran in the process.
    Alone,
    /// It was on trial, and other jobs ran beside it.
    OnTrial,
    /// It ran beside others, and no job was on trial; or it began during the trial of another one.
    Beside,
    /// It ran while another job was on trial. It is not charged.
    Uncharged,
    /// The same, and it has passed a trial of its own. Earlier crashes are forgiven.
    Cleared,
}

impl Loss {
    /// The name in the table of `docs/state-machine.md`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Died { part: Part::Alone, .. } => "died, alone",
            Self::Died { part: Part::OnTrial, .. } => "died, on trial",
            Self::Died { part: Part::Beside, .. } => "died, beside others",
            Self::Died { part: Part::Uncharged, .. } => "died, another on trial",
            Self::Died { part: Part::Cleared, .. } => "died, trial passed",
            Self::NotBegun { cleared: false } => "died, not begun",
            Self::NotBegun { cleared: true } => "died, not begun, explained",
            Self::Outlived { .. } => "lease lost, process lives",
        }
    }
}
