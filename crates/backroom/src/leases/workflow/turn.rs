//! What one call of a remote workflow leads to: decided over the journal as it was read, and written nowhere yet.

use std::{collections::HashMap, time::Duration};

use backroom_core::{
    Draft, JobRow, Json, LeaseId, Timestamp,
    bounds::{later, span_until},
    workflow::{
        Answer, BlockedMark, Cause, EntryState, Header, Journal, Next, Refused, Resumed, Run, Undo,
        VALUE_BYTES_MAX, Write,
    },
};

use super::{
    asked::{Asked, Writes},
    call::{AskAnswer, UndoDue, WorkflowAnswer, WorkflowCall, WorkflowStatus, WorkflowThen},
};
use crate::{
    Error, ErrorKind,
    engine::Engine,
    leases::RunOutcome,
    store::JournalPage,
    workflow::{BLOCKED_MAX, BLOCKED_MIN},
};

/// What one call leads to.
pub(super) struct Turn {
    answer: WorkflowAnswer,
    pub(super) outcome: Option<RunOutcome>,
    /// How often the journal was written when it was read.
    pub(super) revision: u64,
    pub(super) header: Header,
    pub(super) progress_before: u64,
    pub(super) writes: Vec<Write>,
    pub(super) drafts: HashMap<String, Draft>,
    pub(super) next_args: Option<Json>,
    /// The header has changed, and perhaps nothing else.
    pub(super) is_header_new: bool,
    pub(super) wake_at: Option<Timestamp>,
    /// As it is stored.
    pub(super) wake_at_before: Option<Timestamp>,
}

