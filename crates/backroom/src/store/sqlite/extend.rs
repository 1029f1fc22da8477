//! Keeping leases.

use rusqlite::{Connection, params};

use super::{error::Fault, row::micros};
use crate::store::{Extend, Held};

/// Moves the leases that are still held, never back; one answer per lease, in order. The revision stays: a heartbeat must not make
/// stale what a worker is about to report.
pub(super) fn extend(connection: &Connection, extend: &Extend) -> Result<Vec<Held>, Fault> {
    // Answers with whether a cancel is marked, and with nothing when the lease is lost.
    let mut update = connection.prepare_cached(
        "UPDATE backroom_jobs SET lease_until = max(lease_until, ?3) WHERE id = ?1 AND state = 'running' AND lease_id = ?2 \
         RETURNING cancel_requested_at IS NOT NULL",
    )?;
    let mut answers = Vec::with_capacity(extend.leases.len());
    for (id, lease) in &extend.leases {
        let mut rows = update.query(params![id.0.as_bytes(), lease.0.as_bytes(), micros(extend.until)])?;
        let answer = match rows.next()? {
            None => Held::Lost,
            Some(found) if found.get(0)? => Held::CancelRequested,
            Some(_) => Held::Yes,
        };
        // To its end: the statement is one write, and unfinished it would be undone.
        while rows.next()?.is_some() {}
        answers.push(answer);
    }
    Ok(answers)
}
