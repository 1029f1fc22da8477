//! `/livez`, `/readyz` and `/metrics`: for those who run the server.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::{Caller, Scope},
    codes::Code,
    problem::{Problem, Problems},
};
use crate::{metrics, serve::AppState};

/// Longest time that `/readyz` waits for the store.
const READY_TIME: Duration = Duration::from_secs(2);

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(livez)).routes(routes!(readyz)).routes(routes!(metrics_text))
}

/// That the server is well.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `alive` or `ready`.
    status: &'static str,
}

/// Whether the process lives
///
/// It answers as long as the process can answer at all. It needs no token and asks no store.
#[utoipa::path(
    get,
    path = "/livez",
    tag = "server",
    security(()),
    responses((status = 200, description = "The process lives.", body = Health), Problems)
)]
async fn livez() -> Json<Health> {
    Json(Health { status: "alive" })
}

/// Whether the server can serve
///
/// The store answers, and the server is not stopping. It needs no token.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "server",
    security(()),
    responses((status = 200, description = "The server can serve.", body = Health), Problems)
)]
async fn readyz(State(state): State<AppState>) -> Result<Json<Health>, Problem> {
    if state.is_draining() {
        return Err(Problem::new(Code::Draining, "the server is stopping").retry_after_secs(1));
    }
    match tokio::time::timeout(READY_TIME, state.backroom.queues()).await {
        Ok(Ok(_)) => Ok(Json(Health { status: "ready" })),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => {
            let detail = format!("the store did not answer within {READY_TIME:?}");
            Err(Problem::new(Code::Unavailable, detail).retry_after_secs(1))
        }
    }
}

/// Metrics in the text format of OpenMetrics
///
/// What the store knows is read at most every few seconds (setting `metrics.refresh`). It needs a token with scope `read` for all
/// queues, unless the setting `metrics.open` is true.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "server",
    responses(
        (status = 200, description = "The metrics.", body = String, content_type = "application/openmetrics-text"),
        Problems
    )
)]
async fn metrics_text(
    State(state): State<AppState>,
    caller: Result<Caller, Problem>,
) -> Result<Response, Problem> {
    let settings = state.settings.now();
    if !settings.metrics.open {
        caller?.require_everywhere(Scope::Read)?;
    }
    state.metrics.refresh(&state.backroom, settings.metrics.refresh).await;
    let text = state.metrics.text().map_err(|error| {
        tracing::error!(%error, "the metrics could not be written");
        Problem::new(Code::Internal, "the server failed")
    })?;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(metrics::MEDIA_TYPE));
    Ok((headers, text).into_response())
}
