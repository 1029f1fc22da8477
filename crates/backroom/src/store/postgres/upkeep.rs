//! Looking after jobs that nobody asks about: leases and expiries that ran out, history that may go.

use backroom_core::{Job, JobId, Timestamp};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    Core,
    error::Fault,
    moment::Moment,
    row,
    sql::{Sql, columns},
};
use crate::store::{Deleted, Prune};

/// Running jobs whose lease ran out. Those whose row somebody holds are passed over: to rescue them would hold up this
/// process until they are let go. Parameters: now, limit.
static LAPSED: Sql = Sql {
    text: concat!(
        "SELECT ",
        columns!(),
        " FROM {schema}.jobs WHERE state = 'running' AND lease_until <= $1 ORDER BY lease_until, id LIMIT $2 \
         FOR NO KEY UPDATE SKIP LOCKED"
    ),
    types: &[Type::TIMESTAMPTZ, Type::INT8],
};

/// Queued jobs past their expiry. Parameters: now, limit.
static EXPIRED: Sql = Sql {
    text: concat!(
        "SELECT ",
        columns!(),
        " FROM {schema}.jobs WHERE state = 'queued' AND expires_at <= $1 ORDER BY expires_at, id LIMIT $2"
    ),
    types: &[Type::TIMESTAMPTZ, Type::INT8],
};

/// The newest job beyond the newest so many: it and all older ones are too many. Reads that many index entries.
/// Parameters: queue, state, how many.
static BEYOND: Sql = Sql {
    text: "SELECT finished_at, id FROM {schema}.every_job \
           WHERE queue = $1 AND state = $2 AND finished_at IS NOT NULL \
           ORDER BY finished_at DESC, id DESC OFFSET $3 LIMIT 1",
    types: &[Type::TEXT, Type::TEXT, Type::INT8],
};

/// What belongs to the jobs of `gone`; then answers with their ids.
macro_rules! with_all_that_belongs {
    () => {
        "without_attempts AS (DELETE FROM {schema}.attempts WHERE job_id = ANY(ARRAY(SELECT id FROM gone))), \
         without_logs AS (DELETE FROM {schema}.logs WHERE job_id = ANY(ARRAY(SELECT id FROM gone))) \
         SELECT id FROM gone"
    };
}

/// Deletes finished jobs up to a place in their queue's history, the oldest first, except those that hold their key for
/// a window. Parameters: queue, state, the last moment and id, now, limit.
static PRUNE: Sql = Sql {
    text: concat!(
        "WITH old AS MATERIALIZED (SELECT id FROM ( \
           SELECT id, finished_at FROM {schema}.finished \
             WHERE queue = $1 AND state = $2 AND (finished_at, id) <= ($3, $4) \
           UNION ALL \
           SELECT id, finished_at FROM {schema}.jobs \
             WHERE queue = $1 AND state = $2 AND state NOT IN ('queued', 'running') \
               AND finished_at IS NOT NULL AND (finished_at, id) <= ($3, $4) \
               AND NOT (unique_held AND unique_until > $5)) AS both_tables \
           ORDER BY finished_at, id LIMIT $6), \
         gone_finished AS (DELETE FROM {schema}.finished WHERE id = ANY(ARRAY(SELECT id FROM old)) RETURNING id), \
         gone_jobs AS (DELETE FROM {schema}.jobs \
           WHERE id = ANY(ARRAY(SELECT id FROM old)) AND finished_at IS NOT NULL RETURNING id), \
         gone AS (SELECT id FROM gone_finished UNION ALL SELECT id FROM gone_jobs), ",
        with_all_that_belongs!()
    ),
    types: &[Type::TEXT, Type::TEXT, Type::TIMESTAMPTZ, Type::UUID, Type::TIMESTAMPTZ, Type::INT8],
};

/// Deletes one job that is not running. Parameter: the id.
static DELETE: Sql = Sql {
    text: concat!(
        "WITH gone_finished AS (DELETE FROM {schema}.finished WHERE id = $1 RETURNING id), \
         gone_jobs AS (DELETE FROM {schema}.jobs WHERE id = $1 AND state <> 'running' RETURNING id), \
         gone AS (SELECT id FROM gone_finished UNION ALL SELECT id FROM gone_jobs), \
         without_import AS (DELETE FROM {schema}.imported WHERE job_id = ANY(ARRAY(SELECT id FROM gone))), ",
        with_all_that_belongs!()
    ),
    types: &[Type::UUID],
};

/// Whether the job is there at all. Parameter: the id.
static IS_THERE: Sql = Sql { text: "SELECT id FROM {schema}.every_job WHERE id = $1", types: &[Type::UUID] };

/// Running jobs whose lease ran out, the longest ago first.
pub(super) async fn lapsed(core: &Core, limit: usize, now: Timestamp) -> Result<Vec<Job>, Fault> {
    row::jobs(&core.claims.query(&LAPSED, &[&Moment(now), &row::at_most(limit)]).await?)
}

/// Queued jobs past their expiry, the longest ago first.
pub(super) async fn expired(core: &Core, limit: usize, now: Timestamp) -> Result<Vec<Job>, Fault> {
    row::jobs(&core.claims.query(&EXPIRED, &[&Moment(now), &row::at_most(limit)]).await?)
}

/// Deletes finished jobs that need no longer be kept, the oldest first.
pub(super) async fn prune(core: &Core, prune: &Prune, now: Timestamp) -> Result<u64, Fault> {
    if !prune.state.is_finished() {
        return Ok(0);
    }
    let state = prune.state.as_str();
    // Both bounds are places in the same order, and the later one says it all. Before a moment means: up to that
    // moment and the smallest id, which no job has.
    let mut last = prune.finished_before.map(|before| (before, Uuid::nil()));
    if let Some(beyond) = prune.beyond {
        let beyond = i64::try_from(beyond).unwrap_or(i64::MAX);
        if let Some(found) = core.writer.query(&BEYOND, &[&prune.queue, &state, &beyond]).await?.first() {
            last = last.max(Some((row::moment(found, 0)?, found.try_get(1)?)));
        }
    }
    let Some((at, id)) = last else { return Ok(0) };
    let limit = row::at_most(prune.limit.min(super::insert::ROWS_MAX));
    let gone =
        core.writer.query(&PRUNE, &[&prune.queue, &state, &Moment(at), &id, &Moment(now), &limit]).await?;
    let ids: Vec<JobId> = gone.iter().map(|row| row.try_get(0).map(JobId)).collect::<Result<_, _>>()?;
    core.hints.jobs(ids.iter().copied());
    Ok(ids.len() as u64)
}

/// Deletes one job that is not running.
pub(super) async fn delete(core: &Core, id: JobId) -> Result<Deleted, Fault> {
    if !core.writer.query(&DELETE, &[&id.0]).await?.is_empty() {
        core.hints.job(id);
        return Ok(Deleted::Yes);
    }
    // It may begin or end between the two looks; then it is there all the same, and was running at some moment.
    let is_there = !core.writer.query(&IS_THERE, &[&id.0]).await?.is_empty();
    Ok(if is_there { Deleted::Running } else { Deleted::NotFound })
}
