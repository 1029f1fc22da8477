//! The journal of a workflow.

use backroom::{
    JobId, Json, Timestamp, WorkflowJournal,
    workflow::{Answer, Arrived, Cause, ChildEnd, Entry, EntryState, Opened, Phase, Undo},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The journal of a job, if it is a workflow that has begun.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct JobJournal {
    /// The journal; null for a job that is no workflow or has not begun.
    pub(crate) journal: Option<JournalView>,
}

/// The journal of a workflow: what it has asked for, and what came of it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Journal)]
pub(crate) struct JournalView {
    /// How often it began again with an empty journal.
    pub(crate) generation: u32,
    /// When this generation began.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) began_at: Timestamp,
    /// Why it undoes what it has done; null while it does not.
    pub(crate) undoes: Option<String>,
    /// Why the code of this deploy cannot run it; null while it can.
    pub(crate) blocked: Option<String>,
    /// When it is woken by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) wake_at: Option<Timestamp>,
    /// What it last published.
    #[schema(value_type = Option<serde_json::Value>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) published: Option<Json>,
    /// What it has asked for: first what has an answer, in the order of the answers; then what is open.
    pub(crate) entries: Vec<EntryView>,
    /// What has arrived and was not taken yet, in order.
    pub(crate) waiting: Vec<ArrivalView>,
}

/// One thing that a workflow has asked for.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = JournalEntry)]
pub(crate) struct EntryView {
    /// Its scopes and its name.
    pub(crate) key: String,
    /// `step`, `timer`, `signal`, `child`, `race`, `patch` or `now`.
    pub(crate) kind: String,
    /// `done`, `failed`, `timed_out`, `open`, `trying` or `lost`.
    pub(crate) state: String,
    /// When it began; of a step, its last try.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) began_at: Option<Timestamp>,
    /// When it had its answer.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) ended_at: Option<Timestamp>,
    /// How often a step was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tries: Option<u32>,
    /// What it answered with.
    #[schema(value_type = Option<serde_json::Value>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<Json>,
    /// Why it failed, or why its last try did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// Until when it waits.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<Timestamp>,
    /// The signal that it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signal: Option<String>,
    /// The job of a child.
    #[schema(value_type = Option<String>, format = "uuid")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) child: Option<JobId>,
    /// How its compensation stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) undo: Option<UndoView>,
}

/// How the compensation of a step stands.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = JournalUndo)]
pub(crate) struct UndoView {
    /// `due` if it runs should the workflow fail, `trying` or `done`.
    pub(crate) state: String,
    /// How often it was tried in vain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tries: Option<u32>,
    /// When it is tried next, or when it was done.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<Timestamp>,
    /// Why its last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// A signal or the end of a child that no entry has taken.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = JournalArrival)]
pub(crate) struct ArrivalView {
    /// `signal` or `child`.
    pub(crate) kind: String,
    /// The name of the signal, or the key of the child.
    pub(crate) name: String,
    /// When it arrived.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) at: Timestamp,
    /// What a signal carries.
    #[schema(value_type = Option<serde_json::Value>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<Json>,
}

/// A signal that is stored.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct SignalSent {
    /// The workflow.
    #[schema(value_type = String, format = "uuid")]
    pub(crate) workflow: JobId,
    /// The name of the signal.
    pub(crate) name: String,
}

impl JournalView {
    pub(crate) fn new(journal: WorkflowJournal) -> Self {
        let WorkflowJournal { header, entries, arrivals, wake_at, .. } = journal;
        let undoes = match header.phase {
            Phase::Forward => None,
            Phase::Undoing { cause: Cause::Failed { error } } => Some(error),
            Phase::Undoing { cause: Cause::Cancelled { reason } } => Some(format!("cancelled: {reason}")),
        };
        let waiting = arrivals.into_iter().map(|arrival| {
            let (kind, name, value) = match arrival.what {
                Arrived::Signal { name, value } => ("signal", name, Some(value)),
                Arrived::Child { key, .. } => ("child", key, None),
            };
            ArrivalView { kind: kind.into(), name, at: arrival.at, value }
        });
        Self {
            generation: header.generation,
            began_at: header.began_at,
            undoes,
            blocked: header.blocked.map(|mark| mark.why),
            wake_at,
            published: header.published,
            entries: entries.into_iter().map(EntryView::new).collect(),
            waiting: waiting.collect(),
        }
    }
}

impl EntryView {
    fn new(entry: Entry) -> Self {
        let Entry { key, kind, state, undo, began_at, tries } = entry;
        let mut view = Self {
            key,
            kind: kind.as_str().into(),
            state: "open".into(),
            began_at,
            ended_at: None,
            tries: (tries > 0).then_some(tries),
            value: None,
            error: None,
            until: None,
            signal: None,
            child: None,
            undo: undo.map(UndoView::new),
        };
        match state {
            EntryState::Lost => view.state = "lost".into(),
            EntryState::Superseded { error } => {
                (view.state, view.error) = ("superseded".into(), Some(error));
            }
            EntryState::Open(opened) => view.open(opened),
            EntryState::Closed { at, answer, .. } => {
                view.ended_at = Some(at);
                view.close(answer);
            }
        }
        view
    }

    fn open(&mut self, opened: Opened) {
        match opened {
            Opened::Trying { tries, due_at, error } => {
                self.state = "trying".into();
                (self.tries, self.until, self.error) = (Some(tries), Some(due_at), Some(error));
            }
            Opened::Timer { until } => self.until = Some(until),
            Opened::Signal { name, until } => (self.signal, self.until) = (Some(name), until),
            Opened::Child { job, .. } => self.child = Some(job),
        }
    }

    fn close(&mut self, answer: Answer) {
        let (state, value, error) = match answer {
            Answer::Value { value } | Answer::Signal { value } => ("done", Some(value), None),
            Answer::Child { end: ChildEnd::Completed { output } } => ("done", Some(output), None),
            Answer::Child { end: ChildEnd::Cancelled { reason } | ChildEnd::Discarded { reason } } => {
                ("failed", None, Some(reason))
            }
            Answer::Failed { error } => ("failed", None, Some(error)),
            Answer::TimedOut => ("timed_out", None, None),
            Answer::Fired => ("done", None, None),
            Answer::Won { branch } => ("done", Json::encode(&branch).ok(), None),
            Answer::Patched { is_new } => ("done", Json::encode(&is_new).ok(), None),
            Answer::Now { at } => ("done", Json::encode(&at).ok(), None),
        };
        (self.state, self.value, self.error) = (state.into(), value, error);
    }
}

impl UndoView {
    fn new(undo: Undo) -> Self {
        let (state, tries, at, error) = match undo {
            Undo::Due => ("due", None, None, None),
            Undo::Trying { tries, due_at, error } => ("trying", Some(tries), Some(due_at), Some(error)),
            Undo::Done { at } => ("done", None, Some(at), None),
        };
        Self { state: state.into(), tries, at, error }
    }
}
