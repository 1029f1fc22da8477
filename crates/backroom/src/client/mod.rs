//! The client: enqueues jobs, asks about them, and administers queues.

mod admin;
mod amend;
mod batches;
mod chosen;
mod cursor;
mod endpoints;
mod enqueue;
mod follow;
mod forget;
mod handle;
mod job;
mod links;
mod many;
mod matching;
mod read;
mod redacted;
mod replies;
mod schedules;
mod search;
mod shown_errors;
mod stats;
mod tokens;
mod watch;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod within;

pub use amend::Amend;
pub use batches::{BatchHandle, BatchState, BatchStatus, OpenBatch};
pub use chosen::ChosenJob;
pub use cursor::Cursor;
pub use enqueue::Enqueue;
pub use follow::{Follow, JobEvent, News};
pub use forget::Forgotten;
pub use handle::JobHandle;
pub(crate) use job::draft_of;
pub use job::{BadArgs, Job, Untyped};
pub use links::{EnqueuedGraph, GraphEdge, GraphNode, Tree, TreeEdge, TreeNode};
pub use many::{EnqueueMany, EnqueuedMany};
pub use matching::{Acted, Action};
pub use read::{Explanation, Page};
pub use redacted::Redacted;
pub use replies::{Replies, Taken};
pub use schedules::{
    BackfillOptions, Put, Schedule, ScheduleInfo, ScheduleSummary, Schedules, TriggerOptions,
};
pub(crate) use schedules::{check_open, forget};
pub use search::Found;
pub use stats::Stats;
pub use tokens::{Audit, NewToken, SECRET_PREFIX, Secret, Tokens};
pub use watch::Watch;

use std::{fmt, sync::Arc};

use crate::{Error, Options, TraceContext, clock::Clock, engine::Engine, store::Store};

/// An open store: cheap to clone, safe to share.
#[derive(Clone)]
pub struct Backroom {
    engine: Engine,
}

impl Backroom {
    /// Opens the store at `url` with the default [`Options`]: `sqlite:backroom.db`,
    /// `postgres://user:password@host/database`, `memory:`. See [`Options::open`].
    pub async fn open(url: &str) -> Result<Self, Error> {
        Options::new().open(url).await
    }

    /// Opens a store that is there to look at it, also where this process may only read it. See
    /// [`Options::open_to_read`].
    pub async fn open_to_read(url: &str) -> Result<Self, Error> {
        Options::new().open_to_read(url).await
    }

    /// The store behind this client.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.engine.store
    }

    /// Where this client's time comes from.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.engine.clock
    }

    /// Bound on args and output, each, in bytes of JSON text; see [`Options::json_bytes_max`].
    pub fn json_bytes_max(&self) -> usize {
        self.engine.json_bytes_max
    }

    /// The `traceparent` of the span that is entered at this moment, for a request to another service; none without a
    /// [`TraceContext`](crate::TraceContext).
    pub fn current_traceparent(&self) -> Option<String> {
        self.engine.current_traceparent()
    }

    /// What joins spans with traces of other processes, if there is something.
    pub fn trace_context(&self) -> Option<&Arc<dyn TraceContext>> {
        self.engine.traces.as_ref()
    }

    /// Finishes what was accepted and lets go of the store; every clone of this client is closed with it. Dropping
    /// all clones does the same without waiting.
    pub async fn close(&self) -> Result<(), Error> {
        self.engine.store.close().await
    }

    pub(crate) fn from_engine(engine: Engine) -> Self {
        Self { engine }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }
}

impl fmt::Debug for Backroom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backroom").field("clock", &self.engine.clock).finish_non_exhaustive()
    }
}
