//! Writing progress and log lines of handlers.

use std::collections::HashSet;

use backroom_core::{
    Effect, JobId, JobRow, LeaseId, Progress, Timestamp, bounds::JOB_LOG_LINES_MAX, message,
};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::effects::{self, StoredEffects};
use crate::store::postgres::{
    Core,
    columns::{row, timestamp::PgTimestamp},
    tray,
    wire::{
        connection::{Bound, Param},
        error::Fault,
        settings::{BRIEFLY, Wait},
        sql::{Sql, columns, rows_by_id},
    },
};
use crate::{Error, ErrorKind, store::Note};

/// Most locked rows that one call waits for, one after the other.
const LOCKED_MAX: u32 = 5;

/// Writes progress of runs that still hold their lease. The revision stays the same: progress must not make the
/// worker's next report stale. Parameters: ids, leases, percents, messages.
macro_rules! progress {
    () => {
        concat!(
            "UPDATE {schema}.jobs SET progress_percent = new.percent, progress_message = new.message \
             FROM unnest($1::uuid[], $2::uuid[], $3::smallint[], $4::text[]) AS new (id, lease, percent, message) ",
            rows_by_id!(),
            " AND jobs.lease_id = new.lease AND jobs.lease_until IS NOT NULL"
        )
    };
}

const PROGRESS_TYPES: [Type; 4] = [Type::UUID_ARRAY, Type::UUID_ARRAY, Type::INT2_ARRAY, Type::TEXT_ARRAY];

/// The same for jobs whose caller asks for no messages about progress. Answers with the ids.
static PROGRESS: Sql = Sql {
    text: concat!(
        progress!(),
        " AND (jobs.extras IS NULL OR strpos(jobs.extras, '\"progress\"') = 0) RETURNING jobs.id"
    ),
    types: &PROGRESS_TYPES,
};

/// The same for any job. Answers with the jobs.
static PROGRESS_OF_ANY: Sql = Sql {
    text: concat!(
        "WITH written AS (",
        progress!(),
        " RETURNING jobs.*) SELECT ",
        columns!(),
        " FROM written"
    ),
    types: &PROGRESS_TYPES,
};

/// Locks the jobs of runs that still hold their lease: until this transaction ends, none of these runs ends. Parameters: ids,
/// leases, sorted by id.
static LOCK: Sql = Sql {
    text: concat!(
        "SELECT FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS new (id, lease, place), {schema}.jobs ",
        rows_by_id!(),
        " AND jobs.lease_id = new.lease AND jobs.lease_until IS NOT NULL ORDER BY new.place FOR NO KEY UPDATE OF jobs"
    ),
    types: &[Type::UUID_ARRAY, Type::UUID_ARRAY],
};

/// Appends lines of runs that still hold their lease, as many as fit into the job's log; a line that was written before
/// stays as it is. If another transaction appends to the same log at the same time, this one waits for it and then fails: the
/// position is taken. Parameters: jobs, leases, seqs, times, lines, the most lines of a log.
static LINES: Sql = Sql {
    text: "WITH new AS MATERIALIZED ( \
             SELECT lines.*, row_number() OVER (PARTITION BY job ORDER BY place) - 1 AS nth \
             FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::timestamptz[], $5::text[]) WITH ORDINALITY \
               AS lines (job, lease, seq, at, line, place) \
             CROSS JOIN LATERAL ( \
               (SELECT FROM {schema}.jobs WHERE jobs.id = lines.job AND jobs.lease_id = lines.lease \
                 AND jobs.lease_until IS NOT NULL OFFSET 0) \
               UNION ALL SELECT FROM {schema}.jobs_on_trays AS job \
                 WHERE job.id = lines.job AND job.lease_id = lines.lease) AS held \
             WHERE NOT EXISTS (SELECT FROM {schema}.logs \
               WHERE logs.job_id = lines.job AND logs.lease_id = lines.lease AND logs.seq = lines.seq)), \
           written AS MATERIALIZED ( \
             SELECT named.job, coalesce((SELECT max(position) + 1 FROM {schema}.logs WHERE logs.job_id = named.job), 0) \
               AS lines FROM (SELECT DISTINCT job FROM new) AS named) \
           INSERT INTO {schema}.logs (job_id, position, lease_id, seq, at, line) \
           SELECT new.job, new.nth + written.lines, new.lease, new.seq, new.at, new.line \
           FROM new JOIN written ON written.job = new.job \
           WHERE new.nth + written.lines < $6 \
           ORDER BY new.job, new.nth ON CONFLICT (job_id, lease_id, seq) DO NOTHING",
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
pub(crate) async fn note(core: &Core, notes: &[Note], now: Timestamp) -> Result<(), Fault> {
    // Progress needs a normal row: unload the tray first. If another transaction has locked the tray, the progress is
    // left out; lines need no row.
    core.trays.disturbed();
    tray::unload(core, &core.writer, notes.iter().map(|note| note.lease.0).collect()).await?;
    write_progress(core, notes, now).await?;
    write_lines(core, notes).await?;
    core.hints.jobs(notes.iter().map(|note| note.job));
    Ok(())
}

async fn write_progress(core: &Core, notes: &[Note], now: Timestamp) -> Result<(), Fault> {
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
        match put_progress(core, chunk, now).await {
            Err(fault) if fault.is_locked_out() => put_one_by_one(core, chunk, now).await?,
            written => written?,
        }
    }
    Ok(())
}

