//! The user's code: what a handler answers, and how a worker holds it.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use backroom_core::{Json, RetryPolicy};
use futures_util::future::BoxFuture;

use crate::Context;

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
    /// Given up for good.
    Discard,
    /// Ended as cancelled.
    Cancel,
    /// Postponed without blame.
    Snooze(Duration),
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

    pub(crate) fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Self { outcome, message: message.into() }
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
    /// Runs the rest.
    pub async fn run(self, context: Context) -> Result<Json, Failure> {
        match self.middleware {
            [] => (self.handler.run)(context).await,
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

/// A handler with its types erased: args and output are JSON.
pub(crate) struct Handler {
    /// The policy in force for jobs that carry none.
    pub(crate) retry: RetryPolicy,
    /// Whether it runs on a thread and may have to wait for a core.
    pub(crate) is_blocking: bool,
    pub(crate) run: Run,
}

pub(crate) type Run = Box<dyn Fn(Context) -> BoxFuture<'static, Result<Json, Failure>> + Send + Sync>;
