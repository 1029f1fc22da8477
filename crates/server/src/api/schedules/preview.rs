//! What a schedule would do, before it is put.

use axum::{Json, extract::State};

use crate::{
    api::{
        body::JsonBytes,
        caller::{Caller, Scope},
        problem::{Problem, Problems},
    },
    schedules::{
        body::PreviewBody,
        preview::{PreviewView, preview},
    },
    serve::AppState,
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
