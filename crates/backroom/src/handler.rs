//! The user's code: what a handler answers, and how a worker holds it.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use backroom_core::{Json, RetryPolicy};
use futures_util::future::BoxFuture;

use crate::Context;

/// Why a handler did not return its output, and what should become of the job.
///
/// Any error turns into "try again" with `?`. The other outcomes are said by name: [`Failure::discard`],
/// [`Failure::cancel`], [`Failure::snooze`].
pub struct Failure {
    pub(crate) outcome: Outcome,
    pub(crate) message: String,
}

/// What should become of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Tried again after its back-off, as long as attempts are left.
    Retry,
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
    pub fn retry(why: impl fmt::Display) -> Self {
        Self { outcome: Outcome::Retry, message: why.to_string() }
    }

    /// Give the job up for good: trying again cannot help.
    pub fn discard(why: impl fmt::Display) -> Self {
        Self { outcome: Outcome::Discard, message: why.to_string() }
    }

    /// End the job as cancelled: it is no longer wanted.
    pub fn cancel(why: impl fmt::Display) -> Self {
        Self { outcome: Outcome::Cancel, message: why.to_string() }
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

/// Any error means: try again. The message holds the whole chain of causes.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let said = error.to_string();
            // Many errors print their cause themselves.
            if !message.contains(&said) {
                message = format!("{message}: {said}");
            }
            cause = error.source();
        }
        Self::new(Outcome::Retry, message)
    }
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
