//! Jobs with unique keys, in transactions of our own.
//!
//! Most enqueues of a key find a job that holds it and stays: that is seen without a lock and without a transaction. What is
//! left goes in rounds, each a transaction, and no round waits for a row while it holds another: rows that another transaction
//! has locked are left for a later round, and waited for in between. New keys are inserted in their own order. So no two
//! transactions of ours, in however many processes, wait for each other in a circle.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use backroom_core::{
    JobRow, Timestamp,
    draft::NewJob,
    unique::{Resolution, resolve_conflict},
};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    NAME_QUEUES, ROWS_MAX,
    keyed::{Locks, find, held_key, insert_found},
};
use crate::store::postgres::{
    Core,
    columns::row,
    wire::{
        error::Fault,
        session::Session,
        settings::Wait,
        sql::{Sql, columns},
    },
};
use crate::{Error, ErrorKind, store::Inserted};

/// How often keys may change hands before the caller hears of it. The deadline of its call comes first.
const ROUNDS_MAX: u32 = 200;

/// How often a round of several keys may wait a tenth of a second in vain.
const LOCKED_OUT_MAX: u32 = 10;

/// The jobs that hold these keys, as they are; nothing is locked. Parameter: the keys.
static SEEN: Sql = Sql {
    text: concat!(
        "SELECT ",
        columns!(),
        " FROM {schema}.jobs WHERE unique_held AND unique_key = ANY($1::text[])"
    ),
    types: &[Type::TEXT_ARRAY],
};

/// Waits until nobody has locked a row; nothing is locked any more when it answers. Parameter: the id.
static AWAIT: Sql =
    Sql { text: "SELECT id FROM {schema}.jobs WHERE id = $1 FOR UPDATE", types: &[Type::UUID] };

/// Jobs of several calls: each with its moment and the place of its call.
pub(super) struct Handed<'a> {
    pub(super) jobs: &'a [(&'a NewJob, Timestamp)],
    /// By job.
    pub(super) calls: &'a [usize],
    /// An earlier call with some of them may have taken effect.
    pub(super) is_repeated: bool,
}

/// What a round came to.
enum Round {
    /// It is committed; these are left for a later round.
    Written(Vec<usize>),
    /// It is undone, because a call would have been stored in part; the same again.
    Undone,
    /// Nothing could be done: this row is locked by another transaction.
    Locked(Uuid),
}

/// Stores the jobs, those of one call together or not at all. Answers with what became of them and whether their queues were named.
pub(super) async fn insert(
    core: &Core,
    handed: &Handed<'_>,
    mut unnamed: &[String],
    wait: Wait,
) -> Result<(Vec<Inserted>, bool), Fault> {
    let mut answers: Vec<Option<Inserted>> = vec![None; handed.jobs.len()];
    let (mut is_named, mut locked_out) = (false, 0);
    for _ in 0..ROUNDS_MAX {
        if !handed.is_repeated {
            keep_at_sight(core, handed, &mut answers).await?;
        }
        // In the order of keys, and of those with one key in their own.
        let mut open: Vec<usize> = (0..answers.len()).filter(|index| answers[*index].is_none()).collect();
        open.sort_by_key(|index| held_key(&handed.jobs[*index].0.job));
        if !open.is_empty() {
            let has_one_key = has_one_key(handed, &open);
            // A circle that several keys may still make (a row that is locked here, a key that is taken there) is broken by the
            // short wait, long before the server would look for it.
            let round_wait = if has_one_key && unnamed.is_empty() { wait } else { Wait::Briefly };
            let done = match round(core, handed, &open, unnamed, round_wait, &mut answers).await {
                // A transaction that is still open may name the queue. The jobs need not wait for that: the next enqueue names it.
                Err(fault) if fault.is_locked_out() && !unnamed.is_empty() => {
                    unnamed = &[];
                    Round::Undone
                }
                Err(fault) if fault.is_locked_out() && !has_one_key && locked_out < LOCKED_OUT_MAX => {
                    locked_out += 1;
                    Round::Undone
                }
                done => done?,
            };
            match done {
                Round::Written(left) => {
                    is_named |= !unnamed.is_empty();
                    left.iter().for_each(|index| answers[*index] = None);
                }
                Round::Undone => open.iter().for_each(|index| answers[*index] = None),
                Round::Locked(id) => {
                    open.iter().for_each(|index| answers[*index] = None);
                    core.writer.query_waiting(wait, &AWAIT, &[&id]).await?;
                }
            }
        }
        if answers.iter().all(Option::is_some) {
            return Ok((answers.into_iter().flatten().collect(), is_named));
        }
    }
    let why = "insert the jobs: their unique keys change hands too fast";
    Err(Error::new(ErrorKind::Unavailable, why).into())
}

