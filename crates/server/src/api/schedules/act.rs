//! Pausing, resuming, triggering and backfilling schedules.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use backroom::TriggerOptions;

use super::find_to;
use crate::{
    api::{
        act::record,
        body::JsonBytes,
        caller::{Caller, Scope},
        codes::Code,
        extract::Path,
        once,
        problem::{Problem, Problems},
    },
    bodies::schedule::{BackfillBody, TriggerBody},
    schedules::own,
    serve::AppState,
    views::schedule::{BackfillView, ScheduleView, TriggeredView},
};

/// Pause a schedule
///
/// It does not fire until it is resumed. Runs that are going are not stopped; what it would have started meanwhile is skipped.
#[utoipa::path(
    post,
    path = "/v1/schedules/{name}/pause",
    tag = "schedules",
    params(("name" = String, Path, description = "The schedule.")),
    responses((status = 200, description = "The schedule as it is now.", body = ScheduleView), Problems)
)]
pub(super) async fn pause(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<ScheduleView>, Problem> {
    find_to(&state, &caller, Scope::Operate, &name).await?;
    record(&state, &caller, "schedule.pause", &name, None::<&()>).await?;
    state.backroom.schedules().pause(&name).await?;
    Ok(Json(find_to(&state, &caller, Scope::Operate, &name).await?.schedule))
}

/// Resume a schedule
///
/// After a pause by an operator, or by its policy after a failure. One that its definition pauses stays paused.
#[utoipa::path(
    post,
    path = "/v1/schedules/{name}/resume",
    tag = "schedules",
    params(("name" = String, Path, description = "The schedule.")),
    responses((status = 200, description = "The schedule as it is now.", body = ScheduleView), Problems)
)]
pub(super) async fn resume(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<ScheduleView>, Problem> {
    find_to(&state, &caller, Scope::Operate, &name).await?;
    record(&state, &caller, "schedule.resume", &name, None::<&()>).await?;
    state.backroom.schedules().resume(&name).await?;
    Ok(Json(find_to(&state, &caller, Scope::Operate, &name).await?.schedule))
}

/// Trigger a schedule
///
/// Starts a run now, also while the schedule is paused or a run is going. With an `Idempotency-Key`, a second trigger of the schedule
/// with the same key starts nothing and answers the job of the first, for at least 24 hours for every caller.
#[utoipa::path(
    post,
    path = "/v1/schedules/{name}/trigger",
    tag = "schedules",
    params(
        ("name" = String, Path, description = "The schedule."),
        ("Idempotency-Key" = Option<String>, Header, description = "Names what is triggered, such as the occurrence of an outside timer.")
    ),
    request_body = Option<TriggerBody>,
    responses(
        (status = 202, description = "The job is stored.", body = TriggeredView,
            headers(("location" = String, description = "Where the job is read."))),
        Problems
    )
)]
pub(super) async fn trigger(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Option<JsonBytes>,
) -> Result<Response, Problem> {
    find_to(&state, &caller, Scope::Enqueue, &name).await?;
    let TriggerBody { args } = body.map(|body| body.read()).transpose()?.unwrap_or_default();
    let mut options = TriggerOptions::default();
    (options.key, options.args) = (once::key(&headers)?, args);
    let schedules = state.backroom.schedules();
    // A client that leaves must not stop what it began.
    let triggering = tokio::spawn(async move { schedules.trigger(&name, options).await });
    let id = triggering.await.map_err(|_| Problem::new(Code::Internal, "the server failed"))??;
    let location = HeaderValue::from_str(&format!("/v1/jobs/{id}")).expect("invariant: an id is plain text");
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(TriggeredView { id })).into_response())
}

/// Backfill a schedule
///
/// Runs the occurrences of a range in the past, oldest first, a bounded number at a time, also after a restart. They are counted first: a
/// range with more than `allow` (default 1000) is refused. With `dry_run` they are only counted. `GET` of the schedule shows how far it is.
#[utoipa::path(
    post,
    path = "/v1/schedules/{name}/backfill",
    tag = "schedules",
    params(("name" = String, Path, description = "The schedule.")),
    request_body = BackfillBody,
    responses(
        (status = 200, description = "The number of occurrences; nothing was begun.", body = BackfillView),
        (status = 202, description = "The backfill has begun.", body = BackfillView),
        Problems
    )
)]
pub(super) async fn backfill(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
    body: JsonBytes,
) -> Result<Response, Problem> {
    let body: BackfillBody = body.read()?;
    find_to(&state, &caller, if body.dry_run { Scope::Read } else { Scope::Operate }, &name).await?;
    if !body.dry_run {
        record(&state, &caller, "schedule.backfill", &name, Some(&body)).await?;
    }
    let begun = own::backfill(&state.backroom.schedules(), &name, &body).await?;
    let status = if begun.backfill.is_some() { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(begun)).into_response())
}

/// Stop a backfill
///
/// Its runs that are going stay. Does nothing if none goes on.
#[utoipa::path(
    delete,
    path = "/v1/schedules/{name}/backfill",
    tag = "schedules",
    params(("name" = String, Path, description = "The schedule.")),
    responses((status = 200, description = "The schedule as it is now.", body = ScheduleView), Problems)
)]
pub(super) async fn stop_backfill(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<ScheduleView>, Problem> {
    find_to(&state, &caller, Scope::Operate, &name).await?;
    record(&state, &caller, "schedule.stop_backfill", &name, None::<&()>).await?;
    state.backroom.schedules().stop_backfill(&name).await?;
    Ok(Json(find_to(&state, &caller, Scope::Operate, &name).await?.schedule))
}
