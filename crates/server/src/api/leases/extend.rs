//! `POST /v1/leases/extend` and `POST /v1/leases/leave`.

use axum::{Json, extract::State, http::StatusCode};
use backroom::{LeaseId, RunKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{HeldView, RunBody, WorkerBody, too_many};
use crate::{
    api::{
        body::JsonBytes,
        caller::{Caller, Scope},
        problem::{Problem, Problems},
    },
    serve::AppState,
};

/// Most runs of one request.
const RUNS_MAX: usize = 10_000;

/// What the worker has.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ExtendBody {
    /// Who extends.
    worker: WorkerBody,
    /// All runs that the worker has, also those whose commit is not answered yet. At most 10000.
    leases: Vec<RunBody>,
    /// The ids of claims that are not answered yet.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    claims: Vec<LeaseId>,
}

/// Which leases hold.
#[derive(Serialize, ToSchema)]
pub(super) struct Extended {
    /// One answer for each lease of the request, in order.
    leases: Vec<HeldView>,
    /// How many jobs were given back, because the worker did not name them in two requests in a row.
    given_back: usize,
}

/// Extend leases
///
/// Says that the worker lives. Its leases hold for `lease_ms` from each of its calls on. The answer names the leases that are lost
/// and the jobs that are to stop. A job that runs under the name of the worker, and that the worker does not name in two
/// requests in a row, is given back: the answer to its claim was lost.
#[utoipa::path(
    post,
    path = "/v1/leases/extend",
    operation_id = "extend_leases",
    tag = "work",
    request_body = ExtendBody,
    responses((status = 200, description = "Which leases hold.", body = Extended), Problems)
)]
pub(super) async fn extend(
    State(state): State<AppState>,
    caller: Caller,
    body: JsonBytes,
) -> Result<Json<Extended>, Problem> {
    caller.require(Scope::Work)?;
    let ExtendBody { worker, leases, claims } = body.read()?;
    too_many("leases", leases.len().max(claims.len()), RUNS_MAX)?;
    let worker = worker.of(&caller)?;
    let runs: Vec<_> = leases.into_iter().map(RunKey::from).collect();
    let extended = state.leases.extend(&worker, &runs, &claims).await?;
    let leases = extended.leases.into_iter().map(HeldView::from).collect();
    Ok(Json(Extended { leases, given_back: extended.given_back }))
}

/// Who leaves.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LeaveBody {
    /// The worker.
    worker: WorkerBody,
}

/// Leave
///
/// The worker has stopped. Its row disappears from the list of workers. It commits all its jobs before.
#[utoipa::path(
    post,
    path = "/v1/leases/leave",
    operation_id = "leave",
    tag = "work",
    request_body = LeaveBody,
    responses((status = 204, description = "The worker is gone."), Problems)
)]
pub(super) async fn leave(
    State(state): State<AppState>,
    caller: Caller,
    body: JsonBytes,
) -> Result<StatusCode, Problem> {
    caller.require(Scope::Work)?;
    let LeaveBody { worker } = body.read()?;
    state.leases.leave(&worker.of(&caller)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
