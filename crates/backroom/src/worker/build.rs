//! Builds a worker: its queues, its settings, and what runs around its handlers.

use std::{fmt, sync::Arc, time::Duration};

use backroom_core::{
    bounds::{check_name, check_span},
    draft::{QUEUE_DEFAULT, SYSTEM_PREFIX},
};

use super::{
    neighbours::Neighbours,
    plan::Plan,
    queue_order::QueueOrder,
    running_worker::RunningWorker,
    settings::{LEASE_MIN, SLOTS_MAX, THREADS_MAX},
    start,
};
use crate::{Backroom, Ended, Error, ErrorKind, Middleware, ScheduleEvent};

/// A worker before it starts: name its queues and handlers, then [`start`](Worker::start) it.
///
/// Handlers are async functions for work that waits ([`handle`](Worker::handle)) or plain functions for work that
/// computes ([`handle_blocking`](Worker::handle_blocking)). A worker claims only jobs of kinds it handles.
#[must_use = "a worker does nothing until it is started"]
pub struct Worker {
    pub(super) plan: Plan,
    /// The first error of the calls so far.
    wrong: Option<Error>,
}

impl Worker {
    /// A worker on an open store. With no queue named it serves `default` with 10 slots.
    pub fn new(backroom: &Backroom) -> Self {
        Self { plan: Plan::new(backroom), wrong: None }
    }

    /// Serves a queue with slots of its own: at most so many of its jobs run here at once.
    pub fn queue(self, queue: impl Into<String>, slots: u32) -> Self {
        self.queues(QueueOrder::strict([queue.into()]), slots)
    }

    /// Serves several queues with shared slots, in strict or weighted order.
    pub fn queues(mut self, order: QueueOrder, slots: u32) -> Self {
        let checked = order.check();
        self.check(checked);
        if slots == 0 || slots > SLOTS_MAX {
            let message = format!("build the worker: {slots} slots are out of range; use 1 to {SLOTS_MAX}");
            self.check(Err(Error::new(ErrorKind::Invalid, message)));
        }
        self.plan.pools.push((order, slots));
        self
    }

