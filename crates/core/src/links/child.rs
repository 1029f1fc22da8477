//! A child of a workflow, and what its end is for the workflow.

use serde::{Deserialize, Serialize};

use crate::{
    Change, Event, JobId, JobRow, Json, State, Timestamp,
    transition::{self, Refused},
};

/// The workflow that started a job, and as what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// The workflow's job.
    pub workflow: JobId,
    /// The entry of its journal that stands for the child.
    pub key: String,
    /// What becomes of the child when the workflow ends first.
    #[serde(default)]
    pub policy: ChildPolicy,
}

/// What becomes of a child whose workflow ends before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChildPolicy {
    /// It is cancelled.
    #[default]
    Cancel,
    /// It is cancelled if the workflow was cancelled or discarded, and runs on if it completed.
    CancelOnFailure,
    /// It runs on.
    Abandon,
}

impl ChildPolicy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cancel, Self::CancelOnFailure, Self::Abandon];

    /// Whether a workflow that ends in this state cancels the child. A workflow that lives cancels no child.
    pub const fn cancels(self, workflow: State) -> bool {
        match (self, workflow) {
            (_, State::Queued | State::Running | State::Waiting) | (Self::Abandon, _) => false,
            (Self::Cancel, State::Completed | State::Cancelled | State::Discarded) => true,
            (Self::CancelOnFailure, State::Completed) => false,
            (Self::CancelOnFailure, State::Cancelled | State::Discarded) => true,
        }
    }
}

/// A workflow cancels a child that it waits for no longer: its branch has lost a race, or the workflow ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildCancel {
    /// The workflow's job.
    pub workflow: JobId,
    /// The child.
    pub child: JobId,
    /// Why.
    pub reason: String,
}

impl ChildCancel {
    /// What it does to the job of this id; none if that has ended, is cancelled already, or is no child of the workflow.
    pub fn decide(&self, job: &JobRow, now: Timestamp) -> Result<Option<Change>, Refused> {
        let parent = job.links.as_deref().and_then(|links| links.parent.as_ref());
        if parent.is_none_or(|parent| parent.workflow != self.workflow) {
            return Ok(None);
        }
        transition::apply(job, Event::Cancel { reason: self.reason.clone() }, now)
    }
}

/// A child has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildEnded {
    /// The workflow's job.
    pub workflow: JobId,
    /// The entry of its journal.
    pub key: String,
    /// The child.
    pub child: JobId,
    /// How.
    pub end: ChildEnd,
}

/// How a child ended. It is copied into the journal, because the child may be pruned long before the workflow ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ChildEnd {
    /// With this output.
    Completed {
        /// What its handler returned.
        output: Json,
    },
    /// It was cancelled.
    Cancelled {
        /// Why.
        reason: String,
    },
    /// It was given up.
    Discarded {
        /// Why.
        reason: String,
    },
}

impl ChildEnded {
    /// Whether the end is stored for a workflow in this state. One that was cancelled or given up may be retried, and then waits for it.
    /// One that has completed waits for nothing.
    pub fn arrives_at(workflow: State) -> bool {
        workflow != State::Completed
    }
}

impl Parent {
    pub(super) fn ended(&self, child: JobId, end: ChildEnd) -> ChildEnded {
        ChildEnded { workflow: self.workflow, key: self.key.clone(), child, end }
    }
}

/// The end of a child; none while it lives. A workflow that has read the first end of a child never sees a second one: a store
/// adds no end to an entry that has one.
pub(super) fn ended(job: &JobRow, parent: &Parent, change: &Change) -> Option<ChildEnded> {
    let reason = || change.reason.clone().unwrap_or_default();
    let end = match change.state {
        State::Queued | State::Running | State::Waiting => return None,
        State::Completed => ChildEnd::Completed { output: change.output.clone().unwrap_or_else(Json::null) },
        State::Cancelled => ChildEnd::Cancelled { reason: reason() },
        State::Discarded => ChildEnd::Discarded { reason: reason() },
    };
    Some(parent.ended(job.id, end))
}
