//! Endpoints of callbacks.

use backroom::EndedEndpoint;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rows::EndedEndpointSchema;

/// Most endpoints that the library answers at once.
const PAGE: usize = 1000;

/// URLs of callbacks whose receivers want no more of them, by URL.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct EndpointPage {
    /// The URLs.
    #[schema(value_type = Vec<EndedEndpointSchema>)]
    pub(crate) endpoints: Vec<EndedEndpoint>,
    /// Pass it as `after` for the next page; null on the last one.
    pub(crate) next: Option<String>,
}

impl EndpointPage {
    /// A full page may have another behind it.
    pub(crate) fn new(endpoints: Vec<EndedEndpoint>) -> Self {
        let next = endpoints.last().filter(|_| endpoints.len() >= PAGE).map(|last| last.url.clone());
        Self { endpoints, next }
    }
}
