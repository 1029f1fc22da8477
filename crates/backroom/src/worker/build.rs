//! Putting a worker together.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    fmt,
    future::Future,
    sync::Arc,
    time::Duration,
};

use backroom_core::{Json, RetryPolicy, bounds::check_name};
use futures_util::FutureExt;
use tokio::sync::Semaphore;

use super::{
    context::Context,
    pool::Order,
    shutdown::{self, RunningWorker},
};
use crate::{
    Backroom, Error, ErrorKind, Failure, Job, Middleware,
    handler::{Handler, Outcome},
};

/// How long a worker may be silent before its jobs run elsewhere.
const LEASE_DEFAULT: Duration = Duration::from_secs(30);
const LEASE_MIN: Duration = Duration::from_millis(100);
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
    pub(super) handlers: HashMap<String, Handler>,
    pub(super) middleware: Vec<Arc<dyn Middleware>>,
    pub(super) state: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    pub(super) settings: Settings,
    pub(super) cores: Arc<Semaphore>,
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
    /// Most bytes in hand; none for what the client was opened with.
    pub(crate) bytes_max: Option<usize>,
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
            state: HashMap::new(),
            settings: Settings {
                lease: LEASE_DEFAULT,
                poll: Duration::from_secs(1),
                grace: Duration::from_secs(30),
                cancel_grace: Duration::from_secs(5),
                stuck_after: Duration::from_secs(30),
                upkeep: true,
                bytes_max: None,
            },
            cores: Arc::new(Semaphore::new(cores)),
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
        let handler = Arc::new(handler);
        self.register(J::KIND, J::retry(), false, move |context| {
            let handler = Arc::clone(&handler);
            async move {
                let job = decode::<J>(&context)?;
                encode(&handler(job, context).await?)
            }
            .boxed()
        })
    }

    /// Runs jobs of type `J` with a plain function on a pool of threads, at most one per core at a time: for work
    /// that computes or blocks, which would hold up everything else in an async function.
    pub fn handle_blocking<J, F>(self, handler: F) -> Self
    where
        J: Job,
        F: Fn(J, Context) -> Result<J::Output, Failure> + Send + Sync + 'static,
    {
        let handler = Arc::new(handler);
        let cores = Arc::clone(&self.cores);
        self.register(J::KIND, J::retry(), true, move |context| {
            let (handler, cores) = (Arc::clone(&handler), Arc::clone(&cores));
            async move {
                let job = decode::<J>(&context)?;
                let permit = cores.acquire_owned().await?;
                // The permit goes with the thread: a thread that was given up on still has its core.
                let on_thread = context.run().begins_on_thread();
                let thread = tokio::task::spawn_blocking(move || {
                    let (_permit, _on_thread) = (permit, on_thread);
                    encode(&handler(job, context)?)
                });
                match thread.await {
                    Ok(result) => result,
                    Err(error) => match error.try_into_panic() {
                        Ok(panic) => Err(panicked(&*panic)),
                        Err(error) => Err(Failure::from(error)),
                    },
                }
            }
            .boxed()
        })
    }

    /// Runs jobs of a kind that is known by name only, with args and output as JSON.
    pub fn handle_untyped<F, R>(self, kind: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Json, Context) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Json, Failure>> + Send + 'static,
    {
        self.register(kind, RetryPolicy::DEFAULT, false, move |context| {
            handler(context.job().args.clone(), context).boxed()
        })
    }

    /// Hands a value to every handler, by its type: [`Context::state`] gets it back.
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.state.insert(TypeId::of::<T>(), Arc::new(value));
        self
    }

    /// Runs around every handler; the first one added is the outermost.
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.middleware.push(Arc::new(middleware));
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

    /// How long [`RunningWorker::stop`] lets jobs finish before it tells their handlers to stop. Default 30 s.
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
        if self.pools.is_empty() {
            self = self.queue(backroom_core::draft::QUEUE_DEFAULT, 10);
        }
        shutdown::start(self).await
    }

    /// Runs what is due now and what that makes due, then stops: for tests and for batch programs. Jobs that are
    /// scheduled for later, or wait out a back-off, stay.
    pub async fn run_until_empty(self) -> Result<(), Error> {
        let running = self.start().await?;
        running.emptied().await?;
        running.stop().await.map(drop)
    }

    fn register<F>(mut self, kind: impl Into<String>, retry: RetryPolicy, is_blocking: bool, run: F) -> Self
    where
        F: Fn(Context) -> futures_util::future::BoxFuture<'static, Result<Json, Failure>>
            + Send
            + Sync
            + 'static,
    {
        let kind = kind.into();
        self.check(check_name("kind", &kind).map_err(Error::from));
        self.check(retry.check().map_err(Error::from));
        if self.handlers.contains_key(&kind) {
            let message = format!("build the worker: kind {kind:?} has two handlers; give each kind one");
            self.check(Err(Error::new(ErrorKind::Invalid, message)));
        }
        self.handlers.insert(kind, Handler { retry, is_blocking, run: Box::new(run) });
        self
    }

    /// Keeps the first thing that is wrong, so that the chain of calls reads well and `start` tells.
    fn check(&mut self, checked: Result<(), Error>) {
        if let Err(error) = checked {
            self.wrong.get_or_insert(error);
        }
    }
}

/// Args that do not fit the type never will: the job is given up with the reason, not tried for days.
fn decode<J: Job>(context: &Context) -> Result<J, Failure> {
    context.job().args.decode().map_err(|error| {
        Failure::discard(format!("args do not decode as {}: {}", std::any::type_name::<J>(), error.why))
    })
}

fn encode<T: serde::Serialize>(output: &T) -> Result<Json, Failure> {
    Json::encode(output).map_err(|error| Failure::discard(format!("the output {}", error.why)))
}

/// A panic as a failure, with its message.
pub(super) fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let said = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "something that is not text".into());
    Failure::new(Outcome::Panicked, format!("the handler panicked: {said}"))
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<_> = self.handlers.keys().collect();
        f.debug_struct("Worker").field("pools", &self.pools).field("kinds", &kinds).finish_non_exhaustive()
    }
}
