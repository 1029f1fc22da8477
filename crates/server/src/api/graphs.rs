//! `/v1/graphs` and the trees of jobs.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use backroom::{
    Action, BatchId, GraphEdge, GraphNode, JobId, OnFailure,
    core::dependency::graph::{Graph, GraphError, Predecessor},
};
use serde::{Deserialize, Serialize};
use tracing::Instrument as _;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    act::record,
    body::JsonBytes,
    caller::{Caller, Scope},
    codes::Code,
    extract::{Path, Query},
    jobs::{check_batch, check_new, check_predecessor, traceparent},
    once::{self, Once, Pass},
    problem::{Problem, Problems},
};
use crate::{
    bodies::NewJob,
    serve::AppState,
    views::{BulkAction, GraphView, Matched, OnFailureWord, TreeView},
};

/// Most jobs of one tree.
const TREE_JOBS_MAX: usize = 1000;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(enqueue)).routes(routes!(tree)).routes(routes!(act))
}

/// A graph of jobs. It is stored as a whole or not at all.
#[derive(ToSchema)]
#[schema(as = NewGraph)]
#[expect(dead_code, reason = "it describes what the library reads")]
struct NewGraphSchema {
    /// Its jobs, at most 100,000.
    #[schema(min_items = 1)]
    jobs: Vec<NewGraphJobSchema>,
}

/// A job of a graph.
#[derive(ToSchema)]
#[schema(as = NewGraphJob)]
#[expect(dead_code, reason = "it describes what the library reads")]
struct NewGraphJobSchema {
    /// Its name within the graph.
    name: String,
    /// The job.
    job: NewJob,
    /// The names of the jobs that it runs after, or objects.
    #[schema(required = false)]
    after: Vec<NewGraphEdgeSchema>,
}

/// What a job of a graph runs after.
#[derive(Serialize, ToSchema)]
#[schema(as = NewGraphEdge)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes what the library reads")]
enum NewGraphEdgeSchema {
    /// The name of a job of the graph.
    Name(String),
    /// With what happens if that does not complete.
    Node {
        name: String,
        #[schema(value_type = OnFailureWord)]
        on_failure: OnFailure,
    },
    /// A job that is stored already.
    Stored {
        job: String,
        #[schema(value_type = OnFailureWord)]
        on_failure: OnFailure,
    },
}

/// The batch of a graph.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct GraphQuery {
    /// All jobs of the graph are members of this batch.
    #[param(value_type = Option<String>, format = "uuid")]
    batch: Option<BatchId>,
}

