//! Signals: stored in the order of commits, each once, with the wake of their workflow in the same transaction.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use backroom_core::{
    Change, Event, JobId, JobRow, State, Timestamp,
    links::{ChildCancel, ChildEnded},
    transition,
    workflow::{Arrival, Arrived, SIGNALS_MAX},
};
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::store::postgres::{
    Core,
    background::batcher::Submission,
    columns::{
        changes::ChangeColumns,
        row::{self, Cells as _},
    },
    tray,
    verbs::{
        commit::{FINISH, STAY, leaves},
        effects, read,
    },
    wire::{
        connection::{Bound, Transaction},
        error::Fault,
        session::Session,
        settings::Wait,
        sql::{Sql, columns},
    },
};
use crate::{
    Error,
    store::{Signal, Signalled},
};

/// How often a job is looked for again that moves between tables.
const TRIES_MAX: u32 = 5;

/// Signals of one call.
pub(crate) struct Signals {
    pub(crate) signals: Arc<Vec<Signal>>,
    pub(crate) now: Timestamp,
}

impl Submission for Arc<Signals> {
    fn count(&self) -> usize {
        self.signals.len()
    }
}

/// Locks live jobs, and counts the signals of each that wait. Parameters: ids, how far to count.
static LOCK: Sql = Sql {
    text: concat!(
        "SELECT ",
        columns!(),
        ", (SELECT count(*) FROM (SELECT FROM {schema}.arrivals WHERE arrivals.workflow = jobs.id AND taken_at IS NULL LIMIT $2) \
           AS waiting) AS waiting_signals \
         FROM {schema}.jobs WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE"
    ),
    types: &[Type::UUID_ARRAY, Type::INT8],
};

/// Locks live jobs. Parameter: ids.
pub(super) static LOCK_JOBS: Sql = Sql {
    text: concat!(
        "SELECT ",
        columns!(),
        " FROM {schema}.jobs WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE"
    ),
    types: &[Type::UUID_ARRAY],
};

/// The state of a finished job, locked against a retry. Parameter: its id.
static LOCK_FINISHED: Sql =
    Sql { text: "SELECT state FROM {schema}.finished WHERE id = $1 FOR SHARE", types: &[Type::UUID] };

/// Which of these ids have arrived. Parameters: workflows, ids.
static KNOWN: Sql = Sql {
    text: "SELECT arrivals.workflow, arrivals.id FROM unnest($1::uuid[], $2::uuid[]) AS new (workflow, id), {schema}.arrivals \
           WHERE arrivals.workflow = ANY (ARRAY[new.workflow]) AND arrivals.id = new.id",
    types: &[Type::UUID_ARRAY, Type::UUID_ARRAY],
};

/// Counts arrivals; answers with the counts. Parameters: workflows, each once and in order; how many arrive for each.
static COUNT: Sql = Sql {
    text: "INSERT INTO {schema}.journals AS stored (workflow, revision, arrived) \
           SELECT workflow, 0, added FROM unnest($1::uuid[], $2::bigint[]) AS new (workflow, added) \
           ON CONFLICT (workflow) DO UPDATE SET arrived = stored.arrived + excluded.arrived \
           RETURNING workflow, arrived::bigint",
    types: &[Type::UUID_ARRAY, Type::INT8_ARRAY],
};

/// Appends arrivals. Parameters: workflows, numbers, ids, texts.
pub(super) static ARRIVE: Sql = Sql {
    text: "INSERT INTO {schema}.arrivals (workflow, n, id, arrival) \
           SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[])",
    types: &[Type::UUID_ARRAY, Type::INT8_ARRAY, Type::UUID_ARRAY, Type::TEXT_ARRAY],
};

/// Marks queued jobs, so that their claim knows that something has arrived. Parameter: ids.
static MARK: Sql = Sql {
    text: "UPDATE {schema}.jobs SET revision = revision + 1, plain = false WHERE id = ANY($1::uuid[])",
    types: &[Type::UUID_ARRAY],
};

/// Stores the signals of several calls; one answer per signal, in order.
pub(crate) async fn send(
    core: &Core,
    calls: &[Arc<Signals>],
) -> Result<Vec<Result<Vec<Signalled>, Fault>>, Fault> {
    let mut sends = Vec::new();
    for call in calls {
        sends.extend(call.signals.iter().map(|signal| (signal, call.now)));
    }
    let mut answers: Vec<Option<Signalled>> = vec![None; sends.len()];
    for _ in 0..TRIES_MAX {
        let open: Vec<usize> = (0..sends.len()).filter(|index| answers[*index].is_none()).collect();
        if open.is_empty() {
            break;
        }
        let of_round: Vec<(&Signal, Timestamp)> = open.iter().map(|index| sends[*index]).collect();
        let answered = store(core, &of_round).await?;
        for (index, answer) in open.into_iter().zip(answered) {
            answers[index] = match answer {
                Some(answer) => Some(answer),
                None => elsewhere(core, sends[index].0).await?,
            };
        }
    }
    // One that moves faster than this call can follow is sent again.
    if answers.iter().any(Option::is_none) {
        let why = "send a signal: its job moves all the time; try again";
        return Err(Error::new(crate::ErrorKind::Unavailable, why).into());
    }
    let mut answers = answers.into_iter().flatten();
    Ok(calls.iter().map(|call| Ok(answers.by_ref().take(call.signals.len()).collect())).collect())
}

