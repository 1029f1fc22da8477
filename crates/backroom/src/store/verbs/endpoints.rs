//! Verbs for endpoints of callbacks that want no more of them.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Remembers which URLs have ended. There are no rows for the others.
#[async_trait]
pub trait EndpointVerbs: Send + Sync {
    /// Remembers that a receiver ended an endpoint. One that has ended already stays as it is. Of more than
    /// [`ENDED_ENDPOINTS_MAX`], those that ended first are forgotten.
    async fn end_endpoint(&self, endpoint: Arc<EndedEndpoint>) -> Result<(), Error>;

    /// When and why the endpoint with this URL ended; none if it did not.
    async fn ended_endpoint(&self, url: &str) -> Result<Option<EndedEndpoint>, Error>;

    /// Endpoints that have ended, by URL, after `after` when given, at most `limit`.
    async fn ended_endpoints(&self, after: Option<String>, limit: usize)
    -> Result<Vec<EndedEndpoint>, Error>;

    /// Forgets that an endpoint has ended, so that callbacks are sent to it again. Answers how many there were: 0 or 1.
    async fn enable_endpoint(&self, url: &str) -> Result<u64, Error>;
}

/// Most endpoints that are remembered.
pub const ENDED_ENDPOINTS_MAX: u32 = 10_000;

/// An endpoint whose receiver answered that it wants no more callbacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedEndpoint {
    /// The URL, in its one spelling, with the query: receivers that share a path may differ in it.
    pub url: String,
    /// What the receiver answered.
    pub reason: String,
    /// When.
    pub ended_at: Timestamp,
}
