//! What the code of a workflow asks for.

use std::time::Duration;

use super::{Answer, EntryKind, NameError, Named, VALUE_BYTES_MAX};
use crate::{Json, RetryPolicy, Timestamp, links::ChildPolicy};

/// What the code asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// Runs code, and records what it returns.
    Step {
        /// How long it waits between tries.
        retry: RetryPolicy,
        /// How often it is tried, the first try included.
        max_tries: u32,
        /// It has a compensation, which runs if the workflow fails later.
        is_compensated: bool,
    },
    /// Waits for this long.
    Sleep(Duration),
    /// Waits until this moment.
    SleepUntil(Timestamp),
    /// Waits for a signal of this name, for this long at most.
    Signal {
        /// Which.
        name: String,
        /// How long; none means for ever.
        within: Option<Duration>,
    },
    /// Starts a job and waits for its end. The caller builds the job under the id that [`Write::StartChild`](super::Write) names.
    Child {
        /// What becomes of it if the workflow ends first.
        policy: ChildPolicy,
    },
    /// Waits for the first of several branches; the scope of each branch.
    Race {
        /// Paths of the scopes, as [`Names::path`](super::Names::path) answers them.
        branches: Vec<String>,
    },
    /// Whether to take the new path of a change: `false` for runs that have passed this place already.
    Patch,
    /// The time.
    Now,
}

impl Ask {
    /// The kind of its entry.
    pub const fn kind(&self) -> EntryKind {
        match self {
            Self::Step { .. } => EntryKind::Step,
            Self::Sleep(_) | Self::SleepUntil(_) => EntryKind::Timer,
            Self::Signal { .. } => EntryKind::Signal,
            Self::Child { .. } => EntryKind::Child,
            Self::Race { .. } => EntryKind::Race,
            Self::Patch => EntryKind::Patch,
            Self::Now => EntryKind::Now,
        }
    }
}

/// Names one ask of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(super) usize);

/// How a try of a step, or of a compensation, ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempted {
    /// With this value.
    Value(Json),
    /// With an error; it may be tried again.
    Failed(String),
    /// With an error that no retry mends.
    GivenUp(String),
}

/// The journal does not fit the code. The workflow is parked until a fitting version of the code runs it, or a person decides.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    /// The entry of this key is of another kind.
    #[error(
        "the code asks for {asked} {key:?}, and the journal has {found} {key:?} of an earlier run; deploy the earlier code, or give \
         the new {asked} another name"
    )]
    OtherKind {
        /// The key.
        key: String,
        /// What the code asks for.
        asked: EntryKind,
        /// What the journal has.
        found: EntryKind,
    },
    /// The entry belongs to a branch that has lost a race, and the code waits for it outside of that race.
    #[error(
        "the code asks for {asked} {key:?}, which was in a branch that lost a race in an earlier run; deploy the earlier code, or give \
         the {asked} another name"
    )]
    Lost {
        /// The key.
        key: String,
        /// What the code asks for.
        asked: EntryKind,
    },
}

/// Why an ask is refused. The handler gets it as an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// By its name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A value that is published is too large.
    #[error("the published value is {bytes} bytes long; at most {VALUE_BYTES_MAX} are allowed")]
    TooLarge {
        /// Its bytes of JSON.
        bytes: usize,
    },
    /// The journal is full.
    #[error(
        "the journal of this run is full ({what}); end it with continue_as_new, which begins an empty one"
    )]
    Full {
        /// Which bound.
        what: String,
    },
}

/// One ask of a run.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) named: Named,
    pub(super) ask: Ask,
    pub(super) state: AskState,
    /// The place of the last answer that the code had when it asked.
    pub(super) after: u64,
}

/// Where an ask stands in this run.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum AskState {
    /// It has no answer.
    Pending,
    /// A race whose branch came first in this run; it is to be recorded.
    WonBy(u32),
    /// A step whose code runs now, with its tries before.
    Runs(u32),
    /// The answer waits for the code to take it.
    Answered(Answer),
    /// The code has taken the answer, or does not wait any longer.
    Over,
}

/// What the code gets for a ticket.
pub type Answered = Option<Answer>;
