//! `/v1/endpoints`: URLs of callbacks whose receiver wants no more of them.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    act::record,
    body::JsonBytes,
    caller::{Caller, Scope},
    extract::Query,
    problem::{Problem, Problems},
};
use crate::{bodies::EndpointUrl, serve::AppState, views::EndpointPage};

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(enable))
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EndpointsQuery {
    /// Those after this URL: `next` of the page before.
    after: Option<String>,
}

/// List endpoints that have ended
///
/// A receiver that answers a callback with 410 ends its endpoint: later callbacks to the URL are discarded with that reason.
#[utoipa::path(
    get,
    path = "/v1/endpoints",
    operation_id = "list_endpoints",
    tag = "endpoints",
    params(EndpointsQuery),
    responses((status = 200, description = "A page of endpoints.", body = EndpointPage), Problems)
)]
async fn list(
    State(state): State<AppState>,
    caller: Caller,
    Query(query): Query<EndpointsQuery>,
) -> Result<Json<EndpointPage>, Problem> {
    caller.require_everywhere(Scope::Read)?;
    Ok(Json(EndpointPage::new(state.backroom.ended_endpoints(query.after).await?)))
}

/// Enable an endpoint
///
/// Callbacks are sent to it again. Those that were discarded are sent once they are retried. Safe to repeat.
#[utoipa::path(
    post,
    path = "/v1/endpoints/enable",
    operation_id = "enable_endpoint",
    tag = "endpoints",
    request_body = EndpointUrl,
    responses((status = 204, description = "Callbacks are sent to it again."), Problems)
)]
async fn enable(
    State(state): State<AppState>,
    caller: Caller,
    body: JsonBytes,
) -> Result<StatusCode, Problem> {
    caller.require_everywhere(Scope::Operate)?;
    let enabled: EndpointUrl = body.read()?;
    record(&state, &caller, "endpoint.enable", "", Some(&enabled)).await?;
    state.backroom.enable_endpoint(&enabled.url).await?;
    Ok(StatusCode::NO_CONTENT)
}
