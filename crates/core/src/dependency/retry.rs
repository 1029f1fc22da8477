//! The retry of a job that was enqueued after others: which of its edges open again.

use super::{Edge, EdgeState, arrive::Known};
use crate::{
    Change, Effect, Event, JobRow, Refused, State, Timestamp,
    links::{After, LinkEffect, Links, effects_of},
    transition,
};

/// What a store writes when a dependant is retried.
#[derive(Debug, Clone, PartialEq)]
pub struct Retried {
    /// The change of its row: to `queued`, or to `waiting` if edges are open again.
    pub change: Change,
    /// Its links after it.
    pub links: Links,
    /// Where its edges stand now, in their order.
    pub edges: Vec<EdgeState>,
    /// What follows for further jobs.
    pub effects: Vec<LinkEffect>,
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

/// Decides the retry of a job with edges. `edges` are all of them with their states; `predecessors` their rows, in the same
/// order, none for a job that was deleted. `Ok(None)` means that nothing changes.
pub fn retry(
    job: &JobRow,
    links: &Links,
    edges: &[(Edge, EdgeState)],
    predecessors: &[Option<&JobRow>],
    now: Timestamp,
) -> Result<Option<Retried>, Refused> {
    let Some(mut change) = transition::apply(job, Event::Retry, now)? else { return Ok(None) };
    // A queued job is only due earlier. It waits for no edge.
    let is_revival = job.state.is_finished();
    let state_of = |index: usize| predecessors.get(index).copied().flatten().map(Known::of);
    let after_retry = |(index, (_, state)): (usize, &(Edge, EdgeState))| {
        if is_revival { edge_after_retry(*state, state_of(index).map(|known| known.state)) } else { *state }
    };
    let edges: Vec<_> = edges.iter().enumerate().map(after_retry).collect();
    let is_held = is_revival && edges.contains(&EdgeState::Open);
    if is_held {
        change.state = State::Waiting;
        change.effects.retain(|effect| !matches!(effect, Effect::NotifyQueue { .. }));
    }
    let after = if is_held { After::Held } else { After::Released };
    let links = Links { after: links.after.map(|_| after), ..links.clone() };
    let effects = effects_of(job, Some(&links), &change);
    Ok(Some(Retried { change, links, edges, effects }))
}
