//! Schedules, their history, and reports about their runs.

mod due;
mod moves;

use backroom_core::{
    JobId,
    schedule::{EndOfRun, Entry, RunReport, ScheduleRow},
};
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

pub(crate) use self::{due::due, moves::move_all};
use crate::store::{
    Moved,
    postgres::{
        Core,
        columns::{
            row::{at_most, moment, moment_or_none, word},
            timestamp::PgTimestamp,
        },
        wire::{connection::Param, error::Fault, sql::Sql},
    },
};

/// The columns that [`schedule`] reads.
macro_rules! columns {
    () => {
        "schedules.name, origin, created_at, changed_at, definition, state, next_at, revision::bigint, moved_by"
    };
}
use columns;

/// The columns that [`entry`] reads.
macro_rules! entry_columns {
    () => {
        "seq, what, first, last, count, at, job_id, key, became, ended_at, reason"
    };
}

/// Adds reports about runs, unless their schedule was deleted. Parameters: schedules, jobs, what became of them, moments, reasons;
/// an array each.
pub(crate) static ADD_REPORTS: Sql = Sql {
    text: "INSERT INTO {schema}.schedule_reports (schedule, job_id, became, at, reason) \
           SELECT new.* FROM unnest($1::text[], $2::uuid[], $3::text[], $4::timestamptz[], $5::text[]) \
             AS new (schedule, job_id, became, at, reason) \
           WHERE EXISTS (SELECT FROM {schema}.schedules WHERE name = new.schedule)",
    types: &[Type::TEXT_ARRAY, Type::UUID_ARRAY, Type::TEXT_ARRAY, Type::TIMESTAMPTZ_ARRAY, Type::TEXT_ARRAY],
};

/// One schedule. Parameter: its name.
static FIND: Sql = Sql {
    text: concat!("SELECT ", columns!(), " FROM {schema}.schedules WHERE name = $1"),
    types: &[Type::TEXT],
};

/// Schedules by name. Parameters: the name before the first one, how many at most.
static LIST: Sql = Sql {
    text: concat!("SELECT ", columns!(), " FROM {schema}.schedules WHERE name > $1 ORDER BY name LIMIT $2"),
    types: &[Type::TEXT, Type::INT8],
};

/// Deletes a schedule at a revision, or at any. Parameters: its name, the revision or null.
static DELETE: Sql = Sql {
    text: "DELETE FROM {schema}.schedules WHERE name = $1 AND ($2::bigint IS NULL OR revision = $2)",
    types: &[Type::TEXT, Type::INT8],
};
/// Deletes the history of a schedule that is gone. Parameter: its name.
static DELETE_ENTRIES: Sql = Sql {
    text: "DELETE FROM {schema}.schedule_entries WHERE schedule = $1 \
           AND NOT EXISTS (SELECT FROM {schema}.schedules WHERE name = $1)",
    types: &[Type::TEXT],
};
/// Deletes reports about the runs of a schedule that is gone. Parameter: its name.
static DELETE_REPORTS: Sql = Sql {
    text: "DELETE FROM {schema}.schedule_reports WHERE schedule = $1 \
           AND NOT EXISTS (SELECT FROM {schema}.schedules WHERE name = $1)",
    types: &[Type::TEXT],
};
/// Whether there is a schedule. Parameter: its name.
static EXISTS: Sql = Sql { text: "SELECT 1 FROM {schema}.schedules WHERE name = $1", types: &[Type::TEXT] };

/// The history, the newest first. Parameters: schedule, the number after the first one, how many at most.
static ENTRIES: Sql = Sql {
    text: concat!(
        "SELECT ",
        entry_columns!(),
        " FROM {schema}.schedule_entries WHERE schedule = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3"
    ),
    types: &[Type::TEXT, Type::INT8, Type::INT8],
};

/// The entry of a trigger. Parameters: schedule, key.
static ENTRY_OF_KEY: Sql = Sql {
    text: concat!(
        "SELECT ",
        entry_columns!(),
        " FROM {schema}.schedule_entries WHERE schedule = $1 AND key = $2"
    ),
    types: &[Type::TEXT, Type::TEXT],
};

