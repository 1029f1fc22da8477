//! Upkeep of jobs without a caller: expired ones, and finished ones past their retention.

use backroom_core::{JobId, JobRow, Timestamp, links::effects_of_deletion};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    columns::columns,
    error::Fault,
    hints::Hints,
    journals, links,
    row::{self, micros},
};
use crate::store::{Deleted, Prune};

/// Queued jobs past their expiry, the longest ago first.
pub(super) fn expired_jobs(
    connection: &Connection,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<JobRow>, Fault> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM backroom_jobs INDEXED BY backroom_jobs_expiring WHERE state = 'queued' AND expires_at <= ?1 \
         ORDER BY expires_at, id"
    );
    row::jobs(connection, sql, params![micros(now)], limit)
}

/// Where a job stands in its queue's history: when it finished, then its id.
pub(super) type Place = (i64, [u8; 16]);

/// Finished jobs past their retention, the oldest first. Also reads every older job that still holds its unique key, however many
/// there are, so it must not run in the writer.
pub(super) fn prunable(connection: &Connection, prune: &Prune, now: Timestamp) -> Result<Vec<Place>, Fault> {
    if !prune.state.is_finished() {
        return Ok(Vec::new());
    }
    let beyond = prune.beyond.map(|beyond| newest_beyond(connection, prune, beyond)).transpose()?.flatten();
    // From the oldest on. Whether a unique key is still held for a window (?3 is now) is in the index. A job that runs after it, and
    // lives, may read its output.
    let mut select = connection.prepare_cached(
        "SELECT finished_at, id, (unique_held = 1 AND unique_until > ?3) IS TRUE OR EXISTS (SELECT 1 \
             FROM backroom_edges AS edges JOIN backroom_jobs AS dependants ON dependants.id = edges.dependant \
             WHERE edges.predecessor = jobs.id AND dependants.finished_at IS NULL) \
         FROM backroom_jobs AS jobs INDEXED BY backroom_jobs_finished WHERE queue = ?1 AND state = ?2 AND finished_at IS NOT NULL \
         ORDER BY finished_at, id",
    )?;
    let finished_before = prune.finished_before.map(micros);
    let mut rows = select.query(params![prune.queue, prune.state.as_str(), micros(now)])?;
    let mut places = Vec::new();
    while let Some(found) = rows.next()? {
        let place: Place = (found.get(0)?, found.get(1)?);
        let is_old = finished_before.is_some_and(|before| place.0 < before);
        let is_too_many = beyond.is_some_and(|newest| place <= newest);
        if places.len() >= prune.limit || !(is_old || is_too_many) {
            break;
        }
        if !found.get::<_, bool>(2)? {
            places.push(place);
        }
    }
    Ok(places)
}

/// Deletes those of the jobs found by [`prunable`] that are still as they were found. Reads no others.
pub(super) fn prune(
    connection: &Connection,
    found: &[Place],
    now: Timestamp,
    hints: &mut Hints,
) -> Result<u64, Fault> {
    let mut deleted = 0;
    for (finished_at, id) in found {
        // One that an operator retried in between is live again, or finished at another moment.
        let mut select = connection.prepare_cached(
            "SELECT links IS NOT NULL FROM backroom_jobs WHERE id = ?1 AND finished_at = ?2 \
             AND (unique_held = 1 AND unique_until > ?3) IS NOT TRUE",
        )?;
        let found = select.query_row(params![id, finished_at, micros(now)], |found| found.get(0));
        if let Some(has_links) = found.optional()? {
            let id = JobId(uuid::Uuid::from_bytes(*id));
            remove(connection, id, has_links)?;
            hints.job(id);
            deleted += 1;
        }
    }
    Ok(deleted)
}

