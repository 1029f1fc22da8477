//! What becomes of an edge and of its dependant when something happens to the predecessor.

use super::{EdgeState, EdgesOf, OnFailure};
use crate::{
    Change, Event, JobRow, State, Timestamp,
    links::{After, LinkEffect, Links, effects_of},
    transition,
};

/// One edge of a predecessor, with what a store has read under lock of its dependant.
#[derive(Debug, Clone, PartialEq)]
pub struct Dependant {
    /// The dependant.
    pub job: JobRow,
    /// Its links.
    pub links: Links,
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
    /// What changes on the dependant, if anything does.
    pub dependant: Option<DependantChange>,
}

/// What changes on a dependant.
#[derive(Debug, Clone, PartialEq)]
pub struct DependantChange {
    /// The change of its row, with its effects.
    pub change: Change,
    /// Its links after it.
    pub links: Links,
    /// What follows from it for further jobs.
    pub effects: Vec<LinkEffect>,
}

/// Decides about one edge of the predecessor that `edges` names.
pub fn settle(edges: &EdgesOf, dependant: &Dependant, now: Timestamp) -> Settled {
    let Dependant { job, links, on_failure, edge, others_open } = dependant;
    let is_held = job.state == State::Waiting && links.after == Some(After::Held);
    let after = edge.after(*on_failure, edges.happening, is_held);
    let event = match (*edge, after) {
        _ if !is_held => None,
        (EdgeState::Open, EdgeState::Met) if !*others_open => Some(Event::Wake),
        (EdgeState::Open, EdgeState::Broken) => Some(Event::Cancel { reason: edges.reason_of_cancel() }),
        (EdgeState::Open, EdgeState::Open | EdgeState::Met | EdgeState::Waived)
        | (EdgeState::Met | EdgeState::Broken | EdgeState::Waived, _) => None,
    };
    Settled { edge: after, dependant: event.and_then(|event| change(job, links, event, now)) }
}

fn change(job: &JobRow, links: &Links, event: Event, now: Timestamp) -> Option<DependantChange> {
    let is_release = event == Event::Wake;
    // A waiting job takes both events, so neither is refused; a refusal would leave it as it is.
    let change = transition::apply(job, event, now).ok().flatten()?;
    let effects = effects_of(job, Some(links), &change);
    // A job that is cancelled stays held: its own retry decides about its edges.
    let after = if is_release { After::Released } else { After::Held };
    Some(DependantChange { change, links: Links { after: Some(after), ..links.clone() }, effects })
}
