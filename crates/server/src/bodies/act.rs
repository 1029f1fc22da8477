//! Changes of jobs.

use backroom::{JobId, Json, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Select;
use crate::views::BulkAction;

/// What to do, to which jobs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bulk {
    /// What to do.
    pub(crate) action: BulkAction,
    /// To which jobs; all conditions hold together.
    pub(crate) filter: Select,
    /// Needed for a filter without conditions, which matches every job.
    #[serde(default)]
    pub(crate) all: bool,
    /// Why, for `cancel`; shown to people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// To which queue, for `move`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
    /// 0 (first) to 9 (last), for `priority`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 9)]
    pub(crate) priority: Option<u8>,
    /// Count the jobs that match and change nothing.
    #[serde(default)]
    pub(crate) dry_run: bool,
    /// Continue below the job of this id: `next` of the answer before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) before: Option<JobId>,
}

/// Why a job is cancelled.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cancel {
    /// Shown with the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// What changes; what is left out stays.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Amendment {
    /// It runs at this moment or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) scheduled_at: Option<Timestamp>,
    /// It runs this many milliseconds from now or later; not together with `scheduled_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) delay_ms: Option<u64>,
    /// 0 (first) to 9 (last).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 9)]
    pub(crate) priority: Option<u8>,
    /// Other args.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "named")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(crate) args: Option<Json>,
    /// It waits in this queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) queue: Option<String>,
}

/// Args that are there, also when they are null.
fn named<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}
