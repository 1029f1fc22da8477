//! Reading jobs without changing them.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use backroom_core::{Attempt, DisplayState, JobId, JobRow, Kinds, LogLine, State, Timestamp, bounds::later};
use tokio_postgres::types::Type;

use crate::store::postgres::{
    Core,
    columns::{
        row,
        table::{has_known_extras, with_lists},
        timestamp::{PgTimestamp, opt},
    },
    wire::{
        connection::Param,
        error::Fault,
        session::Session,
        sql::{Sql, columns},
    },
};
use crate::{
    clock::Clock as _,
    store::{
        Count, Filter, Load, Recorded, Seen,
        verbs::{PlacedAttempt, in_order, not_poison_sql},
    },
};

/// One job. Parameter: the id.
static JOB: Sql = Sql {
    text: concat!(
        "SELECT ",
        columns!(),
        " FROM {schema}.jobs WHERE id = $1 UNION ALL SELECT ",
        columns!(),
        " FROM {schema}.finished WHERE id = $1 UNION ALL SELECT ",
        columns!(),
        " FROM {schema}.jobs_on_trays WHERE id = $1 AND $1 BETWEEN first_id AND last_id"
    ),
    types: &[Type::UUID],
};

/// The unsuccessful attempts of a job, the newest that fit. Parameters: the id, bytes.
static ATTEMPTS: Sql = Sql {
    text: "SELECT lease_id, attempt, \"end\", error, worker, started_at, ended_at FROM ( \
             SELECT *, sum(octet_length(error)) OVER (ORDER BY ended_at DESC, seq DESC ROWS UNBOUNDED PRECEDING) \
               - octet_length(error) AS bytes_before FROM {schema}.attempts WHERE job_id = $1) AS summed \
           WHERE bytes_before < $2 ORDER BY ended_at, seq",
    types: &[Type::UUID, Type::INT8],
};

/// The log of a job. Parameters: the id, how many lines to skip, how many at most, bytes.
static LOGS: Sql = Sql {
    text: "SELECT lease_id, seq, at, line FROM ( \
             SELECT *, sum(octet_length(line)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) - octet_length(line) \
               AS bytes_before FROM ( \
               SELECT * FROM {schema}.logs WHERE job_id = $1 AND position >= $2 ORDER BY position LIMIT $3) AS page) AS summed \
           WHERE bytes_before < $4 ORDER BY position",
    types: &[Type::UUID, Type::INT8, Type::INT8, Type::INT8],
};

/// The unsuccessful attempts of a job, each with the number of lines before it, in the order in which they were recorded.
/// Parameters: the id, how many to skip, how many at most.
static PLACED_ATTEMPTS: Sql = Sql {
    text: "SELECT lease_id, attempt, \"end\", error, worker, started_at, ended_at, after_lines FROM {schema}.attempts \
           WHERE job_id = $1 ORDER BY seq OFFSET $2 LIMIT $3",
    types: &[Type::UUID, Type::INT8, Type::INT8],
};

/// Jobs by queue and state as shown. Parameter: now.
static COUNTS: Sql = Sql {
    text: "SELECT queue, CASE WHEN scheduled_at <= $1 THEN 'available' \
             WHEN attempt > 0 OR crashes > 0 THEN 'retrying' ELSE 'scheduled' END, count(*) \
             FROM {schema}.jobs WHERE state = 'queued' GROUP BY 1, 2 \
           UNION ALL \
           SELECT queue, state, count(*) FROM {schema}.jobs WHERE state <> 'queued' GROUP BY 1, 2 \
           UNION ALL \
           SELECT queue, state, count(*) FROM {schema}.jobs_on_trays GROUP BY 1, 2 \
           UNION ALL \
           SELECT queue, 'completed', count(*) FROM {schema}.finished WHERE state = 'completed' GROUP BY 1 \
           UNION ALL \
           SELECT queue, state, count(*) FROM {schema}.finished WHERE state <> 'completed' GROUP BY 1, 2",
    types: &[Type::TIMESTAMPTZ],
};

