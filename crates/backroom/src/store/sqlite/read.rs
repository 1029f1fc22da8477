//! Reading jobs without changing them.

use std::{fmt::Write as _, sync::LazyLock};

use backroom_core::{Attempt, DisplayState, JobId, JobRow, Kinds, LogLine, State, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params, types::Value};

use super::{
    claim::{DAMAGED_MAX, is_paused},
    columns::{HAS_KNOWN_EXTRAS, columns},
    error::Fault,
    pairs::{Pair, Pairs},
    row::{self, micros},
};
use crate::store::{
    Count, Filter, Load, Recorded, Seen,
    verbs::{PlacedAttempt, in_order, not_poison_sql},
};

/// The unsuccessful attempts of a job, the oldest first; if they are too many bytes, the newest of them.
pub(super) fn attempts(connection: &Connection, id: JobId, bytes_max: usize) -> Result<Vec<Attempt>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT lease_id, attempt, \"end\", error, worker, started_at, ended_at FROM backroom_attempts \
         WHERE job_id = ?1 ORDER BY ended_at DESC, seq DESC",
    )?;
    let rows = select.query_map([id.0.as_bytes()], row::attempt)?;
    let mut attempts: Vec<Attempt> = within_bytes(rows, bytes_max, |attempt| attempt.error.len())?;
    attempts.reverse();
    Ok(attempts)
}

/// The log lines of a job in the order they were written.
pub(super) fn logs(
    connection: &Connection,
    id: JobId,
    skip: usize,
    limit: usize,
    bytes_max: usize,
) -> Result<Vec<LogLine>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT lease_id, seq, at, line FROM backroom_logs WHERE job_id = ?1 AND position >= ?2 ORDER BY position LIMIT ?3",
    )?;
    let rows =
        select.query_map(params![id.0.as_bytes(), row::at_most(skip), row::at_most(limit)], row::log_line)?;
    within_bytes(rows, bytes_max, |line| line.line.len())
}

/// What was recorded of a job after what was seen. One transaction, so that both tables are read as they were at one moment.
pub(super) fn history(
    connection: &Connection,
    id: JobId,
    seen: Seen,
    limit: usize,
    bytes_max: usize,
) -> Result<Vec<Recorded>, Fault> {
    let transaction = connection.unchecked_transaction()?;
    let lines = logs(connection, id, seen.lines as usize, limit, bytes_max)?;
    let mut select = connection.prepare_cached(
        "SELECT lease_id, attempt, \"end\", error, worker, started_at, ended_at, after_lines FROM backroom_attempts \
         WHERE job_id = ?1 ORDER BY seq LIMIT ?2 OFFSET ?3",
    )?;
    let placed = |found: &Row<'_>| Ok::<PlacedAttempt, _>((found.get(7)?, row::attempt(found)?));
    let rows = select.query_map(params![id.0.as_bytes(), row::at_most(limit), seen.attempts], placed)?;
    let attempts = within_bytes(rows, bytes_max, |(_, attempt)| attempt.error.len())?;
    drop(select);
    transaction.finish()?;
    Ok(in_order(seen, lines, attempts, limit))
}

/// Rows up to the one with which so many bytes are read.
fn within_bytes<T>(
    rows: impl Iterator<Item = rusqlite::Result<T>>,
    bytes_max: usize,
    bytes_of: impl Fn(&T) -> usize,
) -> Result<Vec<T>, Fault> {
    let (mut read, mut bytes) = (Vec::new(), 0);
    for row in rows {
        let row = row?;
        bytes += bytes_of(&row);
        read.push(row);
        if bytes >= bytes_max {
            break;
        }
    }
    Ok(read)
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
    let way = way(connection, filter, before, limit)?;
    let (ids, values) = ids(filter, way, before, limit);
    let sql = format!("SELECT {} FROM backroom_jobs WHERE id IN ({ids}) ORDER BY id DESC", columns!());
    let params: Vec<&dyn ToSql> = values.iter().map(|value| value as &dyn ToSql).collect();
    let mut select = connection.prepare_cached(&sql)?;
    for found in select.query_map(params.as_slice(), row::job_if_whole)? {
        if !goes_on(found?) {
            break;
        }
    }
    Ok(())
}

/// How a list finds its jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Among the newest jobs, about twice as many as are asked for.
    Newest,
    /// By the index that fits the filter.
    Index,
}

/// Queued jobs lie in the order of claims, so their index must be read whole to find the newest. Where enough of the newest jobs
/// match, reading those alone answers.
fn way(connection: &Connection, filter: &Filter, before: Option<JobId>, limit: usize) -> Result<Way, Fault> {
    if filter.states != [State::Queued]
        || filter.from_id.is_some()
        || filter.tag.is_some()
        || filter.batch.is_some()
    {
        return Ok(Way::Index);
    }
    let (ids, values) = ids(filter, Way::Newest, before, limit);
    let params: Vec<&dyn ToSql> = values.iter().map(|value| value as &dyn ToSql).collect();
    let mut select = connection.prepare_cached(&format!("SELECT count(*) FROM ({ids})"))?;
    let found: i64 = select.query_row(params.as_slice(), |found| found.get(0))?;
    Ok(if found >= row::at_most(limit) { Way::Newest } else { Way::Index })
}