/// Enqueue a graph of jobs
///
/// The document is checked as a whole before anything is stored: unknown names, cycles, what is too large, and each job. An error names
/// its place as a JSON pointer.
#[utoipa::path(
    post,
    path = "/v1/graphs",
    operation_id = "enqueue_graph",
    tag = "jobs",
    params(GraphQuery, ("Idempotency-Key" = Option<String>, Header,
        description = "Carries the request out once, however often it is sent.")),
    request_body = NewGraphSchema,
    responses((status = 202, description = "The jobs are stored.", body = GraphView), Problems)
)]
async fn enqueue(
    State(state): State<AppState>,
    caller: Caller,
    Query(query): Query<GraphQuery>,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response, Problem> {
    caller.require(Scope::Enqueue)?;
    if query.batch.is_some() {
        check_batch(&caller)?;
    }
    let text =
        std::str::from_utf8(&body.0).map_err(|_| Problem::new(Code::Malformed, "the body is not UTF-8"))?;
    let graph = Graph::parse(text).map_err(|error| wrong(&error))?;
    let mut nodes = Vec::with_capacity(graph.nodes.len());
    for (place, node) in graph.nodes.iter().enumerate() {
        let of_job = |why: String| wrong(&GraphError::of_job(place, "", why));
        let new: NewJob =
            serde_json::from_str(node.job.as_str()).map_err(|error| of_job(error.to_string()))?;
        check_new(&state, &caller, &new)?;
        let draft = new
            .alone(traceparent(&state, &headers), state.backroom.clock().now())
            .map_err(|invalid| of_job(invalid.to_string()))?;
        let edge = |edge: &backroom::core::dependency::graph::NodeEdge| match edge.predecessor {
            Predecessor::Node(at) => GraphEdge::Node(graph.nodes[at].name.clone(), edge.on_failure),
            Predecessor::Stored(job) => GraphEdge::Stored(job, edge.on_failure),
        };
        for edge in &node.after {
            if let Predecessor::Stored(job) = edge.predecessor {
                check_predecessor(&state, &caller, job).await?;
            }
        }
        nodes.push(GraphNode {
            name: node.name.clone(),
            draft,
            after: node.after.iter().map(edge).collect(),
        });
    }
    let pass = match once::begin(&state, &caller, &headers, "POST /v1/graphs", &body.0).await? {
        Once::Go(pass) => pass,
        Once::Replay(response) => return Ok(response),
    };
    // A client that leaves must not stop what it began: the record of its key would stay open.
    let storing = async move {
        let stored = store(&state, &pass, nodes, query.batch).await;
        match &stored {
            Ok(body) => pass.answered(StatusCode::ACCEPTED, None, body).await,
            Err(problem) => pass.failed(problem).await,
        }
        stored
    };
    let storing = tokio::spawn(storing.in_current_span());
    let body = storing.await.map_err(|_| Problem::new(Code::Internal, "the server failed"))??;
    Ok((StatusCode::ACCEPTED, [(axum::http::header::CONTENT_TYPE, "application/json")], body).into_response())
}

async fn store(
    state: &AppState,
    pass: &Pass,
    nodes: Vec<GraphNode>,
    batch: Option<BatchId>,
) -> Result<String, Problem> {
    let graph =
        state.backroom.enqueue_graph_chosen(nodes, batch, pass.id(0), pass.at, pass.is_repeated).await?;
    Ok(serde_json::to_string(&GraphView::from(graph)).expect("invariant: ids and words are JSON"))
}

fn wrong(error: &GraphError) -> Problem {
    Problem::new(Code::Invalid, error.to_string()).member("pointer", error.pointer.clone())
}

/// How much of a tree.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct TreeQuery {
    /// Most jobs, 1 to 1000. Default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Read the tree of a job
///
/// The jobs that are connected with it by edges, the nearest first.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/tree",
    operation_id = "read_tree",
    tag = "jobs",
    params(("id" = String, Path, description = "The job.", format = "uuid"), TreeQuery),
    responses((status = 200, description = "The tree.", body = TreeView), Problems)
)]
async fn tree(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<TreeQuery>,
) -> Result<Json<TreeView>, Problem> {
    caller.require_all_jobs(Scope::Read)?;
    let limit = query.limit.unwrap_or(100).clamp(1, TREE_JOBS_MAX);
    Ok(Json(state.backroom.tree(job(&id)?, limit).await?.into()))
}

/// What to do to a tree.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TreeAct {
    action: BulkAction,
    /// Shown with jobs that are cancelled.
    reason: Option<String>,
}

/// Cancel, retry or delete a job and all that run after it
///
/// At most 100,000 jobs. Cancels and deletes go from the last to the first, retries the other way.
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/tree",
    operation_id = "act_on_tree",
    tag = "jobs",
    params(("id" = String, Path, description = "The job.", format = "uuid")),
    request_body = TreeAct,
    responses((status = 200, description = "What became of the jobs.", body = Matched), Problems)
)]
async fn act(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    body: JsonBytes,
) -> Result<Json<Matched>, Problem> {
    caller.require_all_jobs(Scope::Operate)?;
    let TreeAct { action, reason } = body.read()?;
    let root = job(&id)?;
    let reason = reason.unwrap_or_else(|| "cancelled by a call of the API".into());
    let (act, name) = match action {
        BulkAction::Cancel => (Action::Cancel { reason }, "tree.cancel"),
        BulkAction::Retry => (Action::Retry, "tree.retry"),
        BulkAction::Delete => (Action::Delete, "tree.delete"),
        BulkAction::Move | BulkAction::Priority => {
            let why = "only cancel, retry and delete act on a tree";
            return Err(Problem::new(Code::Invalid, why));
        }
    };
    record(&state, &caller, name, &root.to_string(), None::<&()>).await?;
    Ok(Json(Matched::new(action, false, state.backroom.act_on_tree(root, &act).await?)))
}

fn job(text: &str) -> Result<JobId, Problem> {
    text.parse().map_err(|error| Problem::new(Code::Malformed, format!("{error}")))
}