/// Answers for jobs whose key a job holds that stays as it is, whatever order the new ones are taken in.
async fn keep_at_sight(
    core: &Core,
    handed: &Handed<'_>,
    answers: &mut [Option<Inserted>],
) -> Result<(), Fault> {
    let mut by_key: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for index in (0..answers.len()).filter(|index| answers[*index].is_none()) {
        if let Some(key) = held_key(&handed.jobs[index].0.job) {
            by_key.entry(key).or_default().push(index);
        }
    }
    let keys: Vec<&str> = by_key.keys().copied().collect();
    for keys in keys.chunks(ROWS_MAX) {
        for holder in row::jobs(&core.writer.query(&SEEN, &[&keys]).await?)? {
            let Some(wanted) = holder.unique_key.as_deref().and_then(|key| by_key.get(key)) else { continue };
            let seen: Option<Vec<Inserted>> =
                wanted.iter().map(|index| at_sight(&holder, handed.jobs[*index])).collect();
            for (index, answer) in wanted.iter().zip(seen.into_iter().flatten()) {
                answers[*index] = Some(answer);
            }
        }
    }
    Ok(())
}

fn at_sight(holder: &JobRow, (new, now): (&NewJob, Timestamp)) -> Option<Inserted> {
    if holder.id == new.job.id {
        return Some(Inserted::Created);
    }
    match resolve_conflict(holder, new.on_conflict, now) {
        Resolution::Keep => Some(Inserted::Kept(holder.id)),
        Resolution::Reject => Some(Inserted::KeyHeld(holder.id)),
        Resolution::Replace | Resolution::Release => None,
    }
}

async fn round(
    core: &Core,
    handed: &Handed<'_>,
    open: &[usize],
    unnamed: &[String],
    wait: Wait,
    answers: &mut [Option<Inserted>],
) -> Result<Round, Fault> {
    let transaction = core.writer.begin().await?;
    let written = async {
        transaction.wait(wait).await?;
        if !unnamed.is_empty() {
            transaction.query(&NAME_QUEUES, &[&unnamed]).await?;
        }
        write(&mut Session::Ours(&transaction), handed, open, answers).await
    };
    match written.await {
        Ok(left) if left.splits_a_call() => {
            transaction.rollback().await?;
            Ok(left.locked.map_or(Round::Undone, Round::Locked))
        }
        Ok(left) => {
            transaction.commit().await?;
            Ok(match left.locked {
                Some(id) if left.jobs.len() == open.len() => Round::Locked(id),
                _ => Round::Written(left.jobs.into_iter().collect()),
            })
        }
        Err(fault) => {
            // The reason is what the caller must hear; a rollback that fails takes the connection along.
            _ = transaction.rollback().await;
            Err(fault)
        }
    }
}

/// Writes what can be written without waiting for a row, chunk by chunk.
async fn write<'a>(
    session: &mut Session<'_>,
    handed: &Handed<'a>,
    open: &[usize],
    answers: &mut [Option<Inserted>],
) -> Result<Left, Fault> {
    let keys: BTreeSet<&str> = open.iter().filter_map(|index| held_key(&handed.jobs[*index].0.job)).collect();
    // With one key there is one row to wait for, and no other is held meanwhile.
    let locks = if keys.len() <= 1 { Locks::Awaited } else { Locks::Free };
    let mut left = Left::default();
    for chunk in open.chunks(ROWS_MAX) {
        let found = find(session, handed.jobs, chunk, locks).await?;
        let locked: HashMap<&str, Uuid> =
            found.locked.iter().filter_map(|job| Some((job.unique_key.as_deref()?, job.id.0))).collect();
        for index in chunk {
            if let Some(id) = held_key(&handed.jobs[*index].0.job).and_then(|key| locked.get(key)) {
                left.locked = left.locked.or(Some(*id));
                left.calls.insert(handed.calls[*index]);
            }
        }
        let chunk: Vec<usize> =
            chunk.iter().copied().filter(|index| !left.calls.contains(&handed.calls[*index])).collect();
        if !chunk.is_empty() {
            let contested = insert_found(session, handed.jobs, &chunk, found, answers).await?;
            left.calls.extend(contested.iter().map(|index| handed.calls[*index]));
            let contested: HashSet<usize> = contested.into_iter().collect();
            let written = chunk.iter().filter(|index| !contested.contains(index));
            left.written.extend(written.map(|index| handed.calls[*index]));
        }
    }
    left.jobs = open.iter().copied().filter(|index| left.calls.contains(&handed.calls[*index])).collect();
    Ok(left)
}

fn has_one_key(handed: &Handed<'_>, open: &[usize]) -> bool {
    let keys: BTreeSet<&str> = open.iter().filter_map(|index| held_key(&handed.jobs[*index].0.job)).collect();
    keys.len() <= 1
}

/// What a round leaves for a later one.
#[derive(Default)]
struct Left {
    jobs: Vec<usize>,
    /// Their calls.
    calls: HashSet<usize>,
    /// Calls of which jobs were written.
    written: HashSet<usize>,
    /// A row that another transaction has locked.
    locked: Option<Uuid>,
}

impl Left {
    /// Whether a call would be stored in part.
    fn splits_a_call(&self) -> bool {
        !self.calls.is_disjoint(&self.written)
    }
}
