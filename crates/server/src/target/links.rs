//! Batches, graphs and trees.

use backroom::{
    Acted, Action, BatchId, GraphEdge, GraphNode, JobId, Json, Timestamp, core::dependency::graph::Graph,
};
use hyper::Method;
use serde::{Deserialize, Serialize};

use super::Target;
use crate::{
    bodies::{Cancel, NewJob},
    terminal::Problem,
    views::{BatchPage, BatchView, BulkAction, GraphView, Matched, TreeView},
};

/// Batches on one page.
const PAGE: usize = 200;

/// A batch to open, as the API takes it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct NewBatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<BatchId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) on_success: Option<EndJob>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) on_finish: Option<EndJob>,
}

/// A job at the end of a batch.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndJob {
    pub(crate) kind: String,
    #[serde(default = "Json::null")]
    pub(crate) args: Json,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queue: Option<String>,
}

impl EndJob {
    fn draft(self) -> backroom::Draft {
        let draft = backroom::Draft::new(self.kind, self.args);
        backroom::Draft { queue: self.queue.unwrap_or(draft.queue.clone()), ..draft }
    }
}

/// What is done to one batch.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BatchStep {
    Close,
    Reopen,
}

impl Target {
    /// Opens a batch.
    pub(crate) async fn open_batch(&self, new: NewBatch) -> Result<BatchView, Problem> {
        match self {
            Self::Store(backroom) => {
                let NewBatch { description, parent, on_success, on_finish } = new;
                let mut open = backroom.open_batch();
                if let Some(description) = description {
                    open = open.description(description);
                }
                if let Some(parent) = parent {
                    open = open.parent(parent);
                }
                if let Some(job) = on_success {
                    open = open.on_success_draft(job.draft());
                }
                if let Some(job) = on_finish {
                    open = open.on_finish_draft(job.draft());
                }
                Ok(open.await?.status().await?.into())
            }
            Self::Server(remote) => remote.send(Method::POST, "/v1/batches", &new).await,
        }
    }

    /// One batch.
    pub(crate) async fn batch(&self, id: BatchId) -> Result<BatchView, Problem> {
        match self {
            Self::Store(backroom) => Ok(backroom.batch(id).status().await?.into()),
            Self::Server(remote) => remote.get(&format!("/v1/batches/{id}")).await,
        }
    }

    /// The newest batches.
    pub(crate) async fn batches(&self) -> Result<BatchPage, Problem> {
        match self {
            Self::Store(backroom) => {
                let batches = backroom.batches(None, None, PAGE).await?;
                let next = batches.last().map(|batch| batch.id).filter(|_| batches.len() == PAGE);
                Ok(BatchPage { batches: batches.into_iter().map(Into::into).collect(), next })
            }
            Self::Server(remote) => remote.get(&format!("/v1/batches?limit={PAGE}")).await,
        }
    }

    /// Closes a batch or opens it again.
    pub(crate) async fn turn_batch(&self, id: BatchId, step: BatchStep) -> Result<BatchView, Problem> {
        match (self, step) {
            (Self::Store(backroom), BatchStep::Close) => Ok(backroom.batch(id).close().await?.into()),
            (Self::Store(backroom), BatchStep::Reopen) => Ok(backroom.batch(id).reopen().await?.into()),
            (Self::Server(remote), BatchStep::Close) => {
                remote.send(Method::POST, &format!("/v1/batches/{id}/close"), &()).await
            }
            (Self::Server(remote), BatchStep::Reopen) => {
                remote.send(Method::POST, &format!("/v1/batches/{id}/reopen"), &()).await
            }
        }
    }

