//! Schemas of what the triggers' crate writes.

use serde_json::Value;
use utoipa::ToSchema;

use super::ActivityWord;

/// A trigger as one of its processes sees it.
#[derive(ToSchema)]
#[schema(as = TriggerStatus)]
pub(crate) struct StatusSchema {
    /// What it does.
    activity: ActivityWord,
    /// Since when.
    #[schema(format = DateTime)]
    since: Option<String>,
    /// Why it fails or is blocked, with a remedy.
    error: Option<String>,
    /// What was counted since the process began.
    counters: TriggerCountersSchema,
    /// Deliveries that wait in the source, where it can say.
    lag: Option<u64>,
    /// Deliveries in hand.
    in_flight: u64,
    /// When the last delivery came.
    #[schema(format = DateTime)]
    last_delivery_at: Option<String>,
    /// What the source reports; each kind of source has its own names.
    details: Value,
}

/// What was counted since the process began.
#[derive(ToSchema)]
#[schema(as = TriggerCounters)]
pub(crate) struct TriggerCountersSchema {
    /// Deliveries that came from the source, also those that came again.
    received: u64,
    /// Bytes of their bodies.
    received_bytes: u64,
    /// Jobs that they became.
    enqueued: u64,
    /// Deliveries that had become a job already.
    duplicates: u64,
    /// Deliveries that the filter left out.
    left_out: u64,
    /// Deliveries that could not become a job.
    refused: u64,
    /// Times that the source could not be read.
    errors: u64,
}
