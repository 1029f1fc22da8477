//! `/v1/config`: the settings of this server.

use axum::{Json, extract::State};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::{Caller, Scope},
    problem::{Problem, Problems},
};
use crate::{serve::AppState, views::ConfigView};

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(config))
}

/// Read the settings of the server
///
/// Those in effect, and where each came from. Secrets are hidden.
#[utoipa::path(
    get,
    path = "/v1/config",
    operation_id = "read_config",
    tag = "server",
    responses((status = 200, description = "The settings.", body = ConfigView), Problems)
)]
async fn config(State(state): State<AppState>, caller: Caller) -> Result<Json<ConfigView>, Problem> {
    caller.require_everywhere(Scope::Admin)?;
    Ok(Json(ConfigView::new(&state.loaded.now())))
}
