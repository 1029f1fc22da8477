//! The journals of workflows whose code runs outside of this program.
//!
//! The code asks by key, as often as it likes: what is recorded is answered from the journal, and what is not recorded begins. Each
//! call reads the journal, lets core decide as for every run, and writes what follows under the lease. Nothing is remembered between
//! two calls, so any server answers the next one. `call.rs` has what is asked and answered.

mod call;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use backroom_core::{
    Draft, JobId, JobRow, Json, State, Timestamp,
    bounds::{later, span_until},
    draft::NewJob,
    links::{ChildCancel, Parent},
    workflow::{
        Answer, Ask, Attempted, BlockedMark, Cause, Entry, EntryState, Header, Journal, Next, Opened,
        Refused, Run, Ticket, Undo, VALUE_BYTES_MAX, Write,
    },
};

pub use self::call::{
    AskAnswer, RemoteAsk, UndoDue, WorkflowAnswer, WorkflowCall, WorkflowStatus, WorkflowThen,
};
use super::{Commit, Leases, RunKey, RunOutcome, Settled};
use crate::{
    Error, ErrorKind,
    engine::Engine,
    store::{JournalPage, JournalWrite, Wrote},
    workflow::{BLOCKED_MAX, BLOCKED_MIN, read_journal},
};

/// Most asks of one call.
const ASKS_MAX: usize = 1000;
/// How often a call begins again because another call of the same run has written meanwhile.
const TURNS_MAX: u32 = 10;

