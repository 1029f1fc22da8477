//! What keeps a store in order: each duty is a `tick(engine, now) -> when it wants to run next`, and this shell
//! sleeps in between. Any number of workers may do it at once: every write is guarded, so the second one finds
//! nothing left to do.

mod expire;
mod prune;
mod rescue;

use std::{sync::Arc, time::Duration};

use backroom_core::{Event, Job, Timestamp, bounds::later, transition};

use crate::{Error, engine::Engine, store::Committed, worker::LEASE_DEFAULT};

/// Most rows per call, so that no tick holds up the store for long.
const ROWS_MAX: usize = 500;
/// The wait after a tick that failed.
const PAUSE: Duration = Duration::from_secs(5);

/// A duty that is later than this was not merely waiting for a processor.
const LATE: Duration = Duration::from_secs(5);
/// By then every living worker with a lease of the usual length has renewed.
const RECOVERY: Duration = LEASE_DEFAULT.checked_div(2).expect("two is not zero");

/// Does all upkeep until it is aborted.
pub(crate) async fn keep_up(engine: Engine) {
    tokio::join!(
        keep(&engine, "rescue", rescue::tick),
        keep(&engine, "expire", expire::tick),
        keep(&engine, "prune", prune::tick),
    );
}

async fn keep(
    engine: &Engine,
    duty: &'static str,
    tick: impl AsyncFn(&Engine, Timestamp) -> Result<Timestamp, Error>,
) {
    let mut due = engine.clock.now();
    loop {
        engine.clock.sleep_until(due).await;
        let now = engine.clock.now();
        if now > later(due, LATE) {
            // The machine slept, or its clock was put forward. Leases seem to have run out that living workers, this one
            // among them, are about to renew: rescuing now would run their jobs twice.
            tracing::warn!(duty, "time went on without this process; upkeep waits for leases to be renewed");
            engine.clock.sleep(RECOVERY).await;
        }
        due = match tick(engine, engine.clock.now()).await {
            Ok(next) => next,
            Err(error) => {
                // Outages are reported once by the store's decorator.
                if !error.is_transient() {
                    tracing::error!(duty, %error, "upkeep failed; it is tried again");
                }
                later(engine.clock.now(), PAUSE)
            }
        };
    }
}

/// Applies `event` to each job and answers how many it changed. The others were extended, recorded or changed by
/// somebody else since they were read.
async fn apply_to_all(engine: &Engine, jobs: &[Job], event: &Event, now: Timestamp) -> Result<usize, Error> {
    let decide = |job| transition::apply(job, event.clone(), now).ok().flatten();
    let changes: Vec<_> = jobs.iter().filter_map(decide).collect();
    if changes.is_empty() {
        return Ok(0);
    }
    let answers = engine.store.commit(Arc::new(changes)).await?;
    Ok(answers.iter().filter(|answer| **answer == Committed::Done).count())
}
