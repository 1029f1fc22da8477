//! One run of a workflow over its journal.
//!
//! The code asks and waits; whenever all of it waits, its driver calls [`Run::next`]. While recorded answers are left, it hands them out one at a time in
//! the order in which they were recorded, so the code takes the path of the run before, whatever runs beside each other in it.
//! Then it answers what is to be done next, again one thing at a time and in the order of the asks.
//!
//! A run has a time of its own: that of the last answer. Timers, signals and children take effect in the order of their moments,
//! although the run comes to them late. So the result does not depend on where a process died or for how long none ran.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{
    Answer, Answered, Arrival, Ask, Blocked, BlockedMark, Cause, Derived, Entry, EntryKind, EntryState,
    Inbox, JOURNAL_BYTES_MAX, Journal, NameError, Named, Names, Opened, Phase, Refused, STEPS_MAX, ScopeId,
    Ticket, VALUE_BYTES_MAX, Write,
    ask::{AskState, Asked},
    chance,
    happening::{What, earliest},
};
use crate::{
    JobId, Json, Timestamp,
    bounds::{SPAN_MAX, later},
};

/// A run.
#[derive(Debug)]
pub struct Run {
    pub(super) workflow: JobId,
    pub(super) journal: Journal,
    inbox: Inbox,
    /// Ends of children that no entry waits for: of losers of races, and of earlier generations. They are dropped with the next answer.
    unawaited: Vec<u64>,
    names: Names,
    /// The time of the run.
    pub(super) now: Timestamp,
    /// The place of the last answer that was handed out or skipped.
    delivered: u64,
    pub(super) asks: Vec<Asked>,
    /// Places of asks that are not over, in order.
    live: BTreeSet<usize>,
    /// Of these, asks that can begin or be answered at once.
    ready: BTreeSet<usize>,
    by_key: HashMap<String, usize>,
    /// How many entries the journal has once all asks have begun.
    entries: usize,
    publish: Option<Json>,
    blocked: Option<Blocked>,
    /// Asks for entries of branches that have lost. Each ends once its race is answered.
    of_losers: BTreeSet<usize>,
    /// The ask whose answer was handed out last.
    handed_out: Option<Ticket>,
}

/// What a driver does next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// An answer is ready: let the code go on.
    Poll,
    /// Write this in one transaction, then call [`Run::wrote`].
    Write(Vec<Write>),
    /// Run the code of a step, then call [`Run::tried`]. Other steps may run at the same time.
    Execute {
        /// The ask.
        ticket: Ticket,
        /// Which try it is, from 1.
        try_number: u32,
    },
    /// Steps run; wait for one of them, or until this moment.
    Await {
        /// When something else happens.
        until: Option<Timestamp>,
    },
    /// Nothing is left to do now: park the workflow. It is woken at this moment, and by every arrival.
    Park {
        /// When something happens by itself.
        until: Option<Timestamp>,
    },
    /// Run the compensation of the step of this key, then call [`Run::undone`].
    Undo {
        /// The key of the step.
        key: String,
        /// Which try it is, from 1.
        try_number: u32,
    },
    /// Everything is undone: end the workflow.
    Undone(Cause),
    /// The journal does not fit the code.
    Blocked(Blocked),
    /// A signal or an output has come that the journal cannot hold. The workflow fails with this error: see [`Run::fail`].
    Full(Refused),
}

impl Run {
    /// Begins a run over what the store holds.
    pub fn begin(workflow: JobId, journal: Journal, arrivals: Vec<Arrival>) -> Self {
        let mut inbox = Inbox::default();
        inbox.add(arrivals);
        let awaited: HashSet<JobId> = journal
            .open()
            .filter_map(|entry| match entry.state {
                EntryState::Open(Opened::Child { job, .. }) => Some(job),
                EntryState::Open(_)
                | EntryState::Closed { .. }
                | EntryState::Lost
                | EntryState::Superseded { .. } => None,
            })
            .collect();
        let unawaited = inbox.unawaited(|job| awaited.contains(&job));
        Self {
            workflow,
            now: journal.header.began_at,
            entries: journal.len(),
            journal,
            inbox,
            unawaited,
            names: Names::default(),
            delivered: 0,
            asks: Vec::new(),
            live: BTreeSet::new(),
            ready: BTreeSet::new(),
            by_key: HashMap::new(),
            publish: None,
            blocked: None,
            of_losers: BTreeSet::new(),
            handed_out: None,
        }
    }

