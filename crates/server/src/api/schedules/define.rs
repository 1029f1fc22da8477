//! Putting and deleting schedules.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use backroom::schedule::Origin;

use super::{conditions::Conditions, find, sees};
use crate::{
    api::{
        act::record,
        body::JsonBytes,
        caller::{Caller, Scope},
        extract::Path,
        problem::{Problem, Problems},
    },
    bodies::schedule::ScheduleBody,
    schedules::own,
    serve::AppState,
    views::schedule::{PutOutcome, PutView},
};

/// Put a schedule
///
/// Creates it, or replaces its definition; its counters, its history and an operator's pause stay. To put the same again changes
/// nothing. With `If-Match` only the version that the caller has read is replaced; with `If-None-Match: *` only a new one is created. A schedule
/// of the server's settings is refused.
#[utoipa::path(
    put,
    path = "/v1/schedules/{name}",
    tag = "schedules",
    params(
        ("name" = String, Path, description = "The schedule."),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the version to replace."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is none.")
    ),
    request_body = ScheduleBody,
    responses(
        (status = 200, description = "The schedule was there.", body = PutView, headers(("etag" = String, description = "Its version."))),
        (status = 201, description = "The schedule is new.", body = PutView, headers(("etag" = String, description = "Its version."))),
        Problems
    )
)]
pub(super) async fn put(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response, Problem> {
    caller.require(Scope::Operate)?;
    let conditions = Conditions::of(&headers)?;
    let wanted: ScheduleBody = body.read()?;
    let schedule = wanted.schedule(&name)?;
    caller.require_in(Scope::Operate, &schedule.job.queue)?;
    // A schedule of a queue that the token does not reach must not be replaced, and not be seen either.
    let schedules = state.backroom.schedules();
    if let Some(before) = schedules.get(&name).await?
        && !sees(&caller, &crate::views::schedule::ScheduleView::new(before.summary))
    {
        find(&state, &caller, &name).await?;
    }
    // What is refused anyway is no act.
    schedules.check(&schedule)?;
    let recorded = state.backroom.redacted_definition(schedule.clone()).0;
    record(&state, &caller, "schedule.put", &name, Some(&recorded)).await?;
    let put = own::put(&schedules, Origin::Api, &schedule, |before| conditions.check(before)).await;
    let outcome: PutOutcome = put.map_err(Conditions::problem)?.into();
    let schedule = find(&state, &caller, &name).await?.schedule;
    let status = if outcome == PutOutcome::Created { StatusCode::CREATED } else { StatusCode::OK };
    let tag = HeaderValue::from_str(&schedule.etag()).expect("invariant: a hash in hexadecimal");
    Ok((status, [(header::ETAG, tag)], Json(PutView { outcome, schedule })).into_response())
}

/// Delete a schedule
///
/// With its history. Its jobs stay, and those that run go on. A schedule of the server's settings is refused.
#[utoipa::path(
    delete,
    path = "/v1/schedules/{name}",
    tag = "schedules",
    params(
        ("name" = String, Path, description = "The schedule."),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the version to delete.")
    ),
    responses((status = 204, description = "The schedule is gone."), Problems)
)]
pub(super) async fn delete(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    caller.require(Scope::Operate)?;
    let conditions = Conditions::of(&headers)?;
    find(&state, &caller, &name).await?;
    record(&state, &caller, "schedule.delete", &name, None::<&()>).await?;
    let deleted =
        own::delete(&state.backroom.schedules(), &name, |before| conditions.check(Some(before))).await;
    deleted.map_err(Conditions::problem)?;
    Ok(StatusCode::NO_CONTENT)
}