impl Leases {
    /// Answers the code of a workflow that a remote worker runs, and writes to its journal. `caller` is the worker and its owner, as for
    /// [`commit`](Self::commit).
    ///
    /// Safe to repeat. The end of the code, its parking and the end of its compensations are recorded by this call: the caller commits
    /// nothing else for the run.
    pub async fn workflow(
        &self,
        caller: Option<(&str, &str)>,
        run: RunKey,
        call: WorkflowCall,
    ) -> Result<WorkflowAnswer, Error> {
        if call.asks.len() > ASKS_MAX {
            let message = format!(
                "ask: {} asks are too many for one call; at most {ASKS_MAX} are allowed",
                call.asks.len()
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        if let Some((worker, owner)) = caller
            && !self.is_owner(worker, owner).await?
        {
            return Ok(WorkflowAnswer::over(WorkflowStatus::NotYours));
        }
        let engine = &self.inner.engine;
        for _ in 0..TURNS_MAX {
            let job = engine.store.job(run.job).await?;
            let Some(job) = job else { return Ok(WorkflowAnswer::over(WorkflowStatus::Lost)) };
            if let Some(over) = over(&job, run, caller) {
                return Ok(WorkflowAnswer::over(over));
            }
            if let Some(key) = engine.seal_of(&job.kind, None) {
                let why = format!(
                    "write the journal of job {}: kind {:?} is sealed with the key {key:?}, and a remote worker would store its steps in the clear; \
                     run it with the library",
                    job.id, job.kind
                );
                return Err(Error::new(ErrorKind::Refused, why));
            }
            let page = read_journal(engine, job.id).await?;
            let turn = Turn::take(engine, &job, page, &call)?;
            match turn.write(engine, &job, run).await? {
                Wrote::Done => {}
                Wrote::Moved => continue,
                Wrote::Fenced => return Ok(WorkflowAnswer::over(WorkflowStatus::Lost)),
            }
            return self.end(caller, run, turn).await;
        }
        let message = "write the journal: other calls of the same run write to it all the time";
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    /// Records the end of the run, if it has come.
    async fn end(
        &self,
        caller: Option<(&str, &str)>,
        run: RunKey,
        turn: Turn,
    ) -> Result<WorkflowAnswer, Error> {
        let Turn { mut answer, outcome, .. } = turn;
        let Some(outcome) = outcome else { return Ok(answer) };
        let parks = outcome == RunOutcome::Park;
        let settled = self.commit(caller, vec![Commit { run, outcome, ran: None }]).await?;
        answer.status = match (settled.first(), answer.status) {
            (Some(Settled::Recorded(_)), blocked @ WorkflowStatus::Blocked(_)) => blocked,
            (Some(Settled::Recorded(_)), _) if parks => WorkflowStatus::Parked,
            (Some(Settled::Recorded(state)), _) => WorkflowStatus::Ended(*state),
            (Some(Settled::Lost) | None, _) => WorkflowStatus::Lost,
            (Some(Settled::NotYours), _) => WorkflowStatus::NotYours,
            (Some(Settled::Later), _) => WorkflowStatus::Later,
        };
        Ok(answer)
    }
}

/// Why the run is over already, if it is. The answer of the call that ended it may have been lost.
fn over(job: &JobRow, run: RunKey, caller: Option<(&str, &str)>) -> Option<WorkflowStatus> {
    if job.lease_id != Some(run.lease) {
        return Some(WorkflowStatus::Lost);
    }
    match job.state {
        State::Running if caller.is_some_and(|(worker, _)| job.worker.as_deref() != Some(worker)) => {
            Some(WorkflowStatus::NotYours)
        }
        State::Running => None,
        State::Queued | State::Waiting => Some(WorkflowStatus::Parked),
        State::Completed | State::Cancelled | State::Discarded => Some(WorkflowStatus::Ended(job.state)),
    }
}

/// What one call leads to.
struct Turn {
    answer: WorkflowAnswer,
    outcome: Option<RunOutcome>,
    /// How often the journal was written when it was read.
    revision: u64,
    header: Header,
    progress_before: u64,
    writes: Vec<Write>,
    drafts: HashMap<String, Draft>,
    next_args: Option<Json>,
    /// The header has changed, and perhaps nothing else.
    is_header_new: bool,
    wake_at: Option<Timestamp>,
}

impl Turn {
    fn take(engine: &Engine, job: &JobRow, page: JournalPage, call: &WorkflowCall) -> Result<Self, Error> {
        let now = engine.clock.now();
        let (revision, header) = page.head.map_or((0, None), |head| (head.revision, head.header));
        let mut header = header.unwrap_or_else(|| Header::begin(None, now));
        let mark = header.blocked.take();
        let (progress_before, generation) = (header.progress, header.generation);
        let journal = Journal::load(header, page.entries)?;
        let recorded = if call.begins { journal.answered().cloned().collect() } else { Vec::new() };
        let mut run = Run::begin(job.id, journal, page.arrivals);
        let mut writes = Writes::default();
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
        let answer = WorkflowAnswer {
            status: if run.is_undoing() { WorkflowStatus::Undoing } else { WorkflowStatus::Running },
            generation,
            asks: asked.answers(&mut run),
            undo: None,
            recorded,
        };
        let drafts = call.asks.iter().filter_map(|ask| Some((ask.key.clone(), ask.child.clone()?))).collect();
        let mut turn = Self {
            answer,
            outcome: None,
            revision,
            header: run.journal().header.clone(),
            progress_before,
            writes: writes.0,
            drafts,
            next_args: None,
            is_header_new: mark.is_some(),
            wake_at: None,
        };
        let version = turn.header.version.clone();
        match (version, &call.then) {
            (Some(version), _) => {
                let why = format!(
                    "the run began with version {version:?} of its code, and remote workers have no versions; deploy a worker that has \
                     this version"
                );
                turn.writes.clear();
                turn.block(why, mark, now);
            }
            (None, WorkflowThen::Block(why)) => turn.block(why.clone(), mark, now),
            (None, then) => {
                turn.stop(&run, stop, mark, now);
                if turn.outcome.is_none() {
                    turn.then(&run, then, now);
                }
            }
        }
        Ok(turn)
    }

    /// What the run has come to.
    fn stop(&mut self, run: &Run, stop: Next, mark: Option<BlockedMark>, now: Timestamp) {
        match stop {
            Next::Undo { key, try_number } => {
                let value = match run.journal().entry(&key).map(|entry| &entry.state) {
                    Some(EntryState::Closed { answer: Answer::Value { value }, .. }) => value.clone(),
                    Some(EntryState::Closed { .. } | EntryState::Open(_) | EntryState::Lost) | None => {
                        Json::null()
                    }
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
    fn then(&mut self, run: &Run, then: &WorkflowThen, now: Timestamp) {
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
                self.header = self.header.next_generation(self.header.version.clone(), now);
                self.next_args = Some(args.clone());
                self.outcome = Some(RunOutcome::Snooze(std::time::Duration::ZERO));
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

    /// Writes to the journal what the call leads to, if anything.
    async fn write(&self, engine: &Engine, job: &JobRow, run: RunKey) -> Result<Wrote, Error> {
        let parks = self.outcome == Some(RunOutcome::Park);
        if self.writes.is_empty() && !self.is_header_new && !parks && self.next_args.is_none() {
            return Ok(Wrote::Done);
        }
        let (mut entries, mut taken, mut children, mut publishes) =
            (Vec::<Entry>::new(), Vec::new(), Vec::new(), false);
        let mut cancels = Vec::new();
        // Children that this call begins and cancels are not begun.
        let (begun, ended) = self.children();
        let is_unborn = |job: &JobId| begun.contains(job) && ended.contains(job);
        for write in &self.writes {
            match write {
                Write::Entry(entry) => match entries.iter_mut().find(|known| known.key == entry.key) {
                    Some(known) => *known = entry.clone(),
                    None => entries.push(entry.clone()),
                },
                Write::Take { n } => taken.push(*n),
                Write::StartChild { job, .. } | Write::CancelChild { job, .. } if is_unborn(job) => {}
                Write::StartChild { key, job: id, policy } => {
                    let parent = Parent { workflow: job.id, key: key.clone(), policy: *policy };
                    children.push(self.child(engine, *id, parent)?);
                }
                Write::CancelChild { job: child, reason } => {
                    cancels.push(ChildCancel { workflow: job.id, child: *child, reason: reason.clone() });
                }
                Write::Publish(_) => publishes = true,
                Write::Phase(_) | Write::NextGeneration => {}
            }
        }
        let clears = self.next_args.is_some();
        if clears {
            entries.clear();
        }
        let is_charged = job.attempt > 1 || job.crashes > 0;
        let ties =
            !job.undoes() && (!children.is_empty() || entries.iter().any(|entry| entry.undo.is_some()));
        let write = JournalWrite {
            workflow: job.id,
            lease: run.lease,
            revision_before: self.revision,
            header: self.header.clone(),
            publishes,
            clears,
            entries,
            taken,
            at: engine.clock.now(),
            children,
            cancels,
            args: self.next_args.clone(),
            wake_at: self.wake_at.filter(|_| parks),
            forgives: is_charged && self.header.progress > self.progress_before,
            ties,
        };
        let wrote = engine.store.write_journals(Arc::new(vec![write])).await?;
        Ok(wrote.first().copied().unwrap_or(Wrote::Fenced))
    }

    /// Children that the call begins, and those that it cancels.
    fn children(&self) -> (HashSet<JobId>, HashSet<JobId>) {
        let (mut begun, mut ended) = (HashSet::new(), HashSet::new());
        for write in &self.writes {
            match write {
                Write::StartChild { job, .. } => _ = begun.insert(*job),
                Write::CancelChild { job, .. } => _ = ended.insert(*job),
                Write::Entry(_)
                | Write::Take { .. }
                | Write::Publish(_)
                | Write::Phase(_)
                | Write::NextGeneration => {}
            }
        }
        (begun, ended)
    }

    fn child(&self, engine: &Engine, id: JobId, parent: Parent) -> Result<NewJob, Error> {
        let missing = || {
            let message = format!("begin child {:?}: the ask names no job", parent.key);
            Error::new(ErrorKind::Invalid, message)
        };
        let draft = self.drafts.get(&parent.key).cloned().ok_or_else(missing)?;
        let mut new = engine.check(Draft { id: Some(id), ..draft }, engine.clock.now(), None)?;
        new.job.links.get_or_insert_default().parent = Some(parent);
        Ok(new)
    }
}

/// Writes that are decided; the run counts them as made.
#[derive(Default)]
struct Writes(Vec<Write>);

impl Writes {
    fn add(&mut self, run: &mut Run, writes: Vec<Write>) {
        run.wrote(&writes);
        self.0.extend(writes);
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

/// The asks of one call.
struct Asked<'a> {
    asks: &'a [RemoteAsk],
    /// None for what is not begun.
    tickets: Vec<Option<Result<Ticket, Refused>>>,
    executes: HashMap<Ticket, u32>,
}

impl<'a> Asked<'a> {
    /// With `is_to_stop` nothing is begun: only what has begun is asked for.
    fn new(run: &mut Run, asks: &'a [RemoteAsk], is_to_stop: bool) -> Result<Self, Error> {
        let mut tickets = Vec::with_capacity(asks.len());
        for RemoteAsk { key, ask, tried, .. } in asks {
            if matches!(ask, Ask::Patch | Ask::Race { .. }) {
                let message =
                    format!("ask for {key:?}: only the code of this program asks for a {}", ask.kind());
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            if is_to_stop && tried.is_none() && run.journal().entry(key).is_none() {
                tickets.push(None);
                continue;
            }
            tickets.push(match run.ask_under(key, ask.clone()) {
                Err(Refused::Name(error)) => {
                    return Err(Error::new(ErrorKind::Invalid, format!("ask: {error}")));
                }
                ticket => Some(ticket),
            });
        }
        Ok(Self { asks, tickets, executes: HashMap::new() })
    }

    /// Lets the run go on until nothing more happens now.
    fn go_on(&mut self, run: &mut Run, writes: &mut Writes, now: Timestamp, chance: f64) -> Next {
        loop {
            match run.next(now) {
                Next::Poll => {}
                Next::Write(made) => writes.add(run, made),
                Next::Execute { ticket, try_number } => match self.tried(ticket, try_number) {
                    Some(attempted) => {
                        let mut made = run.tried(ticket, attempted, now, chance);
                        for write in &mut made {
                            if let Write::Entry(entry) = write {
                                entry.tries = try_number;
                            }
                        }
                        writes.add(run, made);
                    }
                    None => _ = self.executes.insert(ticket, try_number),
                },
                stop @ (Next::Await { .. }
                | Next::Park { .. }
                | Next::Undo { .. }
                | Next::Undone(_)
                | Next::Blocked(_)
                | Next::Full(_)) => return stop,
            }
        }
    }

    /// How this try of a step has ended, as the call says.
    fn tried(&self, ticket: Ticket, try_number: u32) -> Option<Attempted> {
        let place = self.tickets.iter().position(|known| *known == Some(Ok(ticket)))?;
        let (number, attempted) = self.asks[place].tried.as_ref()?;
        (*number == try_number).then(|| attempted.clone())
    }

    fn answers(self, run: &mut Run) -> Vec<AskAnswer> {
        let mut answers = Vec::with_capacity(self.tickets.len());
        for (ticket, RemoteAsk { key, .. }) in self.tickets.iter().zip(self.asks) {
            answers.push(match ticket {
                None => AskAnswer::Waits { until: None },
                Some(Err(refused)) => AskAnswer::Refused(refused.to_string()),
                Some(Ok(ticket)) => match (run.answer(*ticket), self.executes.get(ticket)) {
                    (Some(answer), _) => AskAnswer::Answer(answer),
                    (None, Some(try_number)) => AskAnswer::Execute { try_number: *try_number },
                    (None, None) => AskAnswer::Waits { until: until(run.journal().entry(key)) },
                },
            });
        }
        answers
    }
}

/// Which try of a compensation is next; none if the step is undone, or has nothing to undo.
fn next_undo(journal: &Journal, key: &str) -> Option<u32> {
    match journal.entry(key)?.undo.as_ref()? {
        Undo::Due => Some(1),
        Undo::Trying { tries, .. } => Some(tries.saturating_add(1)),
        Undo::Done { .. } => None,
    }
}

/// When an open entry is answered at the latest, or tried again.
fn until(entry: Option<&Entry>) -> Option<Timestamp> {
    match &entry?.state {
        EntryState::Open(Opened::Trying { due_at, .. }) => Some(*due_at),
        EntryState::Open(Opened::Timer { until }) => Some(*until),
        EntryState::Open(Opened::Signal { until, .. }) => *until,
        EntryState::Open(Opened::Child { .. }) | EntryState::Closed { .. } | EntryState::Lost => None,
    }
}
