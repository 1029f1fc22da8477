//! Jobs of which some have unique keys: who holds the keys, what core decides, and the statements that write it.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use backroom_core::{
    JobId, JobRow, Timestamp,
    draft::NewJob,
    unique::{Holder, Resolution, replace_content, resolve_conflict},
};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{INSERT, STORED, TAKE_BACK};
use crate::store::Inserted;
use crate::store::postgres::{
    columns::{
        row::{self, Cells as _, HOLDER_COLUMNS, holder_columns},
        table::{Columns, JOB_TYPES, unnested_jobs},
    },
    wire::{
        error::Fault,
        session::Session,
        sql::{Sql, rows_by_id},
    },
};

/// The jobs that hold these keys, locked until the transaction ends. A running job can only lose its key by leaving `jobs`. So
/// its row is locked against that and no more: the transaction may be a caller's, and last longer than a lease, which is
/// renewed meanwhile. Each part goes in the order of ids, as commits do, which take queued and running jobs apart. A job
/// that another transaction claims at this moment is in neither part; then the insert finds its key taken. Parameter: the keys.
macro_rules! locked_holders {
    ($otherwise:literal) => {
        concat!(
            "still AS MATERIALIZED (SELECT * FROM {schema}.jobs \
               WHERE unique_held AND unique_key = ANY($1::text[]) AND state <> 'running' ORDER BY id FOR UPDATE",
            $otherwise,
            "), \
             running AS MATERIALIZED (SELECT * FROM {schema}.jobs \
               WHERE unique_held AND unique_key = ANY($1::text[]) AND state = 'running' ORDER BY id FOR KEY SHARE",
            $otherwise,
            ")"
        )
    };
}

/// Waits for those that another transaction has locked.
static HOLDERS: Sql = Sql {
    text: concat!(
        "WITH ",
        locked_holders!(""),
        " SELECT ",
        holder_columns!(),
        ", true FROM (SELECT * FROM still UNION ALL SELECT * FROM running) AS holders"
    ),
    types: &[Type::TEXT_ARRAY],
};

/// Waits for none: holders that another transaction has locked come last, as they were before it.
static FREE_HOLDERS: Sql = Sql {
    text: concat!(
        "WITH ",
        locked_holders!(" SKIP LOCKED"),
        ", free AS MATERIALIZED (SELECT * FROM still UNION ALL SELECT * FROM running) SELECT ",
        holder_columns!(),
        ", true FROM free UNION ALL SELECT ",
        holder_columns!(),
        ", false FROM {schema}.jobs WHERE unique_held AND unique_key = ANY($1::text[]) AND id NOT IN (SELECT id FROM free)"
    ),
    types: &[Type::TEXT_ARRAY],
};

/// Where a holder's row says whether this transaction has locked it: behind what decides about the holder.
const LOCKED_COLUMN: usize = HOLDER_COLUMNS;

/// What to do about holders that another transaction has locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locks {
    /// Wait for them.
    Awaited,
    /// Pass over them.
    Free,
}

/// Releases the keys of jobs whose window has passed. The revision moves, so that a report that was decided on the row before
/// cannot take the key back. Parameter: the ids.
static RELEASE: Sql = Sql {
    text: "UPDATE {schema}.jobs SET unique_held = false, revision = revision + 1 WHERE id = ANY($1::uuid[])",
    types: &[Type::UUID_ARRAY],
};

/// Replaces the content of queued holders; [`HOLDERS`] has locked their rows. Parameters: all columns.
static REPLACE: Sql = Sql {
    text: concat!(
        "UPDATE {schema}.jobs SET lane = new.lane, priority = new.priority, args = new.args, \
         max_attempts = new.max_attempts, scheduled_at = new.scheduled_at, expires_at = new.expires_at, \
         tags = new.tags, extras = new.extras, revision = new.revision \
         FROM (",
        unnested_jobs!(),
        ") AS new ",
        rows_by_id!(),
        " AND jobs.lease_until IS NULL AND jobs.finished_at IS NULL"
    ),
    types: &JOB_TYPES,
};

