//! One edge: its policy, its state, and what each happening to its predecessor does to it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    Invalid, JobId, JobRow, State,
    versioned::{read, write},
};

/// That a job runs after another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edge {
    /// The job that has to end first.
    pub predecessor: JobId,
    /// What happens if it does not complete.
    #[serde(default)]
    pub on_failure: OnFailure,
}

/// What happens to a dependant whose predecessor was cancelled or discarded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It is cancelled, with the reason.
    #[default]
    Cancel,
    /// It runs anyway.
    Run,
    /// It waits until the predecessor is retried and completes.
    Wait,
}

/// Where an edge stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeState {
    /// The dependant waits for the predecessor.
    Open,
    /// The dependant does not wait for the predecessor any longer.
    Met,
    /// The predecessor failed, and the dependant was cancelled for it.
    Broken,
    /// The predecessor failed, and an operator retried the dependant all the same.
    Waived,
}

/// What happened to a predecessor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// It completed.
    Completed,
    /// It was cancelled.
    Cancelled,
    /// It was given up.
    Discarded,
    /// It was deleted by hand. Pruning spares jobs whose dependants live.
    Deleted,
    /// It was retried after its end.
    Again,
}

/// All edges that lead from a job are to be settled. A store settles at most [`SETTLED_MAX`](super::SETTLED_MAX) of them in
/// the transaction of the change. It stores what is left in the same transaction: this text and the last dependant. Before the
/// next transaction settles more, it [reads the predecessor again](Self::read_again).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgesOf {
    /// The job.
    pub predecessor: JobId,
    /// Its kind, for people.
    pub kind: String,
    /// What happened to it.
    pub happening: Happening,
    /// Why it was cancelled or discarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a happening does to the edges of one policy: data for a statement over all edges of a predecessor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Edges of this policy
    pub on_failure: OnFailure,
    /// in this state
    pub from: EdgeState,
    /// take that state.
    pub to: EdgeState,
    /// Only those whose dependants are `waiting`.
    pub only_waiting: bool,
}

impl OnFailure {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cancel, Self::Run, Self::Wait];

    /// The name in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Run => "run",
            Self::Wait => "wait",
        }
    }
}

impl EdgeState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Open, Self::Met, Self::Broken, Self::Waived];

    /// The name in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Met => "met",
            Self::Broken => "broken",
            Self::Waived => "waived",
        }
    }

    /// The state of an edge after something happened to its predecessor. `waits` says whether the dependant is `waiting`: only
    /// then a settled edge opens again, because a dependant that runs cannot wait a second time.
    #[must_use]
    pub const fn after(self, on_failure: OnFailure, happening: Happening, waits: bool) -> Self {
        match self {
            Self::Open => match (happening, on_failure) {
                (Happening::Completed, OnFailure::Cancel | OnFailure::Run | OnFailure::Wait) => Self::Met,
                (Happening::Cancelled | Happening::Discarded | Happening::Deleted, OnFailure::Run) => {
                    Self::Met
                }
                (Happening::Cancelled | Happening::Discarded | Happening::Deleted, OnFailure::Cancel) => {
                    Self::Broken
                }
                (Happening::Cancelled | Happening::Discarded, OnFailure::Wait) => Self::Open,
                // What is deleted cannot be retried.
                (Happening::Deleted, OnFailure::Wait) => Self::Broken,
                (Happening::Again, OnFailure::Cancel | OnFailure::Run | OnFailure::Wait) => Self::Open,
            },
            Self::Met => match happening {
                Happening::Again if waits => Self::Open,
                Happening::Again
                | Happening::Completed
                | Happening::Cancelled
                | Happening::Discarded
                | Happening::Deleted => Self::Met,
            },
            // The dependant has ended, or was retried in spite of it. Only its own retry changes these.
            Self::Broken => Self::Broken,
            Self::Waived => Self::Waived,
        }
    }
}

impl Happening {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Completed, Self::Cancelled, Self::Discarded, Self::Deleted, Self::Again];

    /// The happening in a sentence about the predecessor.
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Cancelled => "was cancelled",
            Self::Discarded => "was discarded",
            Self::Deleted => "was deleted",
            Self::Again => "was retried",
        }
    }

    /// The rules for a statement over all edges of a predecessor. An edge that no rule names stays as it is.
    pub fn rules(self) -> Vec<Rule> {
        let mut rules = Vec::new();
        for on_failure in OnFailure::ALL {
            for from in EdgeState::ALL {
                let (waits, ended) =
                    (from.after(on_failure, self, true), from.after(on_failure, self, false));
                if waits != from {
                    rules.push(Rule { on_failure, from, to: waits, only_waiting: waits != ended });
                }
            }
        }
        rules
    }
}

impl EdgesOf {
    /// The same with what is true of the predecessor by now; `row` is none if it was deleted. It may have changed since the first
    /// edges were settled, and an old happening would release jobs whose predecessor runs again.
    #[must_use]
    pub fn read_again(&self, row: Option<&JobRow>) -> Self {
        let happening = match row.map(|row| row.state) {
            None => Happening::Deleted,
            Some(State::Completed) => Happening::Completed,
            Some(State::Cancelled) => Happening::Cancelled,
            Some(State::Discarded) => Happening::Discarded,
            Some(State::Queued | State::Running | State::Waiting) => Happening::Again,
        };
        Self { happening, reason: row.and_then(|row| row.reason.clone()), ..self.clone() }
    }

    /// Why a dependant is cancelled for this.
    pub fn reason_of_cancel(&self) -> String {
        let Self { predecessor, kind, happening, reason } = self;
        let what = happening.phrase();
        match reason {
            Some(reason) => format!("predecessor {predecessor} ({kind}) {what}: {reason}"),
            None => format!("predecessor {predecessor} ({kind}) {what}"),
        }
    }

    /// The text for a store, where edges are left for the next transaction.
    pub fn stored(&self) -> Result<String, Invalid> {
        write("edges that are left", self)
    }

    /// Reads the text of a store.
    pub fn from_stored(text: &str) -> Result<Self, Invalid> {
        read("stored edges that are left", text)
    }
}

impl fmt::Display for OnFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for OnFailure {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == text).ok_or_else(|| {
            Invalid::new("policy of an edge", format!("{text:?} is unknown; use cancel, run or wait"))
        })
    }
}

impl FromStr for EdgeState {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Invalid::new("state of an edge", format!("{text:?} is unknown")))
    }
}
