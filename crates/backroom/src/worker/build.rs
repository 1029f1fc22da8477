//! Putting a worker together.

use std::{collections::HashMap, fmt, future::Future, sync::Arc, time::Duration};

use backroom_core::{
    Json, RetryPolicy,
    bounds::{CRASH_SPAN, check_name, check_span},
};
use futures_util::FutureExt;
use tokio::runtime::Handle;

use super::{
    context::Context,
    neighbours::Neighbours,
    panics,
    pool::Order,
    running_worker::{self, RunningWorker},
    trial,
};
use crate::{
    Backroom, BadArgs, Ended, Error, ErrorKind, Failure, FromState, Job, Middleware,
    ended::Hook,
    handler::{Handler, Outcome, States, StatesOf},
};

/// How long a worker may be silent before its jobs run elsewhere.
const LEASE_DEFAULT: Duration = Duration::from_secs(30);
const LEASE_MIN: Duration = Duration::from_millis(100);
/// Together 25 s: Kubernetes kills a container 30 s after it asked it to stop.
const GRACE_DEFAULT: Duration = Duration::from_secs(20);
const CANCEL_GRACE_DEFAULT: Duration = Duration::from_secs(5);
/// Most threads for blocking handlers: those that tokio's runtime has by default.
const THREADS_MAX: usize = 512;
/// Most slots of one worker.
const SLOTS_MAX: u32 = 100_000;

/// A worker about to start: name its queues and handlers, then [`start`](Worker::start) it.
///
/// Handlers are async functions for work that waits ([`handle`](Worker::handle)) or plain functions for work that
/// computes ([`handle_blocking`](Worker::handle_blocking)). A worker claims only jobs of kinds it handles.
#[must_use = "a worker does nothing until it is started"]
pub struct Worker {
    pub(super) backroom: Backroom,
    pub(super) name: Option<String>,
    pub(super) pools: Vec<(Order, u32)>,
    pub(super) handlers: HashMap<String, Arc<Handler>>,
    pub(super) middleware: Vec<Arc<dyn Middleware>>,
    pub(super) hooks: Vec<Hook>,
    pub(super) state: States,
    pub(super) settings: Settings,
    pub(super) neighbours: Arc<Neighbours>,
    wrong: Option<Error>,
}

/// The knobs of a worker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// Liveness: how long the worker may be silent.
    pub(crate) lease: Duration,
    /// How often an idle worker looks without a hint.
    pub(crate) poll: Duration,
    /// How long a stopping worker lets its jobs finish.
    pub(crate) grace: Duration,
    /// How long it then waits for handlers that were told to stop.
    pub(crate) cancel_grace: Duration,
    /// How long a handler may go on after it was told to stop before it is reported as stuck.
    pub(crate) stuck_after: Duration,
    /// Whether this worker also does the upkeep of the store.
    pub(crate) upkeep: bool,
    /// How long a crash is remembered against its job.
    pub(crate) crash_span: Duration,
    /// Most bytes in hand; none for what the client was opened with.
    pub(crate) bytes_max: Option<usize>,
    /// Whether ends without failure are logged at INFO.
    pub(crate) log_successes: bool,
    /// Most blocking handlers at once.
    pub(crate) blocking_threads: usize,
}

