//! URLs of callbacks whose receiver wants no more of them.

use hyper::Method;

use super::{Target, escaped};
use crate::{bodies::EndpointUrl, terminal::Problem, views::EndpointPage};

impl Target {
    /// Endpoints that have ended, by URL, after `after` when given.
    pub(crate) async fn ended_endpoints(&self, after: Option<String>) -> Result<EndpointPage, Problem> {
        match self {
            Self::Store(backroom) => Ok(EndpointPage::new(backroom.ended_endpoints(after).await?)),
            Self::Server(remote) => {
                let after = after.map(|url| format!("?after={}", escaped(&url))).unwrap_or_default();
                remote.get(&format!("/v1/endpoints{after}")).await
            }
        }
    }

    /// Has callbacks sent to a URL again.
    pub(crate) async fn enable_endpoint(&self, url: &str) -> Result<(), Problem> {
        match self {
            Self::Store(backroom) => Ok(backroom.enable_endpoint(url).await?),
            Self::Server(remote) => {
                remote.send(Method::POST, "/v1/endpoints/enable", &EndpointUrl { url: url.to_owned() }).await
            }
        }
    }
}
