//! Drives one run of a workflow: polls its code, does what core's [`Run::next`](backroom_core::workflow::Run::next) says, writes the
//! journal, and parks the workflow when nothing is left to do now.
//!
//! What the code gets is in the store before: a write is made before its answer is handed out, and before the code of a step begins.
//! Writes in between are gathered, so timers that begin together and the parking are one write.

mod undo;

use std::{sync::Arc, time::Duration};

use backroom_core::{
    Draft, JobId, Json, Timestamp,
    bounds::{later, span_until},
    draft::NewJob,
    links::{ChildPolicy, Parent},
    workflow::{Blocked, BlockedMark, Cause, Next, Resumed, Run, Ticket, Write},
};
use futures_util::future::pending;

use super::{
    code::Code,
    codes::{Codes, Start},
    context::WorkflowContext,
    flow::{Flow, Lost, Place, State},
    journal::{self, Loaded, Pending},
};
use crate::{
    Context, Error, ErrorKind, Failure,
    engine::Engine,
    failure::Outcome,
    store::{Listener, Wrote},
    worker::StopReason,
};

/// A wait that is shorter stays in memory: to park and to be claimed again would take about as long.
const SHORT: Duration = Duration::from_secs(1);
/// A wall clock that is set is noticed within this span.
const STEPS_NOTICED_WITHIN: Duration = Duration::from_secs(5);
/// The shortest and the longest wait before the code of a blocked workflow is tried again.
pub(crate) const BLOCKED_MIN: Duration = Duration::from_secs(10);
pub(crate) const BLOCKED_MAX: Duration = Duration::from_secs(3600);
/// The wait of a run that could not reach its journal.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs a workflow until it ends, parks or must stop.
pub(super) async fn drive(context: Context, codes: &Codes) -> Result<Json, Failure> {
    let engine = context.resources().engine.clone();
    let mut is_first = true;
    loop {
        let loaded = match journal::load(&engine, &context, is_first, codes.newest()).await {
            Ok(loaded) => loaded,
            Err(error) => return Err(put_off(&error)),
        };
        if let Resumed::Undone(cause) = &loaded.resumed {
            return Err(ended_with(cause.clone()));
        }
        let version = loaded.journal.header.version.clone();
        let driven = match codes.of(version.as_ref()) {
            Some(start) => Driver::new(&engine, context.clone(), loaded, start, codes.newest()).run().await,
            None => {
                let idle: &Start = &|_| Box::pin(pending());
                let mut driver = Driver::new(&engine, context.clone(), loaded, idle, None);
                driver.block_because(codes.missing(&version.unwrap_or_default())).await
            }
        };
        match driven {
            Ok(over) => return over,
            Err(Lost::Journal) => is_first = false,
            Err(Lost::Lease) => return Err(Failure::retry("the lease of the workflow was lost")),
            Err(Lost::Store(error)) => return Err(put_off(&error)),
        }
    }
}

/// The end of a workflow that has undone what it had done.
fn ended_with(cause: Cause) -> Failure {
    match cause {
        Cause::Failed { error } => Failure::discard(error),
        Cause::Cancelled { reason } => Failure::cancel(reason),
    }
}

/// The store does not answer, or refuses the journal. The workflow goes on from what is recorded.
fn put_off(error: &Error) -> Failure {
    if error.is_transient() {
        return Failure::snooze(PAUSE);
    }
    Failure::retry(format!("the journal cannot be read or written: {error}"))
}

type Over = Result<Json, Failure>;

struct Driver<'a> {
    engine: &'a Engine,
    flow: Arc<Flow>,
    code: Code,
    pending: Pending,
    /// Number of the last arrival that the run knows.
    arrived: u64,
    /// Its progress when it was read.
    progress: u64,
    /// What is charged to the job counts no longer.
    is_forgiven: bool,
    /// The links of the job say that a cancel has something to deal with.
    is_tied: bool,
    is_cancel_known: bool,
    blocked: Option<BlockedMark>,
    /// The version that a next generation begins with.
    newest: Option<String>,
    hints: Option<Listener>,
}

impl Drop for Driver<'_> {
    fn drop(&mut self) {
        // Compensations hold contexts, which hold the flow.
        let compensations = std::mem::take(&mut self.flow.state().compensations);
        drop(compensations);
    }
}

