//! Starting the tasks of a worker, and ending them in order.

use std::{
    fmt,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use tokio::{
    sync::{Notify, Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    active_runs::{Held, Stop, Strays},
    blocked::{self, Watched},
    build::Worker,
    claim,
    hand::Hand,
    heart::Heart,
    heartbeat,
    notes::{self, Notes},
    panics,
    pool::Pool,
    report,
    shared::{Claiming, Identity, Shared},
    stats,
    still_running::{self, StillRunning},
    trial::{self, Suspects},
    trouble::Trouble,
};
use crate::{
    Error, ErrorKind,
    ended::Ends,
    process,
    repeated::Repeats,
    upkeep::{self, Pulse},
};

/// Starts every task of a worker.
pub(super) async fn start(worker: Worker) -> Result<RunningWorker, Error> {
    let engine = worker.backroom.engine().clone();
    let (reports, receiver) = mpsc::channel(REPORTS_MAX);
    let mut kinds: Vec<_> = worker.handlers.keys().cloned().collect();
    kinds.sort();
    let name = worker.name.unwrap_or_else(|| name(&engine.ids.lease().0.simple().to_string()));
    let incarnation = engine.ids.lease().0;
    let lease = worker.settings.lease;
    let bytes_max = worker.settings.bytes_max.unwrap_or(engine.bytes_max);
    panics::watch();
    let ends = Ends::new(Arc::clone(&engine.clock), worker.hooks, worker.settings.log_successes);
    let pools: Vec<_> =
        worker.pools.into_iter().map(|(order, slots)| Arc::new(Pool::new(order, slots))).collect();
    let shared = Arc::new(Shared {
        started_at: engine.clock.now(),
        ends: Arc::new(ends),
        engine,
        identity: Mutex::new(Identity { first_name: name.clone(), name, incarnation }),
        beats: AtomicU64::new(0),
        registered: CancellationToken::new(),
        handlers: worker.handlers,
        kinds: Arc::new(kinds),
        middleware: worker.middleware,
        state: worker.state,
        threads: Arc::new(Semaphore::new(worker.settings.blocking_threads)),
        settings: worker.settings,
        held: Held::default(),
        hand: Hand::new(bytes_max),
        pulse: Arc::new(Pulse::default()),
        notes: Notes::default(),
        reports,
        stopping: CancellationToken::new(),
        abandoned: CancellationToken::new(),
        settled: Notify::new(),
        running: AtomicU32::new(0),
        released: AtomicU64::new(0),
        claiming: Claiming::default(),
        strays: Strays::default(),
        repeats: Repeats::default(),
        pools: pools.clone(),
        neighbours: worker.neighbours,
        suspects: Suspects::default(),
        row: tokio::sync::Mutex::default(),
        trouble: Trouble::default(),
        watched: Watched::default(),
        heart: OnceLock::new(),
    });
    let pools = Arc::new(pools);
    let is_driven = shared.engine.clock.is_driven();
    let heart = if is_driven { None } else { Some(Heart::start(&shared)?) };
    let mut tasks = match &heart {
        Some(heart) => vec![tokio::spawn(blocked::keep_ticking(Arc::clone(&shared), heart.ends_with()))],
        None => vec![
            tokio::spawn(heartbeat::keep_beating(Arc::clone(&shared))),
            tokio::spawn(heartbeat::keep_looking(Arc::clone(&shared))),
        ],
    };
    tasks.extend([
        tokio::spawn(notes::keep_writing(Arc::clone(&shared))),
        tokio::spawn(stats::keep_writing(Arc::clone(&shared))),
        tokio::spawn(trial::keep_trying(Arc::clone(&shared))),
    ]);
    if shared.settings.upkeep {
        let keeping = upkeep::keep_up(
            shared.engine.clone(),
            lease,
            Arc::clone(&shared.pulse),
            Arc::clone(&shared.ends),
            shared.settings.crash_span,
        );
        tasks.push(tokio::spawn(keeping));
    }
    let reporter = tokio::spawn(report::keep_reporting(Arc::clone(&shared), receiver));
    let claimers = pools
        .iter()
        .map(|pool| tokio::spawn(claim::keep_claiming(Arc::clone(&shared), Arc::clone(pool))))
        .collect();
    Ok(RunningWorker { shared, pools, tasks, heart, reporter: Some(reporter), claimers })
}

/// Handlers that one line names.
const UNFINISHED_NAMED_MAX: usize = 5;
/// Most ends on their way to the reporter.
const REPORTS_MAX: usize = 4096;

fn name(random: &str) -> String {
    format!("{}-{}-{}", process::host(), std::process::id(), &random[..6])
}

/// Waits until all claimers have ended; what one of them could not give back is the error.
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
    pools: Arc<Vec<Arc<Pool>>>,
    tasks: Vec<JoinHandle<()>>,
    /// None where the clock is driven.
    heart: Option<Heart>,
    reporter: Option<JoinHandle<()>>,
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
    /// Its name in lists. It changes when another process declared the worker dead, and at the start when another worker has the
    /// name that it was given.
    pub fn name(&self) -> String {
        self.shared.name()
    }

    /// Handlers running now.
    pub fn running(&self) -> u32 {
        self.shared.running.load(Ordering::Relaxed)
    }

    /// Stops in order: claims no more and gives back what has not begun, be it the work of a claim whose answer was lost;
    /// lets handlers finish within the grace; asks the rest to stop and waits a little longer; gives their jobs back with
    /// the attempt not charged. Everything that ended is recorded before this returns.
    ///
    /// With the defaults that takes 25 s at most while the store answers. A blocking handler that goes on even then is named
    /// in [`Stopped::still_running`] and in the log, at once and again until it ends. It holds its thread, and a tokio runtime
    /// that is dropped waits for such threads without limit, so `#[tokio::main]` does not return before it ends.
    /// `Runtime::shutdown_timeout` waits for a limited time, and `std::process::exit` not at all.
    ///
    /// Fails as [`Unavailable`](ErrorKind::Unavailable) when the store stays away for longer than a lease, or for longer
    /// than the grace after a claim was lost: what could not be recorded or given back runs again elsewhere.
    pub async fn stop(mut self) -> Result<Stopped, Error> {
        let shared = Arc::clone(&self.shared);
        let (clock, settings) = (&shared.engine.clock, shared.settings);
        let until = clock.monotonic().saturating_add(settings.grace);
        shared.stopping.cancel();
        // At once: a slot that comes free while a claimer waits for a lost answer must not begin any more.
        self.release_waiting().await;
        let wound_up = wound_up(std::mem::take(&mut self.claimers));
        tokio::pin!(wound_up);
        let claimed = tokio::select! {
            biased;
            claimed = &mut wound_up => Some(claimed),
            () = clock.sleep_to(until) => None,
        };
        self.release_waiting().await;
        let idle = || self.pools.iter().all(|pool| pool.is_idle());
        let unfinished = tokio::select! {
            biased;
            () = self.settled(idle) => false,
            () = clock.sleep_to(until) => true,
        };
        if unfinished {
            self.report_unfinished();
            shared.held.all().iter().for_each(|run| run.tell(Stop::Stopping, clock.monotonic()));
            tokio::select! {
                biased;
                () = self.settled(idle) => {}
                () = clock.sleep(settings.cancel_grace) => self.abandon().await,
            }
        }
        let claimed = match claimed {
            Some(claimed) => claimed,
            // The store answers nothing at all. What a claim takes now is given back, if it is heard within a lease.
            None => tokio::select! {
                biased;
                claimed = &mut wound_up => claimed,
                () = clock.sleep(settings.lease) => Err(claim::lost()),
            },
        };
        let recorded = tokio::select! {
            biased;
            () = self.settled(|| shared.held.is_empty()) => Ok(()),
            // While the store is away heartbeats do not arrive either. After a lease the jobs are rescued.
            () = clock.sleep(settings.lease) => Err(self.unrecorded()),
        };
        self.end_tasks();
        if let Some(heart) = &self.heart {
            // No heartbeat may follow the row's end.
            heart.ended(clock).await;
        }
        let strays = shared.strays.all();
        let stuck = u32::try_from(strays.len()).unwrap_or(u32::MAX);
        let named = strays.iter().take(still_running::NAMED_MAX);
        let still_running = named.map(|run| StillRunning::of(run)).collect();
        still_running::keep_reporting(&shared.name(), strays);
        recorded.and(claimed)?;
        // Counts that are not written are missing from `backroom stats`, which is no reason to fail a stop.
        let _ = stats::write(&shared).await;
        shared.ends.sum_up();
        shared.engine.store.leave(&shared.name()).await?;
        Ok(Stopped { released: shared.released.load(Ordering::Relaxed), stuck, still_running })
    }

    /// Says which handlers did not finish within the grace.
    fn report_unfinished(&self) {
        let executing: Vec<_> = self.shared.held.all().into_iter().filter(|run| run.is_executing()).collect();
        let first = executing.iter().take(UNFINISHED_NAMED_MAX);
        let jobs: Vec<_> = first.map(|run| format!("{} {}", run.job.kind, run.job.id)).collect();
        tracing::warn!(
            worker = %self.shared.name(), handlers = executing.len(), first = jobs.join(", "),
            "handlers go on after the grace of the stop; they are asked to stop"
        );
    }

    fn unrecorded(&self) -> Error {
        let jobs = self.shared.held.all().len();
        let message = format!(
            "stop the worker: the ends of {jobs} jobs could not be recorded; the jobs run again when their leases run out"
        );
        Error::new(ErrorKind::Unavailable, message)
    }

    /// Returns when no job is due and none runs.
    pub(super) async fn emptied(&self) -> Result<(), Error> {
        let engine = &self.shared.engine;
        let queues = Arc::new(self.pools.iter().flat_map(|pool| pool.order.queues()).collect::<Vec<_>>());
        loop {
            let settled = self.shared.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            let before = self.shared.at_rest();
            if before.is_some() {
                let kinds = Arc::clone(&self.shared.kinds);
                let next = engine.store.next_due(Arc::clone(&queues), kinds, engine.clock.due()).await?;
                // At rest before and after, with no claim in between: what the store said still holds.
                if next.is_none_or(|at| at > engine.clock.due()) && self.shared.at_rest() == before {
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
        let waiting = self.pools.iter().flat_map(|pool| pool.take_waiting());
        let waiting = waiting.chain(self.shared.suspects.take_waiting()).collect();
        report::give_back(&self.shared, waiting).await;
    }

    /// Drops the handlers where they stand and gives their jobs back.
    async fn abandon(&self) {
        // Reported first: a handler that ends this very moment must not report as well.
        report::give_back(&self.shared, self.shared.held.all()).await;
        self.shared.abandoned.cancel();
    }

    /// Returns when `done` holds; looks whenever something settles.
    async fn settled(&self, done: impl Fn() -> bool) {
        loop {
            let settled = self.shared.settled.notified();
            tokio::pin!(settled);
            // Enabled before the look, or what settles in between would not be heard.
            settled.as_mut().enable();
            if done() {
                return;
            }
            settled.await;
        }
    }

    fn end_tasks(&mut self) {
        self.shared.repeats.finish(self.shared.engine.clock.monotonic());
        if let Some(heart) = &self.heart {
            heart.end();
        }
        self.tasks.drain(..).chain(self.reporter.take()).for_each(|task| task.abort());
    }
}

impl Drop for RunningWorker {
    fn drop(&mut self) {
        self.shared.stopping.cancel();
        self.shared.abandoned.cancel();
        // What is held ready must not begin when the handlers before it are dropped.
        self.pools.iter().for_each(|pool| drop(pool.take_waiting()));
        drop(self.shared.suspects.take_waiting());
        self.end_tasks();
    }
}

impl fmt::Debug for RunningWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningWorker").field("name", &self.shared.name()).finish_non_exhaustive()
    }
}