    /// Begins a run whose code takes recorded answers by their keys: all of them count as handed out.
    pub fn begin_by_key(workflow: JobId, journal: Journal, arrivals: Vec<Arrival>) -> Self {
        let mut run = Self::begin(workflow, journal, arrivals);
        for entry in run.journal.answered() {
            if let EntryState::Closed { seq, at, .. } = &entry.state {
                (run.delivered, run.now) = (*seq, run.now.max(*at));
            }
        }
        run
    }

    /// The time of the run: that of the last answer.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The journal as it stands.
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The ask that [`Next::Poll`] has answered: the code that waits for it is to be woken.
    pub const fn handed_out(&self) -> Option<Ticket> {
        self.handed_out
    }

    /// Whether recorded answers are left to hand out. Meanwhile the code does nothing for the first time, so its log lines
    /// are repetitions.
    pub fn is_replaying(&self) -> bool {
        self.journal.answer_after(self.delivered).is_some()
    }

    /// Something has arrived since the run began.
    pub fn arrived(&mut self, arrivals: impl IntoIterator<Item = Arrival>) {
        self.inbox.add(arrivals);
    }

    /// Opens a scope for names.
    pub fn open_scope(&mut self, parent: ScopeId, name: &str) -> Result<ScopeId, NameError> {
        self.names.open(parent, name)
    }

    /// Closes a scope.
    pub fn close_scope(&mut self, scope: ScopeId) {
        self.names.close(scope);
    }

    /// What the keys within a scope begin with.
    pub fn path(&self, scope: ScopeId) -> &str {
        self.names.path(scope)
    }

    /// The key for a random number or an id, which is derived and not recorded.
    pub fn derived_key(&mut self, scope: ScopeId, what: Derived, name: &str) -> Result<String, NameError> {
        self.names.derive(scope, what, name)
    }

    /// Asks for something under a name. The code then waits until [`answer`](Self::answer) has one.
    pub fn ask(&mut self, scope: ScopeId, name: &str, ask: Ask) -> Result<Ticket, Refused> {
        let named = self.names.begin(scope, name)?;
        self.ask_as(named, ask)
    }

    /// Asks under a whole key, which the code has made by itself because it runs in another process: see
    /// [`begin_by_key`](Self::begin_by_key). Such code asks for a [patch](Ask::Patch) only where it takes the new path.
    pub fn ask_under(&mut self, key: &str, ask: Ask) -> Result<Ticket, Refused> {
        if self.by_key.contains_key(key) {
            return Err(NameError::TwoLive { key: key.to_owned() }.into());
        }
        self.ask_as(Named::whole(key)?, ask)
    }

    fn ask_as(&mut self, named: Named, ask: Ask) -> Result<Ticket, Refused> {
        let found = self.journal.entry(&named.key);
        let recorded = found.filter(|entry| !matches!(entry.state, EntryState::Superseded { .. }));
        let mut state = AskState::Pending;
        match recorded {
            None => {
                self.entries += usize::from(found.is_none());
                if self.entries > STEPS_MAX || self.journal.bytes() > JOURNAL_BYTES_MAX {
                    return Err(self.full());
                }
            }
            Some(entry) if entry.kind != ask.kind() => {
                let blocked =
                    Blocked::OtherKind { key: named.key.clone(), asked: ask.kind(), found: entry.kind };
                self.blocked.get_or_insert(blocked);
            }
            Some(entry) if entry.state == EntryState::Lost => _ = self.of_losers.insert(self.asks.len()),
            Some(entry) => {
                // An answer that was skipped, because the code of this deploy comes to it later than before.
                if let EntryState::Closed { seq, answer, .. } = &entry.state
                    && *seq <= self.delivered
                {
                    state = AskState::Answered(answer.clone());
                }
            }
        }
        let ticket = self.asks.len();
        self.by_key.insert(named.key.clone(), ticket);
        self.live.insert(ticket);
        if recorded.is_none() && ask.kind() != EntryKind::Race {
            self.ready.insert(ticket);
        }
        self.asks.push(Asked { named, ask, state, after: self.delivered });
        Ok(Ticket(ticket))
    }

    /// The key of an ask.
    pub fn key(&self, ticket: Ticket) -> &str {
        &self.asks[ticket.0].named.key
    }