impl<'a> Driver<'a> {
    fn new(
        engine: &'a Engine,
        context: Context,
        loaded: Loaded,
        start: &Start,
        newest: Option<String>,
    ) -> Self {
        let Loaded { resumed, revision, mut journal, arrivals, wake_at } = loaded;
        let job = context.job();
        let (is_charged, is_tied) = (job.attempt > 1 || job.crashes > 0, job.undoes());
        let blocked = journal.header.blocked.take();
        let (progress, arrived) = (journal.header.progress, arrivals.last().map_or(0, |arrival| arrival.n));
        let run = Run::begin(job.id, journal, arrivals);
        let flow = Arc::new(Flow::new(context, run, Place { revision, wake_at }));
        let mut pending = Pending::default();
        if let Resumed::Forward(writes) = resumed {
            let mut state = flow.state();
            writes.into_iter().for_each(|write| pending.add(&mut state, write));
        }
        let code = Code::new(start(WorkflowContext::root(&flow)));
        Self {
            engine,
            flow,
            code,
            pending,
            arrived,
            progress,
            is_forgiven: !is_charged,
            is_tied,
            is_cancel_known: false,
            blocked,
            newest,
            hints: None,
        }
    }

    async fn run(mut self) -> Result<Over, Lost> {
        loop {
            self.code.settle().await;
            self.code.went_on = false;
            self.record_tries();
            if let Some(lost) = self.flow.state().lost.take() {
                return Err(lost);
            }
            if let Some(over) = self.stopped().await? {
                return Ok(over);
            }
            if self.is_to_wait_for_steps() {
                self.wait(None).await?;
                continue;
            }
            if let Some(result) = self.code.ended.take()
                && let Some(over) = self.ended(result).await?
            {
                return Ok(over);
            }
            let now = self.engine.clock.now();
            let next = self.flow.state().run.next(now);
            match next {
                Next::Poll => {
                    self.flush(None).await?;
                    let mut state = self.flow.state();
                    if let Some(ticket) = state.run.handed_out() {
                        state.wake(ticket);
                    }
                }
                Next::Write(writes) => self.add(writes)?,
                Next::Execute { ticket, try_number } => {
                    self.flush(None).await?;
                    self.execute(ticket, try_number, now);
                }
                Next::Await { until } => {
                    self.flush(None).await?;
                    self.wait(until).await?;
                }
                Next::Park { until: Some(until) } if span_until(now, until) < SHORT => {
                    self.flush(None).await?;
                    self.wait(Some(until)).await?;
                }
                Next::Park { until } => {
                    self.flush(until).await?;
                    return Ok(Err(Failure::parked()));
                }
                Next::Undo { key, .. } => {
                    self.flush(None).await?;
                    if let Some(over) = self.undo(&key).await? {
                        return Ok(over);
                    }
                }
                Next::Undone(cause) => {
                    self.flush(None).await?;
                    return Ok(Err(ended_with(cause)));
                }
                Next::Blocked(blocked) => return self.block(&blocked).await,
                Next::Full(refused) => {
                    self.fail(Cause::Failed { error: refused.to_string() })?;
                }
            }
        }
    }

    fn job(&self) -> &backroom_core::JobRow {
        self.flow.context.job()
    }

    /// Adds writes, which the run counts as made.
    fn add(&mut self, writes: Vec<Write>) -> Result<(), Lost> {
        let mut state = self.flow.state();
        for write in writes {
            if let Write::StartChild { key, job, policy } = &write {
                let new = self.child(&state, key, *job, *policy)?;
                self.pending.children.push(new);
            }
            self.pending.add(&mut state, write);
        }
        Ok(())
    }

    /// The job of a child.
    fn child(&self, state: &State, key: &str, id: JobId, policy: ChildPolicy) -> Result<NewJob, Lost> {
        let missing =
            || Error::new(ErrorKind::Internal, format!("begin child {key:?}: its job is not known"));
        let draft = state.drafts.get(key).cloned().ok_or_else(missing)?;
        let now = self.engine.clock.now();
        let mut new = self.engine.check(Draft { id: Some(id), ..draft }, now, None)?;
        let parent = Parent { workflow: self.job().id, key: key.to_owned(), policy };
        new.job.links.get_or_insert_default().parent = Some(parent);
        Ok(new)
    }

    /// Records the tries of steps that have ended.
    fn record_tries(&mut self) {
        let (now, ids) = (self.engine.clock.now(), &self.engine.ids);
        let mut state = self.flow.state();
        for (ticket, tried) in std::mem::take(&mut state.tried) {
            let writes = state.run.tried(ticket, tried, now, ids.chance());
            for write in writes {
                self.pending.add(&mut state, write);
            }
        }
    }

