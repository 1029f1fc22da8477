//! What the code of a workflow gets instead of an answer.

use std::fmt;

use backroom_core::workflow::Refused;

/// Why something that the code of a workflow asked for has no answer. It is recorded, so each run gets the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkflowError {
    /// A step failed for good: its tries are spent, or it said that no further one helps.
    Step {
        /// The key of the step.
        key: String,
        /// Its last error.
        error: String,
    },
    /// A child ended without an output.
    Child {
        /// The key of the child.
        key: String,
        /// Why.
        reason: String,
    },
    /// A stored value is not of the type that the code expects.
    Decode {
        /// The key of the entry.
        key: String,
        /// Why.
        why: String,
    },
    /// The name cannot be used, or the journal is full.
    Refused(Refused),
    /// What was asked for breaks a rule.
    Invalid {
        /// Which, and the remedy.
        why: String,
    },
}

impl fmt::Display for WorkflowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step { key, error } => write!(f, "step {key:?} failed: {error}"),
            Self::Child { key, reason } => write!(f, "child {key:?} ended without an output: {reason}"),
            Self::Decode { key, why } => write!(f, "the value of {key:?} does not decode: {why}"),
            Self::Refused(refused) => refused.fmt(f),
            Self::Invalid { why } => f.write_str(why),
        }
    }
}

impl std::error::Error for WorkflowError {}

impl From<Refused> for WorkflowError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}
