//! The body of a request: a CloudEvents 1.0 event in the structured JSON mode (<https://cloudevents.io>).

use backroom_core::{JobRow, Json, Timestamp};
use serde::Serialize;

/// The media type of the body.
pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json";

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    /// The job: the same at every attempt, so that an endpoint recognises one that it has done.
    id: String,
    source: &'a str,
    #[serde(rename = "type")]
    about: &'static str,
    subject: &'a str,
    time: Timestamp,
    datacontenttype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    backroomqueue: &'a str,
    backroomattempt: u32,
    backroommaxattempts: u32,
    /// The job's args.
    data: &'a Json,
}

pub(super) fn body(source: &str, job: &JobRow, now: Timestamp) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&CloudEvent {
        specversion: "1.0",
        id: job.id.to_string(),
        source,
        about: "backroom.job.run",
        subject: &job.kind,
        time: now,
        datacontenttype: "application/json",
        traceparent: job.extras.traceparent.as_deref(),
        backroomqueue: &job.queue,
        backroomattempt: job.attempt,
        backroommaxattempts: job.max_attempts,
        data: &job.args,
    })
}