    /// The answer, if there is one. The code takes it once.
    pub fn answer(&mut self, ticket: Ticket) -> Answered {
        let AskState::Answered(answer) = self.asks[ticket.0].state.clone() else { return None };
        self.forget(ticket);
        Some(answer)
    }

    /// The code does not wait for this any longer: its branch has lost a race.
    pub fn forget(&mut self, ticket: Ticket) {
        let asked = &mut self.asks[ticket.0];
        if asked.state != AskState::Over {
            asked.state = AskState::Over;
            self.live.remove(&ticket.0);
            self.ready.remove(&ticket.0);
            self.of_losers.remove(&ticket.0);
            self.by_key.remove(&asked.named.key);
            self.names.end(&asked.named);
        }
    }

    /// A branch of a race came first. Of several in one poll, the first call counts; where the journal has a winner, that counts.
    pub fn won(&mut self, race: Ticket, branch: u32) {
        let asked = &mut self.asks[race.0];
        if asked.state == AskState::Pending {
            asked.state = AskState::WonBy(branch);
            self.ready.insert(race.0);
        }
    }

    /// The header says from the next write on that the journal does not fit the code.
    pub fn block(&mut self, mark: BlockedMark) {
        self.journal.header.blocked = Some(mark);
    }

    /// Publishes what queries are answered with, from the next write on. While it replays it changes nothing.
    pub fn publish(&mut self, value: Json) -> Result<(), Refused> {
        let bytes = value.as_str().len();
        if bytes > VALUE_BYTES_MAX {
            return Err(Refused::TooLarge { bytes });
        }
        if !self.is_replaying() {
            self.publish = Some(value);
        }
        Ok(())
    }

    /// What the code has published and is not written: to be written with its end.
    pub fn unpublished(&mut self) -> Vec<Write> {
        let published = self.journal.header.published.as_ref();
        let new = self.publish.take().filter(|value| published != Some(value));
        new.map(Write::Publish).into_iter().collect()
    }

    /// What to do next, now that all of the code waits. `real` is the time of the store.
    pub fn next(&mut self, real: Timestamp) -> Next {
        if let Some(blocked) = &self.blocked {
            return Next::Blocked(blocked.clone());
        }
        if self.replay() {
            return Next::Poll;
        }
        if let Some(ticket) = self.of_losers.first() {
            // All races that are recorded have been answered, and the code still waits for it.
            let Asked { named, ask, .. } = &self.asks[*ticket];
            return Next::Blocked(Blocked::Lost { key: named.key.clone(), asked: ask.kind() });
        }
        if let Phase::Undoing { cause } = &self.journal.header.phase {
            let cause = cause.clone();
            return self.undo(cause, real);
        }
        let published = self.unpublished();
        if !published.is_empty() {
            return Next::Write(published);
        }
        if let Some(next) = self.begin_next() {
            return next;
        }
        self.happen(real)
    }

    /// Writes of this run are in the store.
    pub fn wrote(&mut self, writes: &[Write]) {
        for write in writes {
            self.journal.apply(write, &mut self.inbox);
            if let Write::Entry(entry) = write
                && let Some(ticket) = self.by_key.get(&entry.key)
            {
                self.ready.remove(ticket);
                if let AskState::Runs(_) | AskState::WonBy(_) = self.asks[*ticket].state {
                    self.asks[*ticket].state = AskState::Pending;
                }
            }
        }
    }

    /// Hands out the next recorded answer. `false` once none is left.
    fn replay(&mut self) -> bool {
        while let Some((seq, key)) = self.journal.answer_after(self.delivered) {
            let asked = self.by_key.get(key).copied();
            let state = self.journal.entry(key).map(|entry| entry.state.clone());
            let Some(EntryState::Closed { at, answer, .. }) = state else { return false };
            if let Some(ticket) = asked {
                self.asks[ticket].state = AskState::Answered(answer);
                self.handed_out = Some(Ticket(ticket));
                (self.delivered, self.now) = (seq, self.now.max(at));
                return true;
            }
            // All of the code waits, and none of it for this. So a change that waits here was passed by an earlier version.
            if let Some(patch) = self.pending_patch() {
                self.ready.remove(&patch);
                self.asks[patch].state = AskState::Answered(Answer::Patched { is_new: false });
                self.handed_out = Some(Ticket(patch));
                return true;
            }
            // The code of this deploy does not ask for it here. It may later.
            (self.delivered, self.now) = (seq, self.now.max(at));
        }
        false
    }

