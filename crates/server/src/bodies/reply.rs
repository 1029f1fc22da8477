//! Messages of reply queues.

use backroom::{LeaseId, MessageId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What to take.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MessageTake {
    /// Most messages, 1 to 1000. Default 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000)]
    pub(crate) limit: Option<usize>,
    /// Wait up to this many milliseconds for the first message. At most the setting `limits.wait_time`. Default 0.
    #[serde(default)]
    pub(crate) wait_ms: u64,
    /// For how many milliseconds the taker has them. What is not acknowledged by then is delivered again. Default 30000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lease_ms: Option<u64>,
}

/// Which messages.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TakenIds {
    /// The lease under which they were taken.
    #[schema(value_type = String, format = "uuid")]
    pub(crate) lease: LeaseId,
    /// Their ids.
    #[schema(value_type = Vec<String>)]
    pub(crate) ids: Vec<MessageId>,
}
