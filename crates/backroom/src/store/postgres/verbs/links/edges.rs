//! Edges: settled in pages, and decided again when their dependant is retried.
//!
//! Two transactions that end the last two predecessors of a job must not both leave its release to the other. Each first writes its
//! own edges. Then it asks for an open edge of the dependant that no transaction has locked. If there is one, its end will
//! make the check, and this one holds it in share mode until its commit. Else it locks the dependant and reads in a new statement
//! whether edges are open.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use backroom_core::{
    Change, JobId, JobRow, State, Timestamp,
    dependency::{
        Edge, EdgeState, EdgesOf, OnFailure,
        retry::reopen as decide_reopen,
        settle::{Dependant, settle as decide},
    },
    links::LinkEffect,
};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::follow_up::{FollowUp, carry_out_left};
use crate::{
    Error, ErrorKind,
    store::{
        linked::Left,
        postgres::{
            Core,
            columns::{
                changes::ChangeColumns,
                row::{self, Cells as _},
            },
            verbs::{
                commit::{FINISH, STAY, leaves},
                read,
            },
            wire::{
                error::Fault,
                session::{Row, Session},
                sql::{Sql, columns},
            },
        },
    },
};

/// Edges of predecessors that an event of theirs may settle, in the order of the predecessors; locked. Parameters: predecessors and
/// the last dependants that were settled, side by side; how many edges at most.
static PAGE: Sql = Sql {
    text: "SELECT page.* FROM unnest($1::uuid[], $2::uuid[]) AS asked (id, after) CROSS JOIN LATERAL ( \
             SELECT predecessor, dependant, on_failure, state FROM {schema}.edges \
             WHERE edges.predecessor = asked.id AND edges.dependant > asked.after AND edges.state IN ('open', 'met') \
             ORDER BY dependant LIMIT $3 FOR UPDATE) AS page LIMIT $3",
    types: &[Type::UUID_ARRAY, Type::UUID_ARRAY, Type::INT8],
};

/// Writes the states of edges. Parameters: dependants, predecessors, states, side by side.
static SET: Sql = Sql {
    text: "UPDATE {schema}.edges SET state = new.state \
           FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS new (dependant, predecessor, state) \
           WHERE edges.dependant = ANY (ARRAY[new.dependant]) AND edges.predecessor = new.predecessor",
    types: &[Type::UUID_ARRAY, Type::UUID_ARRAY, Type::TEXT_ARRAY],
};

/// Of these dependants, those with an open edge that no other transaction has locked. That edge cannot be settled before this
/// transaction ends. Parameter: dependants.
static WAIT_FOR_OTHERS: Sql = Sql {
    text: "SELECT asked.id FROM unnest($1::uuid[]) AS asked (id) CROSS JOIN LATERAL ( \
             SELECT FROM {schema}.edges WHERE edges.dependant = asked.id AND edges.state = 'open' \
             LIMIT 1 FOR SHARE SKIP LOCKED) AS open",
    types: &[Type::UUID_ARRAY],
};

/// Waiting jobs, locked. Parameter: ids.
static LOCK_DEPENDANTS: Sql = Sql {
    text: concat!(
        "SELECT ",
        columns!(),
        " FROM {schema}.jobs WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE"
    ),
    types: &[Type::UUID_ARRAY],
};

/// Of these dependants, those with an open edge. Parameter: dependants.
static STILL_WAIT: Sql = Sql {
    text: "SELECT asked.id FROM unnest($1::uuid[]) AS asked (id) WHERE EXISTS ( \
             SELECT FROM {schema}.edges WHERE edges.dependant = asked.id AND edges.state = 'open')",
    types: &[Type::UUID_ARRAY],
};

/// All edges to a dependant, locked. Parameter: the dependant.
static EDGES_TO: Sql = Sql {
    text: "SELECT predecessor, on_failure, state FROM {schema}.edges WHERE dependant = $1 ORDER BY predecessor FOR UPDATE",
    types: &[Type::UUID],
};

/// The states of live predecessors, locked against their ends. Parameter: ids.
static STATES_OF_LIVE: Sql = Sql {
    text: "SELECT id, state FROM {schema}.jobs WHERE id = ANY($1::uuid[]) ORDER BY id FOR SHARE",
    types: &[Type::UUID_ARRAY],
};

/// The states of finished predecessors, locked against a retry. Parameter: ids.
static STATES_OF_FINISHED: Sql = Sql {
    text: "SELECT id, state FROM {schema}.finished WHERE id = ANY($1::uuid[]) ORDER BY id FOR SHARE",
    types: &[Type::UUID_ARRAY],
};

