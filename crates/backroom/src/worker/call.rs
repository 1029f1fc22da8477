//! Calls one handler: catches its panics and limits its time.

use std::{pin::pin, sync::Arc, time::Duration};

use backroom_core::Json;

use super::{
    context::Context,
    panics,
    run::{Run, StopReason},
};
use crate::{Failure, clock::Clock, failure::Outcome, handler::Handler};

/// Runs the handler. A panic and the end of its time are failures.
pub(crate) async fn run_handler(handler: &Handler, context: Context) -> Result<Json, Failure> {
    let (clock, run) = (Arc::clone(&context.resources().engine.clock), Arc::clone(context.run()));
    let limited = pin!(async {
        // The call that builds the future runs user code as well.
        let handling = async { (handler.run)(context).await };
        match handler.timeout_of(&run.job) {
            None => handling.await,
            Some(timeout) => {
                let mut handling = pin!(handling);
                tokio::select! {
                    biased;
                    result = &mut handling => return result,
                    () = out_of_time(&*clock, &run, handler, timeout) => {}
                }
                let timed_out = timed_out(&*clock, &run, timeout);
                if !handler.wind_up.is_zero() {
                    // Its answer comes too late.
                    tokio::select! {
                        biased;
                        _ = handling => {}
                        () = clock.sleep(handler.wind_up) => {}
                    }
                }
                Err(timed_out)
            }
        }
    });
    panics::caught_in(limited).await.unwrap_or_else(|panic| Err(panic.into_failure()))
}

/// Asks the handler to stop because its time is over.
pub(super) fn timed_out(clock: &dyn Clock, run: &Run, timeout: Duration) -> Failure {
    run.request_stop(StopReason::TimedOut, clock.monotonic());
    Failure::new(Outcome::TimedOut, format!("ran longer than its timeout of {timeout:?}"))
}

/// Returns when the attempt has run out of time, at a deadline that the handler may move. The time that a blocking handler
/// waits for a thread does not count.
async fn out_of_time(clock: &dyn Clock, run: &Run, handler: &Handler, timeout: Duration) {
    if handler.is_blocking {
        run.begun().await;
        run.set_deadline(clock.monotonic().saturating_add(timeout));
    }
    past_deadline(clock, run, Duration::ZERO).await;
}

/// Returns `grace` after the deadline, once there is one. If the deadline is moved in the meantime, it waits for the new one.
pub(super) async fn past_deadline(clock: &dyn Clock, run: &Run, grace: Duration) {
    let mut reached = None;
    while reached.is_none() || reached != run.deadline() {
        let deadline = run.has_deadline().await;
        clock.sleep_to(deadline.saturating_add(grace)).await;
        reached = Some(deadline);
    }
}