    /// A value for the handlers that take one of its type: see [`handle_with`](Worker::handle_with). A second value of the same
    /// type replaces the first.
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.plan.state.add(value);
        self
    }

    /// Runs around every handler; the first one added is the outermost.
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.plan.middleware.push(Arc::new(middleware));
        self
    }

    /// Calls `hook` with every ended attempt: success, failure, panic, timeout, snooze, cancel, discard, release, args that do
    /// not decode; and, while this worker does [`upkeep`](Worker::upkeep), each crash, poison and expiry that it finds, of
    /// jobs of any worker. Several hooks are called in the order in which they were added.
    ///
    /// The hook is called once for each end, after the store has recorded it; a process that dies in between has not called
    /// it. A result that is dropped because the lease was lost is no end: the worker whose upkeep takes the job reports the
    /// crash. The hook runs on the task that records ends: while it runs, no further end is recorded, so it must return
    /// quickly and never block; send longer work to a channel. The log warns of a hook that takes a second. A panic of the hook is
    /// caught and logged, and nothing else changes.
    ///
    /// ```
    /// # use backroom::{Backroom, Context, Failure, Job, Worker};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Greet;
    /// # impl Job for Greet { const KIND: &'static str = "greet"; type Output = (); }
    /// # async fn greet(_: Greet, _: Context) -> Result<(), Failure> { Ok(()) }
    /// # #[tokio::main] async fn main() -> Result<(), backroom::Error> {
    /// # let backroom = Backroom::open("memory:").await?;
    /// let worker = Worker::new(&backroom).handle(greet).on_end(|end| {
    ///     if end.state == backroom::State::Discarded {
    ///         println!("{} {} was discarded: {:?}", end.kind, end.id, end.error);
    ///     }
    /// });
    /// # backroom.enqueue(Greet).await?;
    /// # worker.run_until_empty().await
    /// # }
    /// ```
    pub fn on_end(mut self, hook: impl Fn(&Ended<'_>) + Send + Sync + 'static) -> Self {
        self.plan.hooks.push(Arc::new(hook));
        self
    }

    /// Calls `hook` with every event of a schedule that this worker notices, while it does [`upkeep`](Worker::upkeep): occurrences were
    /// missed, a job could not be made, a failure paused it, no run succeeded in time, a run succeeded again. Of all workers one
    /// notices it. The hook is called after the store has written what it follows from; it must return quickly and never block. A
    /// panic of the hook is caught and logged.
    pub fn on_schedule(mut self, hook: impl Fn(&ScheduleEvent<'_>) + Send + Sync + 'static) -> Self {
        self.plan.schedule_hooks.push(Arc::new(hook));
        self
    }

    /// Whether attempts that end without a failure (success, snooze, cancel, release) are logged at level INFO. Default
    /// no: they are logged at DEBUG. An attempt that fails and is retried is always logged at WARN, a discarded job at
    /// ERROR. Of more than a hundred of these in ten seconds the others are counted, and logged at DEBUG.
    pub fn log_successes(mut self, log: bool) -> Self {
        self.plan.settings.log_successes = log;
        self
    }

    /// Its name in lists; unique among living workers. Default: host, process id and a random part.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.check(check_name("worker", &name).map_err(Error::from));
        self.plan.name = Some(name);
        self
    }

    /// Liveness: how long this worker may be silent before its jobs run elsewhere. Its heartbeat is
    /// written three times within this span. Default 30 s, at least 100 ms. Not a limit on how long a job may run: that is its timeout.
    pub fn lease(mut self, lease: Duration) -> Self {
        if lease < LEASE_MIN {
            let message = format!("build the worker: a lease of {lease:?} is too short; use at least 100 ms");
            self.check(Err(Error::new(ErrorKind::Invalid, message)));
        }
        self.plan.settings.lease = lease;
        self
    }

    /// How often an idle worker asks the store for jobs without a notification. Default 1 s.
    pub fn poll(mut self, interval: Duration) -> Self {
        self.plan.settings.poll = interval.max(Duration::from_millis(1));
        self
    }

    /// How long [`RunningWorker::stop`] lets jobs finish before it asks their handlers to stop. Default 20 s, which with the
    /// [`cancel_grace`](Worker::cancel_grace) of 5 s fits into the 30 s that Kubernetes gives. Docker gives 10 s: set 6 s and
    /// 2 s there, or give the container more time (`docker stop --timeout`).
    pub fn grace(mut self, grace: Duration) -> Self {
        self.plan.settings.grace = grace;
        self
    }

    /// How long it then waits for those handlers before it gives their jobs back. Default 5 s.
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.plan.settings.cancel_grace = grace;
        self
    }

    /// After how long a handler that goes on although it was asked to stop is reported as stuck. Default 30 s.
    pub fn stuck_after(mut self, span: Duration) -> Self {
        self.plan.settings.stuck_after = span;
        self
    }

    /// How many blocking handlers of this worker run at once, 1 to 512. Default one per core, for handlers that compute. Set more
    /// for handlers that wait in blocking calls: see [`handle_blocking`](Worker::handle_blocking). They run on the threads of
    /// tokio's runtime, which has 512 of them unless you built it with another number.
    pub fn blocking_threads(mut self, threads: usize) -> Self {
        if threads == 0 || threads > THREADS_MAX {
            let message = format!(
                "build the worker: {threads} blocking threads are out of range; use 1 to {THREADS_MAX}"
            );
            self.check(Err(Error::new(ErrorKind::Invalid, message)));
        }
        self.plan.settings.blocking_threads = threads;
        self
    }

    /// How long the death of a worker process counts against the jobs that ran in it. A job that takes down its
    /// process again and again within this span, at least twice while it runs alone there, is discarded as poison.
    /// Default 72 h, at most ten years. Give all workers of a store the same.
    pub fn crash_span(mut self, span: Duration) -> Self {
        self.check(check_span("crash span", span).map_err(Error::from));
        self.plan.settings.crash_span = span;
        self
    }

    /// For simulations that play several processes in one: the handlers that would die with this worker.
    #[doc(hidden)]
    pub fn neighbours(mut self, neighbours: Arc<Neighbours>) -> Self {
        self.plan.neighbours = neighbours;
        self
    }

    /// Whether this worker also rescues, expires and prunes. Default yes; any number of workers may.
    pub fn upkeep(mut self, upkeep: bool) -> Self {
        self.plan.settings.upkeep = upkeep;
        self
    }

    /// Serves no queue and runs no job: it only rescues, expires and prunes, for jobs of all workers. A process that only enqueues or
    /// serves can so do the upkeep of its store.
    pub fn only_upkeep(mut self) -> Self {
        self.plan.settings.upkeep = true;
        self.plan.only_upkeep = true;
        self
    }

    /// Most bytes of jobs and outputs that this worker holds, over all its queues. Args and meta count from the claim
    /// until the end is recorded; outputs from their return until then. While so much is in hand the worker claims no
    /// more, even if slots are free; only the last job claimed may exceed it. Default: that of
    /// [`Options::bytes_max`](crate::Options::bytes_max), 64 MiB. What handlers make of their args is not counted.
    pub fn bytes_max(mut self, bytes: usize) -> Self {
        self.plan.settings.bytes_max = Some(bytes);
        self
    }

    /// Starts it. Dropping the running worker without [`RunningWorker::stop`] aborts what runs; the jobs are rescued when
    /// their leases expire.
    pub async fn start(mut self) -> Result<RunningWorker, Error> {
        if let Some(wrong) = self.wrong.take() {
            return Err(wrong);
        }
        if self.plan.only_upkeep {
            if !self.plan.handlers.is_empty() || !self.plan.pools.is_empty() {
                let message = "start the worker: it is to do only upkeep, but it has handlers or queues; leave out Worker::only_upkeep";
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            return start::start(self.plan).await;
        }
        if self.plan.handlers.is_empty() {
            let message = "start the worker: it has no handler; add one with Worker::handle";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        self.check_states()?;
        if self.serves_no_queue_of_its_handlers() {
            self = self.queue(QUEUE_DEFAULT, 10);
        }
        start::start(self.plan).await
    }

    /// Whether there are handlers of the caller and no queue but those of Backroom itself.
    fn serves_no_queue_of_its_handlers(&self) -> bool {
        let is_callers = |name: &String| !name.starts_with(SYSTEM_PREFIX);
        self.plan.handlers.keys().any(is_callers)
            && !self.plan.pools.iter().any(|(order, _)| order.queues().iter().any(is_callers))
    }

    /// Runs what is due now and what becomes due by that, then stops: for tests and for batch programs. Jobs that are scheduled for
    /// later, or wait for a retry, stay.
    pub async fn run_until_empty(self) -> Result<(), Error> {
        let running = self.start().await?;
        running.emptied().await?;
        running.stop().await.map(drop)
    }

    /// Every handler must find its state, or each of its jobs would fail when it runs.
    fn check_states(&self) -> Result<(), Error> {
        let mut kinds: Vec<_> = self.plan.handlers.iter().collect();
        kinds.sort_unstable_by_key(|(kind, _)| *kind);
        for (kind, handler) in kinds {
            if let Err(missing) = (handler.check_state)(&self.plan.state) {
                let given = self.plan.state.names();
                let given = if given.is_empty() { "none".into() } else { given.join(", ") };
                let message = format!(
                    "start the worker: the handler of kind {kind:?} takes state of type {missing}, which the worker does not \
                     have; add it with Worker::state (so far it has: {given})"
                );
                return Err(Error::new(ErrorKind::Invalid, message));
            }
        }
        Ok(())
    }

    /// The requests of its endpoints to each host.
    #[cfg(feature = "callbacks")]
    pub(crate) fn host_turns(&self) -> crate::http_out::Turns {
        self.plan.host_turns.clone()
    }

    /// Its kind is not claimed while the breaker is open.
    #[cfg(feature = "callbacks")]
    pub(crate) fn add_breaker(&mut self, breaker: Arc<super::KindBreaker>) {
        self.plan.breakers.0.push(breaker);
    }

    /// Remembers the first error, so that the chain of calls reads well and `start` returns the error.
    pub(crate) fn check(&mut self, checked: Result<(), Error>) {
        if let Err(error) = checked {
            self.wrong.get_or_insert(error);
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<_> = self.plan.handlers.keys().collect();
        f.debug_struct("Worker")
            .field("pools", &self.plan.pools)
            .field("kinds", &kinds)
            .finish_non_exhaustive()
    }
}
