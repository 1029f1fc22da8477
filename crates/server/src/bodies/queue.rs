//! Settings of queues.

use backroom::Retention;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::views::RetentionSchema;

/// Settings to change; what is left out stays.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueueSettings {
    /// How long finished jobs are retained, by state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<RetentionSchema>)]
    pub(crate) retention: Option<Retention>,
    /// Most jobs that may wait; null for any number.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "named")]
    #[schema(value_type = Option<u64>)]
    pub(crate) depth_max: Option<Option<u64>>,
}

/// A field that is there, also when it is null.
fn named<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::<u64>::deserialize(deserializer).map(Some)
}
