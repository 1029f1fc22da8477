//! Endpoints of callbacks that have ended.

use std::{ops::Bound, sync::Arc};

use async_trait::async_trait;

use super::MemoryStore;
use crate::{
    Error,
    store::{ENDED_ENDPOINTS_MAX, EndedEndpoint, EndpointVerbs},
};

#[async_trait]
impl EndpointVerbs for MemoryStore {
    async fn end_endpoint(&self, endpoint: Arc<EndedEndpoint>) -> Result<(), Error> {
        self.write(|rows| {
            let ended = &mut rows.ended_endpoints;
            ended.entry(endpoint.url.clone()).or_insert_with(|| (*endpoint).clone());
            while ended.len() > ENDED_ENDPOINTS_MAX as usize {
                let first = ended.values().min_by_key(|ended| ended.ended_at).map(|ended| ended.url.clone());
                first.map(|url| ended.remove(&url));
            }
        })
    }

    async fn ended_endpoint(&self, url: &str) -> Result<Option<EndedEndpoint>, Error> {
        self.read(|rows| rows.ended_endpoints.get(url).cloned())
    }

    async fn ended_endpoints(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<EndedEndpoint>, Error> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.read(|rows| {
            let ended = rows.ended_endpoints.range((from, Bound::Unbounded));
            ended.take(limit).map(|(_, ended)| ended.clone()).collect()
        })
    }

    async fn enable_endpoint(&self, url: &str) -> Result<u64, Error> {
        self.write(|rows| rows.ended_endpoints.remove(url).map_or(0, |_| 1))
    }
}
