//! Schemas of queues.

use utoipa::ToSchema;

use super::ShownWord;

/// How many jobs of one queue are shown in one state.
#[derive(ToSchema)]
#[schema(as = Count)]
pub(crate) struct CountSchema {
    queue: String,
    state: ShownWord,
    jobs: u64,
}

/// How long finished jobs are retained, by state.
#[derive(ToSchema)]
#[schema(as = Retention)]
pub(crate) struct RetentionSchema {
    completed: RetentionLimitSchema,
    cancelled: RetentionLimitSchema,
    discarded: RetentionLimitSchema,
}

/// A limit by age, by number, or both. A job beyond either of them may be deleted; null is no limit.
#[derive(ToSchema)]
#[schema(as = RetentionLimit)]
pub(crate) struct RetentionLimitSchema {
    /// In seconds since the end.
    age_secs: Option<u64>,
    /// The newest so many.
    count: Option<u64>,
}
