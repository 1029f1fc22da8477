//! Taking due jobs.

use backroom_core::{Event, Job, JobId, Timestamp, transition::apply};
use rusqlite::{CachedStatement, Connection, params};

use super::{
    error::Fault,
    hints::Hints,
    row::{self, columns, micros},
};
use crate::store::Claim;

/// Takes up to `claim.limit` jobs, queue by queue in the order of the shares.
pub(super) fn claim(
    connection: &Connection,
    claim: &Claim,
    now: Timestamp,
    hints: &mut Hints,
) -> Result<Vec<Job>, Fault> {
    if claim.repeat {
        // If the lost call took anything, that is the whole answer: its shares were filled then.
        let taken = taken_before(connection, claim)?;
        if !taken.is_empty() {
            return Ok(taken);
        }
    }
    let mut taking = Taking::prepare(connection)?;
    let mut taken = Vec::new();
    for share in &claim.shares {
        let limit = share.at_most.min(claim.limit.saturating_sub(taken.len()));
        if limit == 0 || is_paused(connection, &share.queue)? {
            continue;
        }
        for id in due(connection, claim, &share.queue, limit, now)? {
            if let Some(job) = taking.take(claim, id, now)? {
                hints.job(job.id);
                taken.push(job);
            }
        }
    }
    Ok(taken)
}

/// Whether claims leave this queue alone. One lookup by name.
pub(super) fn is_paused(connection: &Connection, queue: &str) -> Result<bool, Fault> {
    let mut select = connection
        .prepare_cached("SELECT 1 FROM backroom_queues WHERE name = ?1 AND paused_at IS NOT NULL")?;
    Ok(select.exists([queue])?)
}

/// Jobs that run under the lease of this claim. Reads the index of leases: as many entries as jobs run at all.
fn taken_before(connection: &Connection, claim: &Claim) -> Result<Vec<Job>, Fault> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM backroom_jobs WHERE state = 'running' AND lease_id = ?1 ORDER BY priority, scheduled_at, id LIMIT ?2"
    );
    row::jobs(connection, sql, params![claim.lease.0.as_bytes(), row::at_most(claim.limit)])
}

/// Ids of due jobs of one queue, in the order they are served. One index range per priority, so what lies in the future
/// is never looked at, however much it is; kind and expiry are read from the index entry itself.
fn due(
    connection: &Connection,
    claim: &Claim,
    queue: &str,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<JobId>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT id, kind, expires_at FROM backroom_jobs INDEXED BY backroom_jobs_queued \
         WHERE state = 'queued' AND queue = ?1 AND priority = ?2 AND scheduled_at <= ?3 \
         ORDER BY scheduled_at, id",
    )?;
    let mut ids = Vec::new();
    for priority in 0..=9 {
        let mut rows = select.query(params![queue, priority, micros(now)])?;
        while let Some(entry) = rows.next()? {
            let kind = entry.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
            let expires_at = entry.get::<_, Option<i64>>(2)?;
            if expires_at.is_some_and(|at| at <= micros(now))
                || !claim.kinds.iter().any(|known| known == kind)
            {
                continue;
            }
            ids.push(row::job_id(entry, 0)?);
            if ids.len() >= limit {
                return Ok(ids);
            }
        }
    }
    Ok(ids)
}

/// Takes jobs one by one, as core decides. Reading the row and then writing it measures faster than
/// `UPDATE … RETURNING`, which keeps a copy of every row it answers with.
struct Taking<'a> {
    read: CachedStatement<'a>,
    write: CachedStatement<'a>,
}

impl<'a> Taking<'a> {
    fn prepare(connection: &'a Connection) -> Result<Self, Fault> {
        let read = connection.prepare_cached(row::FIND)?;
        // Every field that a claim moves; the rest keeps its value. Guarded by the revision that was just read.
        let write = connection.prepare_cached(
            "UPDATE backroom_jobs SET state = 'running', attempt = ?3, unique_held = ?4, lease_id = ?5, \
             lease_until = ?6, worker = ?7, progress_percent = NULL, progress_message = NULL, started_at = ?8, \
             revision = revision + 1 WHERE id = ?1 AND revision = ?2 AND state = 'queued'",
        )?;
        Ok(Self { read, write })
    }

    fn take(&mut self, claim: &Claim, id: JobId, now: Timestamp) -> Result<Option<Job>, Fault> {
        let Some(mut job) = row::find_with(&mut self.read, id)? else { return Ok(None) };
        let event = Event::Claim { lease: claim.lease, until: claim.until, worker: claim.worker.clone() };
        let Ok(Some(change)) = apply(&job, event, now) else { return Ok(None) };
        let written = self.write.execute(params![
            id.0.as_bytes(),
            row::revision(change.revision_before),
            change.attempt,
            change.unique_held,
            row::lease(change.lease_id.as_ref()),
            change.lease_until.map(micros),
            change.worker,
            change.started_at.map(micros),
        ])?;
        if written == 0 {
            return Ok(None);
        }
        change.write_to(&mut job);
        Ok(Some(job))
    }
}