    /// The code of a step is to run.
    fn execute(&self, ticket: Ticket, try_number: u32, now: Timestamp) {
        let mut state = self.flow.state();
        let key = state.run.key(ticket).to_owned();
        state.began.insert(key.clone(), now);
        state.tries.insert(key, try_number);
        state.execute.insert(ticket, try_number);
        state.wake(ticket);
    }

    /// What the worker's wish that the run stops leads to.
    async fn stopped(&mut self) -> Result<Option<Over>, Lost> {
        let reason = match self.flow.context.stop_reason() {
            Some(reason) => reason,
            None if self.job().cancel_requested_at.is_some() => StopReason::Cancelled,
            None => return Ok(None),
        };
        match reason {
            StopReason::LeaseLost => Err(Lost::Lease),
            // The caller answers in its place.
            StopReason::TimedOut => Ok(Some(Err(Failure::retry("the attempt ran out of time")))),
            StopReason::Stopping => {
                if !self.flow.state().running.is_empty() {
                    return Ok(None);
                }
                self.flush(None).await?;
                Ok(Some(Err(Failure::snooze(Duration::ZERO))))
            }
            StopReason::Cancelled => {
                let is_running = !self.flow.state().running.is_empty();
                if self.is_cancel_known || is_running || matches!(self.code.ended, Some(Ok(_))) {
                    return Ok(None);
                }
                self.is_cancel_known = true;
                let known = self.engine.store.job(self.job().id).await?;
                let reason = known.and_then(|job| job.reason).unwrap_or_else(|| "cancelled".into());
                self.fail(Cause::Cancelled { reason })?;
                Ok(None)
            }
        }
    }

    /// Whether the run is to stop, and waits for the steps that have begun.
    fn is_to_wait_for_steps(&self) -> bool {
        let is_to_stop = match self.flow.context.stop_reason() {
            Some(StopReason::Stopping) => true,
            Some(StopReason::Cancelled) => !self.is_cancel_known,
            Some(StopReason::LeaseLost | StopReason::TimedOut) | None => false,
        };
        let state = self.flow.state();
        is_to_stop && (!state.running.is_empty() || !state.execute.is_empty())
    }

    /// The code has returned.
    async fn ended(&mut self, result: Over) -> Result<Option<Over>, Lost> {
        let (is_undoing, misnamed, next_args) = {
            let mut state = self.flow.state();
            (state.run.is_undoing(), state.misnamed.take(), state.next_args.take())
        };
        if is_undoing {
            return Ok(None);
        }
        let failure = match result {
            Ok(output) => {
                let writes = self.last_writes(Run::completed);
                self.add(writes)?;
                self.flush(None).await?;
                return Ok(Some(Ok(output)));
            }
            Err(failure) => failure,
        };
        if let Some(why) = misnamed {
            // A deploy mends it, so nothing is undone.
            self.flush(None).await?;
            return Ok(Some(Err(Failure::retry(why))));
        }
        if let Some(args) = next_args {
            let writes = self.last_writes(Run::continued);
            self.add(writes)?;
            self.pending.continue_with(args, self.newest.clone());
            self.flush(None).await?;
            return Ok(Some(Err(failure)));
        }
        match failure.outcome {
            Outcome::Retry | Outcome::Discard => self.fail(Cause::Failed { error: failure.message })?,
            Outcome::Cancel => self.fail(Cause::Cancelled { reason: failure.message })?,
            _ => {
                self.flush(None).await?;
                return Ok(Some(Err(failure)));
            }
        }
        Ok(None)
    }

    /// What is written with the end of this generation: what the code has published last, and what becomes of its children.
    fn last_writes(&self, of_end: impl Fn(&Run) -> Vec<Write>) -> Vec<Write> {
        let mut state = self.flow.state();
        let mut writes = state.run.unpublished();
        writes.extend(of_end(&state.run));
        writes
    }

    /// From now on the workflow undoes what it has done.
    fn fail(&mut self, cause: Cause) -> Result<(), Lost> {
        let writes = self.flow.state().run.fail(cause);
        self.add(writes)
    }

    /// Parks the workflow, because the journal does not fit the code.
    async fn block(&mut self, blocked: &Blocked) -> Result<Over, Lost> {
        self.block_because(blocked.to_string()).await
    }

