//! Upkeep: queued jobs that have expired, finished jobs beyond their retention, and deletes.

use std::collections::BTreeMap;

use backroom_core::{JobId, JobRow, State, Timestamp, links::effects_of_deletion};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{links, read};
use crate::store::postgres::{
    Core,
    columns::{row, timestamp::PgTimestamp},
    tray,
    wire::{
        error::Fault,
        session::Session,
        settings::Wait,
        sql::{Sql, columns, not_on_a_tray},
    },
};
use crate::{
    Error, ErrorKind,
    store::{Deleted, Prune},
};

/// How often a delete searches again for a job that was moved to another table meanwhile.
const TRIES_MAX: u32 = 5;

/// Queued jobs past their expiry. Parameters: now, limit.
static EXPIRED: Sql = Sql {
    text: concat!(
        "SELECT ",
        columns!(),
        " FROM {schema}.jobs WHERE state = 'queued' AND expires_at <= $1 ORDER BY expires_at, id LIMIT $2"
    ),
    types: &[Type::TIMESTAMPTZ, Type::INT8],
};

/// The newest job beyond the newest so many: it and all older jobs are too many. Reads that many index entries,
/// whatever the planner assumes about the table: the index has the order of time, and only the rows that are read are
/// sorted. Completed jobs have an index of their own, which a statement can use only if it names the state. Parameters:
/// queue, state, how many.
macro_rules! beyond {
    ($state:literal) => {
        Sql {
            text: concat!(
                "SELECT finished_at, id FROM ( \
                   (SELECT finished_at, id FROM {schema}.finished WHERE queue = $1 AND state = $2 AND ",
                $state,
                " ORDER BY finished_at DESC FETCH FIRST ($3 + 1) ROWS WITH TIES) \
                   UNION ALL \
                   (SELECT finished_at, id FROM {schema}.jobs WHERE queue = $1 AND state = $2 \
                     AND state NOT IN ('queued', 'running') AND finished_at IS NOT NULL)) AS both_tables \
                 ORDER BY finished_at DESC, id DESC OFFSET $3 LIMIT 1"
            ),
            types: &[Type::TEXT, Type::TEXT, Type::INT8],
        }
    };
}
static BEYOND_COMPLETED: Sql = beyond!("state = 'completed'");
static BEYOND_OTHERS: Sql = beyond!("state <> 'completed'");

/// Deletes what belongs to the jobs of `gone`; then answers with their ids. Edges that lead from them go with their dependants.
macro_rules! with_all_that_belongs {
    () => {
        "without_attempts AS (DELETE FROM {schema}.attempts WHERE job_id = ANY(ARRAY(SELECT id FROM gone))), \
         without_logs AS (DELETE FROM {schema}.logs WHERE job_id = ANY(ARRAY(SELECT id FROM gone))), \
         without_heads AS (DELETE FROM {schema}.journals WHERE workflow = ANY(ARRAY(SELECT id FROM gone)) RETURNING workflow), \
         without_entries AS (DELETE FROM {schema}.journal WHERE workflow = ANY(ARRAY(SELECT workflow FROM without_heads))), \
         without_arrivals AS (DELETE FROM {schema}.arrivals WHERE workflow = ANY(ARRAY(SELECT workflow FROM without_heads))), \
         without_edges AS (DELETE FROM {schema}.edges \
           WHERE dependant = ANY(ARRAY(SELECT id FROM gone WHERE links IS NOT NULL))) \
         SELECT id FROM gone"
    };
}

/// Leaves out jobs after which a live job runs: it may read their output.
macro_rules! has_no_live_dependants {
    ($table:literal) => {
        concat!(
            " AND (",
            $table,
            ".links IS NULL OR NOT EXISTS (SELECT FROM {schema}.edges JOIN {schema}.jobs AS dependants \
               ON dependants.id = edges.dependant WHERE edges.predecessor = ",
            $table,
            ".id AND dependants.finished_at IS NULL))"
        )
    };
}

