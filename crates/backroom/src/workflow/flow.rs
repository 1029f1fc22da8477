//! What the code of a workflow and its driver share during one run.

use std::{
    collections::{HashMap, HashSet},
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use backroom_core::{
    Draft, Json, Timestamp,
    workflow::{
        Answer, Ask, Attempted, Entry, EntryState, Header, JOURNAL_BYTES_MAX, Refused, Run, ScopeId, Ticket,
        Write,
    },
};
use futures_util::future::BoxFuture;

use crate::{Context as JobContext, Error, Failure, store::JournalWrite};

/// Undoes a step, given its value.
pub(super) type Compensation = Box<dyn FnMut(Json) -> BoxFuture<'static, Result<(), Failure>> + Send>;

/// One run of a workflow. The code asks it and waits; the driver answers.
pub(super) struct Flow {
    pub(super) context: JobContext,
    state: Mutex<State>,
    /// Where the journal stands in the store. Who writes to it holds this.
    pub(super) place: tokio::sync::Mutex<Place>,
}

/// Where a journal stands in the store.
pub(super) struct Place {
    pub(super) revision: u64,
    /// When the store wakes the workflow.
    pub(super) wake_at: Option<Timestamp>,
}

/// Why a run cannot go on.
#[derive(Debug)]
pub(super) enum Lost {
    /// An earlier run has written to the journal after it was read: it is read again.
    Journal,
    /// The lease.
    Lease,
    /// The store.
    Store(Error),
}

impl From<Error> for Lost {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

/// What changes during a run.
pub(super) struct State {
    pub(super) run: Run,
    /// Steps whose code is to run, with the number of the try.
    pub(super) execute: HashMap<Ticket, u32>,
    /// Steps whose code runs.
    pub(super) running: HashSet<Ticket>,
    /// Tries that have ended.
    pub(super) tried: Vec<(Ticket, Attempted)>,
    /// What waits for an answer.
    wakers: HashMap<Ticket, Waker>,
    /// Which try of a step is the last that began, by key.
    pub(super) tries: HashMap<String, u32>,
    /// When the code of steps began, by key.
    pub(super) began: HashMap<String, Timestamp>,
    /// Compensations of steps that were done, by key.
    pub(super) compensations: HashMap<String, Compensation>,
    /// The jobs of children, by key.
    pub(super) drafts: HashMap<String, Draft>,
    /// The code used a name that it must not use.
    pub(super) misnamed: Option<String>,
    /// The code goes on with these args and an empty journal.
    pub(super) next_args: Option<Json>,
    /// A step of the code found that the run cannot go on.
    pub(super) lost: Option<Lost>,
}

impl Flow {
    pub(super) fn new(context: JobContext, run: Run, place: Place) -> Self {
        let state = State {
            run,
            execute: HashMap::new(),
            running: HashSet::new(),
            tried: Vec::new(),
            wakers: HashMap::new(),
            tries: HashMap::new(),
            began: HashMap::new(),
            compensations: HashMap::new(),
            drafts: HashMap::new(),
            misnamed: None,
            next_args: None,
            lost: None,
        };
        Self { context, state: Mutex::new(state), place: tokio::sync::Mutex::new(place) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run cannot go on. Its driver ends it.
    pub(super) fn lose(&self, lost: Lost) {
        self.state().lost.get_or_insert(lost);
    }

    /// Asks for something.
    pub(super) fn ask(self: &Arc<Self>, scope: ScopeId, name: &str, ask: Ask) -> Result<Asked, Refused> {
        let mut state = self.state();
        match state.run.ask(scope, name, ask) {
            Ok(ticket) => {
                drop(state);
                Ok(Asked { flow: Arc::clone(self), ticket, is_over: false })
            }
            Err(refused) => {
                state.note(&refused);
                Err(refused)
            }
        }
    }
}

impl State {
    /// Remembers that a name was refused: the run then counts as a failed attempt, because a deploy mends it.
    pub(super) fn note(&mut self, refused: &Refused) {
        if let Refused::Name(error) = refused {
            self.misnamed.get_or_insert_with(|| error.to_string());
        }
    }

    /// How often the step of this key was tried in this run and before; 0 for what is no step.
    pub(super) fn tries_of(&self, key: &str) -> u32 {
        self.tries.get(key).copied().unwrap_or_default()
    }

    /// Wakes the code that waits for this.
    pub(super) fn wake(&mut self, ticket: Ticket) {
        if let Some(waker) = self.wakers.remove(&ticket) {
            waker.wake();
        }
    }
}

/// Something that the code has asked for and waits for. Dropped without an answer, it is no longer waited for.
pub(super) struct Asked {
    flow: Arc<Flow>,
    pub(super) ticket: Ticket,
    is_over: bool,
}

/// What an ask meets.
pub(super) enum Turn {
    /// The answer.
    Answer(Answer),
    /// The code of the step is to run, as this try.
    Execute,
}

impl Asked {
    /// The key of the entry.
    pub(super) fn key(&self) -> String {
        self.flow.state().run.key(self.ticket).to_owned()
    }

    /// Waits for the answer, or until the code of the step is to run.
    pub(super) async fn turn(&mut self) -> Turn {
        poll_fn(|cx| {
            let mut state = self.flow.state();
            if let Some(answer) = state.run.answer(self.ticket) {
                state.wakers.remove(&self.ticket);
                self.is_over = true;
                return Poll::Ready(Turn::Answer(answer));
            }
            if state.execute.remove(&self.ticket).is_some() {
                state.running.insert(self.ticket);
                return Poll::Ready(Turn::Execute);
            }
            state.wakers.insert(self.ticket, cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// The answer, if there is one; otherwise the code is woken when it comes.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Option<Answer> {
        let mut state = self.flow.state();
        if let Some(answer) = state.run.answer(self.ticket) {
            state.wakers.remove(&self.ticket);
            self.is_over = true;
            return Some(answer);
        }
        state.wakers.insert(self.ticket, cx.waker().clone());
        None
    }

    /// The answer to an ask that runs no code.
    pub(super) async fn answer(&mut self) -> Answer {
        loop {
            if let Turn::Answer(answer) = self.turn().await {
                return answer;
            }
        }
    }

    /// A try of the step has ended.
    pub(super) fn tried(&self, attempted: Attempted) {
        let mut state = self.flow.state();
        state.running.remove(&self.ticket);
        state.tried.push((self.ticket, attempted));
    }
}

/// How a step that writes rows of the application is recorded with them.
pub(super) enum Recording {
    /// By this write, once the value is put into it.
    Write {
        /// Still without the value.
        write: Box<JournalWrite>,
        /// The longest value that the journal can hold.
        bytes_left: usize,
    },
    /// Not as done: the journal is full. Its code must write no rows.
    Full(String),
    /// Not at all: the code does not wait for it any longer.
    Over,
}

impl Asked {
    /// How the step would be recorded as done.
    pub(super) fn recording(&self, place: &Place) -> Recording {
        let engine = &self.flow.context.resources().engine;
        let (now, job) = (engine.clock.now(), self.flow.context.job());
        let mut state = self.flow.state();
        let writes = state.run.tried(self.ticket, Attempted::Value(Json::null()), now, 0.0);
        let key = state.run.key(self.ticket).to_owned();
        let (began_at, tries) = (state.began.get(&key).copied(), state.tries_of(&key));
        let entries: Vec<_> = writes
            .into_iter()
            .filter_map(|write| match write {
                Write::Entry(entry) => Some(Entry { began_at, tries, ..entry }),
                _ => None,
            })
            .collect();
        let (Some(entry), Some(lease)) = (entries.first(), job.lease_id) else { return Recording::Over };
        if let EntryState::Closed { answer: Answer::Failed { error }, .. } = &entry.state {
            return Recording::Full(error.clone());
        }
        let journal = state.run.journal();
        let (header, bytes_left) =
            (journal.header.clone(), JOURNAL_BYTES_MAX.saturating_sub(journal.bytes()));
        let write = JournalWrite {
            workflow: job.id,
            lease,
            revision_before: place.revision,
            header: Header { progress: header.progress + 1, ..header },
            publishes: false,
            clears: false,
            entries,
            taken: Vec::new(),
            at: now,
            children: Vec::new(),
            cancels: Vec::new(),
            args: None,
            wake_at: place.wake_at,
            forgives: false,
            ties: false,
        };
        Recording::Write { write: Box::new(write), bytes_left }
    }

    /// The step is recorded in the store.
    pub(super) fn recorded(&self, entry: Entry) {
        let mut state = self.flow.state();
        state.running.remove(&self.ticket);
        state.run.wrote(&[Write::Entry(entry)]);
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.is_over {
            let mut state = self.flow.state();
            state.run.forget(self.ticket);
            state.execute.remove(&self.ticket);
            state.running.remove(&self.ticket);
            state.wakers.remove(&self.ticket);
        }
    }
}
