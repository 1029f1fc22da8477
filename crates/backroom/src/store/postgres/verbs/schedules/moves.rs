//! Writing what schedules decided.
//!
//! One transaction for many moves: the rows of the schedules first, under their guards, then what belongs to those that were written.
//! A row that another transaction has locked is skipped, so no process waits for another that does the same work.

use std::collections::{HashMap, HashSet};

use backroom_core::{Timestamp, draft::NewJob, schedule::Entry};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::whole;
use crate::store::{
    Inserted, Moved, ScheduleMove,
    postgres::{
        Core,
        columns::{
            table::Columns,
            timestamp::{PgTimestamp, opt},
        },
        verbs::insert::{self, INSERT_UNLESS_FINISHED, NAME_QUEUES},
        wire::{
            connection::{Bound, Param},
            error::Fault,
            settings::Wait,
            sql::Sql,
        },
    },
};

/// Writes the rows whose guards match and that no other transaction has locked; creates those that must not exist. Answers with the names
/// of what was written. Parameters: names, revisions before (null to create), origins, created, changed, definitions, states, next turns,
/// names of the moves; an array each.
static MOVE: Sql = Sql {
    text: "WITH new AS MATERIALIZED (SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::timestamptz[], \
             $5::timestamptz[], $6::text[], $7::text[], $8::timestamptz[], $9::uuid[]) \
             AS new (name, revision_before, origin, created_at, changed_at, definition, state, next_at, moved_by)), \
           free AS MATERIALIZED (SELECT new.* FROM new JOIN {schema}.schedules \
             ON schedules.name = ANY (ARRAY[new.name]) WHERE new.revision_before IS NOT NULL \
             ORDER BY schedules.name FOR UPDATE OF schedules SKIP LOCKED), \
           created AS (INSERT INTO {schema}.schedules \
             (name, origin, created_at, changed_at, definition, state, next_at, revision, moved_by) \
             SELECT name, origin, created_at, changed_at, definition, state, next_at, 0, moved_by FROM new \
             WHERE revision_before IS NULL ORDER BY name ON CONFLICT DO NOTHING RETURNING name), \
           moved AS (UPDATE {schema}.schedules SET origin = new.origin, changed_at = new.changed_at, \
             definition = new.definition, state = new.state, next_at = new.next_at, \
             revision = schedules.revision + 1, moved_by = new.moved_by \
             FROM free AS new \
             WHERE schedules.name = ANY (ARRAY[new.name]) AND schedules.revision = new.revision_before \
             RETURNING schedules.name) \
           SELECT name FROM created UNION ALL SELECT name FROM moved",
    types: &[
        Type::TEXT_ARRAY,
        Type::INT8_ARRAY,
        Type::TEXT_ARRAY,
        Type::TIMESTAMPTZ_ARRAY,
        Type::TIMESTAMPTZ_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::TIMESTAMPTZ_ARRAY,
        Type::UUID_ARRAY,
    ],
};

/// How schedules are that were not written. Parameter: names.
static CURRENT: Sql = Sql {
    text: "SELECT name, revision::bigint, moved_by FROM {schema}.schedules WHERE name = ANY($1::text[])",
    types: &[Type::TEXT_ARRAY],
};

/// Adds entries whose jobs have none. Answers with those jobs. Parameters: schedules, numbers, what, nominal times, moments, jobs, keys;
/// an array each.
static ADD_RUNS: Sql = Sql {
    text: "INSERT INTO {schema}.schedule_entries (schedule, seq, what, first, last, count, at, job_id, key) \
           SELECT schedule, seq, what, first, first, 1, at, job_id, key \
           FROM unnest($1::text[], $2::bigint[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::uuid[], $7::text[]) \
             AS new (schedule, seq, what, first, at, job_id, key) \
           ON CONFLICT DO NOTHING RETURNING job_id",
    types: &[
        Type::TEXT_ARRAY,
        Type::INT8_ARRAY,
        Type::TEXT_ARRAY,
        Type::TIMESTAMPTZ_ARRAY,
        Type::TIMESTAMPTZ_ARRAY,
        Type::UUID_ARRAY,
        Type::TEXT_ARRAY,
    ],
};

