//! Schedules, their history, and reports about their runs.

use std::collections::HashMap;

use backroom_core::{
    JobId, Timestamp,
    draft::NewJob,
    schedule::{EndOfRun, Entry, RunReport, ScheduleRow, turn::OpenRun},
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::{
    error::Fault,
    hints::Hints,
    insert,
    row::{self, at_most, micros, moment, moment_or_none, name},
};
use crate::store::{DueAfter, DueSchedule, DueSchedules, Moved, OPEN_MAX, REPORTS_MAX, ScheduleMove};

/// The columns that [`schedule`] reads.
macro_rules! columns {
    () => {
        "name, origin, created_at, changed_at, definition, state, next_at, revision, moved_by"
    };
}

/// The columns that [`entry`] reads.
macro_rules! entry_columns {
    () => {
        "seq, what, first, last, count, at, job_id, key, became, ended_at, reason"
    };
}

/// One schedule.
pub(super) fn find(connection: &Connection, name: &str) -> Result<Option<ScheduleRow>, Fault> {
    let mut select = connection.prepare_cached(concat!(
        "SELECT ",
        columns!(),
        " FROM backroom_schedules WHERE name = ?1"
    ))?;
    Ok(select.query_row([name], schedule).optional()?)
}

/// Schedules by name.
pub(super) fn list(
    connection: &Connection,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<ScheduleRow>, Fault> {
    let mut select = connection.prepare_cached(concat!(
        "SELECT ",
        columns!(),
        " FROM backroom_schedules WHERE name > ?1 ORDER BY name LIMIT ?2"
    ))?;
    // No name is empty.
    let rows = select.query_map(params![after.unwrap_or_default(), at_most(limit)], schedule)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Writes the moves; one answer per move, in order.
pub(super) fn move_all(
    connection: &Connection,
    moves: &[ScheduleMove],
    hints: &mut Hints,
) -> Result<Vec<Moved>, Fault> {
    moves.iter().map(|moving| move_one(connection, moving, hints)).collect()
}

fn move_one(connection: &Connection, moving: &ScheduleMove, hints: &mut Hints) -> Result<Moved, Fault> {
    let row = &moving.row;
    let written = match moving.revision_before {
        Some(before) => update(connection, row, before)?,
        None => create(connection, row)?,
    };
    if written == 0 {
        let mut select =
            connection.prepare_cached("SELECT moved_by FROM backroom_schedules WHERE name = ?1")?;
        let moved_by = select.query_row([&row.name], |found| found.get::<_, [u8; 16]>(0)).optional()?;
        let is_done = moved_by.is_some_and(|moved_by| moving.is_written(Uuid::from_bytes(moved_by)));
        return Ok(if is_done { Moved::Done } else { Moved::Stale });
    }
    let jobs: HashMap<JobId, &NewJob> = moving.jobs.iter().map(|new| (new.job.id, new)).collect();
    for entry in &moving.entries {
        write_entry(connection, &row.name, entry, &jobs, hints)?;
    }
    for new in &moving.notices {
        insert::insert_effect(connection, new, hints)?;
        hints.queue(&new.job.queue);
    }
    for (job, end) in &moving.ends {
        write_end(connection, *job, end.as_ref())?;
    }
    let mut take = connection.prepare_cached("DELETE FROM backroom_schedule_reports WHERE number = ?1")?;
    for number in &moving.taken_over {
        take.execute([row::revision(*number)])?;
    }
    if moving.forget_up_to > 0 {
        forget(connection, moving)?;
    }
    if moving.notify {
        hints.schedules();
    }
    Ok(Moved::Done)
}

fn update(connection: &Connection, row: &ScheduleRow, before: u64) -> Result<usize, Fault> {
    let mut update = connection.prepare_cached(
        "UPDATE backroom_schedules SET origin = ?3, changed_at = ?4, definition = ?5, state = ?6, next_at = ?7, \
         revision = ?8, moved_by = ?9 WHERE name = ?1 AND revision = ?2",
    )?;
    Ok(update.execute(params![
        row.name,
        row::revision(before),
        row.origin.as_str(),
        micros(row.changed_at),
        row.definition,
        row.state,
        row.next_at.map(micros),
        row::revision(row.revision),
        row.moved_by.as_bytes(),
    ])?)
}

fn create(connection: &Connection, row: &ScheduleRow) -> Result<usize, Fault> {
    let mut insert = connection.prepare_cached(concat!(
        "INSERT OR IGNORE INTO backroom_schedules (",
        columns!(),
        ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
    ))?;
    Ok(insert.execute(params![
        row.name,
        row.origin.as_str(),
        micros(row.created_at),
        micros(row.changed_at),
        row.definition,
        row.state,
        row.next_at.map(micros),
        row::revision(row.revision),
        row.moved_by.as_bytes(),
    ])?)
}

/// Writes an entry, and its job with it. A job that has an entry already has been inserted with that.
fn write_entry(
    connection: &Connection,
    schedule: &str,
    entry: &Entry,
    jobs: &HashMap<JobId, &NewJob>,
    hints: &mut Hints,
) -> Result<(), Fault> {
    let sql = if entry.job.is_some() {
        concat!(
            "INSERT OR IGNORE INTO backroom_schedule_entries (schedule, ",
            entry_columns!(),
            ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
        )
    } else {
        concat!(
            "INSERT OR REPLACE INTO backroom_schedule_entries (schedule, ",
            entry_columns!(),
            ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
        )
    };
    let mut insert = connection.prepare_cached(sql)?;
    let end = entry.end.as_ref();
    let written = insert.execute(params![
        schedule,
        row::revision(entry.seq),
        entry.what.as_str(),
        micros(entry.first),
        micros(entry.last),
        row::revision(entry.count),
        micros(entry.at),
        entry.job.as_ref().map(|job| job.0.as_bytes()),
        entry.key,
        end.map(|end| end.became.as_str()),
        end.map(|end| micros(end.at)),
        end.and_then(|end| end.reason.as_deref()),
    ])?;
    let job = entry.job.filter(|_| written > 0).and_then(|job| jobs.get(&job));
    if let Some(new) = job {
        insert::insert_effect(connection, new, hints)?;
        hints.queue(&new.job.queue);
    }
    Ok(())
}

fn write_end(connection: &Connection, job: JobId, end: Option<&EndOfRun>) -> Result<(), Fault> {
    let mut update = connection.prepare_cached(
        "UPDATE backroom_schedule_entries SET became = ?2, ended_at = ?3, reason = ?4 WHERE job_id = ?1",
    )?;
    update.execute(params![
        job.0.as_bytes(),
        end.map(|end| end.became.as_str()),
        end.map(|end| micros(end.at)),
        end.and_then(|end| end.reason.as_deref()),
    ])?;
    Ok(())
}

fn forget(connection: &Connection, moving: &ScheduleMove) -> Result<(), Fault> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM backroom_schedule_entries WHERE schedule = ?1 AND seq <= ?2 \
         AND (job_id IS NULL OR became IS NOT NULL) AND (key IS NULL OR at < ?3)",
    )?;
    delete.execute(params![
        moving.row.name,
        row::revision(moving.forget_up_to),
        micros(moving.forget_keys_before)
    ])?;
    Ok(())
}

/// Deletes a schedule and all that belongs to it, if it is at this revision.
pub(super) fn delete(connection: &Connection, name: &str, revision: Option<u64>) -> Result<Moved, Fault> {
    let mut delete = connection
        .prepare_cached("DELETE FROM backroom_schedules WHERE name = ?1 AND (?2 IS NULL OR revision = ?2)")?;
    delete.execute(params![name, revision.map(row::revision)])?;
    let mut exists = connection.prepare_cached("SELECT 1 FROM backroom_schedules WHERE name = ?1")?;
    if exists.exists([name])? {
        return Ok(Moved::Stale);
    }
    for sql in [
        "DELETE FROM backroom_schedule_entries WHERE schedule = ?1",
        "DELETE FROM backroom_schedule_reports WHERE schedule = ?1",
    ] {
        connection.prepare_cached(sql)?.execute([name])?;
    }
    Ok(Moved::Done)
}

/// Writes what became of a run, unless its schedule was deleted.
pub(super) fn report(connection: &Connection, report: &RunReport, hints: &mut Hints) -> Result<(), Fault> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO backroom_schedule_reports (schedule, job_id, became, at, reason) \
         SELECT name, ?2, ?3, ?4, ?5 FROM backroom_schedules WHERE name = ?1",
    )?;
    insert.execute(params![
        report.schedule,
        report.job.0.as_bytes(),
        report.became.as_str(),
        micros(report.at),
        report.reason,
    ])?;
    hints.schedules();
    Ok(())
}

