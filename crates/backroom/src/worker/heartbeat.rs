//! The worker's heartbeat.
//!
//! It writes one row per worker, three times within a lease, and no job's row. As long as the heartbeat moves, every lease
//! of the worker holds. When another process has declared the worker dead, the store refuses the heartbeat. Then all its
//! leases are lost: its runs are asked to stop, and the worker goes on under a new name.
//!
//! All this runs on a thread of its own ([`heartbeat_thread`](super::heartbeat_thread)), unless a test moves the clock.

use std::sync::{Arc, atomic::Ordering};

use backroom_core::{Timestamp, blame::Threads};

use super::{row_writes::RowWrite, run::StopReason, shared::Shared, stuck};
use crate::{
    Error, ErrorKind,
    process::{self, Process},
    store::{Beaten, WorkerDetails, WorkerRow},
};

/// Heartbeats within a lease: two may fail before other processes take the worker for dead.
pub(super) const BEATS_PER_LEASE: u32 = 3;
/// Tries within the span between two heartbeats while one fails, because other processes count the silence.
pub(super) const TRIES_PER_BEAT: u32 = 10;
/// Names that are tried one after the other. Each is random, so the second one is free.
const NAMES_MAX: u32 = 3;

/// Writes heartbeats until the worker ends.
pub(super) async fn keep_beating(shared: Arc<Shared>) {
    let clock = &shared.engine.clock;
    let Some(mut requests) = shared.signals.row_requests.take() else { return };
    let mut next_beat = clock.monotonic();
    loop {
        tokio::select! {
            biased;
            () = clock.sleep_to(next_beat) => {
                let span = shared.settings.lease / BEATS_PER_LEASE;
                let on_time = clock.monotonic().saturating_add(span);
                shared.repeats.check(clock.monotonic());
                next_beat = match write_row(&shared).await {
                    Ok(()) => on_time,
                    Err(_) => clock.monotonic().saturating_add(span / TRIES_PER_BEAT),
                };
            }
            request = requests.recv() => {
                let Some(written): Option<RowWrite> = request else { return };
                // The caller may have ended in the meantime.
                let _ = written.send(write_row(&shared).await);
            }
            () = shared.signals.heartbeats.requested() => {
                // An error is a silence, and that is what upkeep wants to know.
                let _ = write_row(&shared).await;
            }
        }
    }
}

async fn write_row(shared: &Shared) -> Result<(), Error> {
    let stuck = stuck::report(shared, shared.engine.clock.monotonic());
    for _ in 0..NAMES_MAX {
        let row = Arc::new(row(shared, stuck, shared.engine.clock.now()));
        match shared.engine.store.heartbeat(row).await? {
            Beaten::Alive => {
                shared.signals.heartbeats.written_at(shared.engine.clock.monotonic());
                shared.signals.registered.cancel();
                return Ok(());
            }
            Beaten::Dead => rename(shared),
        }
    }
    let message = "write a heartbeat: the store refused every name; check the table of workers";
    Err(Error::new(ErrorKind::Internal, message))
}

/// The name is lost, and every lease with it.
fn rename(shared: &Shared) {
    let lost = shared.name();
    let runs = shared.work.active.all();
    let now = shared.engine.clock.monotonic();
    for run in runs.iter().filter(|run| !run.is_over()) {
        run.request_stop(StopReason::LeaseLost, now);
    }
    shared.work.detached.add(&runs);
    shared.work.active.remove(&runs);
    shared.identity.rename(shared.engine.ids.lease().0);
    // What could not be recorded is lost with its leases, so it does not prevent claims any more.
    *shared.recorder.failing() = None;
    let name = shared.name();
    if shared.signals.registered.is_cancelled() {
        tracing::error!(
            worker = %lost, %name, jobs = runs.len(),
            "another process declared the worker dead, because its heartbeat had not moved for a lease; its handlers are asked \
             to stop, and it goes on under a new name"
        );
    } else {
        tracing::info!(worker = %lost, %name, "another worker has or had this name, so the worker uses another one");
    }
}

/// The threads of the blocking handlers, so that a job that waits for one is not charged for a crash.
fn threads(shared: &Shared) -> Threads {
    let blocking = shared.handlers.by_kind.iter().filter(|(_, handler)| handler.is_blocking);
    let mut kinds: Vec<_> = blocking.map(|(kind, _)| kind.clone()).collect();
    kinds.sort_unstable();
    Threads { count: Some(shared.settings.blocking_threads), kinds }
}

fn row(shared: &Shared, stuck: u32, now: Timestamp) -> WorkerRow {
    let mut queues: Vec<(String, u32)> = Vec::new();
    for pool in &shared.work.pools {
        for queue in pool.order.queues() {
            match queues.iter_mut().find(|(name, _)| *name == queue) {
                Some((_, slots)) => *slots += pool.slots,
                None => queues.push((queue, pool.slots)),
            }
        }
    }
    WorkerRow {
        name: shared.name(),
        incarnation: shared.identity.incarnation(),
        beats: shared.identity.next_beat(),
        dead: false,
        host: process::host(),
        pid: std::process::id(),
        started_at: shared.started_at,
        beat_at: now,
        lease_ms: u64::try_from(shared.settings.lease.as_millis()).unwrap_or(u64::MAX),
        queues,
        kinds: shared.handlers.kinds.names().to_vec(),
        slots: shared.work.pools.iter().map(|pool| pool.slots).sum(),
        running: shared.work.running.load(Ordering::Relaxed),
        stuck,
        stopping: shared.signals.stopping.is_cancelled(),
        trials: shared.work.suspects.record.trials(),
        trouble: shared.trouble.text(shared.recorder.failing().as_ref()),
        details: WorkerDetails {
            process: Process::this().clone(),
            clock_ahead_ms: shared.engine.clock.wall_ahead_ms(),
            memory_bytes: process::memory_bytes(),
            blocked: shared.watched.blocked(),
            threads: threads(shared),
            owner: None,
            any_kind: false,
            breakers: shared.handlers.breakers.opened(),
            #[cfg(feature = "sealed")]
            keys: super::unseal::key_ids(shared),
            #[cfg(not(feature = "sealed"))]
            keys: Vec::new(),
        },
    }
}
