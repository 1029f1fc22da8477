//! New jobs with their edges, and as members of batches, in one transaction of ours, or of the caller.
//!
//! A predecessor that lives must have the mark of one that is followed, or its end would not settle the new edge. Its worker writes
//! that end under the revision, so the mark is written as every change is. The jobs are inserted after that, while the rows of
//! their predecessors are locked in share mode.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use backroom_core::{
    Effect, JobId, Timestamp,
    batch::{BatchId, MemberState},
    dependency::Arrival,
    draft::NewJob,
    links::{LinkEffect, Links, follow},
};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{
    batches::{Members, adder, write_members},
    edges::EdgeColumns,
    follow_up::FollowUp,
};
use crate::{
    Error, ErrorKind,
    clock::Clock as _,
    store::{
        InsertLinked, Inserted,
        linked::{Facts, Known, check},
        postgres::{
            Core,
            columns::row::{self, Cells as _},
            verbs::{
                commit,
                insert::{self, STORED, insert_theirs},
                read,
            },
            wire::{
                error::Fault,
                session::{Row, Session},
                sql::Sql,
            },
        },
    },
};

/// How often an insert begins again, because a predecessor had no mark yet, or its transaction collided with another.
const TRIES_MAX: u32 = 20;
/// The pause before that.
const PAUSE: Duration = Duration::from_millis(20);

/// Two calls with the same jobs, of which one repeats the other, go one after the other. Parameter: what they have in common.
static SERIALIZE: Sql =
    Sql { text: "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", types: &[Type::TEXT] };

/// What is known of live predecessors, locked against their ends. Parameter: ids.
static LIVE: Sql = Sql {
    text: "SELECT id, kind, state, reason, links FROM {schema}.jobs WHERE id = ANY($1::uuid[]) ORDER BY id FOR SHARE",
    types: &[Type::UUID_ARRAY],
};

/// What is known of finished predecessors, locked against a retry. Parameter: ids.
static FINISHED: Sql = Sql {
    text: "SELECT id, kind, state, reason, links FROM {schema}.finished WHERE id = ANY($1::uuid[]) ORDER BY id FOR SHARE",
    types: &[Type::UUID_ARRAY],
};

/// Marks a finished predecessor as followed. Parameters: the id, its links.
static MARK_FINISHED: Sql = Sql {
    text: "UPDATE {schema}.finished SET links = $2, revision = revision + 1 WHERE id = $1",
    types: &[Type::UUID, Type::TEXT],
};

/// The links of jobs that live, as they are at this moment. Parameter: ids.
static LINKS: Sql = Sql {
    text: "SELECT id, links FROM {schema}.jobs WHERE id = ANY($1::uuid[])",
    types: &[Type::UUID_ARRAY],
};

/// The same, locked. Parameter: ids.
static LOCK_LINKS: Sql = Sql {
    text: "SELECT id, links FROM {schema}.jobs WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE",
    types: &[Type::UUID_ARRAY],
};

/// Marks a live predecessor as followed. Parameters: the id, its links.
static MARK_LIVE: Sql = Sql {
    text: "UPDATE {schema}.jobs SET links = $2, revision = revision + 1 WHERE id = $1",
    types: &[Type::UUID, Type::TEXT],
};

/// A call in a transaction of the caller. What a refusal has found after the first write is taken back.
const BEGIN: &str = "SAVEPOINT backroom_linked";
const END: &str = "RELEASE SAVEPOINT backroom_linked";
const UNDO: &str = "ROLLBACK TO SAVEPOINT backroom_linked; RELEASE SAVEPOINT backroom_linked";

/// What a try came to.
enum Tried {
    Done(Vec<Inserted>, FollowUp, Vec<NewJob>),
    /// These predecessors are live and have no mark, or are on a tray.
    Unmarked(Vec<JobId>),
}