/// Stores edges; those that are stored stay as they are. Parameters: dependants, predecessors, policies, states, side by side.
pub(super) static INSERT_EDGES: Sql = Sql {
    text: "INSERT INTO {schema}.edges (dependant, predecessor, on_failure, state) \
           SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) ON CONFLICT DO NOTHING",
    types: &[Type::UUID_ARRAY, Type::UUID_ARRAY, Type::TEXT_ARRAY, Type::TEXT_ARRAY],
};

/// Stores edges that are left. Parameters: texts and last dependants, side by side.
static LEAVE: Sql = Sql {
    text: "INSERT INTO {schema}.edges_left (edges, \"after\") SELECT * FROM unnest($1::text[], $2::uuid[])",
    types: &[Type::TEXT_ARRAY, Type::UUID_ARRAY],
};

/// Takes out the oldest edges that are left and that no other process settles.
static TAKE_LEFT: Sql = Sql {
    text: "DELETE FROM {schema}.edges_left WHERE seq = ANY (ARRAY( \
             SELECT seq FROM {schema}.edges_left ORDER BY seq LIMIT 1 FOR UPDATE SKIP LOCKED)) RETURNING edges, \"after\"",
    types: &[],
};

/// Whether edges are left.
static HAS_LEFT: Sql = Sql { text: "SELECT FROM {schema}.edges_left LIMIT 1", types: &[] };

/// What the settlement of a round came to.
pub(super) struct Settled {
    /// How many edges were read.
    pub(super) edges: usize,
    /// What follows for further jobs.
    pub(super) effects: Vec<(Timestamp, LinkEffect)>,
    /// Predecessors with edges beyond the limit.
    pub(super) left: Vec<Left>,
}

/// An edge of the page.
struct Found {
    predecessor: JobId,
    dependant: JobId,
    on_failure: OnFailure,
    state: EdgeState,
}

/// Settles at most `limit` edges of these predecessors.
pub(super) async fn settle(
    session: &mut Session<'_>,
    mut round: Vec<(Timestamp, Left)>,
    limit: usize,
    done: &mut FollowUp,
) -> Result<Settled, Fault> {
    // In the order of ids, so that fewer transactions wait for each other.
    round.sort_by_key(|(_, left)| left.edges.predecessor);
    let ids: Vec<Uuid> = round.iter().map(|(_, left)| left.edges.predecessor.0).collect();
    let after: Vec<Uuid> =
        round.iter().map(|(_, left)| left.after.map_or(Uuid::nil(), |after| after.0)).collect();
    let rows = session.query(&PAGE, &[&ids, &after, &row::at_most(limit)]).await?;
    let page = rows.iter().map(found).collect::<Result<Vec<_>, _>>()?;
    let left = beyond(&round, &page, limit);
    let of: HashMap<JobId, (Timestamp, &EdgesOf)> =
        round.iter().map(|(at, left)| (left.edges.predecessor, (*at, &left.edges))).collect();
    let changes = settle_page(session, &page, &of).await?;
    write(session, &changes).await?;
    let effects = changes.into_iter().flat_map(|change| done.take(change)).collect();
    Ok(Settled { edges: page.len(), effects, left })
}

fn found(row: &Row) -> Result<Found, Fault> {
    Ok(Found {
        predecessor: JobId(row.cell(0)?),
        dependant: JobId(row.cell(1)?),
        on_failure: row::word(row, 2)?,
        state: row::word(row, 3)?,
    })
}

/// What a full page has not reached: the rest of its last predecessor, and all behind that.
fn beyond(round: &[(Timestamp, Left)], page: &[Found], limit: usize) -> Vec<Left> {
    let Some(last) = page.last().filter(|_| page.len() >= limit) else { return Vec::new() };
    let unread = round.iter().filter(|(_, left)| left.edges.predecessor >= last.predecessor);
    let rest = unread.map(|(_, left)| {
        let is_last = left.edges.predecessor == last.predecessor;
        let after = if is_last { Some(last.dependant) } else { left.after };
        Left { edges: left.edges.clone(), after }
    });
    rest.collect()
}

