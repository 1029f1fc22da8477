//! Writing what handlers say of themselves.

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

/// Rows that are waited for one after the other, in one call, when other transactions keep them.
const KEPT_MAX: u32 = 5;

/// Writes progress where the lease is still held. The revision stays: progress must not make stale what the worker is
/// about to report. Parameters: ids, leases, percents, messages.
static PROGRESS: Sql = Sql {
    text: concat!(
        "UPDATE {schema}.jobs SET progress_percent = new.percent, progress_message = new.message \
         FROM unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::text[]) AS new (id, lease, percent, message) ",
        rows_by_id!(),
        " AND jobs.lease_id = new.lease AND jobs.lease_until IS NOT NULL"
    ),
    types: &[Type::UUID_ARRAY, Type::UUID_ARRAY, Type::INT2_ARRAY, Type::TEXT_ARRAY],
};

/// Appends lines of runs whose lease is still held, as many as the job's log has room for; a line written before stays
/// as it is. Parameters: jobs, leases, seqs, times, lines, the most a log keeps.
static LINES: Sql = Sql {
    text: "WITH new AS MATERIALIZED ( \
             SELECT lines.*, row_number() OVER (PARTITION BY job ORDER BY place) AS nth \
             FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::timestamptz[], $5::text[]) WITH ORDINALITY \
               AS lines (job, lease, seq, at, line, place) \
             WHERE NOT EXISTS (SELECT FROM {schema}.logs \
               WHERE logs.job_id = lines.job AND logs.lease_id = lines.lease AND logs.seq = lines.seq)), \
           kept AS MATERIALIZED ( \
             SELECT named.job, (SELECT count(*) FROM {schema}.logs WHERE logs.job_id = named.job) AS lines \
             FROM (SELECT DISTINCT job FROM new) AS named) \
           INSERT INTO {schema}.logs (job_id, lease_id, seq, at, line) \
           SELECT new.job, new.lease, new.seq, new.at, new.line FROM new \
           CROSS JOIN LATERAL ( \
             (SELECT FROM {schema}.jobs WHERE jobs.id = new.job AND jobs.lease_id = new.lease \
               AND jobs.lease_until IS NOT NULL OFFSET 0) \
             UNION ALL SELECT FROM {schema}.jobs_on_trays AS job WHERE job.id = new.job AND job.lease_id = new.lease) AS held \
           WHERE new.nth + (SELECT kept.lines FROM kept WHERE kept.job = new.job) <= $6 \
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
    // Whose handler has something to say gets a row of its own to say it in. Not so where somebody keeps its tray: then its
    // progress is left out, and its lines need no row.
    core.trays.disturbed();
    tray::unload(core, &core.writer, notes.iter().map(|note| note.lease.0).collect()).await?;
    write_progress(core, notes).await?;
    write_lines(core, notes).await?;
    core.hints.jobs(notes.iter().map(|note| note.job));
    Ok(())
}

async fn write_progress(core: &Core, notes: &[Note]) -> Result<(), Fault> {
    // The last word of a run counts; in the order of ids, as all writes are.
    let mut seen = HashSet::new();
    let mut said: Vec<_> = notes
        .iter()
        .rev()
        .filter_map(|note| note.progress.as_ref().map(|progress| (note.job, note.lease, progress)))
        .filter(|(job, lease, _)| seen.insert((*job, *lease)))
        .collect();
    said.sort_unstable_by_key(|(job, ..)| *job);
    for chunk in said.chunks(super::insert::ROWS_MAX) {
        match say(core, chunk).await {
            Err(fault) if fault.is_locked_out() => say_one_by_one(core, chunk).await?,
            written => written?,
        }
    }
    Ok(())
}

/// Leaves out the progress of runs whose row another transaction keeps: the next word of such a run, or its end, says more,
/// and the ends of all runs wait until what was said before is written. After a few of them the rest is left out unseen.
async fn say_one_by_one(core: &Core, said: &[(JobId, LeaseId, &Progress)]) -> Result<(), Fault> {
    let mut kept = 0;
    for one in said {
        match say(core, std::slice::from_ref(one)).await {
            Err(fault) if fault.is_locked_out() => {
                tracing::debug!(job = %one.0, "progress is left out: another transaction keeps the job's row");
                kept += 1;
                if kept == KEPT_MAX {
                    break;
                }
            }
            written => written?,
        }
    }
    Ok(())
}

/// The ends of runs wait until what was said before is written: nobody's row may hold that up for long.
async fn say(core: &Core, said: &[(JobId, LeaseId, &Progress)]) -> Result<(), Fault> {
    let ids: Vec<Uuid> = said.iter().map(|(job, ..)| job.0).collect();
    let leases: Vec<Uuid> = said.iter().map(|(_, lease, _)| lease.0).collect();
    let percents: Vec<i16> = said.iter().map(|(_, _, progress)| progress.percent.min(100).into()).collect();
    let messages: Vec<&str> = said.iter().map(|(_, _, progress)| progress.message.as_str()).collect();
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