/// The statement that finds the ids of a list, and its parameters.
fn ids(filter: &Filter, way: Way, before: Option<JobId>, limit: usize) -> (String, Vec<Value>) {
    // Ids first, from an index that may hold all that is asked for; then only the rows of this page are read.
    let mut values: Vec<Value> = Vec::new();
    let mut sql = match way {
        Way::Index => format!("SELECT id FROM backroom_jobs {} WHERE 1", index_for(filter)),
        Way::Newest => {
            values.push(Value::Blob(before.map_or(vec![u8::MAX; 17], |before| before.0.as_bytes().to_vec())));
            values.push(Value::Integer(row::at_most(limit.saturating_mul(2).saturating_add(100))));
            "SELECT id FROM (SELECT id, queue, kind, state, scheduled_at, attempt, crashes, created_at, batch, lane, worker, priority, reason, finished_at FROM backroom_jobs \
             NOT INDEXED WHERE id < ?1 ORDER BY id DESC LIMIT ?2) WHERE 1"
                .to_owned()
        }
    };
    let mut and = |condition: &str, value: Value| {
        values.push(value);
        let place = format!("?{}", values.len());
        sql.push_str(" AND ");
        sql.push_str(&condition.replace('?', &place));
    };
    if let (Some(before), Way::Index) = (before, way) {
        and("id < ?", Value::Blob(before.0.as_bytes().to_vec()));
    }
    if let Some(queue) = &filter.queue {
        and("queue = ?", Value::Text(queue.clone()));
    }
    if let Some(queues) = &filter.queues {
        let names = serde_json::Value::from(queues.clone()).to_string();
        and("queue IN (SELECT value FROM json_each(?))", Value::Text(names));
    }
    if let Some(kind) = &filter.kind {
        and("kind = ?", Value::Text(kind.clone()));
    }
    if let Some(batch) = filter.batch {
        and("batch = ?", Value::Blob(batch.0.as_bytes().to_vec()));
    }
    if let Some(tag) = &filter.tag {
        and("id IN (SELECT job_id FROM backroom_tags WHERE tag = ?)", Value::Text(tag.clone()));
    }
    if let Some(lane) = &filter.lane {
        and("lane = ?", Value::Text(lane.clone()));
    }
    if let Some(worker) = &filter.worker {
        and("worker = ?", Value::Text(worker.clone()));
    }
    if let Some(priority) = filter.priority {
        and("priority = ?", Value::Integer(priority.into()));
    }
    if let Some(text) = &filter.error {
        let has_error = "(instr(reason, ?) > 0 \
             OR EXISTS (SELECT 1 FROM backroom_attempts WHERE job_id = id AND instr(error, ?) > 0))";
        and(has_error, Value::Text(text.clone()));
    }
    if let Some(from) = filter.created_from {
        and("created_at >= ?", Value::Integer(micros(from)));
    }
    if let Some(until) = filter.created_before {
        and("created_at < ?", Value::Integer(micros(until)));
    }
    if let Some(from) = filter.from_id {
        and("id >= ?", Value::Blob(from.0.as_bytes().to_vec()));
    }
    if let Some(from) = filter.finished_from {
        and("finished_at >= ?", Value::Integer(micros(from)));
    }
    if let Some(wanted) = &filter.queued_as {
        and(&wanted.sql(&filter.states, "?"), Value::Integer(micros(wanted.now)));
    }
    if filter.not_poison {
        sql.push_str(&not_poison_sql());
    }
    // States are written into the statement, a single one with `=`. Only then can the planner prove that a partial index holds
    // every row that is asked for.
    match filter.states.as_slice() {
        [] => {}
        [state] => _ = write!(sql, " AND state = '{state}'"),
        states => {
            let names: Vec<String> = states.iter().map(|state| format!("'{state}'")).collect();
            _ = write!(sql, " AND state IN ({})", names.join(", "));
        }
    }
    values.push(Value::Integer(row::at_most(limit)));
    _ = write!(sql, " ORDER BY id DESC LIMIT ?{}", values.len());
    (sql, values)
}

/// Which way to go through the table. By id ends soon when many jobs match; where only few can, their own index does.
fn index_for(filter: &Filter) -> &'static str {
    if filter.tag.is_some() {
        return "";
    }
    if filter.batch.is_some() {
        return "INDEXED BY backroom_jobs_batch";
    }
    // A range of ids is short.
    if filter.from_id.is_some() {
        return "NOT INDEXED";
    }
    // Of the history of one queue only what is young is read, and sorted.
    if filter.finished_from.is_some()
        && filter.queue.is_some()
        && matches!(filter.states.as_slice(), [state] if state.is_finished())
    {
        return "INDEXED BY backroom_jobs_finished";
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
        let name = found.get_ref(1)?.as_str()?;
        let shown = DisplayState::ALL.into_iter().find(|shown| shown.as_str() == name);
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

/// The jobs of one queue, priority and kind in the order of claims; ?4 is now. A claim takes the first.
static NEXT_DUE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT scheduled_at, id FROM backroom_jobs INDEXED BY backroom_jobs_queued \
         WHERE state = 'queued' AND queue = ?1 AND priority = ?2 AND kind = ?3 \
         AND (expires_at IS NULL OR expires_at > ?4) AND {} ORDER BY scheduled_at, id",
        *HAS_KNOWN_EXTRAS
    )
});

