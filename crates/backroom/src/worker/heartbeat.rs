//! The worker's heartbeat, and learning what became of its leases.
//!
//! One row per worker is written, three times within a lease; no job's row is. As long as the heartbeat moves, every lease of
//! the worker holds. All this runs on a thread of its own ([`heart`](super::heart)), unless a test drives the clock. When another process has declared the worker dead, the store refuses the heartbeat: then all its leases are
//! lost, its runs stop, and it goes on under a fresh name.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use backroom_core::{Timestamp, blame::Threads};

use super::{
    active_runs::{Run, Stop},
    shared::Shared,
};
use crate::{
    Error,
    clock::Clock,
    process::{self, Process},
    store::{Beaten, Held, Listener, WorkerDetails, WorkerRow},
};

/// Heartbeats within a lease: two may fail before observers take the worker for dead.
const BEATS_PER_LEASE: u32 = 3;
/// Most leases per call.
const CHUNK_MAX: usize = 1000;
/// Most jobs looked at when a hint comes; the others hear at the next heartbeat.
const LOOKS_MAX: usize = 200;
/// The least span between two looks for cancel marks that a hint may or may not have been about.
const LOOK_SPAN: Duration = Duration::from_secs(1);

/// A condition that may be met for many jobs at once.
const LOST: &str = "a lease was lost while its job ran";

/// Writes heartbeats until the worker ends.
pub(super) async fn keep_beating(shared: Arc<Shared>) {
    let clock = &shared.engine.clock;
    let mut next_beat = clock.monotonic();
    loop {
        tokio::select! {
            biased;
            () = clock.sleep_to(next_beat) => next_beat = beat(&shared).await,
            () = shared.pulse.wanted() => {
                // An error is a silence, and that is what upkeep wants to know.
                let _ = tell(&shared).await;
            }
        }
    }
}

/// Looks for cancel marks when a hint comes, until the worker ends. Beside the heartbeats: what it reads may wait.
pub(super) async fn keep_looking(shared: Arc<Shared>) {
    let clock = &shared.engine.clock;
    let cancels = shared.engine.store.wakes().listen_cancels();
    let mut next_look = clock.monotonic();
    loop {
        hinted(&cancels, clock, next_look).await;
        next_look = clock.monotonic().saturating_add(LOOK_SPAN);
        look(&shared).await;
    }
}

async fn hinted(cancels: &Listener, clock: &Arc<dyn Clock>, next: Duration) {
    cancels.woken().await;
    clock.sleep_to(next).await;
}

/// One heartbeat, and a look at all leases. Answers at which reading of the monotonic clock the next one is due.
async fn beat(shared: &Shared) -> Duration {
    let clock = &shared.engine.clock;
    let next = clock.monotonic().saturating_add(shared.settings.lease / BEATS_PER_LEASE);
    shared.repeats.look(clock.monotonic());
    let told = tell(shared).await;
    let checked = check_leases(shared).await;
    match told.and(checked) {
        Ok(()) => next,
        // Sooner again: observers count the silence.
        Err(_) => clock.monotonic().saturating_add(shared.settings.lease / (BEATS_PER_LEASE * 10)),
    }
}

/// Writes the worker's row, on the runtime that writes all heartbeats: one that stands still half-way would hold up the others.
pub(super) async fn say(shared: &Arc<Shared>) -> Result<(), Error> {
    let Some(heart) = shared.heart.get() else { return tell(shared).await };
    let shared = Arc::clone(shared);
    heart.spawn(async move { tell(&shared).await }).await.unwrap_or_else(|error| {
        let message = "write the worker's row: its thread has ended, because the worker stops";
        Err(Error::new(crate::ErrorKind::Unavailable, message).caused_by(error))
    })
}

async fn tell(shared: &Shared) -> Result<(), Error> {
    let _row = shared.row.lock().await;
    let stuck = report_stuck(shared, shared.engine.clock.monotonic());
    for _ in 0..NAMES_MAX {
        let row = Arc::new(row(shared, stuck, shared.engine.clock.now()));
        match shared.engine.store.beat(row).await? {
            Beaten::Alive => {
                shared.pulse.beaten(shared.engine.clock.monotonic());
                shared.registered.cancel();
                return Ok(());
            }
            Beaten::Dead => begin_anew(shared),
        }
    }
    let message = "write a heartbeat: the store refused every name; look at the table of workers";
    Err(Error::new(crate::ErrorKind::Internal, message))
}

