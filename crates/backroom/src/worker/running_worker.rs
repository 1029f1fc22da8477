//! A worker at work, and how it stops.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use tokio::task::JoinHandle;

use super::{
    claim_call,
    give_back::give_back,
    heartbeat_thread::HeartbeatThread,
    run::StopReason,
    shared::Shared,
    stats,
    still_running::{self, StillRunning},
};
use crate::{Error, ErrorKind};

/// Handlers that one line names.
const UNFINISHED_NAMED_MAX: usize = 5;
/// Waits until all claimers have ended. Fails if one of them could not give its jobs back.
async fn wound_up(claimers: Vec<JoinHandle<Result<(), Error>>>) -> Result<(), Error> {
    let mut all = Ok(());
    for claimer in claimers {
        let ended = claimer.await.unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Internal, "stop the worker: a claimer ended").caused_by(error))
        });
        all = all.and(ended);
    }
    all
}

/// A worker at work. [`stop`](RunningWorker::stop) it to end in order.
pub struct RunningWorker {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
    /// None where a test moves the clock.
    heart: Option<HeartbeatThread>,
    recording: Option<JoinHandle<()>>,
    claimers: Vec<JoinHandle<Result<(), Error>>>,
}

/// How a worker ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stopped {
    /// Jobs that were claimed and given back unfinished; no attempt was charged.
    pub released: u64,
    /// Handlers that could not be stopped, on threads of their own. Their jobs run elsewhere; their threads go on.
    pub stuck: u32,
    /// Which they are, at most a hundred of them.
    pub still_running: Vec<StillRunning>,
}

impl RunningWorker {
    pub(super) fn new(
        shared: Arc<Shared>,
        tasks: Vec<JoinHandle<()>>,
        heart: Option<HeartbeatThread>,
        recording: JoinHandle<()>,
        claimers: Vec<JoinHandle<Result<(), Error>>>,
    ) -> Self {
        Self { shared, tasks, heart, recording: Some(recording), claimers }
    }

    /// Its name in lists. It changes when another process declared the worker dead, and at the start when another worker has the
    /// name that it was given.
    pub fn name(&self) -> String {
        self.shared.name()
    }

    /// Handlers running now.
    pub fn running(&self) -> u32 {
        self.shared.work.running.load(Ordering::Relaxed)
    }

    /// Stops in order. The worker claims no more and gives back what has not begun, also the jobs of a claim whose answer was
    /// lost. It lets handlers finish within the grace, asks the rest to stop, and waits a little longer. Then it gives their
    /// jobs back with the attempt not charged. Everything that ended is recorded before this returns.
    ///
    /// With the defaults that takes 25 s at most while the store answers. A blocking handler that goes on even then is named
    /// in [`Stopped::still_running`] and in the log, at once and again until it ends. It holds its thread, and a tokio runtime
    /// that is dropped waits for such threads without limit, so `#[tokio::main]` does not return before it ends.
    /// `Runtime::shutdown_timeout` waits for a limited time, and `std::process::exit` not at all.
    ///
    /// Fails as [`Unavailable`](ErrorKind::Unavailable) when the store stays away for longer than a lease, or for
    /// longer than the grace after a claim was lost. What could not be recorded or given back runs again elsewhere.
    pub async fn stop(mut self) -> Result<Stopped, Error> {
        let shared = Arc::clone(&self.shared);
        let (clock, settings) = (&shared.engine.clock, shared.settings);
        let until = clock.monotonic().saturating_add(settings.grace);
        shared.signals.stopping.cancel();
        // At once: a slot that comes free while a claimer waits for a lost answer must not begin another job.
        self.release_waiting().await;
        let wound_up = wound_up(std::mem::take(&mut self.claimers));
        tokio::pin!(wound_up);
        let claimed = tokio::select! {
            biased;
            claimed = &mut wound_up => Some(claimed),
            () = clock.sleep_to(until) => None,
        };
        self.release_waiting().await;
        let idle = || self.shared.work.pools.iter().all(|pool| pool.is_idle());
        let unfinished = tokio::select! {
            biased;
            () = shared.signals.settled(idle) => false,
            () = clock.sleep_to(until) => true,
        };
        if unfinished {
            self.report_unfinished();
            shared
                .work
                .active
                .all()
                .iter()
                .for_each(|run| run.request_stop(StopReason::Stopping, clock.monotonic()));
            tokio::select! {
                biased;
                () = shared.signals.settled(idle) => {}
                () = clock.sleep(settings.cancel_grace) => self.abandon().await,
            }
        }
        let claimed = match claimed {
            Some(claimed) => claimed,
            // The store does not answer. What a claim takes now is given back, if the answer comes within a lease.
            None => tokio::select! {
                biased;
                claimed = &mut wound_up => claimed,
                () = clock.sleep(settings.lease) => Err(claim_call::lost()),
            },
        };
        let recorded = tokio::select! {
            biased;
            () = shared.signals.settled(|| shared.work.active.is_empty()) => Ok(()),
            // While the store is away heartbeats do not arrive either. After a lease the jobs are rescued.
            () = clock.sleep(settings.lease) => Err(self.unrecorded()),
        };
        self.end_tasks();
        if let Some(heart) = &self.heart {
            // No heartbeat may follow the row's end.
            heart.ended(clock).await;
        }
        let detached = shared.work.detached.all();
        let stuck = u32::try_from(detached.len()).unwrap_or(u32::MAX);
        let named = detached.iter().take(still_running::NAMED_MAX);
        let still_running = named.map(|run| StillRunning::of(run)).collect();
        still_running::keep_reporting(&shared.name(), detached);
        recorded.and(claimed)?;
        // Counts that are not written are missing from `backroom stats`, which is no reason to fail a stop.
        let _ = stats::write(&shared).await;
        shared.ends.sum_up();
        shared.engine.store.deregister(&shared.name()).await?;
        Ok(Stopped { released: shared.work.released.load(Ordering::Relaxed), stuck, still_running })
    }