/// Deletes finished jobs up to a place in their queue's history, the oldest first. It leaves those that hold their key
/// for a window, and those that a tray still lists: unloading it would bring them back. Reads about as many index
/// entries as the limit says, as above. Parameters: queue, state, the last moment and id, now, limit.
macro_rules! prune {
    ($state:literal) => {
        Sql {
            text: concat!(
                "WITH old AS MATERIALIZED (SELECT id FROM ( \
                   (SELECT id, finished_at FROM {schema}.finished \
                     WHERE queue = $1 AND state = $2 AND ",
                $state,
                " AND (finished_at, id) <= ($3, $4)",
                not_on_a_tray!(),
                has_no_live_dependants!("finished"),
                " ORDER BY finished_at FETCH FIRST ($6) ROWS WITH TIES) \
                   UNION ALL \
                   SELECT id, finished_at FROM {schema}.jobs \
                     WHERE queue = $1 AND state = $2 AND state NOT IN ('queued', 'running') \
                       AND finished_at IS NOT NULL AND (finished_at, id) <= ($3, $4) \
                       AND NOT (unique_held AND unique_until > $5)",
                has_no_live_dependants!("jobs"),
                ") AS both_tables \
                   ORDER BY finished_at, id LIMIT $6), \
                 gone_finished AS ( \
                   DELETE FROM {schema}.finished WHERE id = ANY(ARRAY(SELECT id FROM old)) RETURNING id, links), \
                 gone_jobs AS (DELETE FROM {schema}.jobs \
                   WHERE id = ANY(ARRAY(SELECT id FROM old)) AND finished_at IS NOT NULL RETURNING id, links), \
                 gone AS (SELECT id, links FROM gone_finished UNION ALL SELECT id, links FROM gone_jobs), ",
                with_all_that_belongs!()
            ),
            types: &[Type::TEXT, Type::TEXT, Type::TIMESTAMPTZ, Type::UUID, Type::TIMESTAMPTZ, Type::INT8],
        }
    };
}
static PRUNE_COMPLETED: Sql = prune!("state = 'completed'");
static PRUNE_OTHERS: Sql = prune!("state <> 'completed'");

/// Deletes jobs that are not running, that no tray still lists, and to which this applies as well.
macro_rules! delete_jobs {
    ($which:literal) => {
        concat!(
            "WITH gone_finished AS (DELETE FROM {schema}.finished WHERE ",
            $which,
            not_on_a_tray!(),
            " RETURNING id, links), \
             gone_jobs AS (DELETE FROM {schema}.jobs WHERE ",
            $which,
            " AND state <> 'running' RETURNING id, links), \
             gone AS (SELECT id, links FROM gone_finished UNION ALL SELECT id, links FROM gone_jobs), \
             without_import AS (DELETE FROM {schema}.imported WHERE job_id = ANY(ARRAY(SELECT id FROM gone))), ",
            with_all_that_belongs!()
        )
    };
}

/// Deletes one job without links. Parameter: the id.
static DELETE: Sql = Sql { text: delete_jobs!("id = $1 AND links IS NULL"), types: &[Type::UUID] };

/// Deletes one job that still has this revision. What follows for other jobs is written in the same transaction. Parameters: the id, the
/// revision.
static DELETE_LINKED: Sql =
    Sql { text: delete_jobs!("id = $1 AND revision = $2"), types: &[Type::UUID, Type::INT8] };

/// Deletes jobs without links that still have these revisions. Parameters: ids and revisions, side by side.
static DELETE_UNMOVED: Sql = Sql {
    text: delete_jobs!(
        "id = ANY($1::uuid[]) AND links IS NULL AND (id, revision) IN (SELECT * FROM unnest($1::uuid[], $2::bigint[]))"
    ),
    types: &[Type::UUID_ARRAY, Type::INT8_ARRAY],
};

