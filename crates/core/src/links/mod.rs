//! What ties a job to other jobs, and what follows for them from a change of it.
//!
//! A job without [`Links`] costs nothing: [`effects_of`] answers with an empty list before it compares anything. Stores hold the
//! links in one column that is empty for nearly all jobs. Start reading at [`effects_of`].
//!
//! [`transition::apply`](crate::transition::apply) adds them to each change as [`Effect::Link`](crate::Effect::Link).

mod child;

use serde::{Deserialize, Serialize};

use crate::{
    Change, Invalid, JobId, JobRow, State,
    batch::{BatchId, EndsBatch, MemberChange, MemberState},
    dependency::{EdgesOf, Happening},
    versioned::{read, write},
};

pub use child::{ChildCancel, ChildEnd, ChildEnded, ChildPolicy, Parent};

/// What ties a job to others. None of it is chosen by a caller as such: it follows from how the job was enqueued.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Links {
    /// Other jobs were enqueued after this one. Set with the first of them; never cleared.
    #[serde(skip_serializing_if = "is_false")]
    pub followed: bool,
    /// It was enqueued after others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<After>,
    /// The batch that it is a member of. Set at enqueue; never changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchId>,
    /// The workflow that started it as a child. Set at enqueue; never changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// It is the end job of a batch. Set at enqueue; never changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends: Option<EndsBatch>,
    /// Its workflow has children, or steps that can be undone: a cancel lets it deal with them first. Set with the first of them; never
    /// cleared.
    #[serde(skip_serializing_if = "is_false")]
    pub journal: bool,
}

/// Whether a job that was enqueued after others may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum After {
    /// It has open edges. Only the end of a predecessor releases it: a signal or a timer does not.
    Held,
    /// All its edges are settled.
    Released,
}

/// What follows for other jobs from a change. A store writes it in the transaction of the change.
#[derive(Debug, Clone, PartialEq)]
pub enum LinkEffect {
    /// All edges that lead from this job are settled again.
    Edges(EdgesOf),
    /// This job, which was enqueued after others, was retried: all edges that lead to it are decided again.
    Reopen(JobId),
    /// A member of a batch has another state.
    Member(MemberChange),
    /// A child of a workflow has ended: its end is an entry of the workflow's journal, and wakes it.
    Child(ChildEnded),
    /// A workflow cancels a child. It follows from a write to the journal, and not from a change of the workflow's job.
    Cancel(ChildCancel),
}

impl Links {
    /// Whether nothing is tied to the job. Then the store holds no text.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a timer, a signal or a child may wake the job while it is `waiting`. A job that is held would begin before its
    /// predecessors have ended.
    pub fn may_be_woken(&self) -> bool {
        self.after != Some(After::Held)
    }

    /// The same, held or released.
    #[must_use]
    pub fn with(&self, after: After) -> Box<Self> {
        Box::new(Self { after: Some(after), ..self.clone() })
    }

    /// The text for a store; none if nothing is tied to the job.
    pub fn stored(&self) -> Result<Option<String>, Invalid> {
        if self.is_empty() { Ok(None) } else { write("links", self).map(Some) }
    }

    /// Reads the text of a store.
    pub fn from_stored(text: Option<&str>) -> Result<Self, Invalid> {
        text.map_or_else(|| Ok(Self::default()), |text| read("stored links", text))
    }
}

/// What a change means to those who count, wait for or follow the job.
enum Turn {
    /// It has ended.
    Ended(Happening),
    /// It had ended and lives again.
    Again,
    /// It lives on, or has ended already.
    None,
}

const fn turn(before: State, after: State) -> Turn {
    match (before, after) {
        (State::Queued | State::Running | State::Waiting, State::Completed) => {
            Turn::Ended(Happening::Completed)
        }
        (State::Queued | State::Running | State::Waiting, State::Cancelled) => {
            Turn::Ended(Happening::Cancelled)
        }
        (State::Queued | State::Running | State::Waiting, State::Discarded) => {
            Turn::Ended(Happening::Discarded)
        }
        (
            State::Completed | State::Cancelled | State::Discarded,
            State::Queued | State::Running | State::Waiting,
        ) => Turn::Again,
        (
            State::Queued | State::Running | State::Waiting,
            State::Queued | State::Running | State::Waiting,
        )
        | (
            State::Completed | State::Cancelled | State::Discarded,
            State::Completed | State::Cancelled | State::Discarded,
        ) => Turn::None,
    }
}

/// What follows for other jobs from `change`, which was decided for `job`. A job without links pays one comparison.
pub fn effects_of(job: &JobRow, links: Option<&Links>, change: &Change) -> Vec<LinkEffect> {
    let Some(links) = links else { return Vec::new() };
    let happening = match turn(job.state, change.state) {
        Turn::None => return Vec::new(),
        Turn::Ended(happening) => happening,
        Turn::Again => Happening::Again,
    };
    let mut effects = Vec::new();
    if links.after.is_some() && happening == Happening::Again {
        effects.push(LinkEffect::Reopen(job.id));
    }
    if links.followed {
        let reason = change.reason.clone();
        effects.push(LinkEffect::Edges(EdgesOf {
            predecessor: job.id,
            kind: job.kind.clone(),
            happening,
            reason,
        }));
    }
    if let Some(batch) = links.batch {
        let (from, to) = (MemberState::of(job.state), MemberState::of(change.state));
        effects.push(LinkEffect::Member(MemberChange { batch, job: job.id, from, to }));
    }
    if let Some(parent) = &links.parent {
        effects.extend(child::ended(job, parent, change).map(LinkEffect::Child));
    }
    effects
}

/// What follows for other jobs when `job` is deleted. A deleted job that lives counts as cancelled.
pub fn effects_of_deletion(job: &JobRow, links: Option<&Links>) -> Vec<LinkEffect> {
    let Some(links) = links else { return Vec::new() };
    let mut effects = Vec::new();
    if links.followed {
        let (predecessor, kind) = (job.id, job.kind.clone());
        let happening = Happening::Deleted;
        effects.push(LinkEffect::Edges(EdgesOf { predecessor, kind, happening, reason: None }));
    }
    if !job.state.is_finished() {
        if let Some(batch) = links.batch {
            let (from, to) = (MemberState::Live, MemberState::Cancelled);
            effects.push(LinkEffect::Member(MemberChange { batch, job: job.id, from, to }));
        }
        if let Some(parent) = &links.parent {
            let end = ChildEnd::Cancelled { reason: "it was deleted".into() };
            effects.push(LinkEffect::Child(parent.ended(job.id, end)));
        }
    }
    effects
}

/// The change that marks a job as followed; none if it is marked. It counts up the revision, so a worker that has decided
/// the end of the job without the mark decides again.
pub fn follow(job: &JobRow) -> Option<Change> {
    let links = job.links.as_deref().cloned().unwrap_or_default();
    let marked = Some(Box::new(Links { followed: true, ..links.clone() }));
    (!links.followed).then(|| Change { links: marked, ..Change::keeping(job) })
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}
