//! What a message reports.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::MessageKind;
use crate::{
    AttemptEnd, Change, Invalid, JobId, JobRow, Json, Progress, State, Timestamp, bounds::whole_micros,
};

/// Longest output in a message, in bytes. A longer one is left out; the job has it.
pub const OUTPUT_BYTES_MAX: usize = 256 * 1024;
/// Most bytes of tags and meta in a message, each. More is left out; the job has it.
const FREE_BYTES_MAX: usize = 16 * 1024;
/// Deepest nesting of an output in a message: what stands around it adds a few levels.
const OUTPUT_DEPTH_MAX: usize = crate::bounds::JSON_DEPTH_MAX - 10;

/// What a message reports of its job, at the moment of the change. Fields that do not apply are left out of its JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageBody {
    /// Of what it informs.
    #[serde(rename = "type")]
    pub about: MessageKind,
    /// The job.
    pub job_id: JobId,
    /// The job's kind.
    pub kind: String,
    /// The job's queue.
    pub queue: String,
    /// Which attempt of the budget it was, or how many there were.
    pub attempt: u32,
    /// The attempts allowed.
    pub max_attempts: u32,
    /// The job's state after the change.
    pub state: State,
    /// When it happened.
    pub at: Timestamp,
    /// As the caller gave it at enqueue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// What the handler returned. `null` is the output of a handler that returned nothing.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::job::present")]
    pub output: Option<Json>,
    /// Why it was cancelled or discarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The error of the attempt that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// In which way that attempt ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<AttemptEnd>,
    /// When the job runs again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
    /// What the handler reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// The job's labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The job's free data.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, String>,
    /// What was too large for the message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// A part of the job that is too large for a message. Read it from the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The field: `output`, `tags` or `meta`.
    pub field: String,
    /// Its size, in bytes.
    pub bytes: usize,
    /// Where to read it.
    pub read: String,
}

impl MessageBody {
    /// What a change of the job informs of.
    pub(super) fn of_change(about: MessageKind, job: &JobRow, change: &Change, now: Timestamp) -> Self {
        let mut body = Self::new(about, job, now);
        body.attempt = change.attempt;
        body.max_attempts = change.max_attempts;
        body.state = change.state;
        body.reason.clone_from(&change.reason);
        if let Some(output) = &change.output {
            body.take_output(output);
        }
        if let Some(ended) = change.attempt_ended() {
            // A crash gives its number back.
            body.attempt = ended.attempt;
            body.error = Some(ended.error.clone());
            body.end = Some(ended.end);
        }
        body.next_attempt_at = (about == MessageKind::FailedAttempt && change.state == State::Queued)
            .then_some(change.scheduled_at);
        body
    }

    /// That the job was just claimed.
    pub(super) fn of_claimed(job: &JobRow, now: Timestamp) -> Self {
        Self::new(MessageKind::Started, job, now)
    }

    /// What a running handler reported.
    pub(super) fn of_progress(job: &JobRow, progress: &Progress, now: Timestamp) -> Self {
        Self { progress: Some(progress.clone()), ..Self::new(MessageKind::Progress, job, now) }
    }

    fn new(about: MessageKind, job: &JobRow, now: Timestamp) -> Self {
        let mut body = Self {
            about,
            job_id: job.id,
            kind: job.kind.clone(),
            queue: job.queue.clone(),
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            state: job.state,
            at: whole_micros(now),
            correlation_id: job.extras.reply.as_ref().and_then(|reply| reply.correlation_id.clone()),
            output: None,
            reason: None,
            error: None,
            end: None,
            next_attempt_at: None,
            progress: None,
            tags: Vec::new(),
            meta: BTreeMap::new(),
            left_out: Vec::new(),
        };
        let tags: usize = job.tags.iter().map(String::len).sum();
        if tags <= FREE_BYTES_MAX {
            body.tags.clone_from(&job.tags);
        } else {
            body.leave_out("tags", tags);
        }
        let meta: usize = job.extras.meta.iter().map(|(key, value)| key.len() + value.len()).sum();
        if meta <= FREE_BYTES_MAX {
            body.meta.clone_from(&job.extras.meta);
        } else {
            body.leave_out("meta", meta);
        }
        body
    }

    fn take_output(&mut self, output: &Json) {
        let bytes = output.as_str().len();
        if bytes <= OUTPUT_BYTES_MAX && output.depth() <= OUTPUT_DEPTH_MAX {
            self.output = Some(output.clone());
        } else {
            self.leave_out("output", bytes);
        }
    }

    fn leave_out(&mut self, field: &str, bytes: usize) {
        let read = format!("the {field} of job {}", self.job_id);
        self.left_out.push(LeftOut { field: field.into(), bytes, read });
    }

    /// The text that stores write.
    pub fn stored(&self) -> Result<String, Invalid> {
        serde_json::to_string(self)
            .map_err(|error| Invalid::new("message", format!("does not encode: {error}")))
    }

    /// Reads what [`stored`](Self::stored) wrote. A newer program may have written more fields, which are passed over.
    pub fn from_stored(text: &str) -> Result<Self, Invalid> {
        serde_json::from_str(text)
            .map_err(|error| Invalid::new("message", format!("does not parse: {error}")))
    }
}
