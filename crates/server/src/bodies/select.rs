//! Which jobs a request is about: the filters that the command line has.

use backroom::{BatchId, JobId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// All filters hold together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Select {
    /// In one of these states, as stored or as shown, with commas between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(example = "available,retrying")]
    pub(crate) state: Option<String>,
    /// Of this queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) queue: Option<String>,
    /// Of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    /// With this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tag: Option<String>,
    /// Of this lane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lane: Option<String>,
    /// That this worker runs, or ran last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) worker: Option<String>,
    /// Of this priority, 0 to 9.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(maximum = 9)]
    #[schema(maximum = 9)]
    pub(crate) priority: Option<u8>,
    /// With this text in the reason or in the error of an attempt; upper and lower case differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// Of this batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, format = "uuid")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) batch: Option<BatchId>,
    /// Not those that were discarded because they took worker processes down with them. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) not_poison: bool,
    /// Enqueued at or after this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, format = DateTime)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) since: Option<Timestamp>,
    /// Enqueued before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, format = DateTime)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) until: Option<Timestamp>,
    /// Ended at or after this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, format = DateTime)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) ended: Option<Timestamp>,
}

impl Select {
    /// Whether it leaves no job out.
    pub(crate) fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// The query of a page of these jobs.
    pub(crate) fn query(&self, limit: usize, before: Option<JobId>) -> String {
        let Self {
            state,
            queue,
            kind,
            tag,
            lane,
            worker,
            priority,
            error,
            batch,
            not_poison,
            since,
            until,
            ended,
        } = self;
        let text = |name: &str, value: &Option<String>| {
            value.as_ref().map(|value| format!("{name}={}", super::escaped(value)))
        };
        let moment = |name: &str, value: &Option<Timestamp>| {
            value.map(|value| format!("{name}={}", super::escaped(&value.to_string())))
        };
        let pairs = [
            text("state", state),
            text("queue", queue),
            text("kind", kind),
            text("tag", tag),
            text("lane", lane),
            text("worker", worker),
            priority.map(|priority| format!("priority={priority}")),
            text("error", error),
            batch.map(|batch| format!("batch={batch}")),
            not_poison.then(|| "not_poison=true".to_owned()),
            moment("since", since),
            moment("until", until),
            moment("ended", ended),
            Some(format!("limit={limit}")),
            before.map(|before| format!("before={before}")),
        ];
        pairs.into_iter().flatten().collect::<Vec<_>>().join("&")
    }
}
