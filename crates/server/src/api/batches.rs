//! `/v1/batches`: open batches, close them, see how far they are. Members are enqueued as every job is, with the id of their batch.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use backroom::{
    BatchHandle, BatchId,
    core::bounds::{MESSAGE_BYTES_MAX, check_text},
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    act::record,
    body::JsonBytes,
    caller::{Caller, Scope},
    codes::Code,
    extract::{Path, Query},
    jobs::{check_new, traceparent},
    problem::{Problem, Problems},
};
use crate::{
    bodies::{Cancel, NewJob},
    serve::AppState,
    views::{BatchPage, BatchView, BulkAction, Matched},
};

/// Most batches on one page.
const LIMIT_MAX: usize = 500;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(open, list))
        .routes(routes!(one))
        .routes(routes!(close))
        .routes(routes!(reopen))
        .routes(routes!(cancel))
        .routes(routes!(retry))
}

/// A batch to open.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewBatch {
    /// Its id, a UUIDv7 that the caller made. A request that is sent again with it opens the same batch. Default: the server makes one.
    #[schema(value_type = Option<String>, format = "uuid")]
    id: Option<BatchId>,
    /// For people; at most 1,024 bytes.
    description: Option<String>,
    /// The batch that it is a member of, which must be open.
    #[schema(value_type = Option<String>, format = "uuid")]
    parent: Option<BatchId>,
    /// The job that is enqueued once when all members have completed.
    on_success: Option<NewJob>,
    /// The job that is enqueued once when all members have finished.
    on_finish: Option<NewJob>,
}

/// Open a batch
#[utoipa::path(
    post,
    path = "/v1/batches",
    operation_id = "open_batch",
    tag = "batches",
    request_body = NewBatch,
    responses((status = 201, description = "The batch.", body = BatchView), Problems)
)]
async fn open(
    State(state): State<AppState>,
    caller: Caller,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<(StatusCode, Json<BatchView>), Problem> {
    caller.require_everywhere(Scope::Enqueue)?;
    let NewBatch { id, description, parent, on_success, on_finish } = body.read()?;
    let mut open = state.backroom.open_batch();
    if let Some(id) = id {
        open = open.chosen(id, state.backroom.clock().now());
    }
    if let Some(description) = description {
        open = open.description(description);
    }
    if let Some(parent) = parent {
        open = open.parent(parent);
    }
    let draft = |new: NewJob| {
        check_new(&state, &caller, &new)?;
        Ok::<_, Problem>(new.alone(traceparent(&state, &headers), state.backroom.clock().now())?)
    };
    if let Some(new) = on_success {
        open = open.on_success_draft(draft(new)?);
    }
    if let Some(new) = on_finish {
        open = open.on_finish_draft(draft(new)?);
    }
    let batch = open.await?;
    Ok((StatusCode::CREATED, Json(batch.status().await?.into())))
}

/// Which batches.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct BatchQuery {
    /// Only those in this batch.
    #[param(value_type = Option<String>, format = "uuid")]
    parent: Option<BatchId>,
    /// Those below this id: `next` of the page before.
    #[param(value_type = Option<String>, format = "uuid")]
    before: Option<BatchId>,
    /// Most batches, 1 to 500. Default 50.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
}

/// List batches
///
/// The newest first.
#[utoipa::path(
    get,
    path = "/v1/batches",
    operation_id = "list_batches",
    tag = "batches",
    params(BatchQuery),
    responses((status = 200, description = "A page of batches.", body = BatchPage), Problems)
)]
async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Query(query): Query<BatchQuery>,
) -> Result<Json<BatchPage>, Problem> {
    caller.require_everywhere(Scope::Read)?;
    let limit = query.limit.unwrap_or(50);
    if !(1..=LIMIT_MAX).contains(&limit) {
        let why = format!("the limit {limit} is out of range; use 1 to {LIMIT_MAX}");
        return Err(Problem::new(Code::Invalid, why));
    }
    let batches = state.backroom.batches(query.parent, query.before, limit).await?;
    let next = batches.last().map(|batch| batch.id).filter(|_| batches.len() == limit);
    Ok(Json(BatchPage { batches: batches.into_iter().map(Into::into).collect(), next }))
}

