//! Batches, graphs and trees.

use backroom::{
    BatchId, BatchState, BatchStatus, EnqueuedGraph, JobId, OnFailure, State, Timestamp, Tree,
    core::dependency::EdgeState,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rows::{BatchStateWord, EdgeStateWord, OnFailureWord, StateWord};

/// A batch: how far it is, and when it did what.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Batch)]
pub(crate) struct BatchView {
    /// A UUIDv7.
    #[schema(value_type = String, format = "uuid")]
    pub(crate) id: BatchId,
    /// The batch that it is a member of.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) parent: Option<BatchId>,
    /// For people.
    pub(crate) description: Option<String>,
    #[schema(value_type = BatchStateWord)]
    pub(crate) state: BatchState,
    /// All members so far. A batch in it counts as one.
    pub(crate) total: u64,
    /// Members that completed.
    pub(crate) completed: u64,
    /// Members that were cancelled.
    pub(crate) cancelled: u64,
    /// Members that were discarded.
    pub(crate) discarded: u64,
    /// Members that have not finished.
    pub(crate) left: u64,
    /// Finished members of all: 100 exactly if none is left.
    #[schema(maximum = 100)]
    pub(crate) percent: u8,
    /// Members that finish in a second, on average since it was opened; null before time has passed.
    pub(crate) per_second: Option<f64>,
    /// How many milliseconds the members that are left take at this rate; null if nothing has finished.
    pub(crate) time_to_go_ms: Option<u64>,
    /// When it was opened.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) opened_at: Timestamp,
    /// When it was closed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) closed_at: Option<Timestamp>,
    /// When it was cancelled.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) cancelled_at: Option<Timestamp>,
    /// When all members had finished for the first time.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) finished_at: Option<Timestamp>,
    /// When all members had completed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) succeeded_at: Option<Timestamp>,
}

impl From<BatchStatus> for BatchView {
    fn from(status: BatchStatus) -> Self {
        let (counts, progress) = (status.counts, status.progress);
        Self {
            id: status.id,
            parent: status.parent,
            description: status.description,
            state: status.state,
            total: progress.total,
            completed: counts.completed,
            cancelled: counts.cancelled,
            discarded: counts.discarded,
            left: progress.left,
            percent: progress.percent,
            per_second: status.per_second,
            time_to_go_ms: status.time_to_go.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
            opened_at: status.opened_at,
            closed_at: status.closed_at,
            cancelled_at: status.cancelled_at,
            finished_at: status.finished_at,
            succeeded_at: status.succeeded_at,
        }
    }
}

/// A page of batches, the newest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct BatchPage {
    /// The batches.
    pub(crate) batches: Vec<BatchView>,
    /// Pass it as `before` for the next page; null on the last one.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) next: Option<BatchId>,
}

/// The jobs of a graph that was stored.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct GraphView {
    /// In the order of the document.
    pub(crate) jobs: Vec<GraphJob>,
}

/// A job of a graph that was stored.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct GraphJob {
    /// Its name within the document.
    pub(crate) name: String,
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub(crate) id: JobId,
}

impl From<EnqueuedGraph> for GraphView {
    fn from(graph: EnqueuedGraph) -> Self {
        Self { jobs: graph.jobs.into_iter().map(|(name, id)| GraphJob { name, id }).collect() }
    }
}

/// The jobs that are connected with one job by edges.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Tree)]
pub(crate) struct TreeView {
    /// The job that was asked for.
    #[schema(value_type = String, format = "uuid")]
    pub(crate) root: JobId,
    /// It and the others, by id.
    pub(crate) jobs: Vec<TreeJob>,
    /// What runs after what.
    pub(crate) edges: Vec<TreeEdgeView>,
    /// There are more jobs than these.
    pub(crate) more: bool,
}

/// A job of a tree.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct TreeJob {
    #[schema(value_type = String, format = "uuid")]
    pub(crate) id: JobId,
    /// Null if it was deleted.
    pub(crate) kind: Option<String>,
    /// Null if it was deleted.
    #[schema(value_type = Option<StateWord>)]
    pub(crate) state: Option<State>,
}

/// An edge of a tree.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = TreeEdge)]
pub(crate) struct TreeEdgeView {
    /// The job that ends first.
    #[schema(value_type = String, format = "uuid")]
    pub(crate) predecessor: JobId,
    /// The job that runs after it.
    #[schema(value_type = String, format = "uuid")]
    pub(crate) dependant: JobId,
    /// What happens if the predecessor does not complete.
    #[schema(value_type = OnFailureWord)]
    pub(crate) on_failure: OnFailure,
    /// Where the edge stands.
    #[schema(value_type = EdgeStateWord)]
    pub(crate) state: EdgeState,
}

impl From<Tree> for TreeView {
    fn from(tree: Tree) -> Self {
        let jobs = tree.jobs.into_iter();
        let edges = tree.edges.into_iter();
        Self {
            root: tree.root,
            jobs: jobs.map(|node| TreeJob { id: node.job, kind: node.kind, state: node.state }).collect(),
            edges: edges
                .map(|edge| TreeEdgeView {
                    predecessor: edge.predecessor,
                    dependant: edge.dependant,
                    on_failure: edge.on_failure,
                    state: edge.state,
                })
                .collect(),
            more: tree.more,
        }
    }
}