/// Schedules whose turn it is. One transaction, so that runs and reports are read as they were at one moment.
pub(super) fn due(
    connection: &Connection,
    after: Option<&DueAfter>,
    limit: usize,
    now: Timestamp,
) -> Result<DueSchedules, Fault> {
    let transaction = connection.unchecked_transaction()?;
    let mut select = connection.prepare_cached(concat!(
        "SELECT ",
        columns!(),
        " FROM backroom_schedules INDEXED BY backroom_schedules_due \
         WHERE next_at IS NOT NULL AND next_at <= ?1 AND next_at >= ?2 AND (next_at > ?2 OR name > ?3) \
         ORDER BY next_at, name LIMIT ?4"
    ))?;
    let (after_at, after_name) = after.map_or((i64::MIN, ""), |after| (micros(after.next_at), &after.name));
    let rows = select.query_map(params![micros(now), after_at, after_name, at_most(limit + 1)], schedule)?;
    let mut due: Vec<ScheduleRow> = rows.collect::<Result<_, _>>()?;
    let mut select = connection.prepare_cached(concat!(
        "SELECT ",
        columns!(),
        " FROM (SELECT DISTINCT schedule FROM backroom_schedule_reports INDEXED BY backroom_schedule_reports_order) \
         CROSS JOIN backroom_schedules ON name = schedule WHERE next_at IS NULL OR next_at > ?1 LIMIT ?2"
    ))?;
    let rows = select.query_map(params![micros(now), at_most(limit + 1)], schedule)?;
    let mut reported: Vec<ScheduleRow> = rows.collect::<Result<_, _>>()?;
    let mut select = connection.prepare_cached(
        "SELECT next_at FROM backroom_schedules INDEXED BY backroom_schedules_due \
         WHERE next_at IS NOT NULL AND next_at > ?1 ORDER BY next_at LIMIT 1",
    )?;
    let next_at = select.query_row([micros(now)], |found| moment(found, 0)).optional()?;
    let more = due.len() > limit || reported.len() > limit;
    due.truncate(limit);
    reported.truncate(limit);
    let with_runs = |rows: Vec<ScheduleRow>| -> Result<Vec<DueSchedule>, Fault> {
        rows.into_iter().map(|row| due_schedule(connection, row)).collect()
    };
    let found = DueSchedules { due: with_runs(due)?, reported: with_runs(reported)?, more, next_at };
    transaction.commit()?;
    Ok(found)
}

