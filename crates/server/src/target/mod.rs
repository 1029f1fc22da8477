//! What a command acts on: a store, or a running server that has one.
//!
//! A command asks a [`Target`] and does not know which of the two answers: both answer with [`views`](crate::views).
//! What can only be done to a store (`doctor`, `migrate`, `backup`, `move`) does not go through here.

mod access;
mod endpoints;
mod enqueue;
mod follow;
mod forget;
mod jobs;
mod links;
mod queues;
mod replies;
mod schedules;
#[cfg(feature = "triggers")]
mod triggers;

use std::time::Duration;

use backroom::{Backroom, Timestamp};

pub(crate) use self::{
    enqueue::Ties,
    jobs::Selection,
    links::{BatchStep, EndJob, NewBatch},
};

use crate::{
    bodies::escaped,
    remote::Remote,
    terminal::Problem,
    views::{StatsView, WorkerList},
};

/// A store, or a running server that has one.
pub(crate) enum Target {
    Store(Backroom),
    Server(Remote),
}

impl Target {
    /// The time of the store's clock, whose moments jobs bear. Through a server it is that of its last answer, and what has
    /// passed since.
    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Self::Store(backroom) => backroom.clock().now(),
            Self::Server(remote) => remote.now(),
        }
    }

    /// Waits before the target is asked again.
    pub(crate) async fn rest(&self, span: Duration) {
        match self {
            Self::Store(backroom) => backroom.clock().sleep(span).await,
            Self::Server(remote) => remote.rest(span).await,
        }
    }

    /// The workers that are alive.
    pub(crate) async fn workers(&self) -> Result<WorkerList, Problem> {
        match self {
            Self::Store(backroom) => Ok(WorkerList { workers: backroom.workers().await? }),
            Self::Server(remote) => remote.get("/v1/workers").await,
        }
    }

    /// What workers counted lately.
    pub(crate) async fn stats(&self, last: Duration) -> Result<StatsView, Problem> {
        match self {
            Self::Store(backroom) => Ok(StatsView::new(&backroom.stats(last).await?)),
            Self::Server(remote) => remote.get(&format!("/v1/stats?span={}ms", last.as_millis())).await,
        }
    }

    /// Lets go of the store.
    pub(crate) async fn close(self) -> Result<(), Problem> {
        match self {
            Self::Store(backroom) => Ok(backroom.close().await?),
            Self::Server(_) => Ok(()),
        }
    }
}
