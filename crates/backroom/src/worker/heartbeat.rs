//! Keeping the leases, and learning what became of them.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use backroom_core::bounds::later;

use super::{
    held::{Run, Stop},
    pool::Pool,
    shared::Shared,
};
use crate::{
    Error,
    clock::Clock,
    store::{Extend, Held, Listener, WorkerRow},
};

/// Leases are renewed so often within their span: two renewals may fail before one runs out.
pub(super) const RENEWALS_PER_LEASE: u32 = 3;
/// Most leases per call.
const CHUNK_MAX: usize = 1000;
/// Most jobs looked at when a hint comes; the others hear at the next renewal.
const LOOKS_MAX: usize = 200;
/// The least span between two looks for cancel marks that nobody told us of for certain.
const LOOK_SPAN: Duration = Duration::from_secs(1);

/// A condition that may be met for many jobs at once.
const LOST: &str = "a lease was lost while its job ran";

/// Beats and renews until the worker ends; in between, looks for cancel marks when a hint comes.
pub(crate) async fn keep_beating(shared: Arc<Shared>, pools: Arc<Vec<Arc<Pool>>>) {
    let clock = Arc::clone(&shared.engine.clock);
    let cancels = shared.engine.store.wakes().listen_cancels();
    let mut next_beat = clock.monotonic();
    let mut next_look = next_beat;
    loop {
        tokio::select! {
            biased;
            () = clock.sleep_to(next_beat) => next_beat = beat(&shared, &pools).await,
            () = shared.pulse.wanted() => {
                // An error is a silence, and that is what upkeep wants to know.
                let _ = tell(&shared, &pools).await;
            }
            () = hinted(&cancels, &clock, next_look) => {
                next_look = clock.monotonic().saturating_add(LOOK_SPAN);
                look(&shared).await;
            }
        }
    }
}

async fn hinted(cancels: &Listener, clock: &Arc<dyn Clock>, next: Duration) {
    cancels.woken().await;
    clock.sleep_to(next).await;
}

/// One beat. Answers at which reading of the monotonic clock the next one is due.
async fn beat(shared: &Shared, pools: &[Arc<Pool>]) -> Duration {
    let clock = &shared.engine.clock;
    let next = clock.monotonic().saturating_add(shared.settings.lease / RENEWALS_PER_LEASE);
    shared.repeats.look(clock.monotonic());
    let renewed = renew(shared).await;
    let told = tell(shared, pools).await;
    match renewed.and(told) {
        Ok(()) => next,
        // Sooner again: the leases are running out.
        Err(_) => clock.monotonic().saturating_add(shared.settings.lease / (RENEWALS_PER_LEASE * 10)),
    }
}

/// Writes the worker's row.
pub(super) async fn say(shared: &Shared) -> Result<(), Error> {
    tell(shared, &shared.pools).await
}

async fn tell(shared: &Shared, pools: &[Arc<Pool>]) -> Result<(), Error> {
    let _row = shared.row.lock().await;
    let stuck = report_stuck(shared, shared.engine.clock.monotonic());
    let row = Arc::new(row(shared, pools, stuck, shared.engine.clock.now()));
    shared.engine.store.beat(row).await?;
    shared.pulse.beaten(shared.engine.clock.monotonic());
    Ok(())
}

/// Looks for cancel marks on what runs. Reads only: a write would be heard by every other process on the same file,
/// which would look in turn, and so on for ever.
async fn look(shared: &Shared) {
    for run in shared.held.all().into_iter().filter(|run| run.is_executing()).take(LOOKS_MAX) {
        // What cannot be read now is learned from the next renewal.
        let Ok(Some(job)) = shared.engine.store.job(run.job.id).await else { continue };
        if job.lease_id == Some(run.lease) && job.cancel_requested_at.is_some() {
            run.tell(Stop::Cancelled, shared.engine.clock.monotonic());
        }
    }
}