fn due_schedule(connection: &Connection, row: ScheduleRow) -> Result<DueSchedule, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT job_id, first, what, \
           EXISTS (SELECT 1 FROM backroom_jobs WHERE id = job_id AND finished_at IS NULL) \
         FROM backroom_schedule_entries INDEXED BY backroom_schedule_entries_open \
         WHERE schedule = ?1 AND job_id IS NOT NULL AND became IS NULL ORDER BY seq LIMIT ?2",
    )?;
    let runs = select.query_map(params![row.name, at_most(OPEN_MAX)], |found| {
        Ok(OpenRun {
            job: row::job_id(found, 0)?,
            nominal: moment(found, 1)?,
            what: name(found, 2)?,
            is_live: found.get(3)?,
        })
    })?;
    let runs = runs.collect::<Result<_, _>>()?;
    let mut select = connection.prepare_cached(
        "SELECT number, job_id, became, at, reason FROM backroom_schedule_reports \
         WHERE schedule = ?1 ORDER BY number LIMIT ?2",
    )?;
    let reports = select.query_map(params![row.name, at_most(REPORTS_MAX)], |found| {
        let report = RunReport {
            schedule: row.name.clone(),
            job: row::job_id(found, 1)?,
            became: name(found, 2)?,
            at: moment(found, 3)?,
            reason: found.get(4)?,
        };
        Ok((number(found, 0)?, report))
    })?;
    let reports = reports.collect::<Result<_, _>>()?;
    Ok(DueSchedule { row, runs, reports })
}

/// The history of a schedule, the newest first.
pub(super) fn entries(
    connection: &Connection,
    schedule: &str,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<Entry>, Fault> {
    let mut select = connection.prepare_cached(concat!(
        "SELECT ",
        entry_columns!(),
        " FROM backroom_schedule_entries WHERE schedule = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3"
    ))?;
    let before = before.map_or(i64::MAX, row::revision);
    let rows = select.query_map(params![schedule, before, at_most(limit)], entry)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The entry of a trigger with this key.
pub(super) fn entry_of_key(
    connection: &Connection,
    schedule: &str,
    key: &str,
) -> Result<Option<Entry>, Fault> {
    let mut select = connection.prepare_cached(concat!(
        "SELECT ",
        entry_columns!(),
        " FROM backroom_schedule_entries WHERE schedule = ?1 AND key = ?2"
    ))?;
    Ok(select.query_row([schedule, key], entry).optional()?)
}

fn schedule(found: &Row<'_>) -> rusqlite::Result<ScheduleRow> {
    Ok(ScheduleRow {
        name: found.get(0)?,
        origin: name(found, 1)?,
        created_at: moment(found, 2)?,
        changed_at: moment(found, 3)?,
        definition: found.get(4)?,
        state: found.get(5)?,
        next_at: moment_or_none(found, 6)?,
        revision: number(found, 7)?,
        moved_by: Uuid::from_bytes(found.get(8)?),
    })
}

fn entry(found: &Row<'_>) -> rusqlite::Result<Entry> {
    let mut entry = Entry::new(number(found, 0)?, name(found, 1)?, moment(found, 2)?, moment(found, 5)?);
    entry.last = moment(found, 3)?;
    entry.count = number(found, 4)?;
    entry.job = found.get::<_, Option<[u8; 16]>>(6)?.map(|id| JobId(Uuid::from_bytes(id)));
    entry.key = found.get(7)?;
    if found.get_ref(8)?.as_str_or_null()?.is_some() {
        entry.end = Some(EndOfRun { became: name(found, 8)?, at: moment(found, 9)?, reason: found.get(10)? });
    }
    Ok(entry)
}

/// A number that is never negative.
fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}