/// Stores the jobs of one call, all or none.
pub(crate) async fn insert(
    core: &Core,
    insert: &InsertLinked,
    now: Timestamp,
) -> Result<Vec<Inserted>, Fault> {
    check(&insert.jobs).map_err(Error::from)?;
    if insert.jobs.is_empty() {
        return Ok(Vec::new());
    }
    let mut tries = 0;
    loop {
        tries += 1;
        match try_insert(core, insert, now).await {
            Ok(Tried::Done(answers, done, jobs)) => {
                done.notify(core);
                let created: Vec<_> = jobs.iter().map(|new| (new, now)).collect();
                insert::notify(&core.hints, &created, &vec![Inserted::Created; created.len()]);
                return Ok(answers);
            }
            Ok(Tried::Unmarked(ids)) if tries < TRIES_MAX => mark(core, &ids).await?,
            Ok(Tried::Unmarked(ids)) => {
                let which = ids.first().map(ToString::to_string).unwrap_or_default();
                let why = format!(
                    "insert jobs after job {which}: another transaction has locked its row for long; try again"
                );
                return Err(Error::new(ErrorKind::Unavailable, why).into());
            }
            Err(fault) if fault.is_worth_repeating() && tries < TRIES_MAX => {}
            Err(fault) => return Err(fault),
        }
        if tries > 2 {
            core.settings.clock.sleep(PAUSE).await;
        }
    }
}

/// Marks predecessors as followed. Those that cannot be marked now are found unmarked by the next try.
async fn mark(core: &Core, ids: &[JobId]) -> Result<(), Fault> {
    let mut changes = Vec::new();
    for id in ids {
        changes.extend(read::job(core, *id).await?.as_ref().and_then(follow));
    }
    commit::commit(core, &[Arc::new(changes)]).await.map(drop)
}

async fn try_insert(core: &Core, insert: &InsertLinked, now: Timestamp) -> Result<Tried, Fault> {
    let transaction = core.writer.begin().await?;
    match insert_within(&mut Session::Ours(&transaction), insert, now).await {
        Ok(Tried::Done(answers, done, jobs)) => {
            let effects = done.stored(core, std::iter::empty())?;
            transaction.commit_with(&effects.statements()).await?;
            effects.committed(core);
            Ok(Tried::Done(answers, done, jobs))
        }
        Ok(Tried::Unmarked(ids)) => {
            transaction.rollback().await?;
            Ok(Tried::Unmarked(ids))
        }
        Err(fault) => {
            // The caller gets the first reason; a rollback that fails ends the connection.
            _ = transaction.rollback().await;
            Err(fault)
        }
    }
}

/// The predecessors that need a mark, so far as this transaction sees: those that live and have none, and those that are on trays.
pub(crate) async fn unmarked_theirs(
    session: &mut Session<'_>,
    insert: &InsertLinked,
) -> Result<Vec<JobId>, Fault> {
    let edges = insert.jobs.iter().flat_map(|linked| &linked.edges);
    let mut wanted: BTreeSet<Uuid> = edges.map(|edge| edge.predecessor.0).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let asked: Vec<Uuid> = wanted.iter().copied().collect();
    for row in session.query(&LINKS, &[&asked]).await? {
        if Links::from_stored(row.cell(1)?).map_err(Error::from)?.followed {
            wanted.remove(&row.cell(0)?);
        }
    }
    // Finished ones are marked by the insert.
    Ok(wanted.into_iter().map(JobId).collect())
}

/// Stores the jobs of one call in a transaction of the caller, all or none. Answers with those that were created, too. After an error
/// the caller rolls the transaction back.
pub(crate) async fn insert_theirs_linked(
    session: &mut Session<'_>,
    insert: &InsertLinked,
    now: Timestamp,
) -> Result<(Vec<Inserted>, Vec<NewJob>), Fault> {
    check(&insert.jobs).map_err(Error::from)?;
    if insert.jobs.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let mut left = Vec::new();
    for _ in 0..2 {
        session.run(BEGIN).await?;
        match write_theirs(session, insert, now).await {
            Ok(Ok(done)) => {
                session.run(END).await?;
                return Ok(done);
            }
            Ok(Err(ids)) => {
                // It releases the locks of this try: two callers that both held them would wait for each other.
                session.run(UNDO).await?;
                mark_theirs(session, &ids).await?;
                left = ids;
            }
            Err(fault) => {
                if let Err(error) = session.run(UNDO).await {
                    // The connection is lost. The first fault is the one to report.
                    let error = error.into_error("undo a part of the caller's transaction");
                    tracing::debug!(%error, "a part of the caller's transaction was not undone");
                }
                return Err(fault);
            }
        }
    }
    let which = left.first().map(ToString::to_string).unwrap_or_default();
    let why = format!(
        "insert jobs after job {which}: it has just been claimed with others; roll back and try again"
    );
    Err(Error::new(ErrorKind::Unavailable, why).into())
}

