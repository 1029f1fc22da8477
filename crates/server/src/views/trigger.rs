//! Triggers as people and programs see them: the same for the API and the command line.

use std::time::Duration;

use backroom::{
    JobRow, Timestamp,
    core::bounds::span_until,
    store::{DeadLetter, TriggerReader, TriggerRow},
};
use backroom_triggers::{Activity, Outcome, Preview, Status};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::rows::trigger::StatusSchema;

/// A reader whose last beat is older than this has probably died.
const SILENT: Duration = Duration::from_secs(60);

/// A trigger.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Trigger)]
pub(crate) struct TriggerView {
    /// Its name.
    pub(crate) name: String,
    /// The kind of its source.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// What it does: an activity of a process, `paused`, or `unread` if no process reads its source.
    pub(crate) activity: String,
    /// What its source reads.
    pub(crate) source: Value,
    /// Which jobs its deliveries become.
    pub(crate) mapping: Value,
    /// Since when it is paused; null while it is not.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) paused_at: Option<Timestamp>,
    /// Why it is paused.
    pub(crate) pause_reason: Option<String>,
    /// How many dead letters it has.
    pub(crate) dead_letters: u64,
    /// Dead letters that were dropped because there were too many.
    pub(crate) dropped: u64,
    /// When a process defined it as it is now.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) defined_at: Timestamp,
    /// The processes that read its source, or wait to do so.
    pub(crate) readers: Vec<ReaderView>,
}

/// A process that reads the source of a trigger.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = TriggerReader)]
pub(crate) struct ReaderView {
    /// Its name.
    pub(crate) holder: String,
    /// Whether no other process reads at the same time.
    pub(crate) exclusive: bool,
    /// When its last heartbeat was.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) beat_at: Timestamp,
    /// Whether it has beaten lately.
    pub(crate) alive: bool,
    /// What it reports.
    #[schema(value_type = StatusSchema)]
    pub(crate) status: Status,
}

/// Triggers.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct TriggerList {
    /// By name.
    pub(crate) triggers: Vec<TriggerView>,
}

/// A page of dead letters.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct DeadLetterPage {
    /// The newest first, without bodies.
    pub(crate) dead_letters: Vec<DeadLetterView>,
    /// Pass it as `before` for the next page; null on the last one.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) next: Option<Uuid>,
}

impl TriggerView {
    pub(crate) fn new(row: TriggerRow, now: Timestamp) -> Self {
        let definition: Value = row.definition.decode().unwrap_or_default();
        let part = |name: &str| definition.get(name).cloned().unwrap_or_default();
        let readers: Vec<_> = row.readers.into_iter().map(|reader| ReaderView::new(reader, now)).collect();
        let alive = readers.iter().find(|reader| reader.alive);
        let activity = match (&row.paused, alive) {
            (Some(_), _) => Activity::Paused.as_str(),
            (None, Some(reader)) => reader.status.activity.as_str(),
            (None, None) => "unread",
        };
        let (paused_at, pause_reason) = row.paused.map(|pause| (pause.at, pause.reason)).unzip();
        Self {
            name: row.name,
            kind: part("type").as_str().unwrap_or_default().to_owned(),
            activity: activity.into(),
            source: part("source"),
            mapping: part("mapping"),
            paused_at,
            pause_reason,
            dead_letters: row.dead_letters,
            dropped: row.dropped,
            defined_at: row.defined_at,
            readers,
        }
    }

    /// Why it does not run, if a process said so.
    pub(crate) fn error(&self) -> Option<&str> {
        let alive = self.readers.iter().find(|reader| reader.alive);
        alive.and_then(|reader| reader.status.error.as_deref()).or(self.pause_reason.as_deref())
    }
}

impl ReaderView {
    fn new(reader: TriggerReader, now: Timestamp) -> Self {
        let TriggerReader { holder, exclusive, beat_at, status, .. } = reader;
        let alive = span_until(beat_at, now) < SILENT;
        Self { holder, exclusive, beat_at, alive, status: status.decode().unwrap_or_default() }
    }
}