/// Many reports as parameters of [`ADD_REPORTS`].
#[derive(Default)]
pub(crate) struct ReportColumns<'a> {
    schedule: Vec<&'a str>,
    job_id: Vec<Uuid>,
    became: Vec<&'static str>,
    at: Vec<PgTimestamp>,
    reason: Vec<Option<&'a str>>,
}

impl<'a> ReportColumns<'a> {
    /// Adds one.
    pub(crate) fn push(&mut self, report: &'a RunReport) {
        self.schedule.push(&report.schedule);
        self.job_id.push(report.job.0);
        self.became.push(report.became.as_str());
        self.at.push(PgTimestamp(report.at));
        self.reason.push(report.reason.as_deref());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.job_id.is_empty()
    }

    pub(crate) fn params(&self) -> Vec<Param<'_>> {
        vec![&self.schedule, &self.job_id, &self.became, &self.at, &self.reason]
    }
}

pub(crate) async fn find(core: &Core, name: &str) -> Result<Option<ScheduleRow>, Fault> {
    core.claims.query(&FIND, &[&name]).await?.first().map(schedule).transpose()
}

pub(crate) async fn list(core: &Core, after: Option<&str>, limit: usize) -> Result<Vec<ScheduleRow>, Fault> {
    // No name is empty.
    let after = after.unwrap_or_default();
    core.reads.query(&LIST, &[&after, &at_most(limit)]).await?.iter().map(schedule).collect()
}

pub(crate) async fn delete(core: &Core, name: &str, revision: Option<u64>) -> Result<Moved, Fault> {
    let revision = revision.map(whole);
    let statements = [
        (&DELETE, vec![&name as Param<'_>, &revision]),
        (&DELETE_ENTRIES, vec![&name]),
        (&DELETE_REPORTS, vec![&name]),
        (&EXISTS, vec![&name]),
    ];
    let answers = core.writer.all_or_none(&statements).await?;
    Ok(if answers.last().is_some_and(|found| !found.is_empty()) { Moved::Stale } else { Moved::Done })
}

pub(crate) async fn entries(
    core: &Core,
    schedule: &str,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<Entry>, Fault> {
    let before = before.map_or(i64::MAX, whole);
    core.reads.query(&ENTRIES, &[&schedule, &before, &at_most(limit)]).await?.iter().map(entry).collect()
}

pub(crate) async fn entry_of_key(core: &Core, schedule: &str, key: &str) -> Result<Option<Entry>, Fault> {
    core.claims.query(&ENTRY_OF_KEY, &[&schedule, &key]).await?.first().map(entry).transpose()
}

fn schedule(found: &Row) -> Result<ScheduleRow, Fault> {
    Ok(ScheduleRow {
        name: found.try_get(0)?,
        origin: word(found, 1)?,
        created_at: moment(found, 2)?,
        changed_at: moment(found, 3)?,
        definition: found.try_get(4)?,
        state: found.try_get(5)?,
        next_at: moment_or_none(found, 6)?,
        revision: found.try_get::<_, i64>(7)?.unsigned_abs(),
        moved_by: found.try_get(8)?,
    })
}

fn entry(found: &Row) -> Result<Entry, Fault> {
    let seq = found.try_get::<_, i64>(0)?.unsigned_abs();
    let mut entry = Entry::new(seq, word(found, 1)?, moment(found, 2)?, moment(found, 5)?);
    entry.last = moment(found, 3)?;
    entry.count = found.try_get::<_, i64>(4)?.unsigned_abs();
    entry.job = found.try_get::<_, Option<Uuid>>(6)?.map(JobId);
    entry.key = found.try_get(7)?;
    if found.try_get::<_, Option<&str>>(8)?.is_some() {
        entry.end =
            Some(EndOfRun { became: word(found, 8)?, at: moment(found, 9)?, reason: found.try_get(10)? });
    }
    Ok(entry)
}

/// A number as a parameter.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
