//! Forwards the verbs for endpoints of callbacks.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;

use super::{Layer, Request, forward};
use crate::{
    Error,
    store::{Call, EndedEndpoint, EndpointVerbs},
};

#[async_trait]
impl<L: Layer> EndpointVerbs for L {
    async fn end_endpoint(&self, endpoint: Arc<EndedEndpoint>) -> Result<(), Error> {
        forward!(self, Call::First, EndEndpoint { endpoint }, |store, _call| store.end_endpoint(endpoint))
    }

    async fn ended_endpoint(&self, url: &str) -> Result<Option<EndedEndpoint>, Error> {
        let url: Arc<str> = url.into();
        forward!(self, Call::First, EndedEndpoint { url }, |store, _call| store.ended_endpoint(&url))
    }

    async fn ended_endpoints(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<EndedEndpoint>, Error> {
        forward!(self, Call::First, EndedEndpoints { after, limit }, |store, _call| store
            .ended_endpoints(after, limit))
    }

    async fn enable_endpoint(&self, url: &str) -> Result<u64, Error> {
        let url: Arc<str> = url.into();
        forward!(self, Call::First, EnableEndpoint { url }, |store, _call| store.enable_endpoint(&url))
    }
}