    async fn block_because(&mut self, why: String) -> Result<Over, Lost> {
        let now = self.engine.clock.now();
        let known = self.blocked.take().filter(|mark| mark.why == why);
        let is_news = known.is_none();
        let mark = known.unwrap_or(BlockedMark { why, since: now });
        if is_news {
            tracing::error!(job = %self.job().id, kind = self.job().kind, "a workflow is blocked: {}", mark.why);
        }
        let wait = span_until(mark.since, now).clamp(BLOCKED_MIN, BLOCKED_MAX);
        self.flow.state().run.block(mark);
        self.pending.change_header();
        self.flush(Some(later(now, wait))).await?;
        Ok(Err(Failure::parked()))
    }

    /// Writes what is pending, and when the workflow is woken once it is parked.
    async fn flush(&mut self, wake_at: Option<Timestamp>) -> Result<(), Lost> {
        let was_blocked = self.blocked.take().is_some();
        if was_blocked {
            self.pending.change_header();
        }
        let flow = Arc::clone(&self.flow);
        let mut place = self.code.beside(flow.place.lock()).await;
        if self.pending.is_empty() && wake_at == place.wake_at {
            return Ok(());
        }
        self.pending.drop_unborn();
        let write = {
            let state = self.flow.state();
            let moved_on = state.run.journal().header.progress > self.progress;
            let forgives = moved_on && !self.is_forgiven;
            self.is_forgiven |= forgives;
            let ties = self.pending.ties() && !self.is_tied;
            self.is_tied |= ties;
            let now = self.engine.clock.now();
            self.pending.take(
                &state,
                self.flow.context.job(),
                (place.revision, wake_at),
                now,
                (forgives, ties),
            )
        };
        let Some(write) = write else { return Err(Lost::Lease) };
        #[cfg(feature = "sealed")]
        let write = {
            let mut write = write;
            super::sealed::seal(self.flow.context.codec(), &self.engine.ids, &mut write);
            write
        };
        let store = Arc::clone(&self.engine.store);
        let wrote =
            self.code.beside(async move { store.write_journals(Arc::new(vec![write])).await }).await?;
        match wrote.first() {
            Some(Wrote::Done) => {
                place.revision += 1;
                place.wake_at = wake_at;
                if wake_at.is_some() {
                    self.engine.store.notifier().notify_wakes();
                }
                Ok(())
            }
            Some(Wrote::Moved) => Err(Lost::Journal),
            Some(Wrote::Fenced) | None => Err(Lost::Lease),
        }
    }

    /// Waits until the code is woken, something arrives, the run is to stop, or this moment comes.
    async fn wait(&mut self, until: Option<Timestamp>) -> Result<(), Lost> {
        // While the journal was written, a step may have ended.
        if self.code.went_on {
            return Ok(());
        }
        let awaits_arrivals = journal::awaits_arrivals(self.flow.state().run.journal());
        if awaits_arrivals && self.hints.is_none() {
            self.hints = Some(self.engine.store.notifier().subscribe_job(self.job().id));
            // What has arrived before the first hint.
            return self.read_arrivals().await;
        }
        let (clock, context) = (&self.engine.clock, self.flow.context.clone());
        let is_stop_known = self.is_cancel_known || context.stop_reason().is_some();
        let hints = self.hints.take();
        let hint = async {
            match hints.as_ref().filter(|_| awaits_arrivals) {
                Some(hints) => hints.notified().await,
                None => pending().await,
            }
        };
        let timer = async {
            match until {
                Some(until) => clock.sleep(span_until(clock.now(), until).min(STEPS_NOTICED_WITHIN)).await,
                None => pending().await,
            }
        };
        let other = async {
            tokio::select! {
                () = hint => true,
                () = timer => false,
                () = context.cancelled(), if !is_stop_known => false,
            }
        };
        let is_hint = self.code.woken_or(other).await.unwrap_or(false);
        self.hints = hints;
        if is_hint {
            self.read_arrivals().await?;
        }
        Ok(())
    }

    async fn read_arrivals(&mut self) -> Result<(), Lost> {
        let arrivals = journal::arrived(self.engine, self.job().id, self.arrived).await?;
        if let Some(last) = arrivals.last() {
            self.arrived = last.n;
            self.flow.state().run.arrived(arrivals);
        }
        Ok(())
    }
}