impl Turn {
    /// None for a call that comes too late: its code has begun an empty journal since. `ended` is the run that ended the job last, of a
    /// workflow that undoes what it has done.
    pub(super) fn take(
        engine: &Engine,
        job: &JobRow,
        (page, ended): (JournalPage, Option<LeaseId>),
        call: &WorkflowCall,
    ) -> Result<Option<Self>, Error> {
        let now = engine.clock.now();
        let (revision, header, wake_at_before) =
            page.head.map_or((0, None, None), |head| (head.revision, head.header, head.wake_at));
        let newest = call.versions.first().cloned();
        // The version is written when the code begins: a later call does not name it.
        let pins_version = call.begins && header.is_none() && newest.is_some();
        let mut header = header.unwrap_or_else(|| Header::begin(newest.clone(), now));
        let is_late = call.generation.is_some_and(|generation| generation != header.generation);
        let has_continued = matches!(call.then, WorkflowThen::ContinueAsNew(_))
            && call.generation.is_some_and(|generation| generation.saturating_add(1) == header.generation);
        if is_late && !has_continued {
            return Ok(None);
        }
        let mark = header.blocked.take();
        let progress_before = header.progress;
        let mut journal = Journal::load(header, page.entries)?;
        let resumed = match journal.resume(ended, &page.arrivals) {
            Resumed::Forward(resumed) => resumed,
            // One that was undone has nothing more to undo, and ends again.
            Resumed::AsItWas | Resumed::Undone(_) => Vec::new(),
        };
        let recorded = if call.begins { journal.answered().cloned().collect() } else { Vec::new() };
        let mut run = Run::begin_by_key(job.id, journal, page.arrivals);
        let resumed_writes = resumed.len();
        let mut writes = Writes(resumed);
        if has_continued {
            // The journal is written, and the end of the run is not recorded.
            let mut turn = Self::new(&run, writes, revision, wake_at_before, progress_before);
            turn.outcome = Some(RunOutcome::Snooze(Duration::ZERO));
            return Ok(Some(turn));
        }
        if let Some(value) = &call.publish {
            publish(&mut run, &mut writes, value)?;
        }
        if let Some((key, try_number, attempted)) = &call.undone
            && run.is_undoing()
            && next_undo(run.journal(), key) == Some(*try_number)
        {
            let of_undo = run.undone(key, attempted.clone(), now, engine.ids.chance());
            writes.add(&mut run, of_undo);
        }
        // Steps that run are reported first.
        let may_stop = match call.then {
            WorkflowThen::Park | WorkflowThen::Stop | WorkflowThen::ContinueAsNew(_) => true,
            WorkflowThen::GoOn => call.begins,
            WorkflowThen::Complete(_) | WorkflowThen::Fail(_) | WorkflowThen::Block(_) => false,
        };
        let is_to_stop = may_stop && job.cancel_requested_at.is_some();
        let mut asked = Asked::new(&mut run, &call.asks, is_to_stop)?;
        let mut stop = asked.go_on(&mut run, &mut writes, now, engine.ids.chance());
        let cause = match &call.then {
            WorkflowThen::Fail(error) => Some(Cause::Failed { error: error.clone() }),
            _ if is_to_stop => {
                let reason = job.reason.clone().unwrap_or_else(|| "cancelled".into());
                Some(Cause::Cancelled { reason })
            }
            _ => match &stop {
                Next::Full(refused) => Some(Cause::Failed { error: refused.to_string() }),
                _ => None,
            },
        };
        if let Some(cause) = cause.filter(|_| !run.is_undoing()) {
            let of_failure = run.fail(cause);
            writes.add(&mut run, of_failure);
            stop = asked.go_on(&mut run, &mut writes, now, engine.ids.chance());
        }
        if call.then == WorkflowThen::Park && call.asks.is_empty() && !run.is_undoing() {
            let message =
                "park a workflow: it asks for nothing, so nothing would wake it; name what it waits for";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let asks = asked.answers(&mut run);
        let mut turn = Self::new(&run, writes, revision, wake_at_before, progress_before);
        (turn.answer.asks, turn.answer.recorded) = (asks, recorded);
        turn.drafts =
            call.asks.iter().filter_map(|ask| Some((ask.key.clone(), ask.child.clone()?))).collect();
        turn.is_header_new = mark.is_some() || pins_version;
        if call.begins && !turn.header.may_run_on(&call.versions) {
            let why = missing_version(&turn.header, &call.versions);
            // The header says that the workflow was retried, so what that changed is written with it.
            turn.writes.truncate(resumed_writes);
            turn.block(why, mark, now);
            return Ok(Some(turn));
        }
        if let WorkflowThen::Block(why) = &call.then {
            turn.block(why.clone(), mark, now);
            return Ok(Some(turn));
        }
        turn.stop(&run, stop, mark, now);
        if turn.outcome.is_none() {
            turn.then(&run, &call.then, newest, now);
        }
        Ok(Some(turn))
    }

    fn new(
        run: &Run,
        writes: Writes,
        revision: u64,
        wake_at_before: Option<Timestamp>,
        progress_before: u64,
    ) -> Self {
        let header = run.journal().header.clone();
        let answer = WorkflowAnswer {
            status: if run.is_undoing() { WorkflowStatus::Undoing } else { WorkflowStatus::Running },
            generation: header.generation,
            version: header.version.clone(),
            asks: Vec::new(),
            undo: None,
            recorded: Vec::new(),
        };
        Self {
            answer,
            outcome: None,
            revision,
            header,
            progress_before,
            writes: writes.0,
            drafts: HashMap::new(),
            next_args: None,
            is_header_new: false,
            wake_at: None,
            wake_at_before,
        }
    }

    /// What the code learns, and how the run ends if it does.
    pub(super) fn into_end(self) -> (WorkflowAnswer, Option<RunOutcome>) {
        (self.answer, self.outcome)
    }

    /// What the run has come to.
    fn stop(&mut self, run: &Run, stop: Next, mark: Option<BlockedMark>, now: Timestamp) {
        match stop {
            Next::Undo { key, try_number } => {
                let value = match run.journal().entry(&key).map(|entry| &entry.state) {
                    Some(EntryState::Closed { answer: Answer::Value { value }, .. }) => value.clone(),
                    Some(
                        EntryState::Closed { .. }
                        | EntryState::Open(_)
                        | EntryState::Lost
                        | EntryState::Superseded { .. },
                    )
                    | None => Json::null(),
                };
                self.answer.undo = Some(UndoDue { key, value, try_number });
            }
            Next::Undone(Cause::Failed { error }) => self.outcome = Some(RunOutcome::Discard(error)),
            Next::Undone(Cause::Cancelled { reason }) => self.outcome = Some(RunOutcome::Cancel(reason)),
            Next::Blocked(blocked) => self.block(blocked.to_string(), mark, now),
            Next::Await { until } | Next::Park { until } => self.wake_at = until,
            // These do not end a turn.
            Next::Poll | Next::Write(_) | Next::Execute { .. } | Next::Full(_) => {}
        }
    }

    /// What the code does next.
    fn then(&mut self, run: &Run, then: &WorkflowThen, newest: Option<String>, now: Timestamp) {
        let wakes = self.wake_at.take();
        let waits = |answer: &AskAnswer| matches!(answer, AskAnswer::Waits { .. });
        match then {
            WorkflowThen::Park if run.is_undoing() => {
                if self.answer.undo.is_none() {
                    self.park(wakes);
                }
            }
            WorkflowThen::Park if self.answer.asks.iter().all(waits) => self.park(wakes),
            WorkflowThen::Complete(output) if !run.is_undoing() => {
                self.writes.extend(run.completed());
                self.outcome = Some(RunOutcome::Succeed(output.clone()));
            }
            WorkflowThen::ContinueAsNew(args) if !run.is_undoing() => {
                self.writes.extend(run.continued());
                let version = newest.or_else(|| self.header.version.clone());
                self.header = self.header.next_generation(version, now);
                self.next_args = Some(args.clone());
                self.outcome = Some(RunOutcome::Snooze(Duration::ZERO));
            }
            WorkflowThen::GoOn
            | WorkflowThen::Park
            | WorkflowThen::Fail(_)
            | WorkflowThen::Stop
            | WorkflowThen::Block(_)
            | WorkflowThen::Complete(_)
            | WorkflowThen::ContinueAsNew(_) => {}
        }
    }

    fn block(&mut self, why: String, mark: Option<BlockedMark>, now: Timestamp) {
        let mark = mark.filter(|mark| mark.why == why).unwrap_or(BlockedMark { why, since: now });
        let wait = span_until(mark.since, now).clamp(BLOCKED_MIN, BLOCKED_MAX);
        self.answer.status = WorkflowStatus::Blocked(mark.why.clone());
        (self.header.blocked, self.is_header_new) = (Some(mark), true);
        self.park(Some(later(now, wait)));
    }

    fn park(&mut self, wake_at: Option<Timestamp>) {
        self.wake_at = wake_at;
        self.outcome = Some(RunOutcome::Park);
    }
}

fn publish(run: &mut Run, writes: &mut Writes, value: &Json) -> Result<(), Error> {
    let bytes = value.as_str().len();
    if bytes > VALUE_BYTES_MAX {
        return Err(Error::new(ErrorKind::Invalid, format!("publish: {}", Refused::TooLarge { bytes })));
    }
    if run.journal().header.published.as_ref() != Some(value) {
        writes.add(run, vec![Write::Publish(value.clone())]);
    }
    Ok(())
}

/// Which try of a compensation is next; none if the step is undone, or has nothing to undo.
fn next_undo(journal: &Journal, key: &str) -> Option<u32> {
    match journal.entry(key)?.undo.as_ref()? {
        Undo::Due => Some(1),
        Undo::Trying { tries, .. } => Some(tries.saturating_add(1)),
        Undo::Done { .. } => None,
    }
}

fn missing_version(header: &Header, known: &[String]) -> String {
    let version = header.version.as_deref().unwrap_or_default();
    let known = if known.is_empty() { "none".into() } else { known.join(", ") };
    format!(
        "the run began with version {version:?} of its code, and the worker has {known}; deploy a worker that has this version"
    )
}
