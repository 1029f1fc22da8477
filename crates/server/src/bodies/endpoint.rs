//! Endpoints of callbacks.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which endpoint.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndpointUrl {
    /// The URL, with its query.
    pub(crate) url: String,
}
