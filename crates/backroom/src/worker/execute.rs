//! Runs one job in its slot.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use backroom_core::Json;
use tracing::Instrument as _;

use super::{
    call::{past_deadline, timed_out},
    context::Context,
    give_back::give_back,
    neighbours::Running,
    panics,
    pool::Pool,
    report::Report,
    run::{Run, StopReason},
    shared::Shared,
};
use crate::{Failure, handler::Handler, middleware::Next, telemetry};

/// So long a job waits in its slot for a prime suspect that runs alone in the process. Then it goes to other workers.
const HELD_UP_MAX: Duration = Duration::from_secs(1);
/// The wait of a suspect that found no thread.
const NO_THREAD: Duration = Duration::from_secs(10);
/// How long middleware may go on after the handler's time is over.
const MIDDLEWARE_GRACE: Duration = Duration::from_secs(5);

/// A runner: occupies one slot and runs the pool's jobs until none waits. One runner runs many jobs, so a short job needs no
/// task of its own.
pub(super) async fn keep_running(shared: Arc<Shared>, pool: Arc<Pool>) {
    let mut took = None;
    while let Some(run) = pool.next(took) {
        let began = shared.engine.clock.monotonic();
        execute(&shared, &run).await;
        took = Some(shared.engine.clock.monotonic().saturating_sub(began));
    }
    shared.signals.settled.notify_waiters();
}

/// Runs the handler and reports its answer.
async fn execute(shared: &Arc<Shared>, run: &Arc<Run>) {
    let _over = run.trial().map(|trial| trial.over_when_dropped());
    if shared.signals.abandoned.is_cancelled() {
        // The worker was dropped, so no handler begins.
        return;
    }
    // A workflow that has something to undo begins for that.
    let undoes = run.stop_reason() == Some(StopReason::Cancelled) && run.job.undoes();
    if run.stop_reason().is_some() && !undoes {
        // Cancelled or lost before it began: it does not begin. A cancelled job that is given back ends as cancelled.
        return give_back(shared, vec![Arc::clone(run)]).await;
    }
    #[cfg(feature = "sealed")]
    match super::unseal::open(shared, run).await {
        super::unseal::Opened::Ready => {}
        super::unseal::Opened::Locked(wait) => return shared.reports.put_off(Arc::clone(run), wait).await,
        super::unseal::Opened::Refused(failure) => return refuse(shared, run, failure).await,
    }
    let handler = shared.handlers.by_kind.get(&run.job.kind);
    let is_blocking = handler.is_some_and(|handler| handler.is_blocking);
    let _running = match admitted(shared, run, is_blocking).await {
        Ok(running) => running,
        Err(NotBegun::GivenBack) => return give_back(shared, vec![Arc::clone(run)]).await,
        Err(NotBegun::PutOff(wait)) => return shared.reports.put_off(Arc::clone(run), wait).await,
    };
    shared.work.running.fetch_add(1, Ordering::Relaxed);
    run.set_executing(true);
    let clock = &shared.engine.clock;
    // A blocking handler begins on its thread.
    if !is_blocking {
        run.begins(clock.now(), clock.monotonic());
    }
    let (span, traceparent) = telemetry::attempt(&shared.engine, &run.job, || shared.name());
    if let Some(traceparent) = traceparent {
        run.trace(traceparent);
    }
    // Caught here as well, because dropping a handler half-way also runs user code.
    let result = {
        let handling = pin!(guarded(shared, run, handler.map(Arc::as_ref)));
        let handled = run.polled(panics::caught_in(handling)).instrument(span.clone());
        tokio::select! {
            biased;
            result = handled => Some(result.unwrap_or_else(|panic| Err(panic.into_failure()))),
            () = shared.signals.abandoned.cancelled() => None,
        }
    };
    #[cfg(feature = "sealed")]
    let result = match (result, run.codec()) {
        (Some(answer), Some(codec)) => {
            let sealed = codec.seal_answer(run.lease, answer, &shared.engine.ids);
            // It is longer than what the handler returned.
            Some(sealed.and_then(|output| bounded(output, shared.engine.json_bytes_max)))
        }
        (result, _) => result,
    };
    if let Some(Err(failure)) = &result {
        telemetry::failed(&shared.engine, &span, &run.job, failure);
    }
    drop(span);
    // Middleware may have answered without calling the handler.
    drop(run.take_thread());
    run.ends(clock.monotonic());
    run.set_executing(false);
    shared.work.running.fetch_sub(1, Ordering::Relaxed);
    // The task that abandons runs also gives them back.
    if let Some(result) = result
        && run.end()
    {
        let bytes = result.as_ref().map_or(0, |output| output.as_str().len());
        let output_bytes = shared.work.bytes.hold_output(bytes).await;
        shared.reports.send(Report { run: Arc::clone(run), result: Some(result), output_bytes }).await;
    }
}

