//! The user's code: what a handler answers, and how a worker holds it.

use std::{
    any::{Any, TypeId, type_name},
    collections::HashMap,
    error::Error as StdError,
    fmt,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use backroom_core::{Json, RetryPolicy};
use futures_util::future::BoxFuture;

use crate::{Context, Ending, worker};

/// Why a handler did not return its output, and what should become of the job.
///
/// `?` turns any error into "try again": a standard error, `anyhow::Error`, `Box<dyn Error + Send + Sync>`, a `String`
/// or a `&str`. The other outcomes have names: [`Failure::discard`], [`Failure::cancel`], [`Failure::snooze`],
/// [`Failure::retry_after`]. The message of an error holds the whole chain of its causes.
///
/// ```
/// # use backroom::Failure;
/// fn width_of(text: &str) -> Result<u32, Failure> {
///     let width = text.parse()?; // a standard error
///     if width == 0 {
///         Err("the width is zero")?; // a text
///     }
///     Ok(width)
/// }
/// # assert_eq!(width_of("0").unwrap_err().message(), "the width is zero");
/// ```
///
/// An error that is not `Send`, not `Sync` or borrows something does not fit `?`: use [`Failure::from_dyn`].
pub struct Failure {
    pub(crate) outcome: Outcome,
    pub(crate) message: String,
}

/// What should become of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Tried again after its back-off, as long as attempts are left.
    Retry,
    /// As `Retry`, but after this span instead of the back-off.
    RetryAfter(Duration),
    /// As `Retry`, but the handler panicked.
    Panicked,
    /// As `Retry`, but the attempt ran out of time.
    TimedOut,
    /// As `Retry`, but the args did not decode.
    Undecoded,
    /// As `Discard`, because the args did not decode and the kind wants that.
    UndecodedForGood,
    /// Given up for good.
    Discard,
    /// Ended as cancelled.
    Cancel,
    /// Postponed without blame.
    Snooze(Duration),
    /// The handler did not begin. The job goes back, and is due after this span.
    NotBegun(Duration),
}

impl Failure {
    /// Try again after the back-off. `?` on any error does the same.
    pub fn retry(why: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Outcome::Retry, chain(&*why.into()))
    }

    /// Try again after `delay`, at most ten years, instead of the back-off: for a service that says when to come back.
    /// The attempt is charged, and a job whose attempts are spent is given up as after any failure.
    pub fn retry_after(delay: Duration, why: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Outcome::RetryAfter(delay), chain(&*why.into()))
    }

    /// Give the job up for good: trying again cannot help.
    pub fn discard(why: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Outcome::Discard, chain(&*why.into()))
    }

    /// End the job as cancelled: it is no longer wanted.
    pub fn cancel(why: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Outcome::Cancel, chain(&*why.into()))
    }

    /// [`Failure::retry`] for an error that `?` cannot take because it is not `Send`, not `Sync` or borrows something:
    /// `.map_err(|error| Failure::from_dyn(&*error))?` on a `Box<dyn Error>`.
    pub fn from_dyn(error: &dyn StdError) -> Self {
        Self::new(Outcome::Retry, chain(error))
    }

    /// Run the job again after `delay`, at most ten years; no attempt is charged and nothing counts as failed.
    pub fn snooze(delay: Duration) -> Self {
        Self { outcome: Outcome::Snooze(delay), message: format!("snoozed for {delay:?}") }
    }

    /// The worker could not let the handler begin.
    pub(crate) fn not_begun(wait: Duration) -> Self {
        Self::new(Outcome::NotBegun(wait), "the handler did not begin")
    }

    pub(crate) fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Self { outcome, message: message.into() }
    }

    /// In which way the attempt ends by it. A middleware tells by it a snooze or a cancel, which are no failures, from an
    /// error, a panic or a timeout: see [`Ending::is_failure`].
    pub fn ending(&self) -> Ending {
        match self.outcome {
            Outcome::Retry | Outcome::RetryAfter(_) => Ending::Failed,
            Outcome::Panicked => Ending::Panicked,
            Outcome::TimedOut => Ending::TimedOut,
            Outcome::Undecoded | Outcome::UndecodedForGood => Ending::Undecoded,
            Outcome::Discard => Ending::Discarded,
            Outcome::Cancel => Ending::Cancelled,
            Outcome::Snooze(_) => Ending::Snoozed,
            Outcome::NotBegun(_) => Ending::Released,
        }
    }

    /// What it says.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// Any error means: try again.
///
/// `Failure` itself is no error and must not become one: this conversion would then overlap with that of a type to
/// itself.
impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::retry(error)
    }
}

/// Most causes that are written behind an error: a chain that leads back into itself has no end.
const CAUSES_MAX: usize = 64;