/// Writes entries of occurrences that did not run; an entry of the same number grows. Parameters: schedules, numbers, why, first and last
/// nominal times, counts, moments; an array each.
static ADD_PASSED: Sql = Sql {
    text: "INSERT INTO {schema}.schedule_entries (schedule, seq, what, first, last, count, at) \
           SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::bigint[], \
             $7::timestamptz[]) \
           ON CONFLICT (schedule, seq) DO UPDATE SET what = excluded.what, first = excluded.first, last = excluded.last, \
             count = excluded.count, at = excluded.at",
    types: &[
        Type::TEXT_ARRAY,
        Type::INT8_ARRAY,
        Type::TEXT_ARRAY,
        Type::TIMESTAMPTZ_ARRAY,
        Type::TIMESTAMPTZ_ARRAY,
        Type::INT8_ARRAY,
        Type::TIMESTAMPTZ_ARRAY,
    ],
};

/// Writes how runs ended. Parameters: jobs, ends (null for a run that goes on), moments, reasons; an array each.
static END_RUNS: Sql = Sql {
    text: "UPDATE {schema}.schedule_entries SET became = new.became, ended_at = new.at, reason = new.reason \
           FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[]) AS new (job_id, became, at, reason) \
           WHERE schedule_entries.job_id = ANY (ARRAY[new.job_id])",
    types: &[Type::UUID_ARRAY, Type::TEXT_ARRAY, Type::TIMESTAMPTZ_ARRAY, Type::TEXT_ARRAY],
};

/// Deletes reports that were taken over. Parameter: their numbers.
static TAKE_OVER: Sql = Sql {
    text: "DELETE FROM {schema}.schedule_reports WHERE number = ANY($1::bigint[])",
    types: &[Type::INT8_ARRAY],
};

/// Deletes old entries. Parameters: schedules, last numbers to delete, since when keys are remembered; an array each.
static FORGET: Sql = Sql {
    text: "DELETE FROM {schema}.schedule_entries \
           USING unnest($1::text[], $2::bigint[], $3::timestamptz[]) AS old (schedule, up_to, keys_before) \
           WHERE schedule_entries.schedule = ANY (ARRAY[old.schedule]) AND seq <= up_to \
             AND (job_id IS NULL OR became IS NOT NULL) AND (key IS NULL OR at < keys_before)",
    types: &[Type::TEXT_ARRAY, Type::INT8_ARRAY, Type::TIMESTAMPTZ_ARRAY],
};

/// Writes the moves; one answer per move, in order.
pub(crate) async fn move_all(core: &Core, moves: &[ScheduleMove]) -> Result<Vec<Moved>, Fault> {
    if moves.is_empty() {
        return Ok(Vec::new());
    }
    let rows = RowColumns::of(moves);
    let (transaction, written) = core.writer.begin_with(Wait::Usual, &MOVE, &rows.params()).await?;
    let written: HashSet<String> = written.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let done = || moves.iter().filter(|moving| written.contains(&moving.row.name));
    let runs = RunColumns::of(done());
    let added: HashSet<Uuid> = if runs.job_id.is_empty() {
        HashSet::new()
    } else {
        let added = transaction.query(&ADD_RUNS, &runs.params()).await?;
        added.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?
    };
    let runs = done().flat_map(|moving| &moving.jobs).filter(|new| added.contains(&new.job.id.0));
    let jobs: Vec<&NewJob> = runs.chain(done().flat_map(|moving| &moving.notices)).collect();
    let mut unnamed = core.unnamed_queues(jobs.iter().map(|new| new.job.queue.as_str()));
    let of_jobs = Columns::of(jobs.iter().map(|new| &new.job))?;
    let (passed, ends, forgotten) =
        (PassedColumns::of(done()), EndColumns::of(done()), ForgetColumns::of(done()));
    let taken_over: Vec<i64> =
        done().flat_map(|moving| &moving.taken_over).map(|number| whole(*number)).collect();
    let mut statements: Vec<Bound<'_>> = Vec::new();
    if !passed.seq.is_empty() {
        statements.push((&ADD_PASSED, passed.params()));
    }
    if !ends.job_id.is_empty() {
        statements.push((&END_RUNS, ends.params()));
    }
    if !taken_over.is_empty() {
        statements.push((&TAKE_OVER, vec![&taken_over]));
    }
    if !forgotten.schedule.is_empty() {
        statements.push((&FORGET, forgotten.params()));
    }
    if !unnamed.is_empty() {
        statements.push((&NAME_QUEUES, vec![&unnamed]));
    }
    if !jobs.is_empty() {
        statements.push((&INSERT_UNLESS_FINISHED, of_jobs.params()));
    }
    transaction.commit_with(&statements).await?;
    core.remember_queues(std::mem::take(&mut unnamed));
    notify(core, &jobs);
    if done().any(|moving| moving.notify) {
        core.hints.schedules();
    }
    answers(core, moves, &written).await
}