/// Reports that a run failed before its handler began.
#[cfg(feature = "sealed")]
async fn refuse(shared: &Shared, run: &Arc<Run>, failure: Failure) {
    if run.end() {
        shared
            .reports
            .send(Report { run: Arc::clone(run), result: Some(Err(failure)), output_bytes: None })
            .await;
    }
}

/// Why a run does not begin in its slot.
enum NotBegun {
    /// Another worker may run it at once.
    GivenBack,
    /// It waits for so long.
    PutOff(Duration),
}

/// Lets middleware and handler begin, unless a prime suspect runs alone in the process for longer than a moment.
async fn admitted(shared: &Arc<Shared>, run: &Run, is_blocking: bool) -> Result<Running, NotBegun> {
    let neighbours = &shared.resources.neighbours;
    if let Some(trial) = run.trial() {
        let alone = trial.is_alone().then(|| neighbours.begin_alone());
        let running = alone.or_else(|| neighbours.begin()).ok_or(NotBegun::GivenBack)?;
        // A blocking suspect has its thread before its trial begins. Its trial begins before any code of the
        // application runs, because decoding and middleware can take the process down, too.
        if is_blocking {
            let thread = tokio::select! {
                biased;
                thread = Arc::clone(&shared.resources.threads).acquire_owned() => thread,
                () = run.stop.cancelled() => return Err(NotBegun::GivenBack),
                () = trial.withdrawn() => return Err(NotBegun::PutOff(NO_THREAD)),
            };
            run.hold_thread(thread.map_err(|_| NotBegun::GivenBack)?);
        }
        let since = shared.engine.clock.now();
        if trial.begin(since, || run.stop_reason().is_none()).await {
            return Ok(running);
        }
        drop(run.take_thread());
        return Err(NotBegun::GivenBack);
    }
    if let Some(running) = neighbours.begin() {
        return Ok(running);
    }
    let until = shared.engine.clock.monotonic().saturating_add(HELD_UP_MAX);
    loop {
        tokio::select! {
            biased;
            () = run.stop.cancelled() => return Err(NotBegun::GivenBack),
            () = shared.signals.stopping.cancelled() => return Err(NotBegun::GivenBack),
            () = neighbours.open() => {}
            () = shared.engine.clock.sleep_to(until) => return Err(NotBegun::GivenBack),
        }
        if let Some(running) = neighbours.begin() {
            return Ok(running);
        }
    }
}

/// Middleware and handler. The innermost call limits the handler's time, so that middleware sees it. Here the time of
/// middleware that goes on after that is limited.
async fn guarded(shared: &Arc<Shared>, run: &Arc<Run>, handler: Option<&Handler>) -> Result<Json, Failure> {
    let clock = &*shared.engine.clock;
    let Some(handler) = handler else {
        // The store ignored the kinds of the claim: the job goes back.
        return Err(Failure::snooze(shared.settings.poll));
    };
    if let Some(timeout) = handler.timeout_of(&run.job).filter(|_| !handler.is_blocking) {
        run.set_deadline(clock.monotonic().saturating_add(timeout));
    }
    let context = Context::new(Arc::clone(&shared.resources), Arc::clone(run));
    let middleware = &shared.handlers.middleware;
    let mut chain = pin!(Next { middleware, handler }.run(context));
    let result = match handler.timeout_of(&run.job) {
        Some(timeout) if !middleware.is_empty() => {
            tokio::select! {
                biased;
                result = &mut chain => result,
                () = past_deadline(clock, run, MIDDLEWARE_GRACE.saturating_add(handler.wind_up)) => Err(timed_out(clock, run, timeout)),
            }
        }
        Some(_) | None => chain.await,
    };
    result.and_then(|output| bounded(output, shared.engine.json_bytes_max))
}

/// Every store would refuse an output over the bound, at every attempt.
fn bounded(output: Json, most: usize) -> Result<Json, Failure> {
    let bytes = output.as_str().len();
    if bytes > most {
        let why = format!("the output is {bytes} bytes of JSON; at most {most} are allowed");
        return Err(Failure::discard(why));
    }
    Ok(output)
}
