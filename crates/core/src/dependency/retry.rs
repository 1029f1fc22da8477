//! The retry of a job that was enqueued after others: which of its edges open again.
//!
//! [`transition::apply`](crate::transition::apply) answers a retry of such a job with the state `waiting` and the effect
//! [`Reopen`](crate::links::LinkEffect::Reopen). The store carries that out in the same transaction.

use super::{EdgeState, settle::release};
use crate::{Change, JobRow, State, Timestamp};

/// What a store writes about the edges of a dependant that was retried.
#[derive(Debug, Clone, PartialEq)]
pub struct Reopened {
    /// Where its edges stand now, in their order.
    pub edges: Vec<EdgeState>,
    /// The change that releases it, if it has to wait for no job.
    pub change: Option<Change>,
}

/// Where an edge of a finished dependant stands after a retry of it. `predecessor` is the state of the predecessor; none if it
/// was deleted. A broken edge whose predecessor still has failed is waived, because the operator has decided to run the job.
pub const fn edge_after_retry(edge: EdgeState, predecessor: Option<State>) -> EdgeState {
    match edge {
        // It ran, so it does not wait a second time.
        EdgeState::Met => EdgeState::Met,
        EdgeState::Waived => EdgeState::Waived,
        EdgeState::Open | EdgeState::Broken => match predecessor {
            Some(State::Queued | State::Running | State::Waiting) => EdgeState::Open,
            Some(State::Completed) => EdgeState::Met,
            Some(State::Cancelled | State::Discarded) | None => EdgeState::Waived,
        },
    }
}

/// Decides about the edges of `job`, which was retried and is held. `edges` are all edges that lead to it, each with the state of its
/// predecessor, which the store has locked against an end in the meantime; none for a predecessor that was deleted.
pub fn reopen(job: &JobRow, edges: &[(EdgeState, Option<State>)], now: Timestamp) -> Reopened {
    let edges: Vec<_> =
        edges.iter().map(|(edge, predecessor)| edge_after_retry(*edge, *predecessor)).collect();
    let waits = edges.contains(&EdgeState::Open);
    let change = if waits || !job.is_held() { None } else { release(job, now) };
    Reopened { edges, change }
}