fn notify(core: &Core, jobs: &[&NewJob]) {
    let jobs: Vec<(&NewJob, Timestamp)> = jobs.iter().map(|new| (*new, new.job.created_at)).collect();
    insert::notify(&core.hints, &jobs, &vec![Inserted::Created; jobs.len()]);
}

/// What became of moves whose guards did not match.
async fn answers(
    core: &Core,
    moves: &[ScheduleMove],
    written: &HashSet<String>,
) -> Result<Vec<Moved>, Fault> {
    let unwritten: Vec<&str> =
        moves.iter().map(|moving| moving.row.name.as_str()).filter(|name| !written.contains(*name)).collect();
    let mut current: HashMap<String, (u64, Uuid)> = HashMap::new();
    if !unwritten.is_empty() {
        for row in core.writer.query(&CURRENT, &[&unwritten]).await? {
            let revision = row.try_get::<_, i64>(1)?.unsigned_abs();
            current.insert(row.try_get(0)?, (revision, row.try_get(2)?));
        }
    }
    let answer = |moving: &ScheduleMove| match current.get(&moving.row.name) {
        _ if written.contains(&moving.row.name) => Moved::Done,
        Some((_, moved_by)) if moving.is_written(*moved_by) => Moved::Done,
        Some((revision, _)) if moving.revision_before == Some(*revision) => Moved::Locked,
        Some(_) | None => Moved::Stale,
    };
    Ok(moves.iter().map(answer).collect())
}

#[derive(Default)]
struct RowColumns<'a> {
    name: Vec<&'a str>,
    revision_before: Vec<Option<i64>>,
    origin: Vec<&'static str>,
    created_at: Vec<PgTimestamp>,
    changed_at: Vec<PgTimestamp>,
    definition: Vec<&'a str>,
    state: Vec<&'a str>,
    next_at: Vec<Option<PgTimestamp>>,
    moved_by: Vec<Uuid>,
}

impl<'a> RowColumns<'a> {
    fn of(moves: &'a [ScheduleMove]) -> Self {
        let mut columns = Self::default();
        for ScheduleMove { revision_before, row, .. } in moves {
            columns.name.push(&row.name);
            columns.revision_before.push(revision_before.map(whole));
            columns.origin.push(row.origin.as_str());
            columns.created_at.push(PgTimestamp(row.created_at));
            columns.changed_at.push(PgTimestamp(row.changed_at));
            columns.definition.push(&row.definition);
            columns.state.push(&row.state);
            columns.next_at.push(opt(row.next_at));
            columns.moved_by.push(row.moved_by);
        }
        columns
    }

    fn params(&self) -> Vec<Param<'_>> {
        vec![
            &self.name,
            &self.revision_before,
            &self.origin,
            &self.created_at,
            &self.changed_at,
            &self.definition,
            &self.state,
            &self.next_at,
            &self.moved_by,
        ]
    }
}

/// The entries of a move, with the name of its schedule.
fn entries<'a>(moves: impl Iterator<Item = &'a ScheduleMove>) -> impl Iterator<Item = (&'a str, &'a Entry)> {
    moves.flat_map(|moving| moving.entries.iter().map(move |entry| (moving.row.name.as_str(), entry)))
}

