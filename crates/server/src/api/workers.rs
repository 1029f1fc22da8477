//! `/v1/workers`, `/v1/counts`, `/v1/stats`: what is going on.

use std::time::Duration;

use axum::{Json, extract::State};
use backroom::{Count, KindStats, Timestamp, WorkerRow};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::{Caller, Scope},
    codes::Code,
    extract::Query,
    problem::{Problem, Problems},
};
use crate::{serve::AppState, terminal::parse::span};

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(workers)).routes(routes!(counts)).routes(routes!(stats))
}

/// The workers that are alive.
#[derive(Serialize, ToSchema)]
struct Workers {
    /// Each as it last reported itself.
    #[schema(value_type = Vec<Object>)]
    workers: Vec<WorkerRow>,
}

/// List the workers that are alive
///
/// Needs a token that is valid for every queue.
#[utoipa::path(
    get,
    path = "/v1/workers",
    operation_id = "list_workers",
    tag = "workers",
    responses((status = 200, description = "The workers.", body = Workers), Problems)
)]
async fn workers(State(state): State<AppState>, caller: Caller) -> Result<Json<Workers>, Problem> {
    caller.require_everywhere(Scope::Read)?;
    Ok(Json(Workers { workers: state.backroom.workers().await? }))
}

/// How many jobs there are.
#[derive(Serialize, ToSchema)]
struct Counts {
    /// By queue and by state as shown; zeros are left out: `{"queue", "state", "jobs"}`.
    #[schema(value_type = Vec<Object>)]
    counts: Vec<Count>,
}

/// Count the jobs by queue and state
#[utoipa::path(
    get,
    path = "/v1/counts",
    operation_id = "count_jobs",
    tag = "queues",
    responses((status = 200, description = "The counts.", body = Counts), Problems)
)]
async fn counts(State(state): State<AppState>, caller: Caller) -> Result<Json<Counts>, Problem> {
    caller.require(Scope::Read)?;
    let mut counts = state.backroom.counts().await?;
    counts.retain(|count| caller.sees(&count.queue));
    Ok(Json(Counts { counts }))
}

/// How far back.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct StatsQuery {
    /// Attempts that ended within this span, like `15m`; at most `1h`. Default `15m`.
    span: Option<String>,
}

/// What was done lately.
#[derive(Serialize, ToSchema)]
struct StatsView {
    /// From the beginning of this minute until now.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// Each kind of which an attempt ended.
    #[schema(value_type = Vec<Object>)]
    kinds: Vec<KindStats>,
    /// The oldest minutes are missing, because there was too much to add up.
    is_cut: bool,
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
    let stats = state.backroom.stats(wanted).await?;
    Ok(Json(StatsView { since: stats.since, kinds: stats.kinds, is_cut: stats.is_cut }))
}
