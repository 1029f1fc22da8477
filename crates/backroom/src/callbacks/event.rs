//! The body of a callback: a CloudEvents 1.0 event in the structured JSON mode (<https://cloudevents.io>).

use backroom_core::{JobId, Json, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Failure;

/// The media type of the body.
pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json";

/// What a callback job is to send, and where.
#[derive(Debug, Deserialize)]
pub(super) struct Args {
    pub(super) url: String,
    /// Sent as it was stored, with fields of newer programs that this one does not know.
    pub(super) event: Json,
}

/// What of the event stands around it.
#[derive(Debug, Deserialize)]
struct Known {
    #[serde(rename = "type")]
    about: String,
    /// Of what happened to a job.
    job_id: Option<JobId>,
    /// Of what happened to a schedule.
    schedule: Option<String>,
    at: Timestamp,
}

#[derive(Debug, Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: String,
    source: &'a str,
    #[serde(rename = "type")]
    about: String,
    subject: String,
    time: Timestamp,
    datacontenttype: &'static str,
    /// The extension for distributed tracing.
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    data: &'a Json,
}

/// The body, the same at every attempt. `id` is that of the callback job.
pub(super) fn body(
    id: JobId,
    source: &str,
    traceparent: Option<&str>,
    event: &Json,
) -> Result<Vec<u8>, Failure> {
    let known: Known = event.decode().map_err(Failure::discard)?;
    let (noun, subject) = match (known.job_id, known.schedule) {
        (Some(job), _) => ("job", job.to_string()),
        (None, Some(schedule)) => ("schedule", schedule),
        (None, None) => return Err(Failure::discard("the event names neither a job nor a schedule")),
    };
    let cloud_event = CloudEvent {
        specversion: "1.0",
        id: id.to_string(),
        source,
        about: format!("backroom.{noun}.{}", known.about),
        subject,
        time: known.at,
        datacontenttype: "application/json",
        traceparent,
        data: event,
    };
    serde_json::to_vec(&cloud_event).map_err(Failure::discard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_a_cloud_event_around_the_event_as_it_was_stored() {
        let id: JobId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let event = r#"{"type":"completed","job_id":"01890a5d-ac96-774b-bcce-b302099a8058","at":"2026-11-27T00:45:00.5Z","output":1.0,"newer":[9007199254740993]}"#;
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let body = body(id, "https://jobs.example", Some(trace), &Json::parse(event).unwrap()).unwrap();
        let expected = format!(
            r#"{{"specversion":"1.0","id":"01890a5d-ac96-774b-bcce-b302099a8057","source":"https://jobs.example","type":"backroom.job.completed","subject":"01890a5d-ac96-774b-bcce-b302099a8058","time":"2026-11-27T00:45:00.5Z","datacontenttype":"application/json","traceparent":"{trace}","data":{event}}}"#
        );
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }

    #[test]
    fn a_notice_of_a_schedule_is_an_event_about_the_schedule() {
        let notice = r#"{"type":"overdue","schedule":"nightly","at":"2026-11-27T00:45:00Z","since":"2026-11-27T00:40:00Z"}"#;
        let body = body(JobId(uuid::Uuid::nil()), "backroom", None, &Json::parse(notice).unwrap()).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (&body["type"], &body["subject"]),
            (&"backroom.schedule.overdue".into(), &"nightly".into())
        );
        assert_eq!(body["data"]["since"], "2026-11-27T00:40:00Z");
    }

    #[test]
    fn an_event_without_what_a_cloud_event_needs_is_discarded() {
        let id = JobId(uuid::Uuid::nil());
        for event in ["{}", "1", r#"{"type":"completed","job_id":"x","at":"2026-11-27T00:45:00Z"}"#] {
            let failure = body(id, "backroom", None, &Json::parse(event).unwrap()).unwrap_err();
            assert_eq!(failure.ending(), crate::Ending::Discarded, "{event}");
        }
    }
}