    fn pending_patch(&self) -> Option<usize> {
        self.ready.iter().copied().find(|ticket| self.asks[*ticket].ask == Ask::Patch)
    }

    /// The first ask that can begin, or be answered at once.
    fn begin_next(&mut self) -> Option<Next> {
        let ticket = *self.ready.first()?;
        let Asked { named, ask, state, .. } = &self.asks[ticket];
        let key = named.key.clone();
        let open = |opened| Write::Entry(Entry::new(key.clone(), ask.kind(), EntryState::Open(opened)));
        let writes = match ask {
            Ask::Race { branches } => {
                let AskState::WonBy(branch) = *state else { return None };
                let mut writes = vec![self.close(ticket, Answer::Won { branch }, self.now)];
                let losers = branches.iter().enumerate().filter(|(place, _)| *place != branch as usize);
                losers.for_each(|(_, path)| writes.extend(self.lost(path)));
                writes
            }
            Ask::Patch => vec![self.close(ticket, Answer::Patched { is_new: true }, self.now)],
            Ask::Now => vec![self.close(ticket, Answer::Now { at: self.now }, self.now)],
            Ask::Sleep(span) => vec![open(Opened::Timer { until: later(self.now, (*span).min(SPAN_MAX)) })],
            Ask::SleepUntil(until) => vec![open(Opened::Timer { until: *until })],
            Ask::Signal { name, within } => {
                let until = within.map(|within| later(self.now, within.min(SPAN_MAX)));
                vec![open(Opened::Signal { name: name.clone(), until })]
            }
            Ask::Child { policy } => {
                let job = chance::child(self.workflow, &self.journal.header, &key, self.now);
                let policy = *policy;
                vec![open(Opened::Child { job, policy }), Write::StartChild { key, job, policy }]
            }
            Ask::Step { .. } => {
                self.ready.remove(&ticket);
                self.asks[ticket].state = AskState::Runs(0);
                return Some(Next::Execute { ticket: Ticket(ticket), try_number: 1 });
            }
        };
        Some(Next::Write(writes))
    }

    /// The earliest thing that the code waits for.
    fn happen(&mut self, real: Timestamp) -> Next {
        let asks = self.live.iter().map(|ticket| (*ticket, &self.asks[*ticket]));
        let found = earliest(asks, &self.journal, &self.inbox, self.now);
        if let Some(happening) = found.as_ref().filter(|happening| happening.at <= real.max(self.now)) {
            let ticket = happening.ticket;
            match happening.what.clone() {
                What::Close { answer, take } => {
                    let closed = self.close(ticket, answer, happening.at);
                    if let Write::Entry(entry) = &closed
                        && self.is_over(entry.bytes())
                    {
                        return Next::Full(self.full());
                    }
                    let mut writes = vec![closed];
                    writes.extend(take.map(|n| Write::Take { n }));
                    writes.extend(self.unawaited.drain(..).map(|n| Write::Take { n }));
                    return Next::Write(writes);
                }
                What::Try { tries } => {
                    self.now = happening.at;
                    self.asks[ticket].state = AskState::Runs(tries);
                    return Next::Execute { ticket: Ticket(ticket), try_number: tries.saturating_add(1) };
                }
            }
        }
        let until = found.map(|happening| happening.at);
        let runs = |ticket: &usize| matches!(self.asks[*ticket].state, AskState::Runs(_));
        if self.live.iter().any(runs) { Next::Await { until } } else { Next::Park { until } }
    }

    /// Whether the journal cannot hold so many more bytes.
    pub(super) const fn is_over(&self, bytes: usize) -> bool {
        self.journal.bytes() + bytes > JOURNAL_BYTES_MAX
    }

    /// The error for a journal that is full.
    pub(super) fn full(&self) -> Refused {
        let (entries, bytes) = (self.journal.len(), self.journal.bytes());
        Refused::Full {
            what: format!("{entries} entries of {STEPS_MAX}, {bytes} bytes of {JOURNAL_BYTES_MAX}"),
        }
    }

    fn close(&self, ticket: usize, answer: Answer, at: Timestamp) -> Write {
        let Asked { named, ask, .. } = &self.asks[ticket];
        let closed = EntryState::Closed { seq: self.journal.next_seq(), at, answer };
        Write::Entry(Entry::new(named.key.clone(), ask.kind(), closed))
    }
}
