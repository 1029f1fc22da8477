//! Looking at jobs without changing them.

use std::fmt::Write as _;

use backroom_core::{Attempt, JobId, JobRow, LogLine, Shown, State, Timestamp};
use rusqlite::{Connection, OptionalExtension, ToSql, params, types::Value};

use super::{
    claim::is_paused,
    error::Fault,
    pairs::{Pair, Pairs},
    row::{self, columns, micros},
};
use crate::store::{Count, Filter};

/// The unsuccessful attempts of a job, the oldest first.
pub(super) fn attempts(connection: &Connection, id: JobId) -> Result<Vec<Attempt>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT lease_id, attempt, \"end\", error, worker, started_at, ended_at FROM backroom_attempts \
         WHERE job_id = ?1 ORDER BY ended_at, seq",
    )?;
    let rows = select.query_map([id.0.as_bytes()], row::attempt)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The log lines of a job in the order they were written.
pub(super) fn logs(
    connection: &Connection,
    id: JobId,
    skip: usize,
    limit: usize,
) -> Result<Vec<LogLine>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT lease_id, seq, at, line FROM backroom_logs WHERE job_id = ?1 ORDER BY line_id LIMIT ?2 OFFSET ?3",
    )?;
    let rows =
        select.query_map(params![id.0.as_bytes(), row::at_most(limit), row::at_most(skip)], row::log_line)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Jobs that match, the newest first. Behind damaged rows it goes on until the page is full, because an empty page is the
/// last one.
pub(super) fn list(
    connection: &Connection,
    filter: &Filter,
    before: Option<JobId>,
    limit: usize,
    bytes_max: usize,
) -> Result<Vec<JobRow>, Fault> {
    let (mut jobs, mut bytes) = (Vec::new(), 0);
    let mut before = before;
    loop {
        let wanted = limit - jobs.len();
        let mut rows = 0;
        matching(connection, filter, before, wanted, |(id, job)| {
            rows += 1;
            before = Some(id);
            if let Some(job) = job {
                bytes += job.bytes();
                jobs.push(job);
            }
            bytes < bytes_max
        })?;
        if rows < wanted || jobs.len() >= limit || bytes >= bytes_max {
            return Ok(jobs);
        }
    }
}

/// Passes on rows that match, the newest first, as long as `goes_on` says so; those that are damaged without their job.
fn matching(
    connection: &Connection,
    filter: &Filter,
    before: Option<JobId>,
    limit: usize,
    mut goes_on: impl FnMut((JobId, Option<JobRow>)) -> bool,
) -> Result<(), Fault> {
    // Ids first, from an index that may hold all that is asked for; then only the rows of this page.
    let mut sql = format!("SELECT id FROM backroom_jobs {} WHERE 1", index_for(filter));
    let mut values: Vec<Value> = Vec::new();
    let mut and = |condition: &str, value: Value| {
        values.push(value);
        let place = format!("?{}", values.len());
        sql.push_str(" AND ");
        sql.push_str(&condition.replace('?', &place));
    };
    if let Some(before) = before {
        and("id < ?", Value::Blob(before.0.as_bytes().to_vec()));
    }
    if let Some(queue) = &filter.queue {
        and("queue = ?", Value::Text(queue.clone()));
    }
    if let Some(kind) = &filter.kind {
        and("kind = ?", Value::Text(kind.clone()));
    }
    if let Some(tag) = &filter.tag {
        and("id IN (SELECT job_id FROM backroom_tags WHERE tag = ?)", Value::Text(tag.clone()));
    }
    if let Some(from) = filter.created_from {
        and("created_at >= ?", Value::Integer(micros(from)));
    }
    if let Some(until) = filter.created_before {
        and("created_at < ?", Value::Integer(micros(until)));
    }
    if let Some(wanted) = &filter.queued_as {
        and(&wanted.sql(&filter.states, "?"), Value::Integer(micros(wanted.now)));
    }
    // Our own words, written out, one with `=`: so the planner can prove that a partial index holds all that is asked for.
    match filter.states.as_slice() {
        [] => {}
        [state] => _ = write!(sql, " AND state = '{state}'"),
        states => {
            let words: Vec<String> = states.iter().map(|state| format!("'{state}'")).collect();
            _ = write!(sql, " AND state IN ({})", words.join(", "));
        }
    }
    values.push(Value::Integer(row::at_most(limit)));
    _ = write!(sql, " ORDER BY id DESC LIMIT ?{}", values.len());
    let sql = format!("SELECT {} FROM backroom_jobs WHERE id IN ({sql}) ORDER BY id DESC", columns!());
    let params: Vec<&dyn ToSql> = values.iter().map(|value| value as &dyn ToSql).collect();
    let mut select = connection.prepare_cached(&sql)?;
    for found in select.query_map(params.as_slice(), row::job_if_whole)? {
        if !goes_on(found?) {
            break;
        }
    }
    Ok(())
}

