//! Edges: settled page by page, and decided again when their dependant is retried.

use backroom_core::{
    JobId, Timestamp,
    dependency::{
        EdgeState,
        retry::reopen as decide_reopen,
        settle::{Dependant, settle},
    },
    links::LinkEffect,
};

use super::{EdgeRow, Left, LinkRows, link_effects};

/// What settling a page came to.
pub(super) struct Page {
    /// How many edges were read.
    pub(super) settled: usize,
    /// The last dependant.
    pub(super) last: Option<JobId>,
    /// What follows for further jobs.
    pub(super) effects: Vec<(Timestamp, LinkEffect)>,
}

/// Settles at most `limit` edges of a predecessor.
pub(super) fn settle_page<R: LinkRows>(
    rows: &mut R,
    left: &Left,
    limit: usize,
    now: Timestamp,
) -> Result<Page, R::Fault> {
    let found = rows.edges_from(left.edges.predecessor, left.after, limit)?;
    let mut effects = Vec::new();
    for row in &found {
        effects.extend(settle_one(rows, left, row, now)?);
    }
    Ok(Page { settled: found.len(), last: found.last().map(|row| row.dependant), effects })
}

fn settle_one<R: LinkRows>(
    rows: &mut R,
    left: &Left,
    row: &EdgeRow,
    now: Timestamp,
) -> Result<Vec<(Timestamp, LinkEffect)>, R::Fault> {
    let waiting = row.state.after(row.on_failure, left.edges.happening, true);
    if waiting == row.state {
        return Ok(Vec::new());
    }
    let Some(job) = rows.job(row.dependant)? else { return Ok(Vec::new()) };
    let others_open =
        waiting == EdgeState::Met && rows.has_other_open_edge(row.dependant, row.predecessor)?;
    let dependant = Dependant { job, on_failure: row.on_failure, edge: row.state, others_open };
    let settled = settle(&left.edges, &dependant, now);
    if settled.edge != row.state {
        rows.put_edge(&EdgeRow { state: settled.edge, ..*row })?;
    }
    let Some(change) = settled.change else { return Ok(Vec::new()) };
    rows.write(&change)?;
    Ok(link_effects(&change))
}

/// Decides again about all edges that lead to a job, which was retried.
pub(super) fn reopen<R: LinkRows>(
    rows: &mut R,
    id: JobId,
    now: Timestamp,
) -> Result<Vec<(Timestamp, LinkEffect)>, R::Fault> {
    let Some(job) = rows.job(id)? else { return Ok(Vec::new()) };
    let edges = rows.edges_to(id)?;
    let mut states = Vec::with_capacity(edges.len());
    for edge in &edges {
        states.push((edge.state, rows.facts(edge.predecessor)?.map(|facts| facts.state)));
    }
    let reopened = decide_reopen(&job, &states, now);
    for (edge, state) in edges.iter().zip(&reopened.edges) {
        if edge.state != *state {
            rows.put_edge(&EdgeRow { state: *state, ..*edge })?;
        }
    }
    let Some(change) = reopened.change else { return Ok(Vec::new()) };
    rows.write(&change)?;
    Ok(link_effects(&change))
}
