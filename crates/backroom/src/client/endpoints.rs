//! Endpoints of callbacks whose receiver wants no more of them.

use backroom_core::http_url::HttpUrl;

use super::Backroom;
use crate::{Error, ErrorKind, store::EndedEndpoint};

/// Most endpoints on one page.
const PAGE_MAX: usize = 1000;

impl Backroom {
    /// Endpoints that have ended, because their receiver answered a callback with `410 Gone`: by URL, after `after` when given, at
    /// most a thousand.
    pub async fn ended_endpoints(&self, after: Option<String>) -> Result<Vec<EndedEndpoint>, Error> {
        self.store().ended_endpoints(after, PAGE_MAX).await
    }

    /// Has callbacks sent to a URL again whose endpoint has ended. [`NotFound`](ErrorKind::NotFound) if it had not. Callbacks
    /// that were discarded in the meantime are sent by a [retry](Backroom::retry).
    pub async fn enable_endpoint(&self, url: &str) -> Result<(), Error> {
        // In its one spelling, as it is stored.
        let url = HttpUrl::parse(url)?.to_string();
        // A repeated call finds nothing more to enable.
        if self.store().ended_endpoint(&url).await?.is_none() {
            let message = format!("enable the endpoint {url}: it has not ended");
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        self.store().enable_endpoint(&url).await.map(drop)
    }
}