/// Deletes one job that is not running and, if a revision is given, still at that one. Without a moment, nothing follows for other
/// jobs.
pub(super) fn delete(
    connection: &Connection,
    id: JobId,
    revision: Option<u64>,
    now: Option<Timestamp>,
    hints: &mut Hints,
) -> Result<Deleted, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT state = 'running', revision, links IS NOT NULL FROM backroom_jobs WHERE id = ?1",
    )?;
    let found = select.query_row([id.0.as_bytes()], |found| {
        Ok((found.get(0)?, found.get::<_, i64>(1)?, found.get::<_, bool>(2)?))
    });
    match found.optional()? {
        None => Ok(Deleted::NotFound),
        Some((_, found, _)) if revision.is_some_and(|wanted| wanted != found.unsigned_abs()) => {
            Ok(Deleted::Moved)
        }
        Some((true, ..)) => Ok(Deleted::Running),
        Some((false, _, has_links)) => {
            let job = if has_links { row::find(connection, id)? } else { None };
            remove(connection, id, has_links)?;
            let mut forget = connection.prepare_cached("DELETE FROM backroom_imported WHERE job_id = ?1")?;
            forget.execute([id.0.as_bytes()])?;
            hints.job(id);
            if let (Some(job), Some(now)) = (job, now) {
                let effects = effects_of_deletion(&job, job.links.as_deref());
                links::carry_out(
                    connection,
                    effects.into_iter().map(|effect| (now, effect)).collect(),
                    hints,
                )?;
            }
            Ok(Deleted::Yes)
        }
    }
}

/// Forgets by which tags a job is found.
pub(super) fn forget_tags(connection: &Connection, id: JobId) -> Result<(), Fault> {
    // The job's own row lists its tags, so each is one lookup and an untagged job costs none.
    let mut select =
        connection.prepare_cached("SELECT tags FROM backroom_jobs WHERE id = ?1 AND tags IS NOT NULL")?;
    let tags =
        select.query_row([id.0.as_bytes()], |found| Ok(row::decoded::<Vec<String>>(found, 0))).optional()?;
    let Ok(tags) = tags.transpose().map(Option::flatten) else {
        // The list is damaged. Going through all tags is slow, but a job that cannot be deleted blocks all pruning.
        connection.execute("DELETE FROM backroom_tags WHERE job_id = ?1", [id.0.as_bytes()])?;
        return Ok(());
    };
    let mut delete = connection.prepare_cached("DELETE FROM backroom_tags WHERE tag = ?1 AND job_id = ?2")?;
    for tag in tags.into_iter().flatten() {
        delete.execute(params![tag, id.0.as_bytes()])?;
    }
    Ok(())
}

/// The newest job beyond the newest `beyond`: it and all older ones are too many. Reads that many index entries.
fn newest_beyond(connection: &Connection, prune: &Prune, beyond: u64) -> Result<Option<Place>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT finished_at, id FROM backroom_jobs INDEXED BY backroom_jobs_finished \
         WHERE queue = ?1 AND state = ?2 AND finished_at IS NOT NULL ORDER BY finished_at DESC, id DESC \
         LIMIT 1 OFFSET ?3",
    )?;
    let offset = i64::try_from(beyond).unwrap_or(i64::MAX);
    let found = select.query_row(params![prune.queue, prune.state.as_str(), offset], |found| {
        Ok((found.get(0)?, found.get(1)?))
    });
    Ok(found.optional()?)
}

/// Removes a job with all that belongs to it.
fn remove(connection: &Connection, id: JobId, has_links: bool) -> Result<(), Fault> {
    forget_tags(connection, id)?;
    journals::remove(connection, id)?;
    if has_links {
        links::forget(connection, id)?;
    }
    for sql in [
        "DELETE FROM backroom_attempts WHERE job_id = ?1",
        "DELETE FROM backroom_logs WHERE job_id = ?1",
        "DELETE FROM backroom_jobs WHERE id = ?1 AND state <> 'running'",
    ] {
        connection.prepare_cached(sql)?.execute([id.0.as_bytes()])?;
    }
    Ok(())
}
