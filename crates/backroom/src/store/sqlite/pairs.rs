//! Which priorities and kinds wait in a queue, found by leaping from one to the next.
//!
//! The index of queued jobs is sorted by queue, priority and kind. One seek finds the first entry of the next pair, so
//! a walk costs as many seeks as there are pairs, however many jobs each of them holds.

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::error::Fault;

/// Jobs of one kind and one priority wait together.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) priority: u8,
    pub(super) kind: String,
}

/// The statements of the walk, prepared once for all queues.
pub(super) struct Pairs<'a> {
    next_kind: CachedStatement<'a>,
    next_priority: CachedStatement<'a>,
}

impl<'a> Pairs<'a> {
    pub(super) fn prepare(connection: &'a Connection) -> Result<Self, Fault> {
        // The next kind within a priority. Parameters: queue, priority, the kind before. Two statements, because SQLite
        // would not leap for `(priority, kind) > (?, ?)`: it goes through all entries of the pair before.
        let next_kind = connection.prepare_cached(
            "SELECT priority, kind FROM backroom_jobs INDEXED BY backroom_jobs_queued \
             WHERE state = 'queued' AND queue = ?1 AND priority = ?2 AND kind > ?3 ORDER BY kind LIMIT 1",
        )?;
        // The first kind of the next priority. Parameters: queue, the priority before.
        let next_priority = connection.prepare_cached(
            "SELECT priority, kind FROM backroom_jobs INDEXED BY backroom_jobs_queued \
             WHERE state = 'queued' AND queue = ?1 AND priority > ?2 ORDER BY priority, kind LIMIT 1",
        )?;
        Ok(Self { next_kind, next_priority })
    }

    /// The pair after this one, or the first: by priority, then by kind.
    pub(super) fn after(&mut self, queue: &str, before: Option<&Pair>) -> Result<Option<Pair>, Fault> {
        let pair = |row: &rusqlite::Row<'_>| Ok(Pair { priority: row.get(0)?, kind: row.get(1)? });
        if let Some(Pair { priority, kind }) = before
            && let Some(next) = self.next_kind.query_row(params![queue, priority, kind], pair).optional()?
        {
            return Ok(Some(next));
        }
        let priority = before.map_or(-1, |pair| i64::from(pair.priority));
        Ok(self.next_priority.query_row(params![queue, priority], pair).optional()?)
    }
}