/// What a message would become.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = TriggerPreview)]
pub(crate) struct PreviewView {
    /// `job`, `left_out` or `refused`.
    pub(crate) outcome: String,
    /// Why it is refused.
    pub(crate) reason: Option<String>,
    /// The job that it would become.
    pub(crate) job: Option<JobPreview>,
}

/// The job that a message would become.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct JobPreview {
    /// Which handler would run it.
    pub(crate) kind: String,
    /// Where it would wait.
    pub(crate) queue: String,
    /// Key inside the queue.
    pub(crate) lane: Option<String>,
    /// 0 (first) to 9 (last).
    pub(crate) priority: u8,
    /// Input of the handler.
    pub(crate) args: Value,
    /// When it would run.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) scheduled_at: Timestamp,
    /// Attempts allowed.
    pub(crate) max_attempts: u32,
    /// The key by which duplicates are found.
    pub(crate) unique_key: Option<String>,
    /// Labels to filter by.
    pub(crate) tags: Vec<String>,
}

impl From<Preview> for PreviewView {
    fn from(preview: Preview) -> Self {
        let of = |outcome: &str| Self { outcome: outcome.into(), reason: None, job: None };
        match preview {
            Preview::Job(job) => Self { job: Some((*job).into()), ..of("job") },
            Preview::LeftOut => of("left_out"),
            Preview::Refused(reason) => Self { reason: Some(reason), ..of("refused") },
        }
    }
}

impl From<JobRow> for JobPreview {
    fn from(job: JobRow) -> Self {
        let JobRow {
            kind, queue, lane, priority, args, scheduled_at, max_attempts, unique_key, tags, ..
        } = job;
        let args = args.decode().unwrap_or_default();
        Self { kind, queue, lane, priority, args, scheduled_at, max_attempts, unique_key, tags }
    }
}

/// A dead letter.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = DeadLetter)]
pub(crate) struct DeadLetterView {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub(crate) id: Uuid,
    /// The trigger that it came through.
    pub(crate) trigger: String,
    /// The identity of the delivery at its source.
    pub(crate) identity: String,
    /// Why it did not become a job.
    pub(crate) reason: String,
    /// When it was refused.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) at: Timestamp,
    /// Its headers, and what else its source said of it.
    pub(crate) delivery: Value,
    /// How many bytes its body has.
    pub(crate) body_bytes: u64,
    /// The body, if it is UTF-8 and one dead letter was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<String>,
    /// The body in base64, if it is no UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body_base64: Option<String>,
}

impl From<DeadLetter> for DeadLetterView {
    fn from(letter: DeadLetter) -> Self {
        let (body, body_base64) = match letter.body.map(String::from_utf8) {
            Some(Ok(text)) => (Some(text), None),
            Some(Err(error)) => (None, Some(STANDARD.encode(error.as_bytes()))),
            None => (None, None),
        };
        Self {
            id: letter.id,
            trigger: letter.trigger,
            identity: letter.identity,
            reason: letter.reason,
            at: letter.at,
            delivery: letter.delivery.decode().unwrap_or_default(),
            body_bytes: letter.body_bytes,
            body,
            body_base64,
        }
    }
}

/// What became of a delivery.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = DeliveryOutcome)]
pub(crate) struct OutcomeView {
    /// `enqueued`, `duplicate`, `left_out` or `refused`.
    pub(crate) outcome: String,
    /// The job that stands for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) job: Option<String>,
    /// Why it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// The dead letter that stores it, if it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) dead_letter: Option<Uuid>,
}

impl From<Outcome> for OutcomeView {
    fn from(outcome: Outcome) -> Self {
        let of = |outcome: &str| Self { outcome: outcome.into(), job: None, reason: None, dead_letter: None };
        match outcome {
            Outcome::Enqueued(id) => Self { job: Some(id.to_string()), ..of("enqueued") },
            Outcome::Duplicate(id) => Self { job: Some(id.to_string()), ..of("duplicate") },
            Outcome::LeftOut => of("left_out"),
            Outcome::Refused { reason, dead_letter, has_body: _ } => {
                Self { reason: Some(reason), dead_letter: Some(dead_letter), ..of("refused") }
            }
        }
    }
}
