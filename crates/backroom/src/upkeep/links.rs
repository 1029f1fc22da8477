//! Settles edges that transactions have left, and deletes batches that ended long ago.

use std::time::Duration;

use backroom_core::{Timestamp, bounds::earlier};

use super::duty::ROWS_MAX;
use crate::{Error, engine::Engine, repeated::Repeated, store::is_outage};

/// How often edges are read without a hint: what a process left that crashed.
const SPAN: Duration = Duration::from_secs(15);
/// The wait after a tick that failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How often batches are pruned.
const PRUNE_EVERY: Duration = Duration::from_secs(300);
/// So long a batch is retained after its end, for as long as it has members even longer.
const BATCH_RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);

/// Does both until this future is dropped.
pub(super) async fn run(engine: &Engine) {
    tokio::join!(settle(engine), prune(engine));
}

async fn settle(engine: &Engine) {
    let hints = engine.store.notifier().subscribe_edges();
    let mut failing = Repeated::default();
    loop {
        let began = engine.clock.monotonic();
        let rest = match engine.store.settle_left(engine.clock.now()).await {
            Ok(true) => continue,
            Ok(false) => {
                if let Some(times) = failing.over(began) {
                    tracing::warn!("to settle edges failed: {times}, now over");
                }
                SPAN
            }
            Err(error) => {
                report(&error, &mut failing, began, "to settle edges failed; it is tried again");
                PAUSE
            }
        };
        tokio::select! {
            () = hints.notified() => {}
            () = engine.clock.sleep(rest) => {}
        }
    }
}

async fn prune(engine: &Engine) {
    let mut failing = Repeated::default();
    loop {
        let began = engine.clock.monotonic();
        match prune_all(engine, engine.clock.now()).await {
            Ok(()) => _ = failing.over(began),
            Err(error) => {
                report(&error, &mut failing, began, "to delete old batches failed; it is tried again");
            }
        }
        engine.clock.sleep(PRUNE_EVERY).await;
    }
}

async fn prune_all(engine: &Engine, now: Timestamp) -> Result<(), Error> {
    let before = earlier(now, BATCH_RETENTION);
    while engine.store.prune_batches(before, ROWS_MAX).await? >= ROWS_MAX as u64 {}
    Ok(())
}

fn report(error: &Error, failing: &mut Repeated, began: Duration, what: &'static str) {
    // The store's decorator logs outages.
    if !is_outage(error) && failing.met(began) {
        tracing::error!(%error, "{what}");
    }
}
