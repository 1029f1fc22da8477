//! Jobs that run after others, graphs of jobs, and trees.

mod after;
mod graph;
mod output;
mod tree;

pub(super) use self::after::{Linked, link_options};
pub use self::{
    graph::{EnqueuedGraph, GraphEdge, GraphNode},
    tree::{Tree, TreeEdge, TreeNode},
};

use backroom_core::{
    JobId,
    dependency::{NAMED_MAX, Waited, WaitsFor},
};

use super::Backroom;
use crate::{
    Error,
    store::{EdgesOfJob, Neighbour, Side},
};

/// Edges in one read.
const EDGES_AT_ONCE: usize = 1000;

impl Backroom {
    /// The jobs that a job runs after (or those that run after it), by id, behind `after` when given: at most `limit`, up to
    /// 1,000. The last page has fewer.
    pub async fn neighbours(
        &self,
        job: JobId,
        side: Side,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<Neighbour>, Error> {
        let of = EdgesOfJob { job, side, only_open: false };
        self.engine().store.edges(of, after, limit.min(EDGES_AT_ONCE)).await
    }

    /// The predecessors that a held job waits for.
    pub(super) async fn waits_for(&self, job: JobId) -> Result<WaitsFor, Error> {
        let of = EdgesOfJob { job, side: Side::Predecessors, only_open: true };
        let (mut open, mut named, mut after) = (0, Vec::new(), None);
        loop {
            let page = self.engine().store.edges(of, after, EDGES_AT_ONCE).await?;
            after = page.last().map(|neighbour| neighbour.job);
            open += page.len() as u64;
            let is_last = page.len() < EDGES_AT_ONCE;
            named.extend(page.into_iter().filter_map(waited));
            // Those that have failed come first.
            named.sort_by_key(|waited: &Waited| (!waited.state.is_finished(), waited.job));
            named.truncate(NAMED_MAX);
            if is_last {
                return Ok(WaitsFor::new(open, named));
            }
        }
    }
}

fn waited(neighbour: Neighbour) -> Option<Waited> {
    let Neighbour { job, on_failure, found, .. } = neighbour;
    let found = found?;
    Some(Waited { job, kind: found.kind, state: found.state, on_failure })
}
