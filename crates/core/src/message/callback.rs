//! Messages to a URL. Each is a job: durable, retried, visible, and replayed by hand as any job.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{MessageBody, MessageKinds, hidden_within};
use crate::{Draft, Extras, JobId, JobRow, Json, RetryPolicy, draft::NewJob};

/// The kind of jobs that send a message to a URL.
pub const KIND: &str = "backroom.callback";
/// The queue of such jobs.
pub const QUEUE: &str = "backroom.callbacks";

/// Messages to a URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Callback {
    /// Where they are sent: a URL that [`HttpUrl::parse`](crate::http_url::HttpUrl::parse) reads.
    pub url: String,
    /// Of what they inform.
    #[serde(default)]
    pub on: MessageKinds,
}

/// The args of a job that sends a message to a URL. The job's id names the message: it is the same for every attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallbackArgs {
    /// Where it is sent.
    pub url: String,
    /// What is sent.
    pub event: MessageBody,
}

/// The waits of Standard Webhooks (<https://www.standardwebhooks.com>), ± 10 %: ten attempts within about three days.
pub fn retry_policy() -> RetryPolicy {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const WAITS: [u64; 9] =
        [5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];
    RetryPolicy::list(WAITS.map(Duration::from_secs))
}

/// The job that sends `body`. Its id is derived from the change, so a change that is written again inserts nothing twice.
pub(super) fn job(callback: &Callback, id: Uuid, body: MessageBody, of: &JobRow) -> NewJob {
    let now = body.at;
    let args = CallbackArgs { url: callback.url.clone(), event: body };
    let args = Json::encode(&args).expect("invariant: a message body is JSON of bounded depth");
    let retry = Some(retry_policy());
    let draft = Draft {
        queue: QUEUE.into(),
        extras: Extras {
            retry,
            traceparent: of.extras.traceparent.clone(),
            hidden: hidden_within(&of.extras.hidden),
            ..Extras::default()
        },
        ..Draft::new(KIND, args)
    };
    draft
        .check_ours(JobId(id), now, usize::MAX)
        .expect("invariant: what the draft is made of was checked before")
}
