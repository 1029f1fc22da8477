//! What a schedule would do, before it is put.

use axum::{Json, extract::State};
use backroom::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;

use super::find_to;
use crate::{
    api::{
        body::JsonBytes,
        caller::{Caller, Scope},
        codes::Code,
        extract::{Path, Query},
        problem::{Problem, Problems},
    },
    bodies::schedule::PreviewBody,
    serve::AppState,
    views::preview::{NEXT_DEFAULT, PreviewView, preview},
};

/// Preview expressions
///
/// What they mean in plain language, and when they fire, with the changes of clocks marked. Nothing is stored.
#[utoipa::path(
    post,
    path = "/v1/schedule-preview",
    tag = "schedules",
    request_body = PreviewBody,
    responses((status = 200, description = "The preview.", body = PreviewView), Problems)
)]
pub(super) async fn of_specs(
    State(state): State<AppState>,
    caller: Caller,
    body: JsonBytes,
) -> Result<Json<PreviewView>, Problem> {
    caller.require(Scope::Read)?;
    let body: PreviewBody = body.read()?;
    let (next, previous) = (body.next, body.previous);
    let at = body.at.unwrap_or_else(|| state.backroom.clock().now());
    Ok(Json(preview(&body.schedule()?, at, next, previous)?))
}

/// Which occurrences.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PreviewQuery {
    /// From this moment on. Default now.
    #[param(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
    /// How many of the next occurrences, at most 1000. Default 10.
    #[param(maximum = 1000)]
    next: Option<usize>,
    /// How many of the previous occurrences, at most 1000. Default none.
    #[param(maximum = 1000)]
    previous: Option<usize>,
}

/// Preview a schedule
///
/// What it means in plain language, and when it fires, with the changes of clocks marked.
#[utoipa::path(
    get,
    path = "/v1/schedules/{name}/preview",
    tag = "schedules",
    params(("name" = String, Path, description = "The schedule."), PreviewQuery),
    responses((status = 200, description = "The preview.", body = PreviewView), Problems)
)]
pub(super) async fn of_schedule(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
    Query(query): Query<PreviewQuery>,
) -> Result<Json<PreviewView>, Problem> {
    let found = find_to(&state, &caller, Scope::Read, &name).await?;
    let Some(definition) = found.schedule.definition else {
        return Err(Problem::new(
            Code::Refused,
            format!("this version of the server cannot read schedule {name:?}"),
        ));
    };
    let at = query.at.unwrap_or_else(|| state.backroom.clock().now());
    let (next, previous) = (query.next.unwrap_or(NEXT_DEFAULT), query.previous.unwrap_or_default());
    Ok(Json(preview(&definition, at, next, previous)?))
}
