//! Many jobs under one id, with progress and a job at the end.
//!
//! A batch is counted in *stripes*: rows that each count a part of its members. The transaction that changes a member changes its
//! stripe. The row of the batch itself is written when a stripe runs empty or fills again, so it is never hot. Start reading
//! at [`Tally`], which collects what a transaction does to its members, and [`Batch::crossed`], which finds the end.
//!
//! Stores carry the decisions out as `docs/decisions/0187-batches-are-counted-in-stripes.md` says.

mod add;
mod end;
mod id;
mod pace;
mod stripe;
mod tally;

use serde::{Deserialize, Serialize};

use crate::{
    Draft, Invalid, State, Timestamp,
    bounds::check_text,
    draft::When,
    versioned::{read, write},
};

pub use add::{Adder, may_add};
pub use end::{Closed, Crossed, EndJob, EndsBatch};
pub use id::BatchId;
pub use pace::{Estimate, PERCENT_UNKNOWN, Pace, Progress};
pub use stripe::{Counts, Gate, Stripe, Summary};
pub use tally::{Delta, MemberChange, Tally};

/// Most stripes of one batch.
pub const STRIPES_MAX: u16 = 64;
/// The stripes of a batch on a store with one writer, as SQLite is.
pub const STRIPES_OF_ONE_WRITER: u16 = 1;
/// The stripes of a batch on a store with many writers.
pub const STRIPES_DEFAULT: u16 = 16;
/// How deep batches nest: a batch in a batch has depth 1.
pub const DEPTH_MAX: u16 = 16;
/// Longest description, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 1024;

/// A batch, without its counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Made by the client; never changes.
    pub id: BatchId,
    /// The batch that it is a member of. Never changes.
    #[serde(default)]
    pub parent: Option<BatchId>,
    /// 0 without a parent, else one more than the parent's. Never changes.
    pub depth: u16,
    /// For people.
    #[serde(default)]
    pub description: Option<String>,
    /// The job that is enqueued once all members have completed.
    #[serde(default)]
    pub on_success: Option<Draft>,
    /// The job that is enqueued once all members have finished.
    #[serde(default)]
    pub on_finish: Option<Draft>,
    /// How many stripes count its members. Never changes.
    pub stripes: u16,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it was closed: from then on only its own members add to it.
    #[serde(default)]
    pub closed_at: Option<Timestamp>,
    /// When it was cancelled: from then on no job adds to it.
    #[serde(default)]
    pub cancelled_at: Option<Timestamp>,
    /// How many stripes have live members; counted from the close on.
    #[serde(default)]
    pub filled: u16,
    /// When all members had finished for the first time; `on_finish` was enqueued then.
    #[serde(default)]
    pub finished_at: Option<Timestamp>,
    /// When all members had completed; `on_success` was enqueued then.
    #[serde(default)]
    pub succeeded_at: Option<Timestamp>,
}

/// What a member of a batch counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// Not finished. A job that failed and will be tried again is live.
    Live,
    /// Completed; for a batch in a batch: all its members are.
    Completed,
    /// Cancelled, or deleted while it lived.
    Cancelled,
    /// Given up; for a batch in a batch: it has finished, and members of it did not complete.
    Discarded,
}

impl MemberState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Live, Self::Completed, Self::Cancelled, Self::Discarded];

    /// What a job in this state counts as.
    pub const fn of(state: State) -> Self {
        match state {
            State::Queued | State::Running | State::Waiting => Self::Live,
            State::Completed => Self::Completed,
            State::Cancelled => Self::Cancelled,
            State::Discarded => Self::Discarded,
        }
    }
}

impl Batch {
    /// A batch that is open and has no members. `parent` is the batch that it is opened in.
    pub fn open(id: BatchId, parent: Option<&Self>, stripes: u16, now: Timestamp) -> Result<Self, Invalid> {
        if stripes == 0 || stripes > STRIPES_MAX {
            let why = format!("are {stripes}; use 1 to {STRIPES_MAX}");
            return Err(Invalid::new("stripes of a batch", why));
        }
        let depth = parent.map_or(0, |parent| parent.depth + 1);
        if depth > DEPTH_MAX {
            let why = format!("is nested {depth} deep; at most {DEPTH_MAX} levels are allowed");
            return Err(Invalid::new("batch", why));
        }
        Ok(Self {
            id,
            parent: parent.map(|parent| parent.id),
            depth,
            description: None,
            on_success: None,
            on_finish: None,
            stripes,
            opened_at: now,
            closed_at: None,
            cancelled_at: None,
            filled: 0,
            finished_at: None,
            succeeded_at: None,
        })
    }

    /// Checks what its caller chose. `json_bytes_max` bounds the args of each end job.
    pub fn check(&self, json_bytes_max: usize) -> Result<(), Invalid> {
        if let Some(description) = &self.description {
            check_text("description of a batch", description, DESCRIPTION_BYTES_MAX)?;
        }
        for draft in [&self.on_success, &self.on_finish].into_iter().flatten() {
            if draft.unique.is_some() {
                let why = "has a unique key, so a duplicate could take its place; leave the key out";
                return Err(Invalid::new("end job of a batch", why));
            }
            if matches!(draft.start, When::At(_)) || matches!(draft.expiry, Some(When::At(_))) {
                let why = "starts or expires at a fixed moment, which may have passed by the end of the batch; give a span";
                return Err(Invalid::new("end job of a batch", why));
            }
            draft.clone().check(
                end::job_id(self.id, EndJob::Finish, self.opened_at),
                self.opened_at,
                json_bytes_max,
            )?;
        }
        Ok(())
    }

    /// The text for a store.
    pub fn stored(&self) -> Result<String, Invalid> {
        write("batch", self)
    }

    /// Reads the text of a store.
    pub fn from_stored(text: &str) -> Result<Self, Invalid> {
        read("stored batch", text)
    }
}