/// The job that holds a key while a chunk is decided.
enum KeyHolder {
    /// A stored job, locked, and the content that it is to have instead of its own.
    Stored(Holder, Option<Box<JobRow>>),
    /// A job of this very chunk.
    Fresh(usize),
}

impl KeyHolder {
    /// What a stored job is to have instead of its own content.
    fn content(&self) -> Option<&JobRow> {
        match self {
            Self::Stored(_, content) => content.as_deref(),
            Self::Fresh(_) => None,
        }
    }
}

/// What is to be written for a chunk.
#[derive(Default)]
struct Plan<'a> {
    holders: HashMap<&'a str, KeyHolder>,
    fresh: Vec<(usize, Cow<'a, JobRow>)>,
    releases: Vec<Uuid>,
    /// Answers that hold only if a fresh job is inserted: (job, position in `fresh`).
    dependent: Vec<(usize, usize)>,
}

/// What is stored before a chunk is decided.
pub(super) struct Found {
    known: HashSet<Uuid>,
    /// By key.
    holders: Vec<(String, Holder)>,
    /// Holders that another transaction has locked.
    pub(super) locked: Vec<(String, Holder)>,
}

/// Finds which of the jobs are stored, and which jobs hold their keys.
pub(super) async fn find(
    session: &mut Session<'_>,
    jobs: &[(&NewJob, Timestamp)],
    chunk: &[usize],
    locks: Locks,
) -> Result<Found, Fault> {
    let ids: Vec<Uuid> = chunk.iter().map(|index| jobs[*index].0.job.id.0).collect();
    let keys: Vec<&str> = chunk.iter().filter_map(|index| held_key(&jobs[*index].0.job)).collect();
    let holders = match locks {
        Locks::Awaited => &HOLDERS,
        Locks::Free => &FREE_HOLDERS,
    };
    let (stored, rows) = session.query_both((&STORED, &[&ids]), (holders, &[&keys])).await?;
    let known: HashSet<Uuid> = stored.iter().map(|row| row.cell(0)).collect::<Result<_, _>>()?;
    let mut found = Found { known, holders: Vec::new(), locked: Vec::new() };
    for row in &rows {
        let holder = row::holder(row)?;
        let is_ours: bool = row.cell(LOCKED_COLUMN)?;
        if is_ours { found.holders.push(holder) } else { found.locked.push(holder) }
    }
    Ok(found)
}

/// Decides on a chunk whose holders are locked, and writes it. Answers with the jobs whose key another transaction took
/// after the search.
pub(super) async fn insert_found(
    session: &mut Session<'_>,
    jobs: &[(&NewJob, Timestamp)],
    chunk: &[usize],
    found: Found,
    answers: &mut [Option<Inserted>],
) -> Result<Vec<usize>, Fault> {
    let ids: Vec<Uuid> = chunk.iter().map(|index| jobs[*index].0.job.id.0).collect();
    let keys: HashSet<&str> = chunk.iter().filter_map(|index| held_key(&jobs[*index].0.job)).collect();
    let Found { mut known, holders, .. } = found;
    let mut plan = Plan::default();
    for (key, holder) in holders {
        if let Some(key) = keys.get(&*key).copied() {
            plan.holders.insert(key, KeyHolder::Stored(holder, None));
        }
    }
    for index in chunk {
        let (new, now) = jobs[*index];
        answers[*index] = Some(if known.insert(new.job.id.0) {
            decide(&mut plan, *index, new, now)
        } else {
            Inserted::Created
        });
    }
    let contested = write(session, &plan, &ids).await?;
    contested.iter().for_each(|index| answers[*index] = None);
    Ok(contested)
}

/// The key that a job would hold.
pub(super) fn held_key(job: &JobRow) -> Option<&str> {
    job.unique_key.as_deref().filter(|_| job.unique_held)
}

