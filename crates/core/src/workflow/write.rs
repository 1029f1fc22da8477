//! What a run writes. A store writes all of one list in one transaction, under the lease of the run.

use super::{Entry, Phase};
use crate::{JobId, Json, LeaseId, links::ChildPolicy};

/// One part of what a run writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Adds an entry, or changes the one of this key. An entry with an answer is changed only in how its compensation stands.
    Entry(Entry),
    /// Deletes an arrival that an entry has taken.
    Take {
        /// Its number.
        n: u64,
    },
    /// Inserts the job of a child, with [`Parent`](crate::links::Parent) in its links. A job of this id that is stored already
    /// stays as it is.
    StartChild {
        /// The entry that stands for it.
        key: String,
        /// Its id.
        job: JobId,
        /// What becomes of it if the workflow ends first.
        policy: ChildPolicy,
    },
    /// Cancels a child: [`LinkEffect::Cancel`](crate::links::LinkEffect::Cancel).
    CancelChild {
        /// Which.
        job: JobId,
        /// Why.
        reason: String,
    },
    /// Changes the phase in the header.
    Phase(Phase),
    /// Notes which failures a retry takes back: see [`Journal::resume`](super::Journal::resume).
    Failed(Vec<String>),
    /// The workflow was retried after this run had ended it, and goes on forward.
    Resume {
        /// The run.
        ended: LeaseId,
    },
    /// Changes what queries are answered with.
    Publish(Json),
    /// Deletes all entries: `continue_as_new`. The header is that of the next generation. Arrivals stay.
    NextGeneration,
}
