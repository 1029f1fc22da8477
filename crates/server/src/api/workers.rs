//! `/v1/workers`, `/v1/counts`, `/v1/stats`: what is going on.

use std::time::Duration;

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::{Caller, Scope},
    codes::Code,
    extract::Query,
    problem::{Problem, Problems},
};
use crate::{
    serve::AppState,
    terminal::parse::span,
    views::{CountList, StatsView, WorkerList},
};

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(workers)).routes(routes!(counts)).routes(routes!(stats))
}

/// List the workers that are alive
///
/// Needs a token that is valid for every queue.
#[utoipa::path(
    get,
    path = "/v1/workers",
    operation_id = "list_workers",
    tag = "workers",
    responses((status = 200, description = "The workers.", body = WorkerList), Problems)
)]
async fn workers(State(state): State<AppState>, caller: Caller) -> Result<Json<WorkerList>, Problem> {
    caller.require_everywhere(Scope::Read)?;
    Ok(Json(WorkerList { workers: state.backroom.workers().await? }))
}

/// Count the jobs by queue and state
#[utoipa::path(
    get,
    path = "/v1/counts",
    operation_id = "count_jobs",
    tag = "queues",
    responses((status = 200, description = "The counts.", body = CountList), Problems)
)]
async fn counts(State(state): State<AppState>, caller: Caller) -> Result<Json<CountList>, Problem> {
    caller.require(Scope::Read)?;
    let mut counts = state.backroom.counts().await?;
    counts.retain(|count| caller.sees(&count.queue));
    Ok(Json(CountList { counts }))
}

/// How far back.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct StatsQuery {
    /// Attempts that ended within this span, like `15m`; at most `1h`. Default `15m`.
    span: Option<String>,
}

/// Read what was done lately, by kind
///
/// Needs a token that is valid for every queue.
#[utoipa::path(
    get,
    path = "/v1/stats",
    operation_id = "read_stats",
    tag = "workers",
    params(StatsQuery),
    responses((status = 200, description = "What was done.", body = StatsView), Problems)
)]
async fn stats(
    State(state): State<AppState>,
    caller: Caller,
    Query(query): Query<StatsQuery>,
) -> Result<Json<StatsView>, Problem> {
    caller.require_everywhere(Scope::Read)?;
    let wanted = query.span.as_deref().map_or(Ok(Duration::from_secs(15 * 60)), span);
    let wanted = wanted.map_err(|why| Problem::new(Code::Invalid, format!("the parameter span {why}")))?;
    Ok(Json(StatsView::new(&state.backroom.stats(wanted).await?)))
}
