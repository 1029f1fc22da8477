//! Queues: to list with their counts, to pause, and to set.

use backroom::Retention;
use hyper::Method;

use super::{Target, escaped};
use crate::{
    bodies::QueueSettings,
    remote::Remote,
    terminal::Problem,
    views::{QueueList, QueueView},
};

impl Target {
    /// Every queue with the number of its jobs by state.
    pub(crate) async fn queues(&self) -> Result<QueueList, Problem> {
        match self {
            Self::Store(backroom) => Ok(QueueList::new(backroom.queues().await?, &backroom.counts().await?)),
            Self::Server(remote) => remote.get("/v1/queues").await,
        }
    }

    /// Stops claims from a queue.
    pub(crate) async fn pause(&self, name: &str) -> Result<(), Problem> {
        match self {
            Self::Store(backroom) => Ok(backroom.pause(name).await?),
            Self::Server(remote) => act(remote, name, "pause").await,
        }
    }

    /// Claims from a queue again.
    pub(crate) async fn resume(&self, name: &str) -> Result<(), Problem> {
        match self {
            Self::Store(backroom) => Ok(backroom.resume(name).await?),
            Self::Server(remote) => act(remote, name, "resume").await,
        }
    }

    /// Sets how long a queue retains its finished jobs.
    pub(crate) async fn retain(&self, name: &str, retention: Retention) -> Result<(), Problem> {
        match self {
            Self::Store(backroom) => Ok(backroom.retain(name, retention).await?),
            Self::Server(remote) => {
                set(remote, name, QueueSettings { retention: Some(retention), ..QueueSettings::default() })
                    .await
            }
        }
    }

    /// Sets how many jobs may wait in a queue.
    pub(crate) async fn limit_depth(&self, name: &str, depth: Option<u64>) -> Result<(), Problem> {
        match self {
            Self::Store(backroom) => Ok(backroom.limit_depth(name, depth).await?),
            Self::Server(remote) => {
                set(remote, name, QueueSettings { depth_max: Some(depth), ..QueueSettings::default() }).await
            }
        }
    }
}

async fn act(remote: &Remote, name: &str, what: &str) -> Result<(), Problem> {
    let path = format!("/v1/queues/{}/{what}", escaped(name));
    remote.send::<QueueView>(Method::POST, &path, &()).await.map(drop)
}

async fn set(remote: &Remote, name: &str, settings: QueueSettings) -> Result<(), Problem> {
    remote
        .send::<QueueView>(Method::PATCH, &format!("/v1/queues/{}", escaped(name)), &settings)
        .await
        .map(drop)
}
