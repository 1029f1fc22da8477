//! What maintains a store: it rescues jobs of dead workers, cancels expired jobs, prunes finished ones, and
//! drops messages that no taker acknowledged.
//!
//! Each duty is a `tick(engine, now)` that returns how long it wants to rest; [`duty`] sleeps in between. Any number of workers
//! may do the upkeep at once: every write is guarded, so the second one finds nothing left to do.

mod apply;
mod duty;
mod expire;
mod liveness;
mod loss;
mod own_heartbeats;
mod prune;
mod replies;
mod rescue;

use std::{sync::Arc, time::Duration};

pub(crate) use self::own_heartbeats::OwnHeartbeats;
use self::{expire::Expire, prune::Prune, replies::Replies, rescue::Rescue};
use crate::{ends::Ends, engine::Engine};

/// Does all upkeep until it is aborted. The other arguments are those of the worker that runs it.
pub(crate) async fn keep_up(
    engine: Engine,
    lease: Duration,
    heartbeats: Arc<OwnHeartbeats>,
    ends: Arc<Ends>,
    crash_span: Duration,
) {
    tokio::join!(
        duty::run(&engine, Rescue::new(lease, heartbeats, Arc::clone(&ends), crash_span)),
        duty::run(&engine, Expire { ends }),
        duty::run(&engine, Prune),
        duty::run(&engine, Replies)
    );
}
