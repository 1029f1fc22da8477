//! Which schedules are due, with their runs and reports.

use std::collections::HashMap;

use backroom_core::{
    JobId, Timestamp,
    schedule::{RunReport, ScheduleRow, turn::OpenRun},
};
use tokio_postgres::types::Type;

use super::{columns, schedule};
use crate::store::{
    DueAfter, DueSchedule, DueSchedules, OPEN_MAX, REPORTS_MAX,
    postgres::{
        Core,
        columns::{
            row::{at_most, moment, word},
            timestamp::PgTimestamp,
        },
        wire::{error::Fault, sql::Sql},
    },
};

/// Due schedules, in order. Parameters: now, moment and name of the one before the first, how many at most.
static DUE: Sql = Sql {
    text: concat!(
        "SELECT ",
        columns!(),
        " FROM {schema}.schedules WHERE next_at <= $1 AND next_at >= $2 AND (next_at, name) > ($2, $3) \
         ORDER BY next_at, name LIMIT $4"
    ),
    types: &[Type::TIMESTAMPTZ, Type::TIMESTAMPTZ, Type::TEXT, Type::INT8],
};

/// Schedules that are not due, with reports. It leaps from name to name in the index. Parameters: now, how many at most.
static REPORTED: Sql = Sql {
    text: concat!(
        "WITH RECURSIVE reported (name) AS ( \
           SELECT min(schedule) FROM {schema}.schedule_reports \
           UNION ALL SELECT (SELECT min(schedule) FROM {schema}.schedule_reports WHERE schedule > reported.name) \
             FROM reported WHERE reported.name IS NOT NULL) \
         SELECT ",
        columns!(),
        " FROM reported JOIN {schema}.schedules ON schedules.name = ANY (ARRAY[reported.name]) \
         WHERE next_at IS NULL OR next_at > $1 LIMIT $2"
    ),
    types: &[Type::TIMESTAMPTZ, Type::INT8],
};

/// When the next schedule is due that is not due now. Parameter: now.
static NEXT: Sql = Sql {
    text: "SELECT next_at FROM {schema}.schedules WHERE next_at > $1 ORDER BY next_at LIMIT 1",
    types: &[Type::TIMESTAMPTZ],
};

/// Open runs of schedules, the oldest first, and whether their jobs are live. Parameters: schedules, how many of each at most.
static RUNS: Sql = Sql {
    text: "SELECT asked.name, run.job_id, run.first, run.what, \
             EXISTS (SELECT FROM {schema}.jobs WHERE jobs.id = run.job_id AND jobs.finished_at IS NULL) \
           FROM unnest($1::text[]) AS asked (name) CROSS JOIN LATERAL ( \
             SELECT seq, job_id, first, what FROM {schema}.schedule_entries \
             WHERE schedule = asked.name AND job_id IS NOT NULL AND became IS NULL ORDER BY seq LIMIT $2) AS run",
    types: &[Type::TEXT_ARRAY, Type::INT8],
};

/// Reports of schedules, in order. Parameters: schedules, how many of each at most.
static REPORTS: Sql = Sql {
    text: "SELECT asked.name, report.number, report.job_id, report.became, report.at, report.reason \
           FROM unnest($1::text[]) AS asked (name) CROSS JOIN LATERAL ( \
             SELECT number, job_id, became, at, reason FROM {schema}.schedule_reports \
             WHERE schedule = asked.name ORDER BY number LIMIT $2) AS report",
    types: &[Type::TEXT_ARRAY, Type::INT8],
};

/// Schedules whose turn it is. Runs are read before reports: a run that ends in between is live, and reported as ended. The other way
/// round it would be neither.
pub(crate) async fn due(
    core: &Core,
    after: Option<&DueAfter>,
    limit: usize,
    now: Timestamp,
) -> Result<DueSchedules, Fault> {
    let (after_at, after_name) =
        after.map_or((Timestamp::MIN, ""), |after| (after.next_at, after.name.as_str()));
    let (at, after_at, more_than) =
        (PgTimestamp(now), PgTimestamp(after_at), at_most(limit.saturating_add(1)));
    let due = core.claims.query(&DUE, &[&at, &after_at, &after_name, &more_than]).await?;
    let reported = core.claims.query(&REPORTED, &[&at, &more_than]).await?;
    let next = core.claims.query(&NEXT, &[&at]).await?;
    let more = due.len() > limit || reported.len() > limit;
    let due: Vec<ScheduleRow> = due.iter().take(limit).map(schedule).collect::<Result<_, _>>()?;
    let reported: Vec<ScheduleRow> = reported.iter().take(limit).map(schedule).collect::<Result<_, _>>()?;
    let names: Vec<&str> = due.iter().chain(&reported).map(|row| row.name.as_str()).collect();
    let mut of_each = if names.is_empty() { OfEach::default() } else { of_each(core, &names).await? };
    let mut with = |row: ScheduleRow| {
        let (runs, reports) = of_each.remove(&row.name).unwrap_or_default();
        DueSchedule { row, runs, reports }
    };
    Ok(DueSchedules {
        due: due.into_iter().map(&mut with).collect(),
        reported: reported.into_iter().map(&mut with).collect(),
        more,
        next_at: next.first().map(|found| moment(found, 0)).transpose()?,
    })
}

type OfEach = HashMap<String, (Vec<OpenRun>, Vec<(u64, RunReport)>)>;

async fn of_each(core: &Core, names: &[&str]) -> Result<OfEach, Fault> {
    let mut of_each = OfEach::new();
    for found in core.claims.query(&RUNS, &[&names, &at_most(OPEN_MAX)]).await? {
        let run = OpenRun {
            job: JobId(found.try_get(1)?),
            nominal: moment(&found, 2)?,
            what: word(&found, 3)?,
            is_live: found.try_get(4)?,
        };
        of_each.entry(found.try_get(0)?).or_default().0.push(run);
    }
    for found in core.claims.query(&REPORTS, &[&names, &at_most(REPORTS_MAX)]).await? {
        let schedule: String = found.try_get(0)?;
        let report = RunReport {
            schedule: schedule.clone(),
            job: JobId(found.try_get(2)?),
            became: word(&found, 3)?,
            at: moment(&found, 4)?,
            reason: found.try_get(5)?,
        };
        let number = found.try_get::<_, i64>(1)?.unsigned_abs();
        of_each.entry(schedule).or_default().1.push((number, report));
    }
    Ok(of_each)
}
