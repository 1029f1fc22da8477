//! One entry of a journal, and its stored form.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Invalid, JobId, Json, Timestamp,
    links::{ChildEnd, ChildPolicy},
    versioned::{read, write},
};

/// What a workflow has asked for under one key, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its scopes and its name. Never changes.
    pub key: String,
    /// What was asked for. Never changes.
    pub kind: EntryKind,
    /// What came of it.
    pub state: EntryState,
    /// How its compensation stands; none if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
    /// When it began, by the clock of the store: of a step, its last try. For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<Timestamp>,
    /// How often a step was tried. For people.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tries: u32,
}

/// What a workflow can ask for and a journal records. Random numbers and ids are derived, so they need no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// Code that runs once.
    Step,
    /// A time to wait for.
    Timer,
    /// A wait for a signal.
    Signal,
    /// Another job.
    Child,
    /// Which of several branches came first.
    Race,
    /// Whether the run takes the new path of a change.
    Patch,
    /// The time.
    Now,
}

/// Where an entry stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum EntryState {
    /// It has begun.
    Open(Opened),
    /// It has an answer, which never changes.
    Closed {
        /// The place of the answer among all answers of the journal, from 1.
        seq: u64,
        /// When, by the time of the run.
        at: Timestamp,
        /// The answer.
        answer: Answer,
    },
    /// It belonged to a branch that lost its race.
    Lost,
    /// It had failed for good, or its child was cancelled, and then a person retried the workflow. It begins again when the code asks for it.
    Superseded {
        /// How it had failed.
        error: String,
    },
}

/// An entry that has begun and has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Opened {
    /// A step that failed and is tried again.
    Trying {
        /// How often it was tried.
        tries: u32,
        /// When it is tried next.
        due_at: Timestamp,
        /// The last error.
        error: String,
    },
    /// A timer.
    Timer {
        /// When it fires.
        until: Timestamp,
    },
    /// A wait for a signal.
    Signal {
        /// Which.
        name: String,
        /// When the wait ends without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// A child that was started.
    Child {
        /// Which job.
        job: JobId,
        /// What becomes of it if the workflow ends first.
        policy: ChildPolicy,
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// A step returned this.
    Value {
        /// What it returned.
        value: Json,
    },
    /// A step failed for good.
    Failed {
        /// Its last error.
        error: String,
    },
    /// A timer fired.
    Fired,
    /// A signal came.
    Signal {
        /// What it carried.
        value: Json,
    },
    /// A signal did not come in time.
    TimedOut,
    /// A child ended.
    Child {
        /// How.
        end: ChildEnd,
    },
    /// A branch won its race.
    Won {
        /// The place of the branch.
        branch: u32,
    },
    /// The run takes the new path (`true`). That it takes the old one is not recorded.
    Patched {
        /// Whether it does.
        is_new: bool,
    },
    /// The time.
    Now {
        /// It.
        at: Timestamp,
    },
}

/// How the compensation of a step stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Undo {
    /// It runs if the workflow fails or is cancelled.
    Due,
    /// It failed, and is tried again until it succeeds.
    Trying {
        /// How often it was tried.
        tries: u32,
        /// When it is tried next.
        due_at: Timestamp,
        /// The last error.
        error: String,
    },
    /// The step is undone.
    Done {
        /// Since when.
        at: Timestamp,
    },
}

impl EntryKind {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Step, Self::Timer, Self::Signal, Self::Child, Self::Race, Self::Patch, Self::Now];

    /// The name in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Timer => "timer",
            Self::Signal => "signal",
            Self::Child => "child",
            Self::Race => "race",
            Self::Patch => "patch",
            Self::Now => "now",
        }
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Entry {
    /// A new entry.
    pub(super) const fn new(key: String, kind: EntryKind, state: EntryState) -> Self {
        Self { key, kind, state, undo: None, began_at: None, tries: 0 }
    }

    /// The place of its answer, if it has one.
    pub const fn seq(&self) -> Option<u64> {
        match self.state {
            EntryState::Closed { seq, .. } => Some(seq),
            EntryState::Open(_) | EntryState::Lost | EntryState::Superseded { .. } => None,
        }
    }

    /// Bytes that grow with what the workflow gave it.
    pub fn bytes(&self) -> usize {
        let value = match &self.state {
            EntryState::Closed { answer: Answer::Value { value } | Answer::Signal { value }, .. } => {
                value.as_str().len()
            }
            EntryState::Closed { answer: Answer::Child { end: ChildEnd::Completed { output } }, .. } => {
                output.as_str().len()
            }
            EntryState::Closed { .. }
            | EntryState::Open(_)
            | EntryState::Lost
            | EntryState::Superseded { .. } => 0,
        };
        self.key.len() + value
    }

    /// The text for a store.
    pub fn stored(&self) -> Result<String, Invalid> {
        write("journal entry", self)
    }

    /// Reads the text of a store.
    pub fn from_stored(text: &str) -> Result<Self, Invalid> {
        read("stored journal entry", text)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(super) const fn is_zero(number: &u32) -> bool {
    *number == 0
}
