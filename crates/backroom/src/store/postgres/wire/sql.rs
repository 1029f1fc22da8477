//! A statement: its text and the types of its parameters.

use tokio_postgres::types::Type;

use crate::store::postgres::columns::table::with_lists;
pub(crate) use crate::store::postgres::columns::table::{COLUMNS, columns};

/// A statement. Its parameter types are fixed, so the driver need not ask for them: a statement costs one round trip
/// even where nothing can be prepared.
pub(crate) struct Sql {
    /// `{schema}` stands for the quoted name of the schema, `{columns}` and others for [lists of columns](with_lists).
    pub(crate) text: &'static str,
    /// One per parameter.
    pub(crate) types: &'static [Type],
}

impl Sql {
    /// Distinguishes statements: the address of a static never changes.
    pub(crate) fn key(&'static self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    /// The text for one schema.
    pub(crate) fn for_schema(&self, schema: &str) -> String {
        named(&with_lists(self.text), schema)
    }
}

/// A text with the name of a schema filled in, quoted: reserved names (`order`, `user`) need that, and no name of a
/// schema contains a quote.
pub(crate) fn named(text: &str, schema: &str) -> String {
    text.replace("{schema}", &format!("\"{schema}\""))
}

/// From rows of `new`, which have an `id`, to the rows of `jobs` with these ids, one lookup each.
///
/// Joined by `jobs.id = new.id`, the planner may reverse the join. While it believes that `jobs` has a handful of rows,
/// as after an analysis of an idle queue, it reads all of `jobs` and compares each row with each of `new`. The plan
/// stays when the queue fills, and a commit of 500 was seen to take 150 ms instead of 8. An element of an array is
/// looked up by index as well. But it is no equality to merge by, so the planner does not consider reading the whole
/// index (`docs/decisions/0021`).
///
/// Guards stand after it, on the row itself: the server checks them again when another transaction changed the row in
/// the meantime. None says `state = 'running'`, which would lead to the index of leases; a lease that is set says the
/// same.
macro_rules! rows_by_id {
    () => {
        "WHERE jobs.id = ANY (ARRAY[new.id])"
    };
}
pub(crate) use rows_by_id;

/// From the ids in $1 to the jobs with these ids that run on trays. IS TRUE makes both conditions opaque to the
/// planner. If it could join them, it might read every tray, or compare each job with each id. So the bounds skip a
/// tray unread, and the rest is looked up in a hash of the ids.
macro_rules! on_trays_by_ids {
    () => {
        " FROM {schema}.jobs_on_trays \
         WHERE (EXISTS (SELECT FROM unnest($1::uuid[]) AS asked (id) WHERE asked.id BETWEEN first_id AND last_id)) IS TRUE \
           AND (id IN (SELECT unnest($1::uuid[]))) IS TRUE"
    };
}
pub(crate) use on_trays_by_ids;

/// Excludes finished jobs that a tray still lists. Deleted from the history, such a job would be on the tray again and
/// run twice.
macro_rules! not_on_a_tray {
    () => {
        " AND (lease_id = ANY (ARRAY(SELECT lease_id FROM {schema}.trays))) IS NOT TRUE"
    };
}
pub(crate) use not_on_a_tray;
