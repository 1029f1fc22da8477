//! A statement: its text and the types of its parameters.

use tokio_postgres::types::Type;

/// A statement as it is written in our rooms. The types are given, never asked for: so a statement costs one round
/// trip even where nothing can be prepared.
pub(super) struct Sql {
    /// `{schema}` stands for the quoted name of the schema.
    pub(super) text: &'static str,
    /// One per parameter.
    pub(super) types: &'static [Type],
}

impl Sql {
    /// The text for one schema.
    pub(super) fn for_schema(&self, schema: &str) -> String {
        self.text.replace("{schema}", schema)
    }
}

/// All columns of a job, in the order [`row`](super::row) reads and writes them.
macro_rules! columns {
    () => {
        "id, kind, queue, lane, priority, state, args, attempt, max_attempts, crashes, scheduled_at, expires_at, \
         timeout_ms, retry, unique_key, unique_while, unique_until, unique_held, lease_id, lease_until, worker, \
         progress_percent, progress_message, output, reason, cancel_requested_at, woken, created_at, started_at, \
         finished_at, tags, meta, revision"
    };
}
pub(super) use columns;
