//! Writing what handlers say of themselves.

use backroom_core::{Timestamp, bounds::JOB_LOG_LINES_MAX};
use rusqlite::{Connection, params};

use super::{error::Fault, hints::Hints, replies, row};
use crate::store::Note;

/// Writes the notes of runs that still hold their lease and drops the others.
pub(super) fn note(
    connection: &Connection,
    notes: &[Note],
    now: Timestamp,
    hints: &mut Hints,
) -> Result<(), Fault> {
    for note in notes {
        if is_held(connection, note)? {
            write(connection, note)?;
            replies::of_progress(connection, note, now, hints)?;
            hints.job(note.job);
        }
    }
    Ok(())
}

fn is_held(connection: &Connection, note: &Note) -> Result<bool, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT 1 FROM backroom_jobs WHERE id = ?1 AND state = 'running' AND lease_id = ?2",
    )?;
    Ok(select.exists(params![note.job.0.as_bytes(), note.lease.0.as_bytes()])?)
}

fn write(connection: &Connection, note: &Note) -> Result<(), Fault> {
    if let Some(progress) = &note.progress {
        // The revision stays: progress must not make stale what the worker is about to report.
        let mut update = connection.prepare_cached(
            "UPDATE backroom_jobs SET progress_percent = ?3, progress_message = ?4 \
             WHERE id = ?1 AND state = 'running' AND lease_id = ?2",
        )?;
        update.execute(params![
            note.job.0.as_bytes(),
            note.lease.0.as_bytes(),
            progress.percent.min(100),
            progress.message
        ])?;
    }
    if note.lines.is_empty() {
        return Ok(());
    }
    let mut next = connection
        .prepare_cached("SELECT coalesce(max(position) + 1, 0) FROM backroom_logs WHERE job_id = ?1")?;
    let mut position: u32 = next.query_row([note.job.0.as_bytes()], |found| found.get(0))?;
    for line in &note.lines {
        if position >= JOB_LOG_LINES_MAX {
            break;
        }
        position += u32::from(row::insert_line(connection, note.job, position, line)?);
    }
    Ok(())
}
