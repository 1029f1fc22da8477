//! What the code of a remote workflow asks in one call, and what it learns.

use backroom_core::{
    Draft, Json, State, Timestamp,
    workflow::{Answer, Ask, Attempted, Entry},
};

/// What the code of a workflow asks and says in one call. Safe to repeat.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WorkflowCall {
    /// The code begins: the answer holds what is recorded so far.
    pub begins: bool,
    /// Versions of the code that the worker has, the newest first; none if the kind has no versions. For a code that begins, and for one
    /// that continues as new.
    pub versions: Vec<String>,
    /// Which generation the code belongs to, as the answer to its begin said. A call of an earlier one comes too late. None: not checked.
    pub generation: Option<u32>,
    /// What it asks for, each under a key of its own; at most 1,000.
    pub asks: Vec<RemoteAsk>,
    /// A compensation that has run: the key of its step, which try it was, and how it ended.
    pub undone: Option<(String, u32, Attempted)>,
    /// What queries are answered with from now on.
    pub publish: Option<Json>,
    /// What the code does next.
    pub then: WorkflowThen,
}

/// Something that the code asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoteAsk {
    /// Its scopes and its name: `order/charge#2`.
    pub key: String,
    /// What.
    pub ask: Ask,
    /// The job of a child.
    pub child: Option<Draft>,
    /// Which try of a step has ended, and how.
    pub tried: Option<(u32, Attempted)>,
    /// Which branch of a race has ended first. Where the journal has a winner, that counts.
    pub won: Option<u32>,
}

/// What the code does next.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum WorkflowThen {
    /// It goes on.
    #[default]
    GoOn,
    /// It has nothing to do until one of its asks is answered: the workflow is parked, unless one of them is answered now.
    Park,
    /// It has returned this.
    Complete(Json),
    /// It has failed: what it has done is undone.
    Fail(String),
    /// It has stopped because a client has cancelled the job, and its steps are over: what it has done is undone.
    Stop,
    /// It begins again with these args and an empty journal.
    ContinueAsNew(Json),
    /// The journal does not fit it, for this reason: the workflow is parked as blocked, and tried again later.
    Block(String),
}

/// What the code learns.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkflowAnswer {
    /// Whether the run goes on.
    pub status: WorkflowStatus,
    /// How often the workflow began again with an empty journal.
    pub generation: u32,
    /// The version of the code that the run began with; none if the kind had no versions.
    pub version: Option<String>,
    /// One answer for each ask, in order.
    pub asks: Vec<AskAnswer>,
    /// With [`Undoing`](WorkflowStatus::Undoing): the compensation that is to run; none if the next one is not due.
    pub undo: Option<UndoDue>,
    /// What is recorded, if the code begins: entries with answers in the order of their answers.
    pub recorded: Vec<Entry>,
}

/// Whether a run goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkflowStatus {
    /// It does.
    Running,
    /// The workflow has failed or was cancelled. The code stops, and the worker runs the compensations that the answers name.
    Undoing,
    /// It is parked: this run is over.
    Parked,
    /// The journal does not fit the code, for this reason. The workflow is parked: this run is over.
    Blocked(String),
    /// The job is in this state: this run is over.
    Ended(State),
    /// The lease is lost: this run is over.
    Lost,
    /// Another worker has the lease: this run is over.
    NotYours,
    /// Another transaction has locked the row: the caller repeats the call.
    Later,
}

/// The answer to one ask.
#[derive(Debug, Clone, PartialEq)]
pub enum AskAnswer {
    /// It is recorded.
    Answer {
        /// What.
        answer: Answer,
        /// Its place among all answers of the journal.
        seq: Option<u64>,
    },
    /// The code of the step is to run, as this try.
    Execute {
        /// From 1.
        try_number: u32,
    },
    /// There is none yet.
    Waits {
        /// When there is one at the latest, or when the step is tried again.
        until: Option<Timestamp>,
    },
    /// It cannot be asked for.
    Refused(String),
}

/// A compensation that is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoDue {
    /// The key of the step.
    pub key: String,
    /// The value of the step.
    pub value: Json,
    /// Which try it is, from 1.
    pub try_number: u32,
}

impl WorkflowAnswer {
    /// Of a run that is over.
    pub(super) fn over(status: WorkflowStatus) -> Self {
        Self { status, generation: 0, version: None, asks: Vec::new(), undo: None, recorded: Vec::new() }
    }
}
