//! A statement: its text and the types of its parameters.

use tokio_postgres::types::Type;

/// A statement as it is written in our rooms. The types are given, never asked for: so a statement costs one round
/// trip even where nothing can be prepared.
pub(crate) struct Sql {
    /// `{schema}` stands for the quoted name of the schema.
    pub(crate) text: &'static str,
    /// One per parameter.
    pub(crate) types: &'static [Type],
}

impl Sql {
    /// Tells statements apart: a static has one address for ever.
    pub(crate) fn key(&'static self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// The text for one schema.
    pub(crate) fn for_schema(&self, schema: &str) -> String {
        named(self.text, schema)
    }
}

/// A text with the name of a schema in it, quoted: names that are reserved (`order`, `user`) need it, and no name of a schema
/// has a quote in it.
pub(crate) fn named(text: &str, schema: &str) -> String {
    text.replace("{schema}", &format!("\"{schema}\""))
}

/// How many columns a job has: what a statement asks for behind them has this place.
pub(crate) const COLUMNS: usize = 34;

/// All columns of a job, in the order [`row`](crate::store::postgres::columns::row) reads and writes them.
macro_rules! columns {
    () => {
        "id, kind, queue, lane, priority, state, args, attempt, max_attempts, crashes, scheduled_at, expires_at, \
         timeout_ms, retry, unique_key, unique_while, unique_until, unique_held, lease_id, lease_until, worker, \
         progress_percent, progress_message, output, reason, cancel_requested_at, woken, created_at, started_at, \
         finished_at, tags, meta, revision, suspicion"
    };
}
pub(crate) use columns;

/// From rows of `new`, which have an `id`, to the rows of `jobs` with these ids, one lookup each.
///
/// Joined by `jobs.id = new.id`, the planner may turn the join around: while it believes that `jobs` holds a handful of
/// rows, as a queue does whenever it is analysed at rest, it walks all of it and compares each row with each of `new`.
/// The plan stays when the queue fills, and a commit of 500 was seen to take 150 ms instead of 8. An element of an array
/// is looked up by index just as well, but is no equality to merge by, which is what would make walking the whole index
/// worth considering (`docs/decisions/0021`).
///
/// Guards stand after it, on the row itself: they are looked at again when another transaction changed the row in the
/// meantime. None says `state = 'running'`, which would lead to the index of leases; a lease that is set says the same.
macro_rules! rows_by_id {
    () => {
        "WHERE jobs.id = ANY (ARRAY[new.id])"
    };
}
pub(crate) use rows_by_id;

/// From the ids in $1 to the jobs with these ids that run on trays. IS TRUE keeps both conditions where they stand: joined,
/// the planner could read every tray, or compare each of its jobs with each of the ids. So the bounds pass a tray over
/// unread, and what is left is looked up in a hash of the ids.
macro_rules! on_trays_by_ids {
    () => {
        " FROM {schema}.jobs_on_trays \
         WHERE (EXISTS (SELECT FROM unnest($1::uuid[]) AS asked (id) WHERE asked.id BETWEEN first_id AND last_id)) IS TRUE \
           AND (id IN (SELECT unnest($1::uuid[]))) IS TRUE"
    };
}
pub(crate) use on_trays_by_ids;

/// Of finished jobs, those that no tray still has: deleted, such a job would be back on it, and run again.
macro_rules! not_on_a_tray {
    () => {
        " AND (lease_id = ANY (ARRAY(SELECT lease_id FROM {schema}.trays))) IS NOT TRUE"
    };
}
pub(crate) use not_on_a_tray;