/// Of these ids, the jobs whose row another transaction has locked now, found without waiting. Parameter: ids.
static LOCKED: Sql = Sql {
    text: "WITH free AS MATERIALIZED ( \
             SELECT id FROM {schema}.jobs WHERE id = ANY($1::uuid[]) FOR UPDATE SKIP LOCKED), \
           free_finished AS MATERIALIZED ( \
             SELECT id FROM {schema}.finished WHERE id = ANY($1::uuid[]) FOR UPDATE SKIP LOCKED) \
           SELECT id FROM {schema}.jobs WHERE id = ANY($1::uuid[]) AND id NOT IN (SELECT id FROM free) \
           UNION ALL SELECT id FROM {schema}.finished \
             WHERE id = ANY($1::uuid[]) AND id NOT IN (SELECT id FROM free_finished)",
    types: &[Type::UUID_ARRAY],
};

/// Queued jobs past their expiry, the oldest expiry first.
pub(crate) async fn expired_jobs(core: &Core, limit: usize, now: Timestamp) -> Result<Vec<JobRow>, Fault> {
    row::readable_jobs(&core.claims.query(&EXPIRED, &[&PgTimestamp(now), &row::at_most(limit)]).await?)
}

/// Deletes finished jobs beyond their retention, the oldest first.
pub(crate) async fn prune(core: &Core, prune: &Prune, now: Timestamp) -> Result<u64, Fault> {
    let (beyond_sql, prune_sql) = match prune.state {
        State::Queued | State::Running | State::Waiting => return Ok(0),
        State::Completed => (&BEYOND_COMPLETED, &PRUNE_COMPLETED),
        State::Cancelled | State::Discarded => (&BEYOND_OTHERS, &PRUNE_OTHERS),
    };
    let state = prune.state.as_str();
    // Both bounds are places in the same order, and the later one includes the other. "Before a moment" means: up to
    // that moment and the smallest id, which no job has.
    let mut last = prune.finished_before.map(|before| (before, Uuid::nil()));
    if let Some(beyond) = prune.beyond {
        // One more is read.
        let beyond = i64::try_from(beyond).unwrap_or(i64::MAX).min(i64::MAX - 1);
        if let Some(found) = core.writer.query(beyond_sql, &[&prune.queue, &state, &beyond]).await?.first() {
            last = last.max(Some((row::moment(found, 0)?, found.try_get(1)?)));
        }
    }
    let Some((at, id)) = last else { return Ok(0) };
    let limit = row::at_most(prune.limit.min(super::insert::ROWS_MAX));
    let gone = core
        .writer
        .query(prune_sql, &[&prune.queue, &state, &PgTimestamp(at), &id, &PgTimestamp(now), &limit])
        .await?;
    let ids: Vec<JobId> = gone.iter().map(|row| row.try_get(0).map(JobId)).collect::<Result<_, _>>()?;
    core.hints.jobs(ids.iter().copied());
    Ok(ids.len() as u64)
}

/// Deletes one job that is not running. Without a moment, nothing follows for other jobs.
pub(crate) async fn delete(core: &Core, id: JobId, now: Option<Timestamp>) -> Result<Deleted, Fault> {
    for _ in 0..TRIES_MAX {
        tray::unload_of_finished(core, id).await?;
        if !core.writer.query(&DELETE, &[&id.0]).await?.is_empty() {
            core.hints.job(id);
            return Ok(Deleted::Yes);
        }
        match read::job(core, id).await? {
            None => return Ok(Deleted::NotFound),
            Some(job) if job.state == State::Running => return Ok(Deleted::Running),
            Some(job) if job.links.is_some() => {
                if delete_linked(core, &job, now).await? {
                    return Ok(Deleted::Yes);
                }
            }
            // The job ended on its tray, or was released, between the two statements.
            Some(_) => {}
        }
    }
    let why = "delete the job: another transaction has locked its row, or its row changes all the time";
    Err(Error::new(ErrorKind::Unavailable, why).into())
}

