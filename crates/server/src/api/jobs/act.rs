//! Changing one job.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use backroom::core::draft::When;
use serde::Serialize;

use super::{answer, find};
use crate::{
    api::{
        act::record,
        body::JsonBytes,
        caller::{Caller, Scope},
        extract::Path,
        problem::{Problem, Problems},
    },
    bodies::{Amendment, Cancel, when},
    serve::AppState,
    views::{JobSchema, JobView},
};

async fn changed(state: &AppState, id: backroom::JobId) -> Result<Response, Problem> {
    let job = state.backroom.job(id).await?;
    let view = JobView::of(&state.backroom, job);
    Ok(answer::job(&view, StatusCode::OK, &HeaderMap::new()))
}

/// Cancel a job
///
/// A queued or waiting job is cancelled at once. A running one is marked, and its handler is asked to stop. A finished job stays as
/// it is.
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/cancel",
    operation_id = "cancel_job",
    tag = "jobs",
    params(("id" = String, Path, description = "The job.", format = "uuid")),
    request_body(content = Option<Cancel>, description = "May be left out."),
    responses((status = 200, description = "The job as it is now.", body = JobSchema), Problems)
)]
pub(super) async fn cancel(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    body: Option<JsonBytes>,
) -> Result<Response, Problem> {
    let job = find(&state, &caller, Scope::Operate, &id).await?;
    let asked: Option<Option<Cancel>> = body.map(|body| body.read()).transpose()?;
    let reason = asked.flatten().and_then(|asked| asked.reason);
    let reason = reason.as_deref().unwrap_or("cancelled by a call of the API");
    backroom::core::bounds::check_text("reason", reason, backroom::core::bounds::MESSAGE_BYTES_MAX)?;
    record(
        &state,
        &caller,
        "job.cancel",
        &job.id.to_string(),
        Some(&Cancel { reason: Some(reason.to_owned()) }),
    )
    .await?;
    state.backroom.cancel_because(job.id, reason).await?;
    changed(&state, job.id).await
}

/// Retry a job
///
/// A queued job becomes due now; a finished one is given another attempt.
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/retry",
    operation_id = "retry_job",
    tag = "jobs",
    params(("id" = String, Path, description = "The job.", format = "uuid")),
    responses((status = 200, description = "The job as it is now.", body = JobSchema), Problems)
)]
pub(super) async fn retry(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let job = find(&state, &caller, Scope::Operate, &id).await?;
    record(&state, &caller, "job.retry", &job.id.to_string(), None::<&()>).await?;
    state.backroom.retry(job.id).await?;
    changed(&state, job.id).await
}

/// Delete a job
///
/// With its attempts and its log. A running job must be cancelled first.
#[utoipa::path(
    delete,
    path = "/v1/jobs/{id}",
    operation_id = "delete_job",
    tag = "jobs",
    params(("id" = String, Path, description = "The job.", format = "uuid")),
    responses((status = 204, description = "The job is deleted."), Problems)
)]
pub(super) async fn delete(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let job = find(&state, &caller, Scope::Operate, &id).await?;
    record(&state, &caller, "job.delete", &job.id.to_string(), None::<&()>).await?;
    state.backroom.delete(job.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Change a queued job
///
/// Its time, its priority, its args and its queue can change while it is queued.
#[utoipa::path(
    patch,
    path = "/v1/jobs/{id}",
    operation_id = "amend_job",
    tag = "jobs",
    params(("id" = String, Path, description = "The job.", format = "uuid")),
    request_body = Amendment,
    responses((status = 200, description = "The job as it is now.", body = JobSchema), Problems)
)]
pub(super) async fn amend(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    body: JsonBytes,
) -> Result<Response, Problem> {
    let job = find(&state, &caller, Scope::Operate, &id).await?;
    let asked: Amendment = body.read()?;
    let recorded = Amended::of(&asked);
    let Amendment { scheduled_at, delay_ms, priority, args, queue } = asked;
    let mut amend = state.backroom.amend(job.id);
    amend = match when("scheduled_at", scheduled_at, "delay_ms", delay_ms)? {
        Some(When::At(at)) => amend.at(at),
        Some(When::In(delay)) => amend.delay(delay),
        Some(When::Now) | None => amend,
    };
    if let Some(priority) = priority {
        amend = amend.priority(priority);
    }
    if let Some(args) = &args {
        amend = amend.args(args);
    }
    if let Some(queue) = queue {
        caller.require_in(Scope::Operate, &queue)?;
        amend = amend.queue(queue);
    }
    record(&state, &caller, "job.amend", &job.id.to_string(), Some(&recorded)).await?;
    amend.await?;
    changed(&state, job.id).await
}

/// What the audit log says of a change. Args may have fields that are hidden from its readers, so only that they changed stands there.
#[derive(Debug, Serialize)]
struct Amended {
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduled_at: Option<backroom::Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<String>,
    /// Whether the args changed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    args: bool,
}

impl Amended {
    fn of(asked: &Amendment) -> Self {
        let Amendment { scheduled_at, delay_ms, priority, args, queue } = asked;
        Self {
            scheduled_at: *scheduled_at,
            delay_ms: *delay_ms,
            priority: *priority,
            queue: queue.clone(),
            args: args.is_some(),
        }
    }
}
