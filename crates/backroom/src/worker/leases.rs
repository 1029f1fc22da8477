//! Finds out which leases of the worker are lost, and which of its jobs were cancelled.

use std::{sync::Arc, time::Duration};

use super::{
    heartbeat::{BEATS_PER_LEASE, TRIES_PER_BEAT},
    run::{Run, StopReason},
    shared::Shared,
};
use crate::{Error, store::LeaseStatus};

/// Most leases per call.
const CHUNK_MAX: usize = 1000;
/// Most jobs that are read when a notification comes; the others are checked with the next heartbeat.
const READS_MAX: usize = 200;
/// The least span between two reads for cancel marks. The notification does not say whose job was cancelled.
const READ_SPAN: Duration = Duration::from_secs(1);

/// A condition that can be met for many jobs at once.
const LOST: &str = "a lease was lost while its job ran";

/// Checks all leases at the pace of the heartbeats until the worker ends.
pub(super) async fn keep_checking(shared: Arc<Shared>) {
    let (clock, span) = (&shared.engine.clock, shared.settings.lease / BEATS_PER_LEASE);
    loop {
        let next = clock.monotonic().saturating_add(span);
        let next = match check(&shared).await {
            Ok(()) => next,
            Err(_) => clock.monotonic().saturating_add(span / TRIES_PER_BEAT),
        };
        clock.sleep_to(next).await;
    }
}

/// Reads cancel marks when a notification comes, until the worker ends.
pub(super) async fn keep_reading_cancels(shared: Arc<Shared>) {
    let clock = &shared.engine.clock;
    let cancels = shared.engine.store.notifier().subscribe_cancels();
    let mut next_read = clock.monotonic();
    loop {
        cancels.notified().await;
        clock.sleep_to(next_read).await;
        next_read = clock.monotonic().saturating_add(READ_SPAN);
        read_cancels(&shared).await;
    }
}

/// Reads cancel marks of running jobs. It never writes: every other process on the same file would notice the write, read in
/// turn, and so on.
async fn read_cancels(shared: &Shared) {
    let executing = shared.work.active.all().into_iter().filter(|run| run.is_executing());
    for run in executing.take(READS_MAX) {
        // What cannot be read now is read with the next heartbeat.
        let Ok(Some(job)) = shared.engine.store.job(run.job.id).await else { continue };
        if job.lease_id == Some(run.lease) && job.cancel_requested_at.is_some() {
            run.request_stop(StopReason::Cancelled, shared.engine.clock.monotonic());
        }
    }
}

/// Checks every lease, and asks the handlers to stop whose lease is lost or whose job was cancelled.
async fn check(shared: &Shared) -> Result<(), Error> {
    for chunk in shared.work.active.all().chunks(CHUNK_MAX) {
        let leases: Vec<_> = chunk.iter().map(|run| (run.job.id, run.lease)).collect();
        let answers = shared.engine.store.lease_status(Arc::new(leases)).await?;
        let lost: Vec<_> = chunk
            .iter()
            .zip(&answers)
            .filter(|(run, held)| is_lost(shared, run, **held))
            .map(|(run, _)| run)
            .collect();
        shared.work.detached.add(lost.iter().copied());
        shared.work.active.remove(lost);
    }
    Ok(())
}

/// Whether the lease is lost, as the store says. Asks the handler to stop if it must.
fn is_lost(shared: &Shared, run: &Run, held: LeaseStatus) -> bool {
    let now = shared.engine.clock.monotonic();
    match held {
        LeaseStatus::Held => false,
        LeaseStatus::CancelRequested => {
            run.request_stop(StopReason::Cancelled, now);
            false
        }
        // Its own end was written a moment ago.
        LeaseStatus::Lost if run.is_over() => true,
        LeaseStatus::Lost => {
            if shared.is_news(LOST) {
                tracing::warn!(
                    job = %run.job.id, kind = %run.job.kind, worker = %shared.name(),
                    "{LOST}; the handler is asked to stop, because the job runs elsewhere or is finished"
                );
            }
            run.request_stop(StopReason::LeaseLost, now);
            true
        }
    }
}
