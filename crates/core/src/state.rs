//! The six stored states, and the eight ways in which a job is shown.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Invalid, JobRow, Timestamp};

/// Where a job stands, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waits for its turn, from `scheduled_at` on.
    Queued,
    /// Claimed by a worker under a lease.
    Running,
    /// Parked until a timer, signal, child or dependency wakes it.
    Waiting,
    /// Finished: the handler succeeded.
    Completed,
    /// Finished: a client cancelled it, its handler did, or it expired before it began.
    Cancelled,
    /// Finished: given up.
    Discarded,
}

impl State {
    /// All six, in the order of a job's life.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::Waiting, Self::Completed, Self::Cancelled, Self::Discarded];

    /// Whether the job is over. Not finished is *live*.
    pub const fn is_finished(self) -> bool {
        match self {
            Self::Queued | Self::Running | Self::Waiting => false,
            Self::Completed | Self::Cancelled | Self::Discarded => true,
        }
    }

    /// The name in tables, JSON and on pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Discarded => "discarded",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for State {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
            let why = format!("{text:?} is unknown; use one of {}", Self::ALL.map(Self::as_str).join(", "));
            Invalid::new("state", why)
        })
    }
}

/// How a job is shown: `queued` is split by whether the job is due and was tried before. It is derived from the row and
/// never stored, so no process has to write anything when a job becomes due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DisplayState {
    /// Queued, not yet due, never tried.
    Scheduled,
    /// Queued, not yet due, tried before.
    Retrying,
    /// Queued and due.
    Available,
    /// As stored.
    Running,
    /// As stored.
    Waiting,
    /// As stored.
    Completed,
    /// As stored.
    Cancelled,
    /// As stored.
    Discarded,
}

impl DisplayState {
    /// All eight, in the order of a job's life.
    pub const ALL: [Self; 8] = [
        Self::Scheduled,
        Self::Retrying,
        Self::Available,
        Self::Running,
        Self::Waiting,
        Self::Completed,
        Self::Cancelled,
        Self::Discarded,
    ];

    /// How a job is shown at `now`.
    pub fn of(job: &JobRow, now: Timestamp) -> Self {
        match job.state {
            State::Queued if job.scheduled_at <= now => Self::Available,
            State::Queued if job.was_tried() => Self::Retrying,
            State::Queued => Self::Scheduled,
            State::Running => Self::Running,
            State::Waiting => Self::Waiting,
            State::Completed => Self::Completed,
            State::Cancelled => Self::Cancelled,
            State::Discarded => Self::Discarded,
        }
    }

    /// The stored state of jobs that are shown like this.
    pub const fn stored(self) -> State {
        match self {
            Self::Scheduled | Self::Retrying | Self::Available => State::Queued,
            Self::Running => State::Running,
            Self::Waiting => State::Waiting,
            Self::Completed => State::Completed,
            Self::Cancelled => State::Cancelled,
            Self::Discarded => State::Discarded,
        }
    }

    /// The name in tables and on pages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Retrying => "retrying",
            Self::Available => "available",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Discarded => "discarded",
        }
    }
}

impl fmt::Display for DisplayState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
