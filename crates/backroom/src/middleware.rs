//! User code that runs around every handler of a worker.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use backroom_core::Json;

use crate::{Context, Failure, handler::Handler, worker};

/// Runs around every handler of a worker: to measure, to open a span, to refuse.
///
/// A panic of the handler and the end of its timeout come back from [`Next::run`] as answers, like any other failure;
/// [`Failure::ending`] distinguishes them. A middleware that panics fails the attempt. One that goes on after the timeout is
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
    /// Calls `next.run(context)` to go on, and may read or replace its answer.
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
