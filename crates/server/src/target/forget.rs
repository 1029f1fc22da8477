//! Forgetting a subject.

use hyper::Method;
use serde::Serialize;

use super::Target;
use crate::{terminal::Problem, views::ForgottenView};

impl Target {
    /// Deletes all that is stored about the jobs with this tag.
    pub(crate) async fn forget(&self, tag: &str) -> Result<ForgottenView, Problem> {
        #[derive(Serialize)]
        struct Subject<'a> {
            tag: &'a str,
        }
        match self {
            Self::Store(backroom) => Ok(backroom.forget(tag).await?.into()),
            Self::Server(remote) => remote.send(Method::POST, "/v1/forget", &Subject { tag }).await,
        }
    }
}