impl Worker {
    /// A worker on an open store. With no queue named it serves `default` with 10 slots.
    pub fn new(backroom: &Backroom) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            backroom: backroom.clone(),
            name: None,
            pools: Vec::new(),
            handlers: HashMap::new(),
            middleware: Vec::new(),
            hooks: Vec::new(),
            state: States::default(),
            settings: Settings {
                lease: LEASE_DEFAULT,
                poll: Duration::from_secs(1),
                grace: GRACE_DEFAULT,
                cancel_grace: CANCEL_GRACE_DEFAULT,
                stuck_after: Duration::from_secs(30),
                upkeep: true,
                crash_span: CRASH_SPAN,
                bytes_max: None,
                log_successes: false,
                blocking_threads: cores.min(THREADS_MAX),
            },
            neighbours: Neighbours::here(),
            wrong: None,
        }
    }

    /// Serves a queue with slots of its own: at most so many of its jobs run here at once.
    pub fn queue(self, queue: impl Into<String>, slots: u32) -> Self {
        self.queues(Order::strict([queue.into()]), slots)
    }

    /// Serves several queues with shared slots, in strict or weighted order.
    pub fn queues(mut self, order: Order, slots: u32) -> Self {
        let checked = order.check();
        self.check(checked);
        if slots == 0 || slots > SLOTS_MAX {
            let message = format!("build the worker: {slots} slots are out of range; use 1 to {SLOTS_MAX}");
            self.check(Err(Error::new(ErrorKind::Invalid, message)));
        }
        self.pools.push((order, slots));
        self
    }

    /// Runs jobs of type `J` with an async function.
    pub fn handle<J, F, R>(self, handler: F) -> Self
    where
        J: Job,
        F: Fn(J, Context) -> R + Send + Sync + 'static,
        R: Future<Output = Result<J::Output, Failure>> + Send + 'static,
    {
        self.handle_taking::<J, _, _, _>(|_| Ok(()), |_| (), move |job, context, ()| handler(job, context))
    }

    /// Runs jobs of type `J` with an async function that also takes state: an `Arc<T>` of a value given to
    /// [`state`](Worker::state), or a tuple of up to four of them. [`start`](Worker::start) fails if one is missing.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use backroom::{Backroom, Context, Failure, Job, Worker};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Greet;
    /// # impl Job for Greet { const KIND: &'static str = "greet"; type Output = (); }
    /// struct Mailer;
    ///
    /// async fn greet(job: Greet, ctx: Context, mailer: Arc<Mailer>) -> Result<(), Failure> {
    ///     // …
    ///     Ok(())
    /// }
    ///
    /// # #[tokio::main] async fn main() -> Result<(), backroom::Error> {
    /// # let backroom = Backroom::open("memory:").await?;
    /// let worker = Worker::new(&backroom).state(Mailer).handle_with(greet).start().await?;
    /// # worker.stop().await.map(drop)
    /// # }
    /// ```
    pub fn handle_with<J, S, F, R>(self, handler: F) -> Self
    where
        J: Job,
        S: FromState,
        F: Fn(J, Context, S) -> R + Send + Sync + 'static,
        R: Future<Output = Result<J::Output, Failure>> + Send + 'static,
    {
        self.handle_taking::<J, _, _, _>(check_state::<S>, take_state::<S>, handler)
    }

    fn handle_taking<J, S, F, R>(
        self,
        check: fn(&States) -> Result<(), &'static str>,
        take: fn(&Context) -> S,
        handler: F,
    ) -> Self
    where
        J: Job,
        S: Send + 'static,
        F: Fn(J, Context, S) -> R + Send + Sync + 'static,
        R: Future<Output = Result<J::Output, Failure>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let run = move |context: Context| {
            let handler = Arc::clone(&handler);
            async move {
                let (job, state) = (decode::<J>(&context)?, take(&context));
                encode(&handler(job, context, state).await?)
            }
            .boxed()
        };
        self.register(
            &names_of::<J>(),
            Handler { retry: J::retry(), is_blocking: false, check_state: check, run: Box::new(run) },
        )
    }

    /// Runs jobs of type `J` with a plain function on a thread of its own: for work that computes or blocks, which would hold
    /// up everything else in an async function.
    ///
    /// At most [`blocking_threads`](Worker::blocking_threads) of all blocking handlers of this worker run at once, one per core
    /// unless you set another number. That is right for work that *computes* (pictures, compression, hashes): more threads
    /// than cores would only slow each other down. Work that *waits* in a blocking call (a driver without async, a lock, a
    /// slow disk) leaves its core idle meanwhile; let as many wait at once as the other side can bear, and set
    /// `blocking_threads` to that. The slots of its queue must allow as many.
    ///
    /// Nothing can stop a thread from outside: see [`RunningWorker::stop`] for what becomes of a handler that does not end.
    pub fn handle_blocking<J, F>(self, handler: F) -> Self
    where
        J: Job,
        F: Fn(J, Context) -> Result<J::Output, Failure> + Send + Sync + 'static,
    {
        self.handle_blocking_taking::<J, _, _>(
            |_| Ok(()),
            |_| (),
            move |job, context, ()| handler(job, context),
        )
    }

    /// [`handle_blocking`](Worker::handle_blocking) with state, as of [`handle_with`](Worker::handle_with).
    pub fn handle_blocking_with<J, S, F>(self, handler: F) -> Self
    where
        J: Job,
        S: FromState,
        F: Fn(J, Context, S) -> Result<J::Output, Failure> + Send + Sync + 'static,
    {
        self.handle_blocking_taking::<J, _, _>(check_state::<S>, take_state::<S>, handler)
    }

    fn handle_blocking_taking<J, S, F>(
        self,
        check: fn(&States) -> Result<(), &'static str>,
        take: fn(&Context) -> S,
        handler: F,
    ) -> Self
    where
        J: Job,
        S: Send + 'static,
        F: Fn(J, Context, S) -> Result<J::Output, Failure> + Send + Sync + 'static,
    {
        let handler = Arc::new(handler);
        let run = move |context: Context| {
            let handler = Arc::clone(&handler);
            async move {
                let (job, state) = (decode::<J>(&context)?, take(&context));
                on_thread(context, move |context| encode(&handler(job, context, state)?)).await
            }
            .boxed()
        };
        self.register(
            &names_of::<J>(),
            Handler { retry: J::retry(), is_blocking: true, check_state: check, run: Box::new(run) },
        )
    }

    /// Runs jobs of a kind that is known by name only, with args and output as JSON.
    pub fn handle_untyped<F, R>(self, kind: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Json, Context) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Json, Failure>> + Send + 'static,
    {
        let run = move |context: Context| handler(context.job().args.clone(), context).boxed();
        self.register(
            &[&kind.into()],
            Handler {
                retry: RetryPolicy::DEFAULT,
                is_blocking: false,
                check_state: |_| Ok(()),
                run: Box::new(run),
            },
        )
    }

    /// A value for the handlers that take one of its type: see [`handle_with`](Worker::handle_with). A second value of the same
    /// type replaces the first.
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.state.add(value);
        self
    }

    /// Runs around every handler; the first one added is the outermost.
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.middleware.push(Arc::new(middleware));
        self
    }

    /// Calls `hook` with every ended attempt: success, failure, panic, timeout, snooze, cancel, discard, release, args that do
    /// not decode; and, while this worker does [`upkeep`](Worker::upkeep), each crash, poison and expiry that it finds, of
    /// jobs of any worker. Several hooks are called in the order in which they were added.
    ///
    /// The hook is called once for each end, after the store has recorded it; a process that dies in between has not called
    /// it. A result that is dropped because the lease was lost is no end: the worker whose upkeep takes the job reports the
    /// crash. The hook runs on the task that records ends: while it runs, no further end is recorded, so it must return
    /// quickly and never block; send to a channel what takes longer. After a second it is warned of. A panic of the hook is
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
    ///         println!("{} {} was given up: {:?}", end.kind, end.id, end.error);
    ///     }
    /// });
    /// # backroom.enqueue(Greet).await?;
    /// # worker.run_until_empty().await
    /// # }
    /// ```
    pub fn on_end(mut self, hook: impl Fn(&Ended<'_>) + Send + Sync + 'static) -> Self {
        self.hooks.push(Arc::new(hook));
        self
    }

    /// Whether attempts that end without a failure (success, snooze, cancel, release) are logged at level INFO. Default no:
    /// they are logged at DEBUG. An attempt that fails and is retried is always logged at WARN, a discarded job at ERROR; of
    /// more than a hundred of these in ten seconds the rest is counted, and logged at DEBUG.
    pub fn log_successes(mut self, log: bool) -> Self {
        self.settings.log_successes = log;
        self
    }

    /// Its name in lists; unique among living workers. Default: host, process id and a random part.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.check(check_name("worker", &name).map_err(Error::from));
        self.name = Some(name);
        self
    }

    /// Liveness: how long this worker may be silent before its jobs run elsewhere. It renews its leases three times
    /// as often. Default 30 s, at least 100 ms. Not a limit on how long a job may run: that is its timeout.
    pub fn lease(mut self, lease: Duration) -> Self {
        if lease < LEASE_MIN {
            let message = format!("build the worker: a lease of {lease:?} is too short; use at least 100 ms");
            self.check(Err(Error::new(ErrorKind::Invalid, message)));
        }
        self.settings.lease = lease;
        self
    }

    /// How often an idle worker looks for jobs that nobody told it of. Default 1 s.
    pub fn poll(mut self, interval: Duration) -> Self {
        self.settings.poll = interval.max(Duration::from_millis(1));
        self
    }

    /// How long [`RunningWorker::stop`] lets jobs finish before it asks their handlers to stop. Default 20 s, which with the
    /// [`cancel_grace`](Worker::cancel_grace) of 5 s fits into the 30 s that Kubernetes gives. Docker gives 10 s: set 6 s and
    /// 2 s there, or give the container more time (`docker stop --timeout`).
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// How long it then waits for those handlers before it gives their jobs back. Default 5 s.
    pub fn cancel_grace(mut self, grace: Duration) -> Self {
        self.settings.cancel_grace = grace;
        self
    }

    /// After how long a handler that goes on although it was told to stop is reported as stuck. Default 30 s.
    pub fn stuck_after(mut self, span: Duration) -> Self {
        self.settings.stuck_after = span;
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
        self.settings.blocking_threads = threads;
        self
    }

    /// How long the death of a worker process is remembered against the jobs that ran in it. A job that takes down its
    /// process again and again within this span, at least twice while it runs alone there, is discarded as poison.
    /// Default 72 h, at most ten years. Give all workers of a store the same.
    pub fn crash_span(mut self, span: Duration) -> Self {
        self.check(check_span("crash span", span).map_err(Error::from));
        self.settings.crash_span = span;
        self
    }

    /// For simulations that play several processes in one: the handlers that would die with this worker.
    #[doc(hidden)]
    pub fn neighbours(mut self, neighbours: Arc<Neighbours>) -> Self {
        self.neighbours = neighbours;
        self
    }

    /// Whether this worker also rescues, expires and prunes. Default yes; any number of workers may.
    pub fn upkeep(mut self, upkeep: bool) -> Self {
        self.settings.upkeep = upkeep;
        self
    }

    /// Most bytes of jobs and outputs that this worker holds in hand, over all its queues: args and meta from the claim until
    /// the end is recorded, and outputs until then. While so much is in hand the worker claims no more, even if slots are
    /// free; only the last job claimed may exceed it. Default: that of [`Options::bytes_max`](crate::Options::bytes_max), 64
    /// MiB. What handlers make of their args is not counted.
    pub fn bytes_max(mut self, bytes: usize) -> Self {
        self.settings.bytes_max = Some(bytes);
        self
    }

    /// Starts it. Dropping the answer without [`RunningWorker::stop`] aborts what runs; the jobs are rescued when
    /// their leases run out.
    pub async fn start(mut self) -> Result<RunningWorker, Error> {
        if let Some(wrong) = self.wrong.take() {
            return Err(wrong);
        }
        if self.handlers.is_empty() {
            let message = "start the worker: it has no handler; add one with Worker::handle";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        self.check_states()?;
        if self.pools.is_empty() {
            self = self.queue(backroom_core::draft::QUEUE_DEFAULT, 10);
        }
        running_worker::start(self).await
    }

    /// Runs what is due now and what that makes due, then stops: for tests and for batch programs. Jobs that are
    /// scheduled for later, or wait out a back-off, stay.
    pub async fn run_until_empty(self) -> Result<(), Error> {
        let running = self.start().await?;
        running.emptied().await?;
        running.stop().await.map(drop)
    }

    fn register(mut self, kinds: &[&str], handler: Handler) -> Self {
        let checked = handler.retry.check().map_err(Error::from);
        self.check(checked);
        let handler = Arc::new(handler);
        for kind in kinds {
            self.check(check_name("kind", kind).map_err(Error::from));
            if self.handlers.insert((*kind).into(), Arc::clone(&handler)).is_some() {
                let message = format!(
                    "build the worker: kind {kind:?} has two handlers; give each kind one, and list each alias once"
                );
                self.check(Err(Error::new(ErrorKind::Invalid, message)));
            }
        }
        self
    }

    /// Every handler must find its state, or each of its jobs would fail when it runs.
    fn check_states(&self) -> Result<(), Error> {
        let mut kinds: Vec<_> = self.handlers.iter().collect();
        kinds.sort_unstable_by_key(|(kind, _)| *kind);
        for (kind, handler) in kinds {
            if let Err(missing) = (handler.check_state)(&self.state) {
                let given = self.state.names();
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

    /// Keeps the first thing that is wrong, so that the chain of calls reads well and `start` tells.
    fn check(&mut self, checked: Result<(), Error>) {
        if let Err(error) = checked {
            self.wrong.get_or_insert(error);
        }
    }
}

/// The kind's name and its older ones.
fn names_of<J: Job>() -> Vec<&'static str> {
    [J::KIND].into_iter().chain(J::ALIASES.iter().copied()).collect()
}

fn check_state<S: FromState>(states: &States) -> Result<(), &'static str> {
    S::from_state(&StatesOf(states)).map(drop)
}

fn take_state<S: FromState>(context: &Context) -> S {
    S::from_state(&StatesOf(&context.shared().state))
        .expect("invariant: start checks that every handler finds its state")
}

/// Runs a blocking handler on a thread of the runtime, once one of the worker's permits is free.
async fn on_thread(
    context: Context,
    handler: impl FnOnce(Context) -> Result<Json, Failure> + Send + 'static,
) -> Result<Json, Failure> {
    let threads = Arc::clone(&context.shared().threads);
    let permit = match context.run().ticket() {
        None => threads.acquire_owned().await?,
        Some(ticket) => tokio::select! {
            biased;
            permit = threads.acquire_owned() => permit?,
            () = ticket.withdrawn() => return Err(trial::without_thread()),
        },
    };
    let (span, runtime) = (tracing::Span::current(), Handle::current());
    let thread = tokio::task::spawn_blocking(move || {
        // The permit goes with the thread: a thread whose run has ended still occupies its core.
        let (_permit, running) = (permit, context.shared().neighbours.begin_alone());
        if context.run().is_over() {
            // The run ended while it waited for a thread, so this answer is dropped.
            return Err(Failure::not_begun(Duration::ZERO));
        }
        if let Some(ticket) = context.run().ticket()
            && !runtime.block_on(trial::begin(context.shared(), context.run(), ticket))
        {
            return Err(Failure::not_begun(Duration::ZERO));
        }
        let _on_thread = context.run().begins_on_thread(running);
        let clock = &context.shared().engine.clock;
        context.run().begins(clock.now(), clock.monotonic());
        span.in_scope(|| panics::caught(|| handler(context)))
            .unwrap_or_else(|panic| Err(panic.into_failure()))
    });
    // The thread catches the handler's panics; what is left is a runtime that shuts down.
    thread.await?
}

/// A newer version of the program may have enqueued the job, so by default it is tried again.
fn decode<J: Job>(context: &Context) -> Result<J, Failure> {
    context.job().args.decode().map_err(|error| {
        let why = error.why.strip_prefix("does not fit the expected type: ").unwrap_or(&error.why);
        let message = format!("args do not decode as {}: {why}", std::any::type_name::<J>());
        match J::BAD_ARGS {
            BadArgs::Retry => {
                let message = format!("{message}; a newer version of the program may be able to decode them");
                Failure::new(Outcome::Undecoded, message)
            }
            BadArgs::Discard => Failure::new(Outcome::UndecodedForGood, message),
        }
    })
}

fn encode<T: serde::Serialize>(output: &T) -> Result<Json, Failure> {
    Json::encode(output).map_err(|error| Failure::discard(format!("the output {}", error.why)))
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<_> = self.handlers.keys().collect();
        f.debug_struct("Worker").field("pools", &self.pools).field("kinds", &kinds).finish_non_exhaustive()
    }
}