/// What was answered and created, or the predecessors that need a mark first.
type Written = Result<(Vec<Inserted>, Vec<NewJob>), Vec<JobId>>;

async fn write_theirs(
    session: &mut Session<'_>,
    insert: &InsertLinked,
    now: Timestamp,
) -> Result<Written, Fault> {
    match insert_within(session, insert, now).await? {
        Tried::Done(answers, done, mut jobs) => {
            jobs.extend(done.write_theirs(session).await?);
            Ok(Ok((answers, jobs)))
        }
        Tried::Unmarked(ids) => Ok(Err(ids)),
    }
}

/// Marks predecessors in the transaction of the caller, which locks them until it ends.
async fn mark_theirs(session: &mut Session<'_>, ids: &[JobId]) -> Result<(), Fault> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    for row in session.query(&LOCK_LINKS, &[&ids]).await? {
        let links = Links::from_stored(row.cell(1)?).map_err(Error::from)?;
        if !links.followed {
            let marked = Links { followed: true, ..links }.stored().map_err(Error::from)?;
            session.query(&MARK_LIVE, &[&row.cell::<Uuid>(0)?, &marked]).await?;
        }
    }
    Ok(())
}

async fn insert_within(
    session: &mut Session<'_>,
    insert: &InsertLinked,
    now: Timestamp,
) -> Result<Tried, Fault> {
    let ids: Vec<Uuid> = insert.jobs.iter().map(|linked| linked.new.job.id.0).collect();
    let name = ids.first().map(|id| format!("backroom insert {id}")).unwrap_or_default();
    session.query(&SERIALIZE, &[&name]).await?;
    let stored: HashSet<Uuid> =
        session.query(&STORED, &[&ids]).await?.iter().map(|row| row.cell(0)).collect::<Result<_, _>>()?;
    let mut known = Known::of(&insert.jobs);
    let unmarked = read_predecessors(session, insert, &stored, &mut known).await?;
    if !unmarked.is_empty() {
        return Ok(Tried::Unmarked(unmarked));
    }
    let mut arrivals: Vec<(usize, Arrival)> = Vec::new();
    for (place, linked) in insert.jobs.iter().enumerate() {
        if !stored.contains(&linked.new.job.id.0) {
            arrivals.push((place, known.arrive(linked, now).map_err(Error::from)?));
        }
    }
    let mut answers = vec![Inserted::Created; insert.jobs.len()];
    let (created, mut done) = store(session, insert, &arrivals, &mut answers, now).await?;
    let jobs = created
        .iter()
        .map(|(place, arrival)| NewJob {
            job: arrival.job.clone(),
            on_conflict: insert.jobs[*place].new.on_conflict,
        })
        .collect();
    members(session, insert, &created, now, &mut done).await?;
    Ok(Tried::Done(answers, done, jobs))
}

/// Stores the jobs and their edges; answers with those that were created.
async fn store<'a>(
    session: &mut Session<'_>,
    insert: &InsertLinked,
    arrivals: &'a [(usize, Arrival)],
    answers: &mut [Inserted],
    now: Timestamp,
) -> Result<(Vec<&'a (usize, Arrival)>, FollowUp), Fault> {
    let new: Vec<NewJob> = arrivals
        .iter()
        .map(|(place, arrival)| NewJob {
            job: arrival.job.clone(),
            on_conflict: insert.jobs[*place].new.on_conflict,
        })
        .collect();
    let mut done = FollowUp::default();
    if new.is_empty() {
        return Ok((Vec::new(), done));
    }
    let jobs: Vec<(&NewJob, Timestamp)> = new.iter().map(|new| (new, now)).collect();
    let queues: BTreeSet<&str> = new.iter().map(|new| new.job.queue.as_str()).collect();
    let queues: Vec<String> = queues.into_iter().map(ToOwned::to_owned).collect();
    let inserted = insert_theirs(session, &jobs, &queues).await?;
    let mut edges = EdgeColumns::default();
    let mut created = Vec::new();
    for (one, answer) in arrivals.iter().zip(inserted) {
        let (place, arrival) = one;
        answers[*place] = answer;
        if answer != Inserted::Created {
            continue;
        }
        created.push(one);
        let id = arrival.job.id;
        arrival.edges.iter().for_each(|(edge, state)| edges.push(id, *edge, *state));
        let own = arrival.effects.iter().filter(|effect| match effect {
            Effect::Link { effect, .. } => matches!(**effect, LinkEffect::Child(_)),
            _ => true,
        });
        done.effects.extend(own.map(|effect| (id, effect.clone())));
        done.jobs.push(id);
    }
    edges.insert(session).await?;
    Ok((created, done))
}

