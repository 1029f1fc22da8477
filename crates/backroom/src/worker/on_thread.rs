//! Runs a blocking handler on a thread of the runtime.

use std::{sync::Arc, time::Duration};

use backroom_core::Json;

use super::{context::Context, panics};
use crate::Failure;

/// Runs the handler once one of the worker's threads is free.
pub(super) async fn on_thread(
    context: Context,
    handler: impl FnOnce(Context) -> Result<Json, Failure> + Send + 'static,
) -> Result<Json, Failure> {
    let threads = Arc::clone(&context.resources().threads);
    // A suspect has its thread since its trial began.
    let permit = match context.run().take_thread() {
        Some(permit) => permit,
        None => threads.acquire_owned().await?,
    };
    let span = tracing::Span::current();
    let thread = tokio::task::spawn_blocking(move || {
        // The permit stays with the thread: a thread whose run has ended still occupies its core.
        let (_permit, running) = (permit, context.resources().neighbours.begin_alone());
        let (clock, run) = (&context.resources().engine.clock, context.run());
        let not_begun = || Err(Failure::not_begun(Duration::ZERO));
        if run.is_over() || run.stop_reason().is_some() {
            // The run ended, or was asked to stop, while it waited for a thread.
            return not_begun();
        }
        let _on_thread = run.begins_on_thread(running);
        run.begins(clock.now(), clock.monotonic());
        span.in_scope(|| panics::caught(|| handler(context)))
            .unwrap_or_else(|panic| Err(panic.into_failure()))
    });
    // The thread catches the handler's panics. Any other error means that the runtime shuts down.
    thread.await?
}
