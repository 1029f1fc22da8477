//! Verbs for jobs that run after others.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{
    JobId, LeaseId, State, Timestamp,
    dependency::{Edge, EdgeState, OnFailure},
    draft::NewJob,
};
use serde::{Deserialize, Serialize};

use super::{Call, Inserted};
use crate::Error;

/// Inserts jobs that are tied to others, and reads what ties them.
#[async_trait]
pub trait LinkVerbs: Send + Sync {
    /// Stores jobs with their edges and as members of their batches, all or none; one answer per job, in order. Each job stands
    /// behind those of its predecessors that are in the same call. A predecessor that has ended counts as what it is. Fails as
    /// [`Invalid`](crate::ErrorKind::Invalid) for an unknown predecessor and for a batch that takes no members. A repeated call finds its jobs and
    /// adds nothing.
    async fn insert_linked(
        &self,
        insert: Arc<InsertLinked>,
        now: Timestamp,
        call: Call,
    ) -> Result<Vec<Inserted>, Error>;

    /// Settles edges that a transaction has left, one page of them. Answers whether more may be left.
    async fn settle_left(&self, now: Timestamp) -> Result<bool, Error>;

    /// Edges of a job by the ids of the jobs at their other ends, after `after`; at most `limit`. The last page has fewer.
    async fn edges(
        &self,
        of: EdgesOfJob,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<Neighbour>, Error>;
}

/// Jobs to insert.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InsertLinked {
    /// The jobs.
    pub jobs: Vec<NewLinked>,
    /// The running job that adds them. It may add to its batch after the close.
    pub by: Option<(JobId, LeaseId)>,
}

/// A new job with its edges.
#[derive(Debug, Clone, PartialEq)]
pub struct NewLinked {
    /// The job. Its links name its batch.
    pub new: NewJob,
    /// The edges that lead to it.
    pub edges: Vec<Edge>,
}

/// Which edges are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EdgesOfJob {
    /// Those of this job
    pub job: JobId,
    /// that lead to it, or from it,
    pub side: Side,
    /// and only those that are open.
    pub only_open: bool,
}

/// A side of a job in a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The jobs that it runs after.
    Predecessors,
    /// The jobs that run after it.
    Dependants,
}

/// The job at the other end of an edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// The job.
    pub job: JobId,
    /// What happens if the predecessor does not complete.
    pub on_failure: OnFailure,
    /// Where the edge stands.
    pub edge: EdgeState,
    /// Its kind and state; none if it was deleted.
    pub found: Option<NeighbourState>,
}

/// What is shown of a job at the other end of an edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourState {
    /// Its kind.
    pub kind: String,
    /// Its state.
    pub state: State,
}
