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

/// From rows of `new`, which have an `id`, to the rows of `jobs` with these ids, one lookup each.
///
/// Joined by id, the planner may turn the join around: while it believes that `jobs` (or a partial index of it) holds a
/// handful of rows, as a queue does whenever it is analysed at rest, it walks all of it and compares each row with each of
/// `new`. The plan stays when the queue fills, and a commit of 500 then takes 200 ms instead of 6. A LATERAL subquery
/// cannot be turned around, OFFSET 0 keeps it from being flattened, and by place a row is found in one way only.
///
/// Guards stand after it, on the row itself: they are looked at again when another transaction changed the row in the
/// meantime. For the same reason none says `state = 'running'`, which would lead to the index of leases; a lease that is
/// set says the same.
macro_rules! rows_by_id {
    () => {
        "CROSS JOIN LATERAL (SELECT jobs.ctid AS tid FROM {schema}.jobs WHERE jobs.id = new.id OFFSET 0) AS place \
         WHERE jobs.ctid = place.tid AND jobs.id = new.id"
    };
}
pub(super) use rows_by_id;