/// Read a batch
#[utoipa::path(
    get,
    path = "/v1/batches/{id}",
    operation_id = "read_batch",
    tag = "batches",
    params(("id" = String, Path, description = "The batch.", format = "uuid")),
    responses((status = 200, description = "The batch.", body = BatchView), Problems)
)]
async fn one(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<BatchView>, Problem> {
    let batch = find(&state, &caller, Scope::Read, &id)?;
    Ok(Json(batch.status().await?.into()))
}

/// Close a batch
///
/// From now on only its own members add further ones, while they run. It ends when no member lives, at once if it is empty.
#[utoipa::path(
    post,
    path = "/v1/batches/{id}/close",
    operation_id = "close_batch",
    tag = "batches",
    params(("id" = String, Path, description = "The batch.", format = "uuid")),
    responses((status = 200, description = "The batch as it is now.", body = BatchView), Problems)
)]
async fn close(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<BatchView>, Problem> {
    let batch = find(&state, &caller, Scope::Enqueue, &id)?;
    Ok(Json(batch.close().await?.into()))
}

/// Open a closed batch again
///
/// Its end jobs are still enqueued once each.
#[utoipa::path(
    post,
    path = "/v1/batches/{id}/reopen",
    operation_id = "reopen_batch",
    tag = "batches",
    params(("id" = String, Path, description = "The batch.", format = "uuid")),
    responses((status = 200, description = "The batch as it is now.", body = BatchView), Problems)
)]
async fn reopen(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<BatchView>, Problem> {
    let batch = find(&state, &caller, Scope::Operate, &id)?;
    Ok(Json(batch.reopen().await?.into()))
}

/// Cancel a batch
///
/// No job adds members any longer, and each member that lives is cancelled, as are the batches in it.
#[utoipa::path(
    post,
    path = "/v1/batches/{id}/cancel",
    operation_id = "cancel_batch",
    tag = "batches",
    params(("id" = String, Path, description = "The batch.", format = "uuid")),
    request_body(content = Option<Cancel>, description = "May be left out."),
    responses((status = 200, description = "What became of the members.", body = Matched), Problems)
)]
async fn cancel(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    body: Option<JsonBytes>,
) -> Result<Json<Matched>, Problem> {
    let batch = find(&state, &caller, Scope::Operate, &id)?;
    let asked: Option<Option<Cancel>> = body.map(|body| body.read()).transpose()?;
    let reason = asked.flatten().and_then(|asked| asked.reason);
    let reason = reason.as_deref().unwrap_or("its batch was cancelled by a call of the API");
    check_text("reason", reason, MESSAGE_BYTES_MAX)?;
    record(&state, &caller, "batch.cancel", &batch.id().to_string(), None::<&()>).await?;
    let acted = batch.cancel(reason).await?;
    Ok(Json(Matched::new(BulkAction::Cancel, false, acted)))
}

/// Retry what failed in a batch
///
/// All members that were cancelled or discarded, and those of the batches in it.
#[utoipa::path(
    post,
    path = "/v1/batches/{id}/retry",
    operation_id = "retry_batch",
    tag = "batches",
    params(("id" = String, Path, description = "The batch.", format = "uuid")),
    responses((status = 200, description = "What became of the members.", body = Matched), Problems)
)]
async fn retry(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Matched>, Problem> {
    let batch = find(&state, &caller, Scope::Operate, &id)?;
    record(&state, &caller, "batch.retry", &batch.id().to_string(), None::<&()>).await?;
    Ok(Json(Matched::new(BulkAction::Retry, false, batch.retry_failed().await?)))
}

/// A batch has members of any queue, so the caller must reach all.
fn find(state: &AppState, caller: &Caller, wanted: Scope, id: &str) -> Result<BatchHandle, Problem> {
    // What changes its members must reach them all; counts and ends show nothing of them.
    match wanted {
        Scope::Operate => caller.require_all_jobs(wanted)?,
        _ => caller.require_everywhere(wanted)?,
    }
    let id: BatchId = id.parse().map_err(|error| Problem::new(Code::Malformed, format!("{error}")))?;
    Ok(state.backroom.batch(id))
}
