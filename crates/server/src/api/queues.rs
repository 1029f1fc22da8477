//! `/v1/queues`: the queues and how many jobs they hold.

use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    act::record,
    body::JsonBytes,
    caller::{Caller, Scope},
    codes::Code,
    extract::Path,
    problem::{Problem, Problems},
};
use crate::{
    bodies::QueueSettings,
    serve::AppState,
    views::{QueueList, QueueView},
};

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(one, set))
        .routes(routes!(pause))
        .routes(routes!(resume))
}

/// List the queues
///
/// Every queue that a job or a setting ever named, by name, with the number of its jobs by state.
#[utoipa::path(
    get,
    path = "/v1/queues",
    operation_id = "list_queues",
    tag = "queues",
    responses((status = 200, description = "The queues.", body = QueueList), Problems)
)]
async fn list(State(state): State<AppState>, caller: Caller) -> Result<Json<QueueList>, Problem> {
    caller.require(Scope::Read)?;
    let (queues, counts) = (state.backroom.queues().await?, state.backroom.counts().await?);
    let seen = queues.into_iter().filter(|queue| caller.sees(&queue.name)).collect();
    Ok(Json(QueueList::new(seen, &counts)))
}

/// A queue that there is, as the caller sees it.
async fn find(state: &AppState, caller: &Caller, name: &str) -> Result<QueueView, Problem> {
    let queues = if caller.sees(name) { state.backroom.queues().await? } else { Vec::new() };
    let Some(queue) = queues.into_iter().find(|queue| queue.name == name) else {
        let why = format!("there is no queue {name:?} that this token reaches");
        return Err(Problem::new(Code::NotFound, why));
    };
    Ok(QueueView::new(queue, &state.backroom.counts().await?))
}

/// Read a queue
#[utoipa::path(
    get,
    path = "/v1/queues/{name}",
    operation_id = "read_queue",
    tag = "queues",
    params(("name" = String, Path, description = "The queue.")),
    responses((status = 200, description = "The queue.", body = QueueView), Problems)
)]
async fn one(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<QueueView>, Problem> {
    caller.require(Scope::Read)?;
    Ok(Json(find(&state, &caller, &name).await?))
}

/// Pause a queue
///
/// Workers stop claiming from it, everywhere. Jobs that run finish, and enqueueing goes on.
#[utoipa::path(
    post,
    path = "/v1/queues/{name}/pause",
    operation_id = "pause_queue",
    tag = "queues",
    params(("name" = String, Path, description = "The queue.")),
    responses((status = 200, description = "The queue as it is now.", body = QueueView), Problems)
)]
async fn pause(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<QueueView>, Problem> {
    caller.require_in(Scope::Operate, &name)?;
    backroom::core::bounds::check_name("queue", &name)?;
    record(&state, &caller, "queue.pause", &name, None::<&()>).await?;
    state.backroom.pause(&name).await?;
    Ok(Json(find(&state, &caller, &name).await?))
}

/// Resume a queue
#[utoipa::path(
    post,
    path = "/v1/queues/{name}/resume",
    operation_id = "resume_queue",
    tag = "queues",
    params(("name" = String, Path, description = "The queue.")),
    responses((status = 200, description = "The queue as it is now.", body = QueueView), Problems)
)]
async fn resume(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<QueueView>, Problem> {
    caller.require_in(Scope::Operate, &name)?;
    find(&state, &caller, &name).await?;
    record(&state, &caller, "queue.resume", &name, None::<&()>).await?;
    state.backroom.resume(&name).await?;
    Ok(Json(find(&state, &caller, &name).await?))
}

/// Change the settings of a queue
///
/// A queue comes into being with the first setting that names it.
#[utoipa::path(
    patch,
    path = "/v1/queues/{name}",
    operation_id = "set_queue",
    tag = "queues",
    params(("name" = String, Path, description = "The queue.")),
    request_body = QueueSettings,
    responses((status = 200, description = "The queue as it is now.", body = QueueView), Problems)
)]
async fn set(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
    body: JsonBytes,
) -> Result<Json<QueueView>, Problem> {
    caller.require_in(Scope::Operate, &name)?;
    let settings: QueueSettings = body.read()?;
    backroom::core::bounds::check_name("queue", &name)?;
    record(&state, &caller, "queue.set", &name, Some(&settings)).await?;
    if let Some(retention) = settings.retention {
        state.backroom.retain(&name, retention).await?;
    }
    if let Some(depth_max) = settings.depth_max {
        state.backroom.limit_depth(&name, depth_max).await?;
    }
    Ok(Json(find(&state, &caller, &name).await?))
}
