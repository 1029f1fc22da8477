//! A job with those around it, and acts on all that run after it.

use std::collections::{HashMap, HashSet, VecDeque};

use backroom_core::{
    JobId, State,
    dependency::{
        EdgeState, OnFailure,
        tree::{TreeAct, TreeWalk},
    },
};
use serde::{Deserialize, Serialize};

use super::EDGES_AT_ONCE;
use crate::{
    Acted, Action, Backroom, Error, ErrorKind,
    store::{EdgesOfJob, Side},
};

/// The jobs around one job, as far as they were read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Tree {
    /// The job that was asked for.
    pub root: JobId,
    /// It and the others, by id.
    pub jobs: Vec<TreeNode>,
    /// What leads from which to which.
    pub edges: Vec<TreeEdge>,
    /// There are more jobs than were read.
    pub more: bool,
}

/// A job of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeNode {
    /// The job.
    pub job: JobId,
    /// Its kind; none if it was deleted.
    pub kind: Option<String>,
    /// Its state; none if it was deleted.
    pub state: Option<State>,
}

/// An edge of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeEdge {
    /// The job that ends first.
    pub predecessor: JobId,
    /// The job that runs after it.
    pub dependant: JobId,
    /// What happens if the predecessor does not complete.
    pub on_failure: OnFailure,
    /// Where the edge stands.
    pub state: EdgeState,
}

impl Backroom {
    /// The jobs that are connected with a job by edges, nearest first: at most about `limit`.
    pub async fn tree(&self, root: JobId, limit: usize) -> Result<Tree, Error> {
        let job = self.job(root).await?;
        let node = TreeNode { job: root, kind: Some(job.kind), state: Some(job.state) };
        let mut nodes = HashMap::from([(root, node)]);
        let (mut edges, mut seen, mut more) = (Vec::new(), HashSet::new(), false);
        let mut asked = VecDeque::from([root]);
        while let Some(at) = asked.pop_front() {
            for side in [Side::Predecessors, Side::Dependants] {
                let mut after = None;
                loop {
                    let of = EdgesOfJob { job: at, side, only_open: false };
                    let page = self.engine().store.edges(of, after, EDGES_AT_ONCE).await?;
                    after = page.last().map(|neighbour| neighbour.job);
                    let is_last = page.len() < EDGES_AT_ONCE;
                    for neighbour in page {
                        let other = neighbour.job;
                        if !nodes.contains_key(&other) {
                            if nodes.len() >= limit {
                                more = true;
                                continue;
                            }
                            let (kind, state) =
                                neighbour.found.map(|found| (found.kind, found.state)).unzip();
                            nodes.insert(other, TreeNode { job: other, kind, state });
                            asked.push_back(other);
                        }
                        let (predecessor, dependant) = match side {
                            Side::Predecessors => (other, at),
                            Side::Dependants => (at, other),
                        };
                        if seen.insert((predecessor, dependant)) {
                            let (on_failure, state) = (neighbour.on_failure, neighbour.edge);
                            edges.push(TreeEdge { predecessor, dependant, on_failure, state });
                        }
                    }
                    if is_last || more {
                        break;
                    }
                }
            }
        }
        let mut jobs: Vec<TreeNode> = nodes.into_values().collect();
        jobs.sort_by_key(|node| node.job);
        edges.sort_by_key(|edge| (edge.predecessor, edge.dependant));
        Ok(Tree { root, jobs, edges, more })
    }

    /// Cancels, retries or deletes a job and all jobs that run after it, directly or not: at most 100,000. Cancels and deletes go from the
    /// last to the first, retries the other way. A job that does not exist any longer counts as moved.
    pub async fn act_on_tree(&self, root: JobId, action: &Action) -> Result<Acted, Error> {
        let mut reason = String::new();
        let act = match action {
            Action::Cancel { reason: why } => {
                reason.clone_from(why);
                TreeAct::Cancel
            }
            Action::Retry => TreeAct::Retry,
            Action::Delete => TreeAct::Delete,
            Action::Move { .. } | Action::Prioritize { .. } => {
                let why = "act on a tree: only a cancel, a retry and a delete are possible";
                return Err(Error::new(ErrorKind::Invalid, why));
            }
        };
        self.job(root).await?;
        let mut walk = TreeWalk::new(root);
        let mut after = None;
        while let Some(job) = walk.next_job() {
            let of = EdgesOfJob { job, side: Side::Dependants, only_open: false };
            let page = self.engine().store.edges(of, after, EDGES_AT_ONCE).await?;
            let is_last = page.len() < EDGES_AT_ONCE;
            after = page.last().map(|neighbour| neighbour.job).filter(|_| !is_last);
            let ids: Vec<JobId> = page.into_iter().map(|neighbour| neighbour.job).collect();
            walk.found(&ids, is_last)?;
        }
        let mut acted = Acted::default();
        for id in walk.order(act) {
            acted.matched += 1;
            let done = match act {
                TreeAct::Cancel => self.cancel_because(id, &reason).await,
                TreeAct::Retry => self.retry(id).await,
                TreeAct::Delete => self.delete(id).await,
            };
            match done {
                Ok(()) => acted.done += 1,
                Err(error) => match error.kind() {
                    ErrorKind::NotFound => acted.moved += 1,
                    ErrorKind::Refused | ErrorKind::KeyHeld { .. } => {
                        acted.refused += 1;
                        acted.refusal.get_or_insert_with(|| format!("job {id}: {error}"));
                    }
                    _ => return Err(error),
                },
            }
        }
        Ok(acted)
    }
}