/// Leaves out the progress of runs whose row another transaction has locked. The next progress of such a run, or its
/// end, replaces it, and the ends of all runs wait until earlier progress is written. After a few locked rows the rest
/// is left out without a try.
async fn put_one_by_one(
    core: &Core,
    rows: &[(JobId, LeaseId, &Progress)],
    now: Timestamp,
) -> Result<(), Fault> {
    let mut locked = 0;
    for one in rows {
        match put_progress(core, std::slice::from_ref(one), now).await {
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
async fn put_progress(
    core: &Core,
    rows: &[(JobId, LeaseId, &Progress)],
    now: Timestamp,
) -> Result<(), Fault> {
    let columns = ProgressColumns::of(rows);
    let written = core.writer.query_waiting(Wait::Briefly, &PROGRESS, &columns.params()).await?;
    if written.len() == rows.len() {
        return Ok(());
    }
    // The others ask for messages, or their lease is lost.
    let written: HashSet<Uuid> = written.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let rest: Vec<_> = rows.iter().copied().filter(|(job, ..)| !written.contains(&job.0)).collect();
    Box::pin(put_progress_with_messages(core, &rest, now)).await
}

/// Writes progress, and the messages about it, in one transaction.
async fn put_progress_with_messages(
    core: &Core,
    rows: &[(JobId, LeaseId, &Progress)],
    now: Timestamp,
) -> Result<(), Fault> {
    let columns = ProgressColumns::of(rows);
    let (transaction, written) =
        core.writer.begin_with(Wait::Briefly, &PROGRESS_OF_ANY, &columns.params()).await?;
    let of_job = |job: &JobRow| {
        let id = job.id;
        let effects = job.progress.as_ref().map(|progress| message::of_progress(job, progress, now));
        effects.into_iter().flatten().map(move |effect| (id, effect)).collect::<Vec<_>>()
    };
    let jobs = row::readable_jobs(&written)?;
    let effects: Vec<(JobId, Effect)> = jobs.iter().flat_map(of_job).collect();
    let stored = StoredEffects::of(core, effects.iter().map(|(id, effect)| (*id, effect)))?;
    transaction.commit_with(&stored.statements()).await?;
    stored.committed(core);
    effects::notify(core, effects.iter().map(|(_, effect)| effect));
    Ok(())
}

/// The parameters of the statements for progress.
struct ProgressColumns<'a> {
    ids: Vec<Uuid>,
    leases: Vec<Uuid>,
    percents: Vec<i16>,
    messages: Vec<&'a str>,
}

impl<'a> ProgressColumns<'a> {
    fn of(rows: &[(JobId, LeaseId, &'a Progress)]) -> Self {
        Self {
            ids: rows.iter().map(|(job, ..)| job.0).collect(),
            leases: rows.iter().map(|(_, lease, _)| lease.0).collect(),
            percents: rows.iter().map(|(_, _, progress)| progress.percent.min(100).into()).collect(),
            messages: rows.iter().map(|(_, _, progress)| progress.message.as_str()).collect(),
        }
    }

    fn params(&self) -> [Param<'_>; 4] {
        [&self.ids, &self.leases, &self.percents, &self.messages]
    }
}

async fn write_lines(core: &Core, notes: &[Note]) -> Result<(), Fault> {
    let mut lines: Vec<_> = notes
        .iter()
        .flat_map(|note| note.lines.iter().map(move |line| (note.job, note.lease, line)))
        .collect();
    // In the order of ids, as in all writes. Stable: the lines of a job stay in their order.
    lines.sort_by_key(|(job, ..)| *job);
    for chunk in lines.chunks(super::insert::ROWS_MAX) {
        let id = |(job, ..): &(JobId, _, _)| job.0;
        let jobs: Vec<Uuid> = chunk.iter().map(id).collect();
        let leases: Vec<Uuid> = chunk.iter().map(|(_, lease, _)| lease.0).collect();
        let seqs: Vec<i64> = chunk.iter().map(|(_, _, line)| line.seq.into()).collect();
        let times: Vec<PgTimestamp> = chunk.iter().map(|(_, _, line)| PgTimestamp(line.at)).collect();
        let texts: Vec<&str> = chunk.iter().map(|(_, _, line)| line.line.as_str()).collect();
        let most = i64::from(JOB_LOG_LINES_MAX);
        let mut runs: Vec<(Uuid, Uuid)> = jobs.iter().copied().zip(leases.iter().copied()).collect();
        runs.dedup();
        let (locked_jobs, locked_leases): (Vec<Uuid>, Vec<Uuid>) = runs.into_iter().unzip();
        let append: Bound<'_> = (&LINES, vec![&jobs, &leases, &seqs, &times, &texts, &most]);
        append_lines(core, &[&locked_jobs, &locked_leases], append).await?;
    }
    Ok(())
}

/// Most tries of one append. Each fails because another transaction has appended to the same log: a run that has lost
/// its lease in the meantime, or a call whose answer was lost.
const APPENDS_MAX: u32 = 10;

/// Appends under a lock on the jobs' rows: so a run that ends, ends behind its lines, and who follows the job sees them in that
/// order. If another transaction has locked a row, the lines are written without the lock. They are never lost nor seen twice.
/// But then a run that loses its lease at this moment may show a line behind its end to one reader, and before it to another.
async fn append_lines(core: &Core, runs: &[Param<'_>], append: Bound<'_>) -> Result<(), Fault> {
    let mut statements = vec![(&BRIEFLY, Vec::new()), (&LOCK, runs.to_vec()), append];
    for _ in 0..APPENDS_MAX {
        match core.writer.all_or_none(&statements).await {
            Err(fault) if fault.is_locked_out() && statements.len() > 1 => {
                statements.drain(..2);
            }
            // The next snapshot has what the other transaction appended.
            Err(fault) if fault.is_unique_violation() || fault.is_collision() => {}
            Err(fault) => return Err(fault),
            Ok(_) => return Ok(()),
        }
    }
    let why = "write log lines: other transactions appended to the same log each time";
    Err(Error::new(ErrorKind::Unavailable, why).into())
}