/// How much work waits in a queue: an index range per priority. Parameters: queue, now, up to which number due jobs are
/// counted.
static LOAD: Sql = Sql {
    text: "SELECT (SELECT count(*) FROM (SELECT FROM generate_series(0, 9) AS p (priority) CROSS JOIN LATERAL ( \
               SELECT FROM {schema}.jobs WHERE state = 'queued' AND queue = $1 \
                 AND jobs.priority = p.priority::smallint AND scheduled_at <= $2 \
                 AND (expires_at IS NULL OR expires_at > $2) LIMIT $3) AS ranged LIMIT $3) AS due), \
             (SELECT count(*) FROM {schema}.jobs WHERE state = 'running' AND queue = $1) \
               + (SELECT coalesce(sum(live), 0)::bigint FROM {schema}.trays WHERE queue = $1), \
             (SELECT min(first.scheduled_at) FROM generate_series(0, 9) AS p (priority) CROSS JOIN LATERAL ( \
               SELECT scheduled_at FROM {schema}.jobs WHERE state = 'queued' AND queue = $1 \
                 AND jobs.priority = p.priority::smallint AND scheduled_at <= $2 \
                 AND (expires_at IS NULL OR expires_at > $2) ORDER BY scheduled_at, id LIMIT 1) AS first)",
    types: &[Type::TEXT, Type::TIMESTAMPTZ, Type::INT8],
};

/// Due jobs of a queue that are served before one of a priority, time and id: one index range per priority up to its
/// own, of which only what sorts before it. Parameters: queue, priority, scheduled_at, id, now, limit.
static AHEAD: Sql = Sql {
    text: "SELECT count(*) FROM (SELECT FROM generate_series(0, $2::int) AS p (priority) CROSS JOIN LATERAL ( \
             SELECT FROM {schema}.jobs WHERE state = 'queued' AND queue = $1 \
               AND jobs.priority = p.priority::smallint AND scheduled_at <= $5 \
               AND (expires_at IS NULL OR expires_at > $5) \
               AND (p.priority < $2::int OR (scheduled_at, id) < ($3, $4)) LIMIT $6) AS ranged LIMIT $6) AS found",
    types: &[Type::TEXT, Type::INT4, Type::TIMESTAMPTZ, Type::UUID, Type::TIMESTAMPTZ, Type::INT8],
};

/// When the next queued job is due: the first of each priority's range whose kind is taken, that has not expired, and that this
/// program can read.
/// Parameters: queues, kinds, now, and the moments and ids at which the search of each queue and priority begins.
macro_rules! next_due {
    ($of_kinds:literal) => {
        concat!(
            "SELECT min(first.scheduled_at) FROM unnest($1::text[]) WITH ORDINALITY AS asked (queue, place) \
               CROSS JOIN generate_series(0, 9) AS p (priority) CROSS JOIN LATERAL ( \
                 SELECT scheduled_at FROM {schema}.jobs WHERE state = 'queued' AND jobs.queue = asked.queue \
                   AND jobs.priority = p.priority::smallint AND ",
            $of_kinds,
            " AND (scheduled_at, id) > ($4[(asked.place::int - 1) * 10 + p.priority + 1], \
                     $5[(asked.place::int - 1) * 10 + p.priority + 1]) \
                   AND (expires_at IS NULL OR expires_at > $3) AND ",
            has_known_extras!(),
            " ORDER BY scheduled_at, id LIMIT 1) AS first \
               WHERE NOT EXISTS (SELECT FROM {schema}.queues \
                 WHERE queues.name = asked.queue AND queues.paused_at IS NOT NULL)"
        )
    };
}

const NEXT_DUE_TYPES: [Type; 5] =
    [Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::TIMESTAMPTZ, Type::TIMESTAMPTZ_ARRAY, Type::UUID_ARRAY];

static NEXT_DUE: Sql = Sql { text: next_due!("kind = ANY($2::text[])"), types: &NEXT_DUE_TYPES };
static NEXT_DUE_OF_ANY: Sql = Sql { text: next_due!("kind <> ALL($2::text[])"), types: &NEXT_DUE_TYPES };

/// One job.
pub(crate) async fn job(core: &Core, id: JobId) -> Result<Option<JobRow>, Fault> {
    core.claims.query(&JOB, &[&id.0]).await?.first().map(row::job).transpose()
}

/// One job, as a transaction sees it.
pub(crate) async fn job_within(session: &mut Session<'_>, id: JobId) -> Result<Option<JobRow>, Fault> {
    session.query(&JOB, &[&id.0]).await?.first().map(row::job).transpose()
}

/// The unsuccessful attempts of a job, the oldest first; if they are too many bytes, the newest of them.
pub(crate) async fn attempts(core: &Core, id: JobId) -> Result<Vec<Attempt>, Fault> {
    let bytes_max = row::at_most(core.settings.options.bytes_max);
    core.claims.query(&ATTEMPTS, &[&id.0, &bytes_max]).await?.iter().map(row::attempt).collect()
}

