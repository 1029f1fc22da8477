//! Schemas of what happened to a job.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

use super::EndWord;

/// An attempt that did not succeed.
#[derive(ToSchema)]
#[schema(as = Attempt)]
pub(crate) struct AttemptSchema {
    /// The run.
    #[schema(format = "uuid")]
    lease_id: String,
    /// Which attempt of the budget it was. A crash gives its number back, so numbers may repeat.
    attempt: u32,
    /// In which way it ended.
    end: EndWord,
    /// Why.
    error: String,
    /// The worker that ran it.
    worker: Option<String>,
    /// When it was claimed.
    #[schema(format = DateTime)]
    started_at: Option<String>,
    /// When it ended.
    #[schema(format = DateTime)]
    ended_at: String,
}

/// A line that a handler logged on its job.
#[derive(ToSchema)]
#[schema(as = LogLine)]
pub(crate) struct LogLineSchema {
    /// The run that wrote it.
    #[schema(format = "uuid")]
    lease_id: String,
    /// Position within the run, from 0.
    seq: u32,
    /// When it was written.
    #[schema(format = DateTime)]
    at: String,
    /// The text.
    line: String,
}

/// A reason why a job is where it is. What belongs to the reason stands beside its name.
#[derive(ToSchema)]
#[schema(as = Reason)]
pub(crate) struct ReasonSchema {
    /// Its name.
    #[schema(example = "queue_paused")]
    reason: String,
    /// The same for people.
    words: String,
    /// Data of the reason, by its names.
    #[serde(flatten)]
    data: BTreeMap<String, Value>,
}
