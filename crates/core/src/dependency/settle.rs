//! What becomes of an edge and of its dependant when something happens to the predecessor.

use super::{EdgeState, EdgesOf, OnFailure};
use crate::{
    Change, Event, JobRow, Timestamp,
    links::{After, Links},
    transition,
};

/// One edge of a predecessor, with what a store has read under lock of its dependant.
#[derive(Debug, Clone, PartialEq)]
pub struct Dependant {
    /// The dependant.
    pub job: JobRow,
    /// The policy of the edge.
    pub on_failure: OnFailure,
    /// Where the edge stands.
    pub edge: EdgeState,
    /// Whether the dependant has open edges beside this one.
    pub others_open: bool,
}

/// What a store writes about one edge and its dependant, in the transaction in which it has read them.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// Where the edge stands now.
    pub edge: EdgeState,
    /// The change of the dependant, if anything changes. It has its links after it, and what follows for further jobs.
    pub change: Option<Change>,
}

/// Decides about one edge of the predecessor that `edges` names.
pub fn settle(edges: &EdgesOf, dependant: &Dependant, now: Timestamp) -> Settled {
    let Dependant { job, on_failure, edge, others_open } = dependant;
    let is_held = job.is_held();
    let after = edge.after(*on_failure, edges.happening, is_held);
    let event = match (*edge, after) {
        _ if !is_held => None,
        (EdgeState::Open, EdgeState::Met) if !*others_open => Some(Event::Wake),
        (EdgeState::Open, EdgeState::Broken) => Some(Event::Cancel { reason: edges.reason_of_cancel() }),
        (EdgeState::Open, EdgeState::Open | EdgeState::Met | EdgeState::Waived)
        | (EdgeState::Met | EdgeState::Broken | EdgeState::Waived, _) => None,
    };
    let change = event.and_then(|event| match event {
        Event::Wake => release(job, now),
        // A waiting job takes a cancel, so it is not refused. The job stays held: its own retry decides about its edges.
        event => transition::apply(job, event, now).ok().flatten(),
    });
    Settled { edge: after, change }
}

/// The change of a held job that may run now.
pub(super) fn release(job: &JobRow, now: Timestamp) -> Option<Change> {
    let links: &Links = job.links.as_deref()?;
    let links = Some(links.with(After::Released));
    let free = JobRow { links: links.clone(), ..job.clone() };
    let change = transition::apply(&free, Event::Wake, now).ok().flatten()?;
    Some(Change { links, ..change })
}