/// Names that are tried one after the other. Each is random, so the second one is free.
const NAMES_MAX: u32 = 3;

/// The name is lost, and every lease with it.
fn begin_anew(shared: &Shared) {
    let lost = shared.name();
    let runs = shared.held.all();
    let now = shared.engine.clock.monotonic();
    for run in runs.iter().filter(|run| !run.is_over()) {
        run.tell(Stop::LeaseLost, now);
    }
    shared.strays.add(&runs);
    shared.held.remove(&runs);
    shared.rename();
    shared.trouble.reported();
    let name = shared.name();
    if shared.registered.is_cancelled() {
        tracing::error!(
            worker = %lost, %name, jobs = runs.len(),
            "the worker was declared dead by another process, because its heartbeat had not moved for a lease; its \
             handlers are told to stop, and it goes on under a new name"
        );
    } else {
        tracing::info!(worker = %lost, %name, "another worker has or had the name; this one goes by another");
    }
}

/// Looks for cancel marks on what runs. Reads only: a write would be heard by every other process on the same file,
/// which would look in turn, and so on for ever.
async fn look(shared: &Shared) {
    for run in shared.held.all().into_iter().filter(|run| run.is_executing()).take(LOOKS_MAX) {
        // What cannot be read now is learned at the next heartbeat.
        let Ok(Some(job)) = shared.engine.store.job(run.job.id).await else { continue };
        if job.lease_id == Some(run.lease) && job.cancel_requested_at.is_some() {
            run.tell(Stop::Cancelled, shared.engine.clock.monotonic());
        }
    }
}

/// Looks at every lease, and tells the handlers whose lease is lost or whose job was cancelled.
async fn check_leases(shared: &Shared) -> Result<(), Error> {
    for chunk in shared.held.all().chunks(CHUNK_MAX) {
        let leases: Vec<_> = chunk.iter().map(|run| (run.job.id, run.lease)).collect();
        let answers = shared.engine.store.held(Arc::new(leases)).await?;
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

/// Passes on what a look at a lease found. Answers whether it is lost.
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
                    job = %run.job.id, kind = %run.job.kind, worker = %shared.name(),
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

/// The threads of the blocking handlers, so that a job that waits for one is not charged for a crash.
fn threads(shared: &Shared) -> Threads {
    let blocking = shared.handlers.iter().filter(|(_, handler)| handler.is_blocking);
    let mut kinds: Vec<_> = blocking.map(|(kind, _)| kind.clone()).collect();
    kinds.sort_unstable();
    Threads { count: Some(shared.settings.blocking_threads), kinds }
}

fn row(shared: &Shared, stuck: u32, now: Timestamp) -> WorkerRow {
    let mut queues: Vec<(String, u32)> = Vec::new();
    for pool in &shared.pools {
        for queue in pool.order.queues() {
            match queues.iter_mut().find(|(name, _)| *name == queue) {
                Some((_, slots)) => *slots += pool.slots,
                None => queues.push((queue, pool.slots)),
            }
        }
    }
    WorkerRow {
        name: shared.name(),
        incarnation: shared.incarnation(),
        beats: shared.beats.fetch_add(1, Ordering::Relaxed) + 1,
        dead: false,
        host: process::host(),
        pid: std::process::id(),
        started_at: shared.started_at,
        beat_at: now,
        lease_ms: u64::try_from(shared.settings.lease.as_millis()).unwrap_or(u64::MAX),
        queues,
        kinds: shared.kinds.to_vec(),
        slots: shared.pools.iter().map(|pool| pool.slots).sum(),
        running: shared.running.load(Ordering::Relaxed),
        stuck,
        stopping: shared.stopping.is_cancelled(),
        trials: shared.suspects.trials(),
        trouble: shared.trouble.said(),
        details: WorkerDetails {
            process: Process::this().clone(),
            clock_ahead_ms: shared.engine.clock.wall_ahead_ms(),
            blocked: shared.watched.blocked(),
            threads: threads(shared),
        },
    }
}
