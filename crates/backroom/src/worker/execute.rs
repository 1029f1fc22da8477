//! Running one job in its slot.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use backroom_core::Json;
use futures_util::FutureExt;

use super::{
    build::panicked,
    context::Context,
    held::{Run, Stop},
    pool::Pool,
    report::{self, Report},
    shared::Shared,
};
use crate::{
    Failure,
    handler::{Handler, Next, Outcome},
};

/// A runner: holds one slot and works off the pool's jobs until none waits. Started per burst rather than per
/// job: a short job then costs no task of its own.
pub(crate) async fn keep_running(shared: Arc<Shared>, pool: Arc<Pool>) {
    let mut took = None;
    while let Some(run) = pool.next(took) {
        let began = shared.engine.clock.monotonic();
        execute(&shared, &run).await;
        took = Some(shared.engine.clock.monotonic().saturating_sub(began));
    }
    shared.settled.notify_waiters();
}

/// Runs the handler and hands what it answered to the reporter.
async fn execute(shared: &Arc<Shared>, run: &Arc<Run>) {
    if run.told().is_some() {
        // Cancelled or lost before it began: it does not begin. Given back, a cancelled one ends as cancelled.
        return report::give_back(shared, vec![Arc::clone(run)]).await;
    }
    shared.running.fetch_add(1, Ordering::Relaxed);
    run.set_executing(true);
    // Dropping a handler half-way runs its code, too.
    let handled = AssertUnwindSafe(guarded(shared, run)).catch_unwind();
    let result = tokio::select! {
        biased;
        result = handled => Some(result.unwrap_or_else(|panic| Err(panicked(&*panic)))),
        () = shared.abandoned.cancelled() => None,
    };
    run.set_executing(false);
    shared.running.fetch_sub(1, Ordering::Relaxed);
    // Abandoned runs are given back by whoever abandoned them.
    if let Some(result) = result
        && run.end()
    {
        let bytes = result.as_ref().map_or(0, |output| output.as_str().len());
        let room = shared.hand.hold_output(bytes).await;
        let report = Report { run: Arc::clone(run), result: Some(result), room };
        // The reporter outlives the runners; if it is gone the worker was dropped and the lease will run out.
        let _ = shared.reports.send(report).await;
    }
}

/// The handler with its panics caught and its time limited.
async fn guarded(shared: &Arc<Shared>, run: &Arc<Run>) -> Result<Json, Failure> {
    let Some(handler) = shared.handlers.get(&run.job.kind) else {
        // A store that ignores the kinds of a claim: give the job back rather than judge it.
        return Err(Failure::snooze(shared.settings.poll));
    };
    let context = Context::new(Arc::clone(shared), Arc::clone(run));
    let handling = Next { middleware: &shared.middleware, handler }.run(context);
    // Building the future runs user code as well; both are caught.
    let caught = AssertUnwindSafe(handling).catch_unwind();
    let limited = async {
        match run.job.timeout {
            None => caught.await,
            Some(timeout) => {
                tokio::select! {
                    biased;
                    result = caught => result,
                    () = out_of_time(shared, run, handler, timeout) => {
                        run.tell(Stop::TimedOut, shared.engine.clock.monotonic());
                        let message = format!("ran longer than its timeout of {timeout:?}");
                        Ok(Err(Failure::new(Outcome::TimedOut, message)))
                    }
                }
            }
        }
    };
    match limited.await {
        Ok(Ok(output)) => bounded(shared, output),
        Ok(Err(failure)) => Err(failure),
        Err(panic) => Err(panicked(&*panic)),
    }
}

/// An output over the bound would be refused by every store at every attempt.
fn bounded(shared: &Shared, output: Json) -> Result<Json, Failure> {
    let (bytes, most) = (output.as_str().len(), shared.engine.json_bytes_max);
    if bytes > most {
        let why = format!("the output is {bytes} bytes of JSON; at most {most} are allowed");
        return Err(Failure::discard(why));
    }
    Ok(output)
}

/// Returns when the attempt has run out of time: at a deadline that the handler may move. The time that a blocking
/// handler waits for a core does not count.
async fn out_of_time(shared: &Shared, run: &Run, handler: &Handler, timeout: Duration) {
    let clock = &shared.engine.clock;
    if handler.is_blocking {
        run.begun().await;
    }
    run.set_deadline(clock.monotonic().saturating_add(timeout));
    while let Some(deadline) = run.deadline() {
        clock.sleep_to(deadline).await;
        if run.deadline() == Some(deadline) {
            return;
        }
    }
}