/// The log lines of a job in the order they were written.
pub(crate) async fn logs(core: &Core, id: JobId, skip: usize, limit: usize) -> Result<Vec<LogLine>, Fault> {
    let bytes_max = row::at_most(core.settings.options.bytes_max);
    let params: [Param<'_>; 4] = [&id.0, &row::at_most(skip), &row::at_most(limit), &bytes_max];
    core.claims.query(&LOGS, &params).await?.iter().map(row::log_line).collect()
}

/// What was recorded of a job after what was seen. The lines are read first. An attempt that is recorded between both reads stands
/// behind all lines that the first one found, so it is not passed.
pub(crate) async fn history(
    core: &Core,
    id: JobId,
    seen: Seen,
    limit: usize,
) -> Result<Vec<Recorded>, Fault> {
    let lines = logs(core, id, seen.lines as usize, limit).await?;
    let params: [Param<'_>; 3] = [&id.0, &i64::from(seen.attempts), &row::at_most(limit)];
    let rows = core.claims.query(&PLACED_ATTEMPTS, &params).await?;
    let placed = rows.iter().map(|found| Ok((row::number(found, 7)?, row::attempt(found)?)));
    let attempts = placed.collect::<Result<Vec<PlacedAttempt>, Fault>>()?;
    Ok(in_order(seen, lines, attempts, limit))
}

/// Jobs that match, the newest first.
pub(crate) async fn list(
    core: &Core,
    filter: &Filter,
    before: Option<JobId>,
    limit: usize,
) -> Result<Vec<JobRow>, Fault> {
    let (before, limit) = (before.map(|id| id.0), row::at_most(limit));
    let tag = filter.tag.as_ref().map(|tag| row::encoded(&[tag])).transpose()?;
    let (from, until) = (opt(filter.created_from), opt(filter.created_before));
    let batch = filter.batch.map(|batch| batch.0);
    let priority = filter.priority.map(i16::from);
    let from_id = filter.from_id.map(|id| id.0);
    let finished_from = opt(filter.finished_from);

    // The text differs with the conditions, so that the planner sees only those that are set.
    let never_runs_nor_ends = |state: &State| matches!(state, State::Queued | State::Waiting);
    let table = if !filter.states.is_empty() && filter.states.iter().all(never_runs_nor_ends) {
        "jobs"
    } else {
        "every_job"
    };
    // The database knows the size of a value without reading it, so rows beyond the limit are not read.
    let bytes = "octet_length(args) + coalesce(octet_length(output), 0) + coalesce(octet_length(extras), 0)";
    let text = format!(
        "SELECT {} FROM (SELECT *, sum(bytes) OVER (ORDER BY id DESC ROWS UNBOUNDED PRECEDING) - bytes AS bytes_before \
         FROM (SELECT *, {bytes} AS bytes FROM \"{}\".{table} WHERE true",
        with_lists(columns!()),
        core.settings.schema()
    );
    let mut query = Query { text, params: Vec::new() };
    if let Some(before) = &before {
        query.and("id < ?", before, Type::UUID);
    }
    if let Some(queue) = &filter.queue {
        query.and("queue = ?", queue, Type::TEXT);
    }
    if let Some(queues) = &filter.queues {
        query.and("queue = ANY(?)", queues, Type::TEXT_ARRAY);
    }
    if let Some(kind) = &filter.kind {
        query.and("kind = ?", kind, Type::TEXT);
    }
    if let Some(batch) = &batch {
        query.and("batch = ?", batch, Type::UUID);
    }
    if let Some(tag) = &tag {
        query.and("tags @> ?::text::jsonb", tag, Type::TEXT);
    }
    if let Some(lane) = &filter.lane {
        query.and("lane = ?", lane, Type::TEXT);
    }
    if let Some(worker) = &filter.worker {
        query.and("worker = ?", worker, Type::TEXT);
    }
    if let Some(priority) = &priority {
        query.and("priority = ?", priority, Type::INT2);
    }
    if let Some(text) = &filter.error {
        let schema = core.settings.schema();
        let has_error = format!(
            "(strpos(reason, ?) > 0 \
               OR EXISTS (SELECT FROM \"{schema}\".attempts WHERE job_id = id AND strpos(error, ?) > 0))"
        );
        query.and(&has_error, text, Type::TEXT);
    }
    if let Some(from) = &from {
        query.and("created_at >= ?", from, Type::TIMESTAMPTZ);
    }
    if let Some(until) = &until {
        query.and("created_at < ?", until, Type::TIMESTAMPTZ);
    }
    if let Some(from) = &from_id {
        query.and("id >= ?", from, Type::UUID);
    }
    if let Some(from) = &finished_from {
        query.and("finished_at >= ?", from, Type::TIMESTAMPTZ);
    }
    if filter.not_poison {
        query.text.push_str(&not_poison_sql());
    }
    // Constants of this program, written out: so the planner can prove that a partial index has all rows that match,
    // and that the history has none.
    match filter.states.as_slice() {
        [] => {}
        [state] => _ = write!(query.text, " AND state = '{state}'"),
        states => {
            let words: Vec<String> = states.iter().map(|state| format!("'{state}'")).collect();
            _ = write!(query.text, " AND state IN ({})", words.join(", "));
        }
    }
    let now = filter.queued_as.as_ref().map(|wanted| PgTimestamp(wanted.now));
    if let (Some(wanted), Some(now)) = (&filter.queued_as, &now) {
        query.and(&wanted.sql(&filter.states, "?"), now, Type::TIMESTAMPTZ);
    }
    query.params.push((&limit, Type::INT8));
    let place = query.params.len();
    let bytes_max = row::at_most(core.settings.options.bytes_max);
    query.params.push((&bytes_max, Type::INT8));
    _ = write!(
        query.text,
        " ORDER BY id DESC LIMIT ${place}) AS page) AS summed WHERE bytes_before < ${} OR bytes_before = 0 ORDER BY id DESC",
        place + 1
    );
    let rows = core.reads.query_text(&query.text, &query.params).await?;
    row::jobs(&rows)
}

/// How many jobs there are, by queue and state as shown.
pub(crate) async fn counts(core: &Core, now: Timestamp) -> Result<Vec<Count>, Fault> {
    let mut sums: BTreeMap<(String, DisplayState), u64> = BTreeMap::new();
    for row in core.reads.query(&COUNTS, &[&PgTimestamp(now)]).await? {
        let word: &str = row.try_get(1)?;
        if let Some(state) = DisplayState::ALL.into_iter().find(|shown| shown.as_str() == word) {
            *sums.entry((row.try_get(0)?, state)).or_default() += row.try_get::<_, i64>(2)?.unsigned_abs();
        }
    }
    Ok(sums.into_iter().map(|((queue, state), jobs)| Count { queue, state, jobs }).collect())
}

/// How much work waits in a queue.
pub(crate) async fn load(core: &Core, queue: &str, limit: u64, now: Timestamp) -> Result<Load, Fault> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = core.claims.query(&LOAD, &[&queue, &PgTimestamp(now), &limit]).await?;
    let Some(found) = rows.first() else { return Ok(Load::default()) };
    Ok(Load {
        ready: found.try_get::<_, i64>(0)?.unsigned_abs(),
        running: found.try_get::<_, i64>(1)?.unsigned_abs(),
        oldest_at: row::moment_or_none(found, 2)?,
    })
}

/// How many due jobs of the same queue are served before this one, counted up to `limit`.
pub(crate) async fn ahead(core: &Core, job: &JobRow, limit: u64, now: Timestamp) -> Result<u64, Fault> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let priority = i32::from(job.priority);
    let params: [Param<'_>; 6] =
        [&job.queue, &priority, &PgTimestamp(job.scheduled_at), &job.id.0, &PgTimestamp(now), &limit];
    let rows = core.claims.query(&AHEAD, &params).await?;
    Ok(rows.first().map_or(Ok(0), |row| row.try_get::<_, i64>(0))?.unsigned_abs())
}

/// When the next queued job of these queues and kinds is due.
pub(crate) async fn next_due(
    core: &Core,
    queues: &Vec<String>,
    kinds: &Arc<Kinds>,
    now: Timestamp,
) -> Result<Option<Timestamp>, Fault> {
    let names: Vec<&str> = queues.iter().map(String::as_str).collect();
    let (begin, walk_in) = core.frontiers.search(kinds, &names, core.settings.clock.monotonic());
    let begin_at: Vec<PgTimestamp> = begin.at.iter().copied().map(PgTimestamp).collect();
    let names = kinds.names();
    let params: [Param<'_>; 5] = [queues, &names, &PgTimestamp(now), &begin_at, &begin.ids];
    let sql = if kinds.is_any_but() { &NEXT_DUE_OF_ANY } else { &NEXT_DUE };
    let rows = core.claims.query(sql, &params).await?;
    let found = rows.first().map_or(Ok(None), |row| row::moment_or_none(row, 0))?;
    // A job may have been stored behind that place. The next claim that reads the whole range finds it, so that claim
    // is due then, even if it finds nothing.
    let walk_at = walk_in.map(|span| later(now, span));
    Ok(found.into_iter().chain(walk_at).min())
}

/// A statement that is being composed.
struct Query<'a> {
    text: String,
    params: Vec<(Param<'a>, Type)>,
}

impl<'a> Query<'a> {
    /// Adds a condition on one parameter, written `?`.
    fn and(&mut self, condition: &str, param: Param<'a>, ty: Type) {
        self.params.push((param, ty));
        let place = format!("${}", self.params.len());
        _ = write!(self.text, " AND {}", condition.replace('?', &place));
    }
}