/// Decides about a page and writes its edges; answers with the changes of dependants.
async fn settle_page(
    session: &mut Session<'_>,
    page: &[Found],
    of: &HashMap<JobId, (Timestamp, &EdgesOf)>,
) -> Result<Vec<Change>, Fault> {
    // By what happens to them if their dependants wait.
    let (mut met, mut broken, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for edge in page {
        let Some((_, edges)) = of.get(&edge.predecessor) else { continue };
        match edge.state.after(edge.on_failure, edges.happening, true) {
            after if after == edge.state => {}
            EdgeState::Met => met.push(edge),
            EdgeState::Broken | EdgeState::Waived => broken.push(edge),
            EdgeState::Open => again.push(edge),
        }
    }
    let ended = met.iter().map(|edge| (*edge, EdgeState::Met));
    let ended: Vec<_> = ended.chain(broken.iter().map(|edge| (*edge, EdgeState::Broken))).collect();
    set(session, &ended).await?;
    let concerned: BTreeSet<JobId> = broken.iter().chain(&again).map(|edge| edge.dependant).collect();
    let mut waiting: BTreeSet<JobId> =
        met.iter().map(|edge| edge.dependant).filter(|id| !concerned.contains(id)).collect();
    for id in ids_of(session, &WAIT_FOR_OTHERS, &waiting).await? {
        waiting.remove(&id);
    }
    waiting.extend(&concerned);
    let mut jobs = lock(session, &waiting).await?;
    let mut changes = Vec::new();
    // One that is cancelled is not released by another edge of the same page.
    decide_all(&broken, of, &mut jobs, |_| false, &mut changes);
    let mut opened = Vec::new();
    for edge in &again {
        if jobs.get(&edge.dependant).is_some_and(JobRow::is_held) {
            opened.push((*edge, EdgeState::Open));
        }
    }
    set(session, &opened).await?;
    let maybe_free: BTreeSet<JobId> = met
        .iter()
        .map(|edge| edge.dependant)
        .filter(|id| jobs.get(id).is_some_and(JobRow::is_held))
        .collect();
    let still_wait: BTreeSet<JobId> = ids_of(session, &STILL_WAIT, &maybe_free).await?.into_iter().collect();
    let met: Vec<_> = met.into_iter().filter(|edge| maybe_free.contains(&edge.dependant)).collect();
    decide_all(&met, of, &mut jobs, |id| still_wait.contains(&id), &mut changes);
    Ok(changes)
}

fn decide_all(
    edges: &[&Found],
    of: &HashMap<JobId, (Timestamp, &EdgesOf)>,
    jobs: &mut BTreeMap<JobId, JobRow>,
    others_open: impl Fn(JobId) -> bool,
    changes: &mut Vec<Change>,
) {
    for edge in edges {
        let (Some((at, edges)), Some(job)) = (of.get(&edge.predecessor), jobs.get_mut(&edge.dependant))
        else {
            continue;
        };
        let dependant = Dependant {
            job: job.clone(),
            on_failure: edge.on_failure,
            edge: edge.state,
            others_open: others_open(edge.dependant),
        };
        if let Some(change) = decide(edges, &dependant, *at).change {
            change.write_to(job);
            changes.push(change);
        }
    }
}

async fn set(session: &mut Session<'_>, edges: &[(&Found, EdgeState)]) -> Result<(), Fault> {
    if edges.is_empty() {
        return Ok(());
    }
    let dependants: Vec<Uuid> = edges.iter().map(|(edge, _)| edge.dependant.0).collect();
    let predecessors: Vec<Uuid> = edges.iter().map(|(edge, _)| edge.predecessor.0).collect();
    let states: Vec<&str> = edges.iter().map(|(_, state)| state.as_str()).collect();
    session.query(&SET, &[&dependants, &predecessors, &states]).await?;
    Ok(())
}

async fn ids_of(
    session: &mut Session<'_>,
    sql: &'static Sql,
    ids: &BTreeSet<JobId>,
) -> Result<Vec<JobId>, Fault> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    session.query(sql, &[&ids]).await?.iter().map(|row| Ok(JobId(row.cell(0)?))).collect()
}

async fn lock(session: &mut Session<'_>, ids: &BTreeSet<JobId>) -> Result<BTreeMap<JobId, JobRow>, Fault> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let jobs = row::jobs(&session.query(&LOCK_DEPENDANTS, &[&ids]).await?)?;
    Ok(jobs.into_iter().map(|job| (job.id, job)).collect())
}

/// Writes changes of jobs that this transaction has locked.
async fn write(session: &mut Session<'_>, changes: &[Change]) -> Result<(), Fault> {
    let (finish, stay): (Vec<&Change>, Vec<&Change>) = changes.iter().partition(|change| leaves(change));
    for (sql, changes) in [(&FINISH, finish), (&STAY, stay)] {
        if changes.is_empty() {
            continue;
        }
        let written = session.query(sql, &ChangeColumns::of(&changes)?.params()).await?;
        if written.len() != changes.len() {
            let why = "settle the edges of a job: a dependant changed within the transaction";
            return Err(Error::new(ErrorKind::Internal, why).into());
        }
    }
    Ok(())
}

