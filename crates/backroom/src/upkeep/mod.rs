//! What maintains a store: it rescues jobs of dead workers, cancels expired jobs, prunes finished ones,
//! drops messages that no taker acknowledged, wakes workflows, settles edges that were left, writes samples of what was done, and
//! runs schedules.
//!
//! Each duty is a `tick(engine, now)` that returns how long it wants to rest; [`duty`] sleeps in between. Schedules have a loop
//! of their own, because they begin to the millisecond. Any number of workers
//! may do the upkeep at once: every write is guarded, so the second one finds nothing left to do.

mod apply;
mod duty;
mod expire;
mod links;
mod liveness;
mod loss;
mod own_heartbeats;
mod prune;
mod replies;
mod rescue;
mod samples;
mod schedules;
mod wakes;

use std::{sync::Arc, time::Duration};

pub(crate) use self::own_heartbeats::OwnHeartbeats;
use self::{
    expire::Expire, prune::Prune, replies::Replies, rescue::Rescue, samples::Samples, schedules::Schedules,
    wakes::Wakes,
};
use crate::{ends::Ends, engine::Engine, schedule_news::ScheduleNews};

/// Does all upkeep until it is aborted. The other arguments are those of the worker that runs it.
pub(crate) async fn keep_up(
    engine: Engine,
    lease: Duration,
    heartbeats: Arc<OwnHeartbeats>,
    ends: Arc<Ends>,
    news: Arc<ScheduleNews>,
    crash_span: Duration,
) {
    tokio::join!(
        duty::run(&engine, Rescue::new(lease, heartbeats, Arc::clone(&ends), crash_span)),
        Schedules::new(Arc::clone(&ends), news).run(&engine),
        duty::run(&engine, Wakes::new(&engine)),
        duty::run(&engine, Expire { ends }),
        duty::run(&engine, Prune),
        duty::run(&engine, Replies),
        duty::run(&engine, Samples),
        links::run(&engine)
    );
}
