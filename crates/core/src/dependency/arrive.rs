//! A job that is enqueued after others, some of which may have ended.

use std::collections::HashSet;

use super::{EDGES_MAX, Edge, EdgeState, EdgesOf, Happening, OnFailure};
use crate::{
    Effect, Event, Invalid, JobId, JobRow, State, Timestamp,
    links::{After, LinkEffect, Links},
    transition,
};

/// A job that may be stored, with its edges.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrival {
    /// Queued if it has to wait for no job, `waiting` if it has, or cancelled because a predecessor has failed. Its links say which.
    pub job: JobRow,
    /// Its edges, in the order of the call.
    pub edges: Vec<(Edge, EdgeState)>,
    /// What follows from its cancel, if it is cancelled.
    pub effects: Vec<Effect>,
}

/// What is known of a predecessor at the moment of the enqueue. The store has locked its row.
#[derive(Debug, Clone, Copy)]
pub struct PredecessorFacts<'a> {
    /// The job.
    pub id: JobId,
    /// Its kind.
    pub kind: &'a str,
    /// Its state.
    pub state: State,
    /// Why it was cancelled or discarded.
    pub reason: Option<&'a str>,
}

impl<'a> PredecessorFacts<'a> {
    /// Of a row.
    pub fn of(job: &'a JobRow) -> Self {
        Self { id: job.id, kind: &job.kind, state: job.state, reason: job.reason.as_deref() }
    }

    /// What has happened to it; none while it lives.
    const fn happening(self) -> Option<Happening> {
        match self.state {
            State::Queued | State::Running | State::Waiting => None,
            State::Completed => Some(Happening::Completed),
            State::Cancelled => Some(Happening::Cancelled),
            State::Discarded => Some(Happening::Discarded),
        }
    }

    /// The state of a new edge from it, and why the dependant is cancelled, if it is.
    fn edge(self, on_failure: OnFailure) -> (EdgeState, Option<String>) {
        let Some(happening) = self.happening() else { return (EdgeState::Open, None) };
        let state = EdgeState::Open.after(on_failure, happening, true);
        let why = (state == EdgeState::Broken).then(|| {
            let (kind, reason) = (self.kind.to_owned(), self.reason.map(ToOwned::to_owned));
            EdgesOf { predecessor: self.id, kind, happening, reason }.reason_of_cancel()
        });
        (state, why)
    }
}

/// Decides how `job`, which is new, is stored. `predecessors` are the rows of the edges, in their order; none for a job
/// that does not exist. A store locks them against an end in the meantime, and marks each as
/// [followed](crate::links::follow).
pub fn arrive(
    job: JobRow,
    edges: &[Edge],
    predecessors: &[Option<PredecessorFacts<'_>>],
    now: Timestamp,
) -> Result<Arrival, Invalid> {
    check_edges(job.id, edges)?;
    if edges.is_empty() {
        return Ok(Arrival { job, edges: Vec::new(), effects: Vec::new() });
    }
    let mut settled = Vec::with_capacity(edges.len());
    let mut cancel = None;
    for (index, edge) in edges.iter().enumerate() {
        let found = predecessors.get(index).copied().flatten();
        let predecessor = found.filter(|found| found.id == edge.predecessor).ok_or_else(|| unknown(*edge))?;
        let (state, why) = predecessor.edge(edge.on_failure);
        cancel = cancel.or(why);
        settled.push((*edge, state));
    }
    let waits = settled.iter().any(|(_, state)| *state == EdgeState::Open);
    let mut job = job;
    let mut effects = Vec::new();
    let mut after = After::Released;
    if let Some(reason) = cancel {
        after = After::Held;
        let change = transition::apply(&job, Event::Cancel { reason }, now);
        if let Ok(Some(change)) = change {
            change.write_to(&mut job);
            // Those who count it, or run after it, meet it as it is stored. A workflow that started it learns of its end.
            effects = change.effects;
            effects.retain(|effect| match effect {
                Effect::Link { effect, .. } => matches!(**effect, LinkEffect::Child(_)),
                _ => true,
            });
        }
    } else if waits {
        after = After::Held;
        job.state = State::Waiting;
    }
    let links = job.links.take().map_or_else(Links::default, |links| *links);
    job.links = Some(links.with(after));
    // It is new, whatever was decided about it before it was stored.
    job.revision = 0;
    Ok(Arrival { job, edges: settled, effects })
}

/// Refuses too many edges, an edge of a job to itself, and the same predecessor twice.
pub(super) fn check_edges(job: JobId, edges: &[Edge]) -> Result<(), Invalid> {
    if edges.len() > EDGES_MAX {
        let why = format!(
            "are {}; a job may have at most {EDGES_MAX}. Put a job between them that gathers a part",
            edges.len()
        );
        return Err(Invalid::new("predecessors", why));
    }
    let mut seen = HashSet::with_capacity(edges.len());
    for edge in edges {
        if edge.predecessor == job {
            return Err(Invalid::new("predecessor", format!("{job} is the job itself; leave it out")));
        }
        if !seen.insert(edge.predecessor) {
            let why = format!("{} is given twice; once is enough", edge.predecessor);
            return Err(Invalid::new("predecessor", why));
        }
    }
    Ok(())
}

fn unknown(edge: Edge) -> Invalid {
    let why = format!(
        "{} does not exist: it was never enqueued, or was deleted after its retention. Enqueue it first, or leave it out",
        edge.predecessor
    );
    Invalid::new("predecessor", why)
}