/// Renews every lease, and tells the handlers whose lease is lost or whose job was cancelled.
pub(super) async fn renew(shared: &Shared) -> Result<(), Error> {
    let now = shared.engine.clock.now();
    let runs = shared.held.all();
    let until = later(now, shared.settings.lease);
    for chunk in runs.chunks(CHUNK_MAX) {
        let leases = chunk.iter().map(|run| (run.job.id, run.lease)).collect();
        let answers = shared.engine.store.extend(Arc::new(Extend { leases, until }), now).await?;
        let lost: Vec<_> = chunk
            .iter()
            .zip(&answers)
            .filter(|(run, held)| learn(shared, run, **held))
            .map(|(run, _)| run)
            .collect();
        shared.strays.add(lost.iter().copied());
        shared.held.remove(lost);
    }
    Ok(())
}

/// Passes on what a renewal found. Answers whether the lease is lost.
fn learn(shared: &Shared, run: &Run, held: Held) -> bool {
    let now = shared.engine.clock.monotonic();
    match held {
        Held::Yes => false,
        Held::CancelRequested => {
            run.tell(Stop::Cancelled, now);
            false
        }
        // Its own end was written a moment ago.
        Held::Lost if run.is_over() => true,
        Held::Lost => {
            if shared.is_news(LOST) {
                tracing::warn!(
                    job = %run.job.id, kind = %run.job.kind, worker = %shared.name,
                    "{LOST}; the handler is asked to stop, because the job runs elsewhere or is finished"
                );
            }
            run.tell(Stop::LeaseLost, now);
            true
        }
    }
}

/// Counts handlers that go on although they were told to stop, and reports each once: they hold a slot, and only
/// a new process frees it.
fn report_stuck(shared: &Shared, now: Duration) -> u32 {
    let span = shared.settings.stuck_after;
    let held = shared.held.all().into_iter().filter(|run| run.goes_on());
    let runs = held.chain(shared.strays.all());
    let stuck: Vec<_> = runs.filter(|run| run.is_stuck(span, now)).collect();
    for run in &stuck {
        if run.first_stuck_report() {
            let why = run.told().map(|(why, _)| why.to_string()).unwrap_or_default();
            tracing::error!(
                job = %run.job.id, kind = %run.job.kind, why,
                "the handler is stuck: it was told to stop and goes on; let it look at Context::is_cancelled"
            );
        }
    }
    u32::try_from(stuck.len()).unwrap_or(u32::MAX)
}

fn row(shared: &Shared, pools: &[Arc<Pool>], stuck: u32, now: backroom_core::Timestamp) -> WorkerRow {
    let mut queues: Vec<(String, u32)> = Vec::new();
    for pool in pools {
        for queue in pool.order.queues() {
            match queues.iter_mut().find(|(name, _)| *name == queue) {
                Some((_, slots)) => *slots += pool.slots,
                None => queues.push((queue, pool.slots)),
            }
        }
    }
    WorkerRow {
        name: shared.name.clone(),
        host: host(),
        pid: std::process::id(),
        started_at: shared.started_at,
        beat_at: now,
        lease_ms: u64::try_from(shared.settings.lease.as_millis()).unwrap_or(u64::MAX),
        queues,
        kinds: shared.kinds.to_vec(),
        slots: pools.iter().map(|pool| pool.slots).sum(),
        running: shared.running.load(Ordering::Relaxed),
        stuck,
        stopping: shared.stopping.is_cancelled(),
        trials: shared.suspects.trials(),
        trouble: shared.trouble.said(),
    }
}

/// The machine's name, as far as it can be told without asking the network.
pub(crate) fn host() -> String {
    let from_kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let from_shell = || std::env::var("HOSTNAME").or_else(|_| std::env::var("COMPUTERNAME")).ok();
    let host = from_kernel.or_else(from_shell).map(|host| host.trim().to_owned());
    host.filter(|host| !host.is_empty() && host.len() <= 64).unwrap_or_else(|| "localhost".into())
}
