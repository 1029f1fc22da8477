//! Jobs with unique keys, in transactions of our own.
//!
//! Most enqueues of a key find a job that holds it and stays: a read without a lock and without a transaction answers
//! them. The others go in rounds. Each round is a transaction, and no round waits for a row while it holds another.
//! Rows that another transaction has locked are left for a later round, and waited for in between. New keys are
//! inserted in their own order. So no two transactions of ours, in however many processes, make a deadlock.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use backroom_core::{
    Timestamp,
    draft::NewJob,
    unique::{Holder, Resolution, resolve_conflict},
};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    NAME_QUEUES, ROWS_MAX,
    keyed::{Locks, find, held_key, insert_found},
};
use crate::store::postgres::{
    Core,
    columns::row::{self, holder_columns},
    wire::{error::Fault, session::Session, settings::Wait, sql::Sql},
};
use crate::{Error, ErrorKind, store::Inserted};

/// How often keys may pass from job to job before the call fails. The deadline of the call mostly comes first.
const ROUNDS_MAX: u32 = 200;

/// How often a round of several keys may wait for a tenth of a second without success.
const LOCKED_OUT_MAX: u32 = 10;

/// The jobs that hold these keys, as they are; nothing is locked. Parameter: the keys.
pub(super) static SEEN: Sql = Sql {
    text: concat!(
        "SELECT ",
        holder_columns!(),
        " FROM {schema}.jobs WHERE unique_held AND unique_key = ANY($1::text[])"
    ),
    types: &[Type::TEXT_ARRAY],
};

/// Waits until no transaction has locked a row; its own lock is gone when it answers. Parameter: the id.
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
    /// Committed; these are left for a later round.
    Written(Vec<usize>),
    /// Undone, because it would have stored a call in part; the same again.
    Undone,
    /// Nothing could be done: this row is locked by another transaction.
    Locked(Uuid),
}

/// Stores the jobs, those of one call together or not at all. Answers what became of them and whether their queues were named.
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
            answer_by_reading(core, handed, &mut answers).await?;
        }
        // In the order of keys, and of those with one key in their own.
        let mut open: Vec<usize> = (0..answers.len()).filter(|index| answers[*index].is_none()).collect();
        open.sort_by_key(|index| held_key(&handed.jobs[*index].0.job));
        if !open.is_empty() {
            let has_one_key = has_one_key(handed, &open);
            // Several keys may still wait for each other (a row that is locked here, a key that is taken there). The short wait
            // ends that long before the server would search for a deadlock.
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

/// Answers for jobs whose key is held by a job that stays as it is, whatever the order of the new ones.
async fn answer_by_reading(
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
        for row in core.writer.query(&SEEN, &[&keys]).await? {
            let (key, holder) = row::holder(&row)?;
            let Some(wanted) = by_key.get(&*key) else { continue };
            let seen: Option<Vec<Inserted>> =
                wanted.iter().map(|index| by_reading(&holder, handed.jobs[*index])).collect();
            for (index, answer) in wanted.iter().zip(seen.into_iter().flatten()) {
                answers[*index] = Some(answer);
            }
        }
    }
    Ok(())
}

fn by_reading(holder: &Holder, (new, now): (&NewJob, Timestamp)) -> Option<Inserted> {
    if holder.id == new.job.id {
        return Some(Inserted::Created);
    }
    match resolve_conflict(holder, new.on_conflict, now) {
        Resolution::Keep => Some(Inserted::Duplicate(holder.id)),
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
            // The caller gets the first reason; a rollback that fails ends the connection.
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
            found.locked.iter().map(|(key, holder)| (key.as_str(), holder.id.0)).collect();
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