#[derive(Default)]
struct RunColumns<'a> {
    schedule: Vec<&'a str>,
    seq: Vec<i64>,
    what: Vec<&'static str>,
    first: Vec<PgTimestamp>,
    at: Vec<PgTimestamp>,
    job_id: Vec<Uuid>,
    key: Vec<Option<&'a str>>,
}

impl<'a> RunColumns<'a> {
    fn of(moves: impl Iterator<Item = &'a ScheduleMove>) -> Self {
        let mut columns = Self::default();
        for (schedule, entry) in entries(moves) {
            let Some(job) = entry.job else { continue };
            columns.schedule.push(schedule);
            columns.seq.push(whole(entry.seq));
            columns.what.push(entry.what.as_str());
            columns.first.push(PgTimestamp(entry.first));
            columns.at.push(PgTimestamp(entry.at));
            columns.job_id.push(job.0);
            columns.key.push(entry.key.as_deref());
        }
        columns
    }

    fn params(&self) -> Vec<Param<'_>> {
        vec![&self.schedule, &self.seq, &self.what, &self.first, &self.at, &self.job_id, &self.key]
    }
}

#[derive(Default)]
struct PassedColumns<'a> {
    schedule: Vec<&'a str>,
    seq: Vec<i64>,
    what: Vec<&'static str>,
    first: Vec<PgTimestamp>,
    last: Vec<PgTimestamp>,
    count: Vec<i64>,
    at: Vec<PgTimestamp>,
}

impl<'a> PassedColumns<'a> {
    fn of(moves: impl Iterator<Item = &'a ScheduleMove>) -> Self {
        let mut columns = Self::default();
        for (schedule, entry) in entries(moves).filter(|(_, entry)| entry.job.is_none()) {
            columns.schedule.push(schedule);
            columns.seq.push(whole(entry.seq));
            columns.what.push(entry.what.as_str());
            columns.first.push(PgTimestamp(entry.first));
            columns.last.push(PgTimestamp(entry.last));
            columns.count.push(whole(entry.count));
            columns.at.push(PgTimestamp(entry.at));
        }
        columns
    }

    fn params(&self) -> Vec<Param<'_>> {
        vec![&self.schedule, &self.seq, &self.what, &self.first, &self.last, &self.count, &self.at]
    }
}

#[derive(Default)]
struct EndColumns<'a> {
    job_id: Vec<Uuid>,
    became: Vec<Option<&'static str>>,
    at: Vec<Option<PgTimestamp>>,
    reason: Vec<Option<&'a str>>,
}

impl<'a> EndColumns<'a> {
    /// Of several ends of one job, the last.
    fn of(moves: impl Iterator<Item = &'a ScheduleMove>) -> Self {
        let last: HashMap<_, _> =
            moves.flat_map(|moving| &moving.ends).map(|(job, end)| (job, end.as_ref())).collect();
        let mut columns = Self::default();
        for (job, end) in last {
            columns.job_id.push(job.0);
            columns.became.push(end.map(|end| end.became.as_str()));
            columns.at.push(opt(end.map(|end| end.at)));
            columns.reason.push(end.and_then(|end| end.reason.as_deref()));
        }
        columns
    }

    fn params(&self) -> Vec<Param<'_>> {
        vec![&self.job_id, &self.became, &self.at, &self.reason]
    }
}

#[derive(Default)]
struct ForgetColumns<'a> {
    schedule: Vec<&'a str>,
    up_to: Vec<i64>,
    keys_before: Vec<PgTimestamp>,
}

impl<'a> ForgetColumns<'a> {
    fn of(moves: impl Iterator<Item = &'a ScheduleMove>) -> Self {
        let mut columns = Self::default();
        for moving in moves.filter(|moving| moving.forget_up_to > 0) {
            columns.schedule.push(&moving.row.name);
            columns.up_to.push(whole(moving.forget_up_to));
            columns.keys_before.push(PgTimestamp(moving.forget_keys_before));
        }
        columns
    }

    fn params(&self) -> Vec<Param<'_>> {
        vec![&self.schedule, &self.up_to, &self.keys_before]
    }
}