/// Stores signals to jobs that have rows of their own. No answer for others.
async fn store(core: &Core, sends: &[(&Signal, Timestamp)]) -> Result<Vec<Option<Signalled>>, Fault> {
    let mut workflows: Vec<Uuid> = sends.iter().map(|(signal, _)| signal.workflow.0).collect();
    let ids: Vec<Uuid> = sends.iter().map(|(signal, _)| signal.id).collect();
    let of_signals = workflows.clone();
    workflows.sort_unstable();
    workflows.dedup();
    let most = row::at_most(SIGNALS_MAX);
    let (transaction, rows) = core.writer.begin_with(Wait::Usual, &LOCK, &[&workflows, &most]).await?;
    let known = transaction.query(&KNOWN, &[&of_signals, &ids]).await?;
    let mut is_known = HashSet::new();
    for found in &known {
        is_known.insert((found.try_get::<_, Uuid>(0)?, found.try_get::<_, Uuid>(1)?));
    }
    let mut waiting: HashMap<JobId, i64> = HashMap::new();
    for found in &rows {
        waiting.insert(JobId(found.try_get(0)?), found.try_get("waiting_signals")?);
    }
    let jobs: HashMap<JobId, JobRow> = row::jobs(&rows)?.into_iter().map(|job| (job.id, job)).collect();
    let (mut answers, mut marks) = (Vec::with_capacity(sends.len()), Vec::new());
    let mut arrivals: Vec<(&Signal, Timestamp)> = Vec::new();
    let mut changes: HashMap<JobId, Change> = HashMap::new();
    for (signal, now) in sends {
        let Some(job) = jobs.get(&signal.workflow) else {
            answers.push(None);
            continue;
        };
        let count = waiting.entry(job.id).or_default();
        let answer = if !is_known.insert((signal.workflow.0, signal.id)) {
            Signalled::Done
        } else if job.state.is_finished() {
            Signalled::Ended
        } else if *count >= most {
            Signalled::Full
        } else {
            *count += 1;
            arrivals.push((signal, *now));
            match transition::apply(job, Event::Wake, *now).map_err(Error::from)? {
                Some(change) => _ = changes.entry(job.id).or_insert(change),
                None if job.state == State::Queued => marks.push(job.id.0),
                None => {}
            }
            Signalled::Done
        };
        answers.push(Some(answer));
    }
    let changes: Vec<&Change> = changes.values().collect();
    let columns = ChangeColumns::of(&changes)?;
    let (numbers, texts) = number(&transaction, &arrivals).await?;
    let arrived_for: Vec<Uuid> = arrivals.iter().map(|(signal, _)| signal.workflow.0).collect();
    let arrived_ids: Vec<Uuid> = arrivals.iter().map(|(signal, _)| signal.id).collect();
    let mut statements: Vec<Bound<'_>> = Vec::new();
    if !arrivals.is_empty() {
        statements.push((&ARRIVE, vec![&arrived_for, &numbers, &arrived_ids, &texts]));
    }
    if !changes.is_empty() {
        statements.push((&STAY, columns.params()));
    }
    if !marks.is_empty() {
        statements.push((&MARK, vec![&marks]));
    }
    transaction.commit_with(&statements).await?;
    effects::notify(core, changes.iter().flat_map(|change| &change.effects));
    core.hints.jobs(arrivals.iter().map(|(signal, _)| signal.workflow));
    Ok(answers)
}

/// The end of a child waits in the journal of its workflow, and wakes it, in the transaction of the end. Answers with the change of the
/// workflow's job, if there is one.
pub(crate) async fn child_ended(
    session: &mut Session<'_>,
    ended: &ChildEnded,
    now: Timestamp,
) -> Result<Option<Change>, Fault> {
    let (workflow, id) = (vec![ended.workflow.0], vec![ended.child.0]);
    let Some(found) = parent(session, ended.workflow).await? else { return Ok(None) };
    if !session.query(&KNOWN, &[&workflow, &id]).await?.is_empty() {
        return Ok(None);
    }
    let counted = session.query(&COUNT, &[&workflow, &vec![1i64]]).await?;
    let n = counted.first().map_or(Ok(1), |found| found.cell::<i64>(1))?;
    let what = Arrived::Child { key: ended.key.clone(), job: ended.child, end: ended.end.clone() };
    let text = Arrival { n: n.unsigned_abs(), at: now, what }.stored().map_err(Error::from)?;
    session.query(&ARRIVE, &[&workflow, &vec![n], &id, &vec![text]]).await?;
    let Parent::Live(job) = found else { return Ok(None) };
    let change = transition::apply(&job, Event::Wake, now).map_err(Error::from)?;
    match &change {
        Some(change) => _ = session.query(&STAY, &ChangeColumns::of(&[change])?.params()).await?,
        None if job.state == State::Queued => _ = session.query(&MARK, &[&workflow]).await?,
        None => {}
    }
    Ok(change)
}

