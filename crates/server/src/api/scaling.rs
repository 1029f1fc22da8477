//! `/v1/scaling/{queue}`: how much work waits, for autoscalers.
//!
//! The answer is what the metrics-api scaler of KEDA reads: a JSON object of numbers, of which `valueLocation` names one.

use axum::{Json, extract::State};
use backroom::core::bounds::{check_name, span_until};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::{Caller, Scope},
    extract::Path,
    problem::{Problem, Problems},
};
use crate::serve::AppState;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(scaling))
}

/// How much work waits in a queue.
#[derive(Debug, Serialize, ToSchema)]
struct Scaling {
    /// The queue.
    queue: String,
    /// Jobs that are due and wait for a worker, counted up to 100,000.
    ready: u64,
    /// Jobs that run.
    running: u64,
    /// Both together: divided by the slots of one worker, it is the number of workers that would run all of it at once.
    load: u64,
    /// For how long the oldest of the ready jobs is due, in seconds; 0 if none is.
    oldest_age_secs: u64,
}

/// Read how much work waits in a queue
///
/// For KEDA: `url: http://backroom:8080/v1/scaling/mail`, `valueLocation: load`, and the slots of one worker as `targetValue`. A queue that
/// nothing named yet has no work.
#[utoipa::path(
    get,
    path = "/v1/scaling/{queue}",
    operation_id = "read_load",
    tag = "queues",
    params(("queue" = String, Path, description = "The queue.")),
    responses((status = 200, description = "How much work waits.", body = Scaling), Problems)
)]
async fn scaling(
    State(state): State<AppState>,
    caller: Caller,
    Path(queue): Path<String>,
) -> Result<Json<Scaling>, Problem> {
    caller.require_in(Scope::Read, &queue)?;
    check_name("queue", &queue)?;
    let load = state.backroom.load(&queue).await?;
    let now = state.backroom.clock().now();
    let oldest_age_secs = load.oldest_at.map_or(0, |at| span_until(at, now).as_secs());
    let (ready, running) = (load.ready, load.running);
    Ok(Json(Scaling { queue, ready, running, load: ready + running, oldest_age_secs }))
}
