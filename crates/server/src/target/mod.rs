//! What a command acts on: a store, or a running server that has one.
//!
//! A command asks a [`Target`] and does not know which of the two answers: the words, the tables and the JSON are the same.
//! What can only be done to a store (`doctor`, `migrate`, `backup`, `move`) does not go through here.

mod enqueue;
mod jobs;
mod queues;

use std::time::Duration;

use backroom::{Backroom, KindStats, Timestamp, WorkerRow};
use serde::Deserialize;

pub(crate) use self::{
    enqueue::{Enqueued, Outcome},
    jobs::{Asked, Changes, Selection, Whole, Why},
    queues::Queues,
};

use crate::{remote::Remote, terminal::Problem};

/// A store, or a running server that has one.
pub(crate) enum Target {
    Store(Backroom),
    Server(Remote),
}

/// What workers counted.
#[derive(Deserialize)]
pub(crate) struct Stats {
    pub(crate) since: Timestamp,
    pub(crate) is_cut: bool,
    pub(crate) kinds: Vec<KindStats>,
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

    /// The workers that are alive.
    pub(crate) async fn workers(&self) -> Result<Vec<WorkerRow>, Problem> {
        #[derive(Deserialize)]
        struct Workers {
            workers: Vec<WorkerRow>,
        }
        match self {
            Self::Store(backroom) => Ok(backroom.workers().await?),
            Self::Server(remote) => Ok(remote.get::<Workers>("/v1/workers").await?.workers),
        }
    }

    /// What workers counted lately.
    pub(crate) async fn stats(&self, last: Duration) -> Result<Stats, Problem> {
        match self {
            Self::Store(backroom) => {
                let stats = backroom.stats(last).await?;
                Ok(Stats { since: stats.since, is_cut: stats.is_cut, kinds: stats.kinds })
            }
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

/// A part of a path or of a query, with everything escaped that would not stand for itself.
fn escaped(text: &str) -> impl std::fmt::Display + '_ {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
}