/// Deletes a job with links that is still as it was read, with what follows for other jobs. Answers whether it did.
async fn delete_linked(core: &Core, job: &JobRow, now: Option<Timestamp>) -> Result<bool, Fault> {
    let (transaction, gone) = core
        .writer
        .begin_with(Wait::Usual, &DELETE_LINKED, &[&job.id.0, &row::revision(job.revision)])
        .await?;
    if gone.is_empty() {
        transaction.rollback().await?;
        return Ok(false);
    }
    let effects = effects_of_deletion(job, job.links.as_deref());
    let effects =
        now.into_iter().flat_map(|now| effects.clone().into_iter().map(move |effect| (now, effect)));
    let effects = effects.collect();
    match Box::pin(links::carry_out(&mut Session::Ours(&transaction), effects)).await {
        Ok(follow_up) => {
            let effects = follow_up.stored(core, std::iter::empty())?;
            transaction.commit_with(&effects.statements()).await?;
            effects.committed(core);
            follow_up.notify(core);
            core.hints.job(job.id);
            Ok(true)
        }
        Err(fault) => {
            // The caller needs the cause. If the rollback fails as well, the connection is dropped.
            _ = transaction.rollback().await;
            if fault.is_worth_repeating() { Ok(false) } else { Err(fault) }
        }
    }
}

/// Deletes jobs that are not running and still at these revisions.
pub(crate) async fn delete_unmoved(
    core: &Core,
    jobs: &[(JobId, u64)],
    now: Timestamp,
) -> Result<Vec<Deleted>, Fault> {
    let mut answers: BTreeMap<JobId, Deleted> = BTreeMap::new();
    let mut left = jobs.to_vec();
    for _ in 0..TRIES_MAX {
        let ids: Vec<Uuid> = left.iter().map(|(id, _)| id.0).collect();
        for row in core.writer.query(&LOCKED, &[&ids]).await? {
            answers.insert(JobId(row.try_get(0)?), Deleted::RowLocked);
        }
        left.retain(|(id, _)| !answers.contains_key(id));
        let ids: Vec<Uuid> = left.iter().map(|(id, _)| id.0).collect();
        let revisions: Vec<i64> =
            left.iter().map(|(_, revision)| i64::try_from(*revision).unwrap_or(i64::MAX)).collect();
        let deleted = core.writer.query_waiting(Wait::Briefly, &DELETE_UNMOVED, &[&ids, &revisions]).await;
        let deleted = match deleted {
            // Locked a moment ago.
            Err(fault) if fault.is_locked_out() => continue,
            deleted => deleted?,
        };
        for row in deleted {
            let id = JobId(row.try_get(0)?);
            core.hints.job(id);
            answers.insert(id, Deleted::Yes);
        }
        let mut still = Vec::new();
        for (id, revision) in left.into_iter().filter(|(id, _)| !answers.contains_key(id)).collect::<Vec<_>>()
        {
            match read::job(core, id).await? {
                None => _ = answers.insert(id, Deleted::NotFound),
                Some(job) if job.revision != revision => _ = answers.insert(id, Deleted::Moved),
                Some(job) if job.state == State::Running => _ = answers.insert(id, Deleted::Running),
                Some(job) if job.links.is_some() && delete_linked(core, &job, Some(now)).await? => {
                    answers.insert(id, Deleted::Yes);
                }
                Some(_) => {
                    tray::unload_of_finished(core, id).await?;
                    still.push((id, revision));
                }
            }
        }
        left = still;
        if left.is_empty() {
            // A job that is named twice is gone the second time.
            return Ok(jobs
                .iter()
                .map(|(id, _)| answers.get(id).copied().unwrap_or(Deleted::NotFound))
                .collect());
        }
    }
    let why = "delete jobs: another transaction has locked a row, or it changes all the time";
    Err(Error::new(ErrorKind::Unavailable, why).into())
}