    /// Logs which handlers did not finish within the grace.
    fn report_unfinished(&self) {
        let executing: Vec<_> =
            self.shared.work.active.all().into_iter().filter(|run| run.is_executing()).collect();
        let first = executing.iter().take(UNFINISHED_NAMED_MAX);
        let jobs: Vec<_> = first.map(|run| format!("{} {}", run.job.kind, run.job.id)).collect();
        tracing::warn!(
            worker = %self.shared.name(), handlers = executing.len(), first = jobs.join(", "),
            "handlers go on after the grace of the stop; they are asked to stop"
        );
    }

    fn unrecorded(&self) -> Error {
        let jobs = self.shared.work.active.all().len();
        let message = format!(
            "stop the worker: the ends of {jobs} jobs could not be recorded; the jobs run again when their leases expire"
        );
        Error::new(ErrorKind::Unavailable, message)
    }

    /// Returns when no job is due and none runs.
    pub(super) async fn emptied(&self) -> Result<(), Error> {
        let engine = &self.shared.engine;
        let queues =
            Arc::new(self.shared.work.pools.iter().flat_map(|pool| pool.order.queues()).collect::<Vec<_>>());
        loop {
            let settled = self.shared.signals.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            let before = self.shared.work.at_rest();
            if before.is_some() {
                let kinds = Arc::clone(&self.shared.handlers.kinds);
                let next = engine.store.next_due(Arc::clone(&queues), kinds, engine.clock.due()).await?;
                // At rest before and after, with no claim in between: the store's answer still holds.
                if next.is_none_or(|at| at > engine.clock.due()) && self.shared.work.at_rest() == before {
                    return Ok(());
                }
            }
            tokio::select! {
                () = settled => {}
                () = engine.clock.sleep(self.shared.settings.poll) => {}
            }
        }
    }

    async fn release_waiting(&self) {
        give_back(&self.shared, self.shared.work.take_waiting()).await;
    }

    /// Drops the handlers where they stand and gives their jobs back.
    async fn abandon(&self) {
        // Given back first: a handler that ends at this moment must not report as well.
        give_back(&self.shared, self.shared.work.active.all()).await;
        self.shared.signals.abandoned.cancel();
    }

    fn end_tasks(&mut self) {
        self.shared.repeats.finish(self.shared.engine.clock.monotonic());
        if let Some(heart) = &self.heart {
            heart.end();
        }
        self.tasks.drain(..).chain(self.recording.take()).for_each(|task| task.abort());
    }
}

impl Drop for RunningWorker {
    fn drop(&mut self) {
        self.shared.signals.stopping.cancel();
        self.shared.signals.abandoned.cancel();
        self.shared.signals.dropped.cancel();
        // What is held ready must not begin when the handlers before it are dropped.
        drop(self.shared.work.take_waiting());
        self.end_tasks();
    }
}

impl fmt::Debug for RunningWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningWorker").field("name", &self.shared.name()).finish_non_exhaustive()
    }
}