/// When the next queued job of these queues and kinds is due that has not expired.
pub(super) fn next_due(
    connection: &Connection,
    queues: &[String],
    kinds: &Kinds,
    now: Timestamp,
) -> Result<Option<Timestamp>, Fault> {
    let mut select = connection.prepare_cached(&NEXT_DUE)?;
    let mut whole = connection.prepare_cached(row::FIND)?;
    let mut pairs = Pairs::prepare(connection)?;
    let mut next: Option<Timestamp> = None;
    for queue in queues {
        if is_paused(connection, queue)? {
            continue;
        }
        let mut before: Option<Pair> = None;
        while let Some(pair) = pairs.after(queue, before.as_ref())? {
            if kinds.includes(&pair.kind) {
                let mut rows = select.query(params![queue, pair.priority, pair.kind, micros(now)])?;
                let mut read = 0;
                while read <= DAMAGED_MAX
                    && let Some(found) = rows.next()?
                {
                    read += 1;
                    // A claim leaves damaged rows alone, so they are not waited for.
                    let id = row::job_id(found, 1)?;
                    if row::is_whole(&mut whole, id)? {
                        next = next.into_iter().chain([row::moment(found, 0)?]).min();
                        break;
                    }
                }
            }
            before = Some(pair);
        }
    }
    Ok(next)
}

/// How much work waits in a queue: for each priority and kind one index range.
pub(super) fn load(connection: &Connection, queue: &str, limit: u64, now: Timestamp) -> Result<Load, Fault> {
    // Due jobs of one queue, priority and kind; ?4 is now. At most ?5 are counted.
    const DUE: &str = "FROM backroom_jobs INDEXED BY backroom_jobs_queued WHERE state = 'queued' AND queue = ?1 \
         AND priority = ?2 AND kind = ?3 AND scheduled_at <= ?4 AND (expires_at IS NULL OR expires_at > ?4)";
    let mut counting =
        connection.prepare_cached(&format!("SELECT count(*) FROM (SELECT 1 {DUE} LIMIT ?5)"))?;
    let mut first =
        connection.prepare_cached(&format!("SELECT scheduled_at {DUE} ORDER BY scheduled_at, id LIMIT 1"))?;
    let mut pairs = Pairs::prepare(connection)?;
    let (mut load, mut before): (Load, Option<Pair>) = (Load::default(), None);
    while let Some(pair) = pairs.after(queue, before.as_ref())? {
        let left = i64::try_from(limit.saturating_sub(load.ready)).unwrap_or(i64::MAX);
        let of_pair = params![queue, pair.priority, pair.kind, micros(now), left];
        let found: i64 = counting.query_row(of_pair, |found| found.get(0))?;
        load.ready += found.unsigned_abs();
        let of_pair = params![queue, pair.priority, pair.kind, micros(now)];
        let oldest = first.query_row(of_pair, |found| row::moment(found, 0)).optional()?;
        load.oldest_at = load.oldest_at.into_iter().chain(oldest).min();
        before = Some(pair);
    }
    let mut running = connection.prepare_cached(
        "SELECT count(*) FROM backroom_jobs INDEXED BY backroom_jobs_running WHERE state = 'running' AND queue = ?1",
    )?;
    load.running = running.query_row([queue], |found| found.get::<_, i64>(0))?.unsigned_abs();
    Ok(load)
}

#[cfg(test)]
mod tests {
    use super::{super::schema, *};

    fn plan(way: Way) -> String {
        let connection = Connection::open_in_memory().expect("SQLite");
        schema::migrate(&connection).unwrap_or_else(|_| panic!("the schema"));
        let filter = Filter::shown(&[DisplayState::Scheduled], Timestamp::UNIX_EPOCH);
        let (sql, values) = ids(&filter, way, None, 20);
        let params: Vec<&dyn ToSql> = values.iter().map(|value| value as &dyn ToSql).collect();
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a plan");
        let lines = explain.query_map(params.as_slice(), |row| row.get::<_, String>(3)).expect("a plan");
        lines.map(|line| line.expect("a line")).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn scheduled_jobs_are_found_without_reading_the_rows_of_others() {
        let by_index = plan(Way::Index);
        assert!(
            by_index.contains("SCAN backroom_jobs USING COVERING INDEX backroom_jobs_queued"),
            "{by_index}"
        );
        let newest = plan(Way::Newest);
        assert!(newest.contains("SEARCH backroom_jobs USING PRIMARY KEY (id<?)"), "{newest}");
        assert!(!newest.contains("SCAN backroom_jobs"), "{newest}");
    }
}