/// Counts the new members of batches.
async fn members(
    session: &mut Session<'_>,
    insert: &InsertLinked,
    created: &[&(usize, Arrival)],
    now: Timestamp,
    done: &mut FollowUp,
) -> Result<(), Fault> {
    let mut adders: BTreeMap<BatchId, _> = BTreeMap::new();
    let mut members = Members::default();
    for (_, arrival) in created {
        let Some(batch) = arrival.job.batch() else { continue };
        let as_what = match adders.get(&batch) {
            Some(adder) => *adder,
            None => *adders.entry(batch).or_insert(adder(session, insert.by, batch).await?),
        };
        members.added(now, batch, arrival.job.id.0, MemberState::of(arrival.job.state), as_what);
    }
    write_members(session, members, done).await
}

/// Reads the predecessors that are stored, and locks them. Answers with those that must be marked first.
async fn read_predecessors(
    session: &mut Session<'_>,
    insert: &InsertLinked,
    stored: &HashSet<Uuid>,
    known: &mut Known,
) -> Result<Vec<JobId>, Fault> {
    let of_call: HashMap<Uuid, bool> = insert
        .jobs
        .iter()
        .map(|linked| (linked.new.job.id.0, stored.contains(&linked.new.job.id.0)))
        .collect();
    let edges = insert.jobs.iter().filter(|linked| !stored.contains(&linked.new.job.id.0));
    let mut wanted: BTreeSet<Uuid> =
        edges.flat_map(|linked| &linked.edges).map(|edge| edge.predecessor.0).collect();
    // Those of the call that are new are marked as they are stored.
    wanted.retain(|id| of_call.get(id).copied().unwrap_or(true));
    let mut unmarked = Vec::new();
    // A job may move from one table to the other between two statements.
    for _ in 0..2 {
        if !wanted.is_empty() {
            let asked: Vec<Uuid> = wanted.iter().copied().collect();
            for row in session.query(&LIVE, &[&asked]).await? {
                let (id, facts, _) = facts(&row)?;
                wanted.remove(&id.0);
                if !facts.is_followed {
                    unmarked.push(id);
                }
                known.facts.insert(id, facts);
            }
        }
        if !wanted.is_empty() {
            let asked: Vec<Uuid> = wanted.iter().copied().collect();
            for row in session.query(&FINISHED, &[&asked]).await? {
                let (id, facts, links) = facts(&row)?;
                wanted.remove(&id.0);
                if !facts.is_followed {
                    let marked = Links { followed: true, ..links }.stored().map_err(Error::from)?;
                    session.query(&MARK_FINISHED, &[&id.0, &marked]).await?;
                }
                known.facts.insert(id, facts);
            }
        }
    }
    if !wanted.is_empty() {
        // What is on a tray is unloaded by the change that marks it.
        let asked: Vec<Uuid> = wanted.iter().copied().collect();
        for row in session.query(&STORED, &[&asked]).await? {
            unmarked.push(JobId(row.cell(0)?));
        }
    }
    Ok(unmarked)
}

fn facts(row: &Row) -> Result<(JobId, Facts, Links), Fault> {
    let links = Links::from_stored(row.cell(4)?).map_err(Error::from)?;
    let facts = Facts {
        kind: row.cell(1)?,
        state: row::word(row, 2)?,
        reason: row.cell(3)?,
        is_followed: links.followed,
    };
    Ok((JobId(row.cell(0)?), facts, links))
}
