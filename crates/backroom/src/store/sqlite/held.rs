//! Which leases are held.

use backroom_core::{JobId, LeaseId};
use rusqlite::{Connection, OptionalExtension, params};

use super::error::Fault;
use crate::store::LeaseStatus;

/// One answer per lease, in order.
pub(super) fn held(connection: &Connection, leases: &[(JobId, LeaseId)]) -> Result<Vec<LeaseStatus>, Fault> {
    // Answers with whether a cancel is marked, and with nothing when the lease is lost.
    let mut select = connection.prepare_cached(
        "SELECT cancel_requested_at IS NOT NULL FROM backroom_jobs \
         WHERE id = ?1 AND state = 'running' AND lease_id = ?2",
    )?;
    let mut answer = |(id, lease): &(JobId, LeaseId)| {
        let found = select.query_row(params![id.0.as_bytes(), lease.0.as_bytes()], |found| found.get(0));
        Ok(match found.optional()? {
            None => LeaseStatus::Lost,
            Some(true) => LeaseStatus::CancelRequested,
            Some(false) => LeaseStatus::Held,
        })
    };
    leases.iter().map(&mut answer).collect()
}