/// Which way to go through the table. By id ends soon when many jobs match; where only few can, their own index does.
fn index_for(filter: &Filter) -> &'static str {
    if filter.tag.is_some() {
        return "";
    }
    match filter.states.as_slice() {
        [State::Running] => "INDEXED BY backroom_jobs_running",
        [State::Queued] => "INDEXED BY backroom_jobs_queued",
        [State::Waiting | State::Cancelled | State::Discarded] => "INDEXED BY backroom_jobs_rare",
        _ => "NOT INDEXED",
    }
}

/// How many jobs there are, by queue and state as shown.
pub(super) fn counts(connection: &Connection, now: Timestamp) -> Result<Vec<Count>, Fault> {
    // Each part answers from one index alone, except the running jobs, which are few. Parameter: now.
    let mut select = connection.prepare_cached(
        "SELECT queue, iif(scheduled_at <= ?1, 'available', iif(attempt > 0 OR crashes > 0, 'retrying', 'scheduled')) \
             AS shown, count(*) FROM backroom_jobs INDEXED BY backroom_jobs_queued WHERE state = 'queued' GROUP BY 1, 2 \
         UNION ALL \
         SELECT queue, state, count(*) FROM backroom_jobs INDEXED BY backroom_jobs_running \
             WHERE state = 'running' GROUP BY queue \
         UNION ALL \
         SELECT queue, state, count(*) FROM backroom_jobs INDEXED BY backroom_jobs_rare \
             WHERE state = 'waiting' GROUP BY queue \
         UNION ALL \
         SELECT queue, state, count(*) FROM backroom_jobs INDEXED BY backroom_jobs_finished \
             WHERE finished_at IS NOT NULL GROUP BY queue, state",
    )?;
    let rows = select.query_map([micros(now)], |found| {
        let word = found.get_ref(1)?.as_str()?;
        let shown = Shown::ALL.into_iter().find(|shown| shown.as_str() == word);
        let jobs = found.get::<_, i64>(2)?.unsigned_abs();
        Ok((found.get::<_, String>(0)?, shown, jobs))
    })?;
    let mut counts = Vec::new();
    for found in rows {
        let (queue, shown, jobs) = found?;
        if let Some(state) = shown {
            counts.push(Count { queue, state, jobs });
        }
    }
    counts.sort_unstable();
    Ok(counts)
}

/// How many due jobs of the same queue are served before this one, counted up to `limit`.
pub(super) fn ahead(connection: &Connection, job: &JobRow, limit: u64, now: Timestamp) -> Result<u64, Fault> {
    // Due jobs of one queue, priority and kind (?4 is now) before a place: ?5, ?6. At most ?7.
    let mut select = connection.prepare_cached(
        "SELECT count(*) FROM (SELECT 1 FROM backroom_jobs INDEXED BY backroom_jobs_queued \
         WHERE state = 'queued' AND queue = ?1 AND priority = ?2 AND kind = ?3 AND scheduled_at <= min(?4, ?5) \
         AND (expires_at IS NULL OR expires_at > ?4) AND (scheduled_at < ?5 OR id < ?6) LIMIT ?7)",
    )?;
    let mut pairs = Pairs::prepare(connection)?;
    let mut before: Option<Pair> = None;
    let mut ahead = 0u64;
    while let Some(pair) = pairs.after(&job.queue, before.as_ref())? {
        let left = i64::try_from(limit.saturating_sub(ahead)).unwrap_or(i64::MAX);
        if left == 0 || pair.priority > job.priority {
            break;
        }
        // Of the job's own priority only what sorts before it, of those served first all.
        let place = if pair.priority == job.priority { micros(job.scheduled_at) } else { i64::MAX };
        let found: i64 = select.query_row(
            params![job.queue, pair.priority, pair.kind, micros(now), place, job.id.0.as_bytes(), left],
            |found| found.get(0),
        )?;
        ahead += found.unsigned_abs();
        before = Some(pair);
    }
    Ok(ahead)
}

/// When the next queued job of these queues and kinds is due that has not expired.
pub(super) fn next_due(
    connection: &Connection,
    queues: &[String],
    kinds: &[String],
    now: Timestamp,
) -> Result<Option<Timestamp>, Fault> {
    // The first of one queue, priority and kind; ?4 is now.
    let mut select = connection.prepare_cached(
        "SELECT scheduled_at FROM backroom_jobs INDEXED BY backroom_jobs_queued \
         WHERE state = 'queued' AND queue = ?1 AND priority = ?2 AND kind = ?3 \
         AND (expires_at IS NULL OR expires_at > ?4) ORDER BY scheduled_at, id LIMIT 1",
    )?;
    let mut pairs = Pairs::prepare(connection)?;
    let mut next: Option<Timestamp> = None;
    for queue in queues {
        if is_paused(connection, queue)? {
            continue;
        }
        let mut before: Option<Pair> = None;
        while let Some(pair) = pairs.after(queue, before.as_ref())? {
            if kinds.contains(&pair.kind) {
                let first = select
                    .query_row(params![queue, pair.priority, pair.kind, micros(now)], |found| {
                        row::moment(found, 0)
                    })
                    .optional()?;
                next = next.into_iter().chain(first).min();
            }
            before = Some(pair);
        }
    }
    Ok(next)
}