fn decide<'a>(plan: &mut Plan<'a>, index: usize, new: &'a NewJob, now: Timestamp) -> Inserted {
    let Some(key) = held_key(&new.job) else {
        plan.fresh.push((index, Cow::Borrowed(&new.job)));
        return Inserted::Created;
    };
    match plan.holders.get_mut(key) {
        None => take(plan, index, new, key),
        Some(KeyHolder::Stored(holder, content)) => match resolve_conflict(holder, new.on_conflict, now) {
            Resolution::Keep => Inserted::Duplicate(holder.id),
            Resolution::Reject => Inserted::KeyHeld(holder.id),
            Resolution::Replace => {
                let replaced = content.insert(Box::new(holder.with_content(&new.job)));
                holder.revision = replaced.revision;
                Inserted::Replaced(holder.id)
            }
            Resolution::Release => {
                plan.releases.push(holder.id.0);
                take(plan, index, new, key)
            }
        },
        Some(KeyHolder::Fresh(position)) => {
            let position = *position;
            let holder = plan.fresh[position].1.to_mut();
            plan.dependent.push((index, position));
            match resolve_conflict(&Holder::from(&*holder), new.on_conflict, now) {
                Resolution::Keep => Inserted::Duplicate(holder.id),
                Resolution::Reject => Inserted::KeyHeld(holder.id),
                Resolution::Replace => {
                    replace_content(holder, &new.job);
                    Inserted::Replaced(holder.id)
                }
                Resolution::Release => {
                    holder.unique_held = false;
                    holder.revision += 1;
                    take(plan, index, new, key)
                }
            }
        }
    }
}

fn take<'a>(plan: &mut Plan<'a>, index: usize, new: &'a NewJob, key: &'a str) -> Inserted {
    plan.holders.insert(key, KeyHolder::Fresh(plan.fresh.len()));
    plan.fresh.push((index, Cow::Borrowed(&new.job)));
    Inserted::Created
}

/// Carries the plan out. Answers with the jobs whose key another transaction took after the search.
async fn write(session: &mut Session<'_>, plan: &Plan<'_>, ids: &Vec<Uuid>) -> Result<Vec<usize>, Fault> {
    if !plan.releases.is_empty() {
        let mut releases = plan.releases.clone();
        releases.sort_unstable();
        session.query(&RELEASE, &[&releases]).await?;
    }
    let mut replaced: Vec<&JobRow> = plan.holders.values().filter_map(KeyHolder::content).collect();
    replaced.sort_unstable_by_key(|job| job.id);
    if !replaced.is_empty() {
        session.query_by_index(&REPLACE, &Columns::of(replaced.into_iter())?.params()).await?;
    }
    if plan.fresh.is_empty() {
        return Ok(Vec::new());
    }
    // In the order of keys, so that two processes that insert the same keys make no deadlock.
    let mut fresh: Vec<&JobRow> = plan.fresh.iter().map(|(_, job)| job.as_ref()).collect();
    fresh.sort_by(|one, other| one.unique_key.cmp(&other.unique_key));
    let rows = session.query(&INSERT, &Columns::of(fresh.into_iter())?.params()).await?;
    session.query(&TAKE_BACK, &[ids]).await?;
    if rows.len() == plan.fresh.len() {
        return Ok(Vec::new());
    }
    let stored: HashSet<JobId> = rows.iter().map(|row| row.cell(0).map(JobId)).collect::<Result<_, _>>()?;
    let is_in = |position: usize| stored.contains(&plan.fresh[position].1.id);
    let mut contested: Vec<usize> = (0..plan.fresh.len())
        .filter(|position| !is_in(*position))
        .map(|position| plan.fresh[position].0)
        .collect();
    contested
        .extend(plan.dependent.iter().filter(|(_, position)| !is_in(*position)).map(|(index, _)| *index));
    contested.sort_unstable();
    Ok(contested)
}