/// The workflow of a child that has ended.
enum Parent {
    Live(Box<JobRow>),
    Finished,
}

/// Finds and locks the workflow to which the end of a child is reported. A retry may move it between tables meanwhile.
async fn parent(session: &mut Session<'_>, id: JobId) -> Result<Option<Parent>, Fault> {
    for _ in 0..TRIES_MAX {
        if let Some(job) = lock_job(session, id).await? {
            let arrives = ChildEnded::arrives_at(job.state);
            return Ok(match job.state.is_finished() {
                false => Some(Parent::Live(Box::new(job))),
                true => arrives.then_some(Parent::Finished),
            });
        }
        if let Some(found) = session.query(&LOCK_FINISHED, &[&id.0]).await?.first() {
            let state = row::word(found, 0)?;
            return Ok(ChildEnded::arrives_at(state).then_some(Parent::Finished));
        }
    }
    Ok(None)
}

/// Locks a job that is live.
async fn lock_job(session: &mut Session<'_>, id: JobId) -> Result<Option<JobRow>, Fault> {
    Ok(row::jobs(&session.query(&LOCK_JOBS, &[&vec![id.0]]).await?)?.pop())
}

/// A workflow cancels a child, in the transaction of the write to its journal. Answers with the change of the child, if there is one. A
/// child has links, so it lies on no tray.
pub(crate) async fn cancel_child(
    session: &mut Session<'_>,
    cancel: &ChildCancel,
    now: Timestamp,
) -> Result<Option<Change>, Fault> {
    let Some(job) = lock_job(session, cancel.child).await? else { return Ok(None) };
    let change = cancel.decide(&job, now).map_err(Error::from)?;
    if let Some(change) = &change {
        let sql = if leaves(change) { &FINISH } else { &STAY };
        session.query(sql, &ChangeColumns::of(&[change])?.params()).await?;
    }
    Ok(change)
}

/// Numbers what arrives, behind what has arrived; answers with the numbers and the texts.
async fn number(
    transaction: &Transaction,
    arrivals: &[(&Signal, Timestamp)],
) -> Result<(Vec<i64>, Vec<String>), Fault> {
    if arrivals.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let mut added: BTreeMap<Uuid, i64> = BTreeMap::new();
    for (signal, _) in arrivals {
        *added.entry(signal.workflow.0).or_default() += 1;
    }
    let (ids, counts): (Vec<Uuid>, Vec<i64>) = added.iter().map(|(id, count)| (*id, *count)).unzip();
    let mut next: HashMap<Uuid, i64> = HashMap::new();
    for found in transaction.query(&COUNT, &[&ids, &counts]).await? {
        let workflow = found.try_get::<_, Uuid>(0)?;
        let before = found.try_get::<_, i64>(1)? - added.get(&workflow).copied().unwrap_or_default();
        next.insert(workflow, before);
    }
    let (mut numbers, mut texts) = (Vec::with_capacity(arrivals.len()), Vec::with_capacity(arrivals.len()));
    for (signal, now) in arrivals {
        let n = next.entry(signal.workflow.0).or_default();
        *n += 1;
        let what = Arrived::Signal { name: signal.name.clone(), value: signal.value.clone() };
        numbers.push(*n);
        texts.push(Arrival { n: n.unsigned_abs(), at: *now, what }.stored().map_err(Error::from)?);
    }
    Ok((numbers, texts))
}

/// The answer for a job without a row in `jobs`; none if it has one by now.
async fn elsewhere(core: &Core, signal: &Signal) -> Result<Option<Signalled>, Fault> {
    let Some(job) = read::job(core, signal.workflow).await? else { return Ok(Some(Signalled::NotFound)) };
    if job.state.is_finished() {
        let known = core.writer.query(&KNOWN, &[&vec![signal.workflow.0], &vec![signal.id]]).await?;
        return Ok(Some(if known.is_empty() { Signalled::Ended } else { Signalled::Done }));
    }
    core.trays.disturbed();
    let leases = job.lease_id.map(|lease| lease.0).into_iter().collect();
    tray::unload(core, &core.writer, leases).await?;
    Ok(None)
}
