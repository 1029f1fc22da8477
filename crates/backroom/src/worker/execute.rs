//! Running one job in its slot.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use backroom_core::Json;
use tracing::Instrument as _;

use super::{
    active_runs::{Run, Stop},
    context::Context,
    neighbours::Running,
    panics,
    pool::Pool,
    report::{self, Report},
    shared::Shared,
    trial,
};
use crate::{
    Failure,
    handler::{Handler, Next, Outcome},
};

/// So long a job waits in its slot for a prime suspect that has the process for itself; then it is for other workers.
const HELD_UP_MAX: Duration = Duration::from_secs(1);

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
    let _over = trial::Over(shared, run);
    if shared.abandoned.is_cancelled() {
        // The worker was dropped: nothing begins any more.
        return;
    }
    if run.told().is_some() {
        // Cancelled or lost before it began: it does not begin. Given back, a cancelled one ends as cancelled.
        return report::give_back(shared, vec![Arc::clone(run)]).await;
    }
    let handler = shared.handlers.get(&run.job.kind);
    let is_blocking = handler.is_some_and(|handler| handler.is_blocking);
    let Some(_running) = admitted(shared, run, is_blocking).await else {
        return report::give_back(shared, vec![Arc::clone(run)]).await;
    };
    shared.running.fetch_add(1, Ordering::Relaxed);
    run.set_executing(true);
    let clock = &shared.engine.clock;
    // A blocking handler begins on its thread.
    if !is_blocking {
        run.begins(clock.now(), clock.monotonic());
    }
    let job = &run.job;
    let span =
        tracing::info_span!("job", id = %job.id, kind = %job.kind, queue = %job.queue, attempt = job.attempt);
    // Dropping a handler half-way runs its code, too.
    let handled =
        run.polled(panics::caught_in(guarded(shared, run, handler.map(Arc::as_ref)))).instrument(span);
    let result = tokio::select! {
        biased;
        result = handled => Some(result.unwrap_or_else(|panic| Err(panic.into_failure()))),
        () = shared.abandoned.cancelled() => None,
    };
    run.ends(clock.monotonic());
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

/// Lets the handler begin, unless a prime suspect has the process for itself for longer than a moment.
async fn admitted(shared: &Arc<Shared>, run: &Run, is_blocking: bool) -> Option<Running> {
    if let Some(ticket) = run.ticket() {
        let alone = ticket.is_alone().then(|| shared.neighbours.begin_alone());
        let running = alone.or_else(|| shared.neighbours.begin())?;
        // The trial of a blocking handler begins on its thread.
        return (is_blocking || trial::begin(shared, run, ticket).await).then_some(running);
    }
    if let Some(running) = shared.neighbours.begin() {
        return Some(running);
    }
    let until = shared.engine.clock.monotonic().saturating_add(HELD_UP_MAX);
    loop {
        tokio::select! {
            biased;
            () = run.stop.cancelled() => return None,
            () = shared.stopping.cancelled() => return None,
            () = shared.neighbours.open() => {}
            () = shared.engine.clock.sleep_to(until) => return None,
        }
        if let Some(running) = shared.neighbours.begin() {
            return Some(running);
        }
    }
}

/// Middleware and handler. The handler's time is limited farther in, so that middleware sees it; this is for middleware that
/// goes on after that.
async fn guarded(shared: &Arc<Shared>, run: &Arc<Run>, handler: Option<&Handler>) -> Result<Json, Failure> {
    let Some(handler) = handler else {
        // A store that ignores the kinds of a claim: give the job back rather than judge it.
        return Err(Failure::snooze(shared.settings.poll));
    };
    if let Some(timeout) = run.job.timeout.filter(|_| !handler.is_blocking) {
        run.set_deadline(shared.engine.clock.monotonic().saturating_add(timeout));
    }
    let context = Context::new(Arc::clone(shared), Arc::clone(run));
    let chain = Next { middleware: &shared.middleware, handler }.run(context);
    let result = match run.job.timeout {
        Some(timeout) if !shared.middleware.is_empty() => {
            tokio::select! {
                biased;
                result = chain => result,
                () = past_deadline(shared, run, MIDDLEWARE_GRACE) => Err(timed_out(shared, run, timeout)),
            }
        }
        Some(_) | None => chain.await,
    };
    result.and_then(|output| bounded(shared, output))
}

/// How long middleware may go on after the handler's time is up.
const MIDDLEWARE_GRACE: Duration = Duration::from_secs(5);

/// The handler itself, with its panics caught and its time limited.
pub(crate) async fn run_handler(handler: &Handler, context: Context) -> Result<Json, Failure> {
    let (shared, run) = (Arc::clone(context.shared()), Arc::clone(context.run()));
    let limited = async {
        // Building the future runs user code as well.
        let handling = async { (handler.run)(context).await };
        match run.job.timeout {
            None => handling.await,
            Some(timeout) => {
                tokio::select! {
                    biased;
                    result = handling => result,
                    () = out_of_time(&shared, &run, handler, timeout) => Err(timed_out(&shared, &run, timeout)),
                }
            }
        }
    };
    panics::caught_in(limited).await.unwrap_or_else(|panic| Err(panic.into_failure()))
}

fn timed_out(shared: &Shared, run: &Run, timeout: Duration) -> Failure {
    run.tell(Stop::TimedOut, shared.engine.clock.monotonic());
    Failure::new(Outcome::TimedOut, format!("ran longer than its timeout of {timeout:?}"))
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
    if handler.is_blocking {
        run.begun().await;
        run.set_deadline(shared.engine.clock.monotonic().saturating_add(timeout));
    }
    past_deadline(shared, run, Duration::ZERO).await;
}

/// Returns `grace` after the deadline, once there is one, and wherever it was moved meanwhile.
async fn past_deadline(shared: &Shared, run: &Run, grace: Duration) {
    let mut reached = None;
    while reached.is_none() || reached != run.deadline() {
        let deadline = run.has_deadline().await;
        shared.engine.clock.sleep_to(deadline.saturating_add(grace)).await;
        reached = Some(deadline);
    }
}
