//! The history of a schedule, and the row that a store holds of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Became, Schedule, State, plan::Why};
use crate::{Invalid, JobId};

/// So many entries a schedule retains. Older ones are deleted, except those of runs that are going.
pub const HISTORY_MAX: u64 = 1000;
/// So long the idempotency key of a trigger is retained, however many entries follow it.
pub const KEY_RETAINED: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// A schedule as a store holds it. `definition` and `state` are the texts of [`Schedule::stored`] and [`State::stored`]: an older
/// program passes on what it cannot read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRow {
    /// Names it; never changes.
    pub name: String,
    /// Where the definition comes from.
    pub origin: Origin,
    /// When it was put first.
    pub created_at: Timestamp,
    /// When the definition changed last.
    pub changed_at: Timestamp,
    /// The definition.
    pub definition: String,
    /// What has happened to it.
    pub state: String,
    /// When it is planned next, if at all.
    pub next_at: Option<Timestamp>,
    /// +1 at every move; what a compare-and-swap compares.
    pub revision: u64,
    /// Names the last move, so that a store recognises a repeated one.
    pub moved_by: Uuid,
}

impl ScheduleRow {
    /// The definition.
    pub fn schedule(&self) -> Result<Schedule, Invalid> {
        Schedule::from_stored(&self.definition)
    }

    /// The state.
    pub fn state(&self) -> Result<State, Invalid> {
        State::from_stored(&self.state)
    }
}

/// Where the definition of a schedule comes from. Settings that are read again change only what came from settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A program put it.
    Program,
    /// It stands in the settings of a server.
    Settings,
    /// It was put through the API or the command line.
    Api,
}

impl Origin {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Program, Self::Settings, Self::Api];

    /// The name in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Settings => "settings",
            Self::Api => "api",
        }
    }
}

impl std::str::FromStr for Origin {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|origin| origin.as_str() == text);
        found.ok_or_else(|| {
            Invalid::new("origin", format!("{text:?} is unknown; use program, settings or api"))
        })
    }
}

/// One entry of the history: a run, or neighbouring occurrences that did not run, for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// Its number in the history of the schedule, from 1.
    pub seq: u64,
    /// What became of it.
    pub what: What,
    /// The nominal time; of several occurrences, of the first.
    pub first: Timestamp,
    /// The nominal time of the last.
    pub last: Timestamp,
    /// How many occurrences they are.
    pub count: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// The job, if it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// The idempotency key of a trigger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How the run ended; none while it is going.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<EndOfRun>,
}

impl Entry {
    /// An entry without a job.
    pub fn new(seq: u64, what: What, nominal: Timestamp, at: Timestamp) -> Self {
        Self { seq, what, first: nominal, last: nominal, count: 1, at, job: None, key: None, end: None }
    }

    /// Whether its run is going, as far as it was reported.
    pub const fn is_open(&self) -> bool {
        self.job.is_some() && self.end.is_none()
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndOfRun {
    /// How.
    pub became: Became,
    /// When.
    pub at: Timestamp,
    /// Why it was discarded or cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What became of an occurrence, or where a run comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// It ran when it was due.
    Due,
    /// It was missed, and ran later.
    CaughtUp,
    /// It waited for the end of a run, and ran then.
    Buffered,
    /// It was triggered by hand or by an outside timer.
    Triggered,
    /// A backfill ran it.
    Backfilled,
    /// It did not run.
    Passed(Why),
}

impl What {
    /// The kinds of run.
    const RUNS: [Self; 5] = [Self::Due, Self::CaughtUp, Self::Buffered, Self::Triggered, Self::Backfilled];

    /// The name in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::CaughtUp => "caught_up",
            Self::Buffered => "buffered",
            Self::Triggered => "triggered",
            Self::Backfilled => "backfilled",
            Self::Passed(why) => why.as_str(),
        }
    }

    /// What it means, as a sentence.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Due => "it ran when it was due",
            Self::CaughtUp => "it was missed, and was caught up",
            Self::Buffered => "it ran after the end of the run before it",
            Self::Triggered => "it was triggered",
            Self::Backfilled => "a backfill ran it",
            Self::Passed(why) => why.sentence(),
        }
    }
}

impl std::str::FromStr for What {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut all = Self::RUNS.into_iter().chain(Why::ALL.into_iter().map(Self::Passed));
        all.find(|what| what.as_str() == text)
            .ok_or_else(|| Invalid::new("entry of a schedule", format!("{text:?} is unknown")))
    }
}

impl Serialize for What {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for What {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
