//! `/v1/schedules`: what the clock starts.

mod preview;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::serve::AppState;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(preview::of_specs))
}