    /// Cancels all members of a batch that live, or retries those that failed.
    pub(crate) async fn act_on_batch(&self, id: BatchId, action: &Action) -> Result<Matched, Problem> {
        let bulk = BulkAction::from(action);
        match self {
            Self::Store(backroom) => {
                let batch = backroom.batch(id);
                let acted = match action {
                    Action::Cancel { reason } => batch.cancel(reason).await?,
                    Action::Retry => batch.retry_failed().await?,
                    Action::Delete | Action::Move { .. } | Action::Prioritize { .. } => Acted::default(),
                };
                Ok(Matched::new(bulk, false, acted))
            }
            Self::Server(remote) => {
                if let Action::Cancel { reason } = action {
                    let cancel = Cancel { reason: Some(reason.clone()) };
                    return remote.send(Method::POST, &format!("/v1/batches/{id}/cancel"), &cancel).await;
                }
                remote.send(Method::POST, &format!("/v1/batches/{id}/retry"), &()).await
            }
        }
    }

    /// The jobs that are connected with a job by edges.
    pub(crate) async fn tree(&self, id: JobId, limit: usize) -> Result<TreeView, Problem> {
        match self {
            Self::Store(backroom) => Ok(backroom.tree(id, limit).await?.into()),
            Self::Server(remote) => remote.get(&format!("/v1/jobs/{id}/tree?limit={limit}")).await,
        }
    }

    /// Cancels, retries or deletes a job and all that run after it.
    pub(crate) async fn act_on_tree(&self, id: JobId, action: &Action) -> Result<Matched, Problem> {
        #[derive(Serialize)]
        struct Act<'a> {
            action: BulkAction,
            reason: Option<&'a str>,
        }
        let bulk = BulkAction::from(action);
        match self {
            Self::Store(backroom) => Ok(Matched::new(bulk, false, backroom.act_on_tree(id, action).await?)),
            Self::Server(remote) => {
                let reason = match action {
                    Action::Cancel { reason } => Some(reason.as_str()),
                    Action::Retry | Action::Delete | Action::Move { .. } | Action::Prioritize { .. } => None,
                };
                let act = Act { action: bulk, reason };
                remote.send(Method::POST, &format!("/v1/jobs/{id}/tree"), &act).await
            }
        }
    }

    /// Stores a graph of jobs: all of them, or none if anything is wrong with it.
    pub(crate) async fn enqueue_graph(
        &self,
        text: &str,
        batch: Option<BatchId>,
    ) -> Result<GraphView, Problem> {
        match self {
            Self::Store(backroom) => {
                let graph = Graph::parse(text).map_err(|error| Problem::new("read the graph", &error))?;
                let nodes = nodes(&graph, self.now())?;
                Ok(backroom.enqueue_graph_in(nodes, batch).await?.into())
            }
            Self::Server(remote) => {
                let document: Json =
                    Json::parse(text).map_err(|error| Problem::new("read the graph", &error))?;
                let query = batch.map(|batch| format!("?batch={batch}")).unwrap_or_default();
                remote.send(Method::POST, &format!("/v1/graphs{query}"), &document).await
            }
        }
    }
}

/// The jobs of a graph, in the form in which the API takes them.
fn nodes(graph: &Graph, now: Timestamp) -> Result<Vec<GraphNode>, Problem> {
    use backroom::core::dependency::graph::{GraphError, Predecessor};
    let mut nodes = Vec::with_capacity(graph.nodes.len());
    for (place, node) in graph.nodes.iter().enumerate() {
        let of_job = |why: String| Problem::new("read the graph", &GraphError::of_job(place, "", why));
        let new: NewJob =
            serde_json::from_str(node.job.as_str()).map_err(|error| of_job(error.to_string()))?;
        let draft = new.alone(None, now).map_err(|invalid| of_job(invalid.to_string()))?;
        let after = node.after.iter().map(|edge| match edge.predecessor {
            Predecessor::Node(at) => GraphEdge::Node(graph.nodes[at].name.clone(), edge.on_failure),
            Predecessor::Stored(job) => GraphEdge::Stored(job, edge.on_failure),
        });
        nodes.push(GraphNode { name: node.name.clone(), draft, after: after.collect() });
    }
    Ok(nodes)
}