/// The error and its causes, from the outside to the inside.
fn chain(error: &dyn StdError) -> String {
    let mut message = error.to_string();
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    for cause in causes.take(CAUSES_MAX).map(ToString::to_string) {
        // Many errors print their cause at their end themselves.
        if !message.ends_with(&cause) {
            message.push_str(": ");
            message.push_str(&cause);
        }
    }
    message
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.outcome, self.message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Runs around every handler of a worker: to measure, to open a span, to refuse.
///
/// A panic of the handler and the end of its timeout come back from [`Next::run`] as answers, like any other failure;
/// [`Failure::ending`] tells them apart. A middleware that panics fails the attempt. One that goes on after the timeout is
/// dropped five seconds later.
///
/// ```
/// use backroom::{Context, Failure, Json, Middleware, Next, async_trait};
///
/// struct Failures(std::sync::atomic::AtomicU64);
///
/// #[async_trait]
/// impl Middleware for Failures {
///     async fn handle(&self, context: Context, next: Next<'_>) -> Result<Json, Failure> {
///         let answer = next.run(context).await;
///         if answer.as_ref().is_err_and(|failure| failure.ending().is_failure()) {
///             self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
///         }
///         answer
///     }
/// }
/// ```
#[async_trait]
pub trait Middleware: Send + Sync + 'static {
    /// Calls `next.run(context)` to go on, and may look at or replace its answer.
    async fn handle(&self, context: Context, next: Next<'_>) -> Result<Json, Failure>;
}

/// What is left to run: further middleware, then the handler.
pub struct Next<'a> {
    pub(crate) middleware: &'a [Arc<dyn Middleware>],
    pub(crate) handler: &'a Handler,
}

impl Next<'_> {
    /// Runs the rest. Panics and timeouts of the handler are answers.
    pub async fn run(self, context: Context) -> Result<Json, Failure> {
        match self.middleware {
            [] => worker::run_handler(self.handler, context).await,
            [first, rest @ ..] => {
                first.handle(context, Next { middleware: rest, handler: self.handler }).await
            }
        }
    }
}

impl fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").field("middleware", &self.middleware.len()).finish_non_exhaustive()
    }
}

/// Values given to [`Worker::state`](crate::Worker::state), by their type.
#[derive(Default)]
pub(crate) struct States(HashMap<TypeId, (&'static str, Arc<dyn Any + Send + Sync>)>);

impl States {
    pub(crate) fn add<T: Send + Sync + 'static>(&mut self, value: T) {
        self.0.insert(TypeId::of::<T>(), (type_name::<T>(), Arc::new(value)));
    }

    fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let (_, value) = self.0.get(&TypeId::of::<T>())?;
        Arc::clone(value).downcast().ok()
    }

    /// The names of the types, for an error.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.0.values().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names
    }
}

/// What a handler of [`Worker::handle_with`](crate::Worker::handle_with) may take as its third argument: an `Arc<T>` of a value
/// given to [`Worker::state`](crate::Worker::state), or a tuple of up to four.
pub trait FromState: Sized + Send + 'static {
    /// The value; the name of the first type that is missing otherwise.
    #[doc(hidden)]
    fn from_state(states: &StatesOf<'_>) -> Result<Self, &'static str>;
}

/// What [`FromState`] takes from.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct StatesOf<'a>(pub(crate) &'a States);

impl fmt::Debug for StatesOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.names()).finish()
    }
}

impl<T: Send + Sync + 'static> FromState for Arc<T> {
    fn from_state(states: &StatesOf<'_>) -> Result<Self, &'static str> {
        states.0.get().ok_or_else(type_name::<T>)
    }
}

impl<A: FromState, B: FromState> FromState for (A, B) {
    fn from_state(states: &StatesOf<'_>) -> Result<Self, &'static str> {
        Ok((A::from_state(states)?, B::from_state(states)?))
    }
}

impl<A: FromState, B: FromState, C: FromState> FromState for (A, B, C) {
    fn from_state(states: &StatesOf<'_>) -> Result<Self, &'static str> {
        Ok((A::from_state(states)?, B::from_state(states)?, C::from_state(states)?))
    }
}

impl<A: FromState, B: FromState, C: FromState, D: FromState> FromState for (A, B, C, D) {
    fn from_state(states: &StatesOf<'_>) -> Result<Self, &'static str> {
        Ok((A::from_state(states)?, B::from_state(states)?, C::from_state(states)?, D::from_state(states)?))
    }
}

/// A handler with its types erased: args and output are JSON.
pub(crate) struct Handler {
    /// The policy in force for jobs that carry none.
    pub(crate) retry: RetryPolicy,
    /// Whether it runs on a thread and may have to wait for a core.
    pub(crate) is_blocking: bool,
    /// Whether the worker has the state it takes; the name of the missing type otherwise.
    pub(crate) check_state: fn(&States) -> Result<(), &'static str>,
    pub(crate) run: Run,
}

pub(crate) type Run = Box<dyn Fn(Context) -> BoxFuture<'static, Result<Json, Failure>> + Send + Sync>;