/// Decides again about all edges that lead to a job, which was retried in this transaction.
pub(super) async fn reopen(
    session: &mut Session<'_>,
    id: JobId,
    now: Timestamp,
    done: &mut FollowUp,
) -> Result<(), Fault> {
    let Some(job) = lock(session, &BTreeSet::from([id])).await?.remove(&id) else { return Ok(()) };
    let mut edges = Vec::new();
    for row in session.query(&EDGES_TO, &[&id.0]).await? {
        edges.push(Found {
            predecessor: JobId(row.cell(0)?),
            dependant: id,
            on_failure: row::word(&row, 1)?,
            state: row::word(&row, 2)?,
        });
    }
    let states = states(session, edges.iter().map(|edge| edge.predecessor).collect()).await?;
    let facts: Vec<_> =
        edges.iter().map(|edge| (edge.state, states.get(&edge.predecessor).copied())).collect();
    let reopened = decide_reopen(&job, &facts, now);
    let changed: Vec<_> = edges
        .iter()
        .zip(&reopened.edges)
        .filter(|(edge, state)| edge.state != **state)
        .map(|(edge, state)| (edge, *state))
        .collect();
    set(session, &changed).await?;
    if let Some(change) = reopened.change {
        write(session, std::slice::from_ref(&change)).await?;
        done.take(change);
    }
    Ok(())
}

/// The states of these jobs, locked. One that moves from one table to the other meanwhile is found by a further look.
async fn states(session: &mut Session<'_>, mut ids: BTreeSet<JobId>) -> Result<HashMap<JobId, State>, Fault> {
    let mut states = HashMap::new();
    for sql in [&STATES_OF_LIVE, &STATES_OF_FINISHED, &STATES_OF_LIVE, &STATES_OF_FINISHED] {
        if ids.is_empty() {
            break;
        }
        let asked: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        for row in session.query(sql, &[&asked]).await? {
            let id = JobId(row.cell(0)?);
            states.insert(id, row::word(&row, 1)?);
            ids.remove(&id);
        }
    }
    Ok(states)
}

/// Stores edges for later transactions.
pub(crate) async fn leave(session: &mut Session<'_>, left: &[Left]) -> Result<(), Fault> {
    let texts = left.iter().map(|left| left.edges.stored()).collect::<Result<Vec<_>, _>>();
    let texts = texts.map_err(Error::from)?;
    let after: Vec<Option<Uuid>> = left.iter().map(|left| left.after.map(|after| after.0)).collect();
    session.query(&LEAVE, &[&texts, &after]).await?;
    Ok(())
}

/// Settles a page of the edges that are left. Answers whether more are left.
pub(crate) async fn settle_left(core: &Core, now: Timestamp) -> Result<bool, Fault> {
    if core.claims.query(&HAS_LEFT, &[]).await?.is_empty() {
        return Ok(false);
    }
    let transaction = core.writer.begin().await?;
    let settled = async {
        let session = &mut Session::Ours(&transaction);
        let Some(taken) = session.query(&TAKE_LEFT, &[]).await?.into_iter().next() else { return Ok(None) };
        let edges = EdgesOf::from_stored(taken.cell(0)?).map_err(Error::from)?;
        let after = taken.cell::<Option<Uuid>>(1)?.map(JobId);
        let predecessor = read::job_within(session, edges.predecessor).await?;
        let left = Left { edges: edges.read_again(predecessor.as_ref()), after };
        Ok::<_, Fault>(Some(carry_out_left(session, left, now).await?))
    };
    match settled.await {
        Ok(Some(done)) => {
            let effects = done.stored(core, std::iter::empty())?;
            transaction.commit_with(&effects.statements()).await?;
            effects.committed(core);
            done.notify(core);
        }
        // Another process settles what is left.
        Ok(None) => transaction.rollback().await?,
        Err(fault) => {
            _ = transaction.rollback().await;
            return Err(fault);
        }
    }
    Ok(!core.claims.query(&HAS_LEFT, &[]).await?.is_empty())
}

/// Edges as parameters of [`INSERT_EDGES`].
#[derive(Default)]
pub(super) struct EdgeColumns {
    dependants: Vec<Uuid>,
    predecessors: Vec<Uuid>,
    policies: Vec<&'static str>,
    states: Vec<&'static str>,
}

impl EdgeColumns {
    pub(super) fn push(&mut self, dependant: JobId, edge: Edge, state: EdgeState) {
        self.dependants.push(dependant.0);
        self.predecessors.push(edge.predecessor.0);
        self.policies.push(edge.on_failure.as_str());
        self.states.push(state.as_str());
    }

    pub(super) async fn insert(&self, session: &mut Session<'_>) -> Result<(), Fault> {
        if self.dependants.is_empty() {
            return Ok(());
        }
        session
            .query(&INSERT_EDGES, &[&self.dependants, &self.predecessors, &self.policies, &self.states])
            .await?;
        Ok(())
    }
}

/// Stores the edges that lead to imported jobs.
pub(crate) async fn import_edges(
    session: &mut Session<'_>,
    edges: &[(JobId, (Edge, EdgeState))],
) -> Result<(), Fault> {
    let mut columns = EdgeColumns::default();
    edges.iter().for_each(|(dependant, (edge, state))| columns.push(*dependant, *edge, *state));
    columns.insert(session).await
}
