//! `POST /v1/claim`.

use std::{sync::Arc, time::Duration};

use axum::{Extension, Json, extract::State};
use backroom::{ClaimOrder, JobId, JobRow, LeaseId, QueueOrder, RunKey, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::WorkerBody;
use crate::{
    api::{
        around::Deadline,
        body::JsonBytes,
        caller::{Caller, Scope},
        problem::{Problem, Problems},
    },
    serve::AppState,
    views::ExtrasSchema,
};

/// Most bytes of args of one claim, where the caller names no fewer.
const BYTES_MAX: usize = 16 << 20;

/// What to claim.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ClaimBody {
    /// Who claims.
    worker: WorkerBody,
    /// Random, and another one for each claim. If the answer is lost, send the same id again with `repeated`. Default: made by the
    /// server.
    #[schema(value_type = Option<String>, format = "uuid")]
    claim: Option<LeaseId>,
    /// The answer to a claim with this id was lost. The answer is what that claim took, and nothing else is taken.
    #[serde(default)]
    repeated: bool,
    /// The queues of this claim, in the order in which they are served. Default: all queues of the worker.
    queues: Option<Vec<String>>,
    /// Of the worker's kinds those of this claim: a worker leaves kinds out that it cannot do now. Default: all of them.
    kinds: Option<Vec<String>>,
    /// Most jobs, up to 1000. Default 1. With 0 nothing is taken: the answer comes when a job is due, and says so in `due`.
    #[schema(minimum = 0, maximum = 1000)]
    limit: Option<usize>,
    /// The claim ends with the job that makes it reach this many bytes. Default, and at most, 16 MiB.
    bytes_max: Option<usize>,
    /// Wait up to this many milliseconds for the first job. At most the setting `limits.wait_time`. Default 0.
    #[serde(default)]
    wait_ms: u64,
}

/// Jobs in the hands of one worker.
#[derive(Serialize, ToSchema)]
pub(super) struct Claimed {
    /// The id of the claim.
    #[schema(value_type = String, format = "uuid")]
    claim: LeaseId,
    /// The worker makes its next call within so many milliseconds, or its jobs run elsewhere.
    lease_ms: u64,
    /// The jobs.
    jobs: Vec<LeasedJob>,
    /// With a limit of 0: whether a job is due. Another worker may be faster.
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<bool>,
}

/// A job that was claimed.
#[derive(Serialize, ToSchema)]
struct LeasedJob {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    id: JobId,
    /// Its lease: with the id it names the run.
    #[schema(value_type = String, format = "uuid")]
    lease: LeaseId,
    /// What a program that runs the job may call back with: it is valid for this run only, at `/v1/lease/…`.
    token: String,
    /// Which handler runs it.
    kind: String,
    /// Where it waited.
    queue: String,
    /// 0 (first) to 9 (last).
    priority: u8,
    /// Input of the handler.
    #[schema(value_type = serde_json::Value)]
    args: backroom::Json,
    /// Which attempt this is; the first one is 1.
    attempt: u32,
    /// Attempts allowed.
    max_attempts: u32,
    /// Longest time that the attempt may take, in milliseconds. The worker sees to it.
    timeout_ms: Option<u64>,
    /// Labels.
    tags: Vec<String>,
    /// Everything else that its caller chose.
    #[schema(value_type = ExtrasSchema)]
    extras: backroom::Extras,
    /// When it was due.
    #[schema(value_type = String, format = DateTime)]
    scheduled_at: Timestamp,
    /// When it was enqueued.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// Claim jobs
///
/// Answers with due jobs of the worker's kinds, at most `limit`. Waits for the first one, if asked to. The worker extends the leases
/// with `/v1/leases/extend` about three times within `lease_ms`, and says with `/v1/leases/commit` what became of the jobs.
#[utoipa::path(
    post,
    path = "/v1/claim",
    operation_id = "claim_jobs",
    tag = "work",
    request_body = ClaimBody,
    responses((status = 200, description = "The jobs; none if there are none now.", body = Claimed), Problems)
)]
pub(super) async fn claim(
    State(state): State<AppState>,
    caller: Caller,
    Extension(deadline): Extension<Deadline>,
    body: JsonBytes,
) -> Result<Json<Claimed>, Problem> {
    caller.require(Scope::Work)?;
    let ClaimBody { worker, claim, repeated, queues, kinds, limit, bytes_max, wait_ms } = body.read()?;
    let worker = backroom::RemoteWorker { claims: kinds, ..worker.of(&caller)? };
    for queue in queues.iter().flatten() {
        caller.require_in(Scope::Work, queue)?;
    }
    let queues = queues.unwrap_or_else(|| worker.queues.iter().map(|(queue, _)| queue.clone()).collect());
    let wait = Duration::from_millis(wait_ms).min(state.settings.now().limits.wait_time);
    deadline.extend(wait);
    let lease_ms = u64::try_from(worker.lease.as_millis()).unwrap_or(u64::MAX);
    if limit == Some(0) {
        let due = tokio::select! {
            due = state.leases.ready(&worker, queues, wait) => due?,
            () = state.stopping.cancelled() => false,
        };
        let claim = claim.unwrap_or_else(|| state.ids.lease());
        return Ok(Json(Claimed { claim, lease_ms, jobs: Vec::new(), due: Some(due) }));
    }
    let order = ClaimOrder {
        id: claim.unwrap_or_else(|| state.ids.lease()),
        is_repeated: repeated,
        queues: QueueOrder::strict(queues),
        limit: limit.unwrap_or(1),
        bytes_max: bytes_max.unwrap_or(BYTES_MAX).clamp(1, BYTES_MAX),
        wait,
    };
    let (id, without_wait) = (order.id, ClaimOrder { wait: Duration::ZERO, ..order.clone() });
    let jobs = tokio::select! {
        biased;
        jobs = state.leases.claim(&worker, order) => jobs?,
        // Between two tries nothing is taken. One that was under way is found by this.
        () = state.stopping.cancelled() => {
            state.leases.claim(&worker, ClaimOrder { is_repeated: true, ..without_wait }).await?
        }
    };
    let jobs = jobs.iter().filter(|job| caller.sees(&job.queue)).map(|job| leased(&state, job, id)).collect();
    Ok(Json(Claimed { claim: id, lease_ms, jobs, due: None }))
}

fn leased(state: &AppState, job: &Arc<JobRow>, lease: LeaseId) -> LeasedJob {
    let timeout = job.extras.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    LeasedJob {
        id: job.id,
        lease,
        token: state.lease_tokens.issue(RunKey { job: job.id, lease }),
        kind: job.kind.clone(),
        queue: job.queue.clone(),
        priority: job.priority,
        args: job.args.clone(),
        attempt: job.attempt,
        max_attempts: job.max_attempts,
        timeout_ms: timeout,
        tags: job.tags.clone(),
        extras: job.extras.clone(),
        scheduled_at: job.scheduled_at,
        created_at: job.created_at,
    }
}
