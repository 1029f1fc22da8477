//! Writing progress and log lines of handlers.

use std::collections::HashSet;

use backroom_core::{JobId, LeaseId, Progress, bounds::JOB_LOG_LINES_MAX};
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::store::Note;
use crate::store::postgres::{
    Core,
    columns::timestamp::PgTimestamp,
    tray,
    wire::{
        connection::Param,
        error::Fault,
        settings::Wait,
        sql::{Sql, rows_by_id},
    },
};

/// Most locked rows that one call waits for, one after the other.
const LOCKED_MAX: u32 = 5;

/// Writes progress of runs that still hold their lease. The revision stays the same: progress must not make the
/// worker's next report stale. Parameters: ids, leases, percents, messages.
static PROGRESS: Sql = Sql {
    text: concat!(
        "UPDATE {schema}.jobs SET progress_percent = new.percent, progress_message = new.message \
         FROM unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::text[]) AS new (id, lease, percent, message) ",
        rows_by_id!(),
        " AND jobs.lease_id = new.lease AND jobs.lease_until IS NOT NULL"
    ),
    types: &[Type::UUID_ARRAY, Type::UUID_ARRAY, Type::INT2_ARRAY, Type::TEXT_ARRAY],
};

/// Appends lines of runs that still hold their lease, as many as fit into the job's log; a line that was written before
/// stays as it is. Parameters: jobs, leases, seqs, times, lines, the most lines of a log.
static LINES: Sql = Sql {
    text: "WITH new AS MATERIALIZED ( \
             SELECT lines.*, row_number() OVER (PARTITION BY job ORDER BY place) AS nth \
             FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::timestamptz[], $5::text[]) WITH ORDINALITY \
               AS lines (job, lease, seq, at, line, place) \
             WHERE NOT EXISTS (SELECT FROM {schema}.logs \
               WHERE logs.job_id = lines.job AND logs.lease_id = lines.lease AND logs.seq = lines.seq)), \
           written AS MATERIALIZED ( \
             SELECT named.job, (SELECT count(*) FROM {schema}.logs WHERE logs.job_id = named.job) AS lines \
             FROM (SELECT DISTINCT job FROM new) AS named) \
           INSERT INTO {schema}.logs (job_id, lease_id, seq, at, line) \
           SELECT new.job, new.lease, new.seq, new.at, new.line FROM new \
           CROSS JOIN LATERAL ( \
             (SELECT FROM {schema}.jobs WHERE jobs.id = new.job AND jobs.lease_id = new.lease \
               AND jobs.lease_until IS NOT NULL OFFSET 0) \
             UNION ALL SELECT FROM {schema}.jobs_on_trays AS job WHERE job.id = new.job AND job.lease_id = new.lease) AS held \
           WHERE new.nth + (SELECT written.lines FROM written WHERE written.job = new.job) <= $6 \
           ORDER BY new.place ON CONFLICT DO NOTHING",
    types: &[
        Type::UUID_ARRAY,
        Type::UUID_ARRAY,
        Type::INT8_ARRAY,
        Type::TIMESTAMPTZ_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT8,
    ],
};

/// Writes the notes of runs that still hold their lease and drops the others.
pub(crate) async fn note(core: &Core, notes: &[Note]) -> Result<(), Fault> {
    // Progress needs a normal row: unload the tray first. If another transaction has locked the tray, the progress is
    // left out; lines need no row.
    core.trays.disturbed();
    tray::unload(core, &core.writer, notes.iter().map(|note| note.lease.0).collect()).await?;
    write_progress(core, notes).await?;
    write_lines(core, notes).await?;
    core.hints.jobs(notes.iter().map(|note| note.job));
    Ok(())
}

async fn write_progress(core: &Core, notes: &[Note]) -> Result<(), Fault> {
    // The last progress of a run counts. In the order of ids, as in all writes.
    let mut seen = HashSet::new();
    let mut rows: Vec<_> = notes
        .iter()
        .rev()
        .filter_map(|note| note.progress.as_ref().map(|progress| (note.job, note.lease, progress)))
        .filter(|(job, lease, _)| seen.insert((*job, *lease)))
        .collect();
    rows.sort_unstable_by_key(|(job, ..)| *job);
    for chunk in rows.chunks(super::insert::ROWS_MAX) {
        match put_progress(core, chunk).await {
            Err(fault) if fault.is_locked_out() => put_one_by_one(core, chunk).await?,
            written => written?,
        }
    }
    Ok(())
}

/// Leaves out the progress of runs whose row another transaction has locked. The next progress of such a run, or its
/// end, replaces it, and the ends of all runs wait until earlier progress is written. After a few locked rows the rest
/// is left out without a try.
async fn put_one_by_one(core: &Core, rows: &[(JobId, LeaseId, &Progress)]) -> Result<(), Fault> {
    let mut locked = 0;
    for one in rows {
        match put_progress(core, std::slice::from_ref(one)).await {
            Err(fault) if fault.is_locked_out() => {
                tracing::debug!(job = %one.0, "progress was not written: another transaction has locked the job's row");
                locked += 1;
                if locked == LOCKED_MAX {
                    break;
                }
            }
            written => written?,
        }
    }
    Ok(())
}

/// The ends of runs wait until earlier progress is written, so no locked row may delay that for long.
async fn put_progress(core: &Core, rows: &[(JobId, LeaseId, &Progress)]) -> Result<(), Fault> {
    let ids: Vec<Uuid> = rows.iter().map(|(job, ..)| job.0).collect();
    let leases: Vec<Uuid> = rows.iter().map(|(_, lease, _)| lease.0).collect();
    let percents: Vec<i16> = rows.iter().map(|(_, _, progress)| progress.percent.min(100).into()).collect();
    let messages: Vec<&str> = rows.iter().map(|(_, _, progress)| progress.message.as_str()).collect();
    let params: [Param<'_>; 4] = [&ids, &leases, &percents, &messages];
    core.writer.query_waiting(Wait::Briefly, &PROGRESS, &params).await.map(drop)
}

async fn write_lines(core: &Core, notes: &[Note]) -> Result<(), Fault> {
    let lines: Vec<_> = notes
        .iter()
        .flat_map(|note| note.lines.iter().map(move |line| (note.job, note.lease, line)))
        .collect();
    for chunk in lines.chunks(super::insert::ROWS_MAX) {
        let id = |(job, ..): &(JobId, _, _)| job.0;
        let jobs: Vec<Uuid> = chunk.iter().map(id).collect();
        let leases: Vec<Uuid> = chunk.iter().map(|(_, lease, _)| lease.0).collect();
        let seqs: Vec<i64> = chunk.iter().map(|(_, _, line)| line.seq.into()).collect();
        let times: Vec<PgTimestamp> = chunk.iter().map(|(_, _, line)| PgTimestamp(line.at)).collect();
        let texts: Vec<&str> = chunk.iter().map(|(_, _, line)| line.line.as_str()).collect();
        let most = i64::from(JOB_LOG_LINES_MAX);
        core.writer.query(&LINES, &[&jobs, &leases, &seqs, &times, &texts, &most]).await?;
    }
    Ok(())
}
