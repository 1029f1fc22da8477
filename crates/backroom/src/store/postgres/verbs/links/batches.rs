//! Batches: counted by stripes, opened, closed and ended.

use std::collections::{BTreeMap, HashMap};

use backroom_core::{
    Effect, JobId, LeaseId, State, Timestamp,
    batch::{Adder, Batch, BatchId, Counts, Delta, MemberChange, MemberState, Stripe, Tally, may_add},
    links::Links,
};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::follow_up::FollowUp;
use crate::{
    Error,
    store::{
        BatchRow, BatchTurn, OpenBatch,
        linked::{decide, is_newer, unknown_batch},
        postgres::{
            Core,
            columns::{
                row::{self, Cells as _},
                timestamp::{PgTimestamp, opt},
            },
            wire::{
                error::Fault,
                session::{Row, Session},
                sql::Sql,
            },
        },
    },
};

/// Batches. Parameter: ids.
static BATCHES: Sql =
    Sql { text: "SELECT batch FROM {schema}.batches WHERE id = ANY($1::uuid[])", types: &[Type::UUID_ARRAY] };

/// One batch, locked. Parameter: the id.
static LOCK_BATCH: Sql =
    Sql { text: "SELECT batch FROM {schema}.batches WHERE id = $1 FOR UPDATE", types: &[Type::UUID] };

/// Writes a batch. Parameters: id, since when it has ended, text.
static WRITE_BATCH: Sql = Sql {
    text: "UPDATE {schema}.batches SET ended_at = $2, batch = $3 WHERE id = $1",
    types: &[Type::UUID, Type::TIMESTAMPTZ, Type::TEXT],
};

/// Stores a batch, unless it is stored; answers with its id if it was not. Parameters: id, parent, since when it has ended, text.
static INSERT_BATCH: Sql = Sql {
    text: "INSERT INTO {schema}.batches (id, parent, ended_at, batch) VALUES ($1, $2, $3, $4) \
           ON CONFLICT DO NOTHING RETURNING id",
    types: &[Type::UUID, Type::UUID, Type::TIMESTAMPTZ, Type::TEXT],
};

/// Stores the stripes of a batch. Parameters: the batch; gates and counts, side by side.
static INSERT_STRIPES: Sql = Sql {
    text: "INSERT INTO {schema}.stripes (batch, number, gate, live, completed, cancelled, discarded) \
           SELECT $1, new.place - 1, gate, live, completed, cancelled, discarded \
           FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[]) WITH ORDINALITY \
           AS new (gate, live, completed, cancelled, discarded, place)",
    types: &[
        Type::UUID,
        Type::TEXT_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
    ],
};

/// The stripes of a batch in their order. Parameter: the batch.
static STRIPES: Sql = Sql {
    text: "SELECT gate, live::bigint, completed::bigint, cancelled::bigint, discarded::bigint \
           FROM {schema}.stripes WHERE batch = $1 ORDER BY number",
    types: &[Type::UUID],
};

/// The same, locked.
static LOCK_STRIPES: Sql = Sql {
    text: "SELECT gate, live::bigint, completed::bigint, cancelled::bigint, discarded::bigint \
           FROM {schema}.stripes WHERE batch = $1 ORDER BY number FOR UPDATE",
    types: &[Type::UUID],
};

/// Sets the gate of all stripes, which the transaction has locked. Parameters: the batch, the gate.
static SET_GATES: Sql =
    Sql { text: "UPDATE {schema}.stripes SET gate = $2 WHERE batch = $1", types: &[Type::UUID, Type::TEXT] };

/// Adds to the counts of stripes, which are locked in the order given. Answers with them as they are then. Parameters: batches,
/// numbers, and what is added to each count, side by side.
static COUNT: Sql = Sql {
    text: "WITH new AS MATERIALIZED (SELECT * FROM unnest($1::uuid[], $2::int[], $3::bigint[], $4::bigint[], \
             $5::bigint[], $6::bigint[]) WITH ORDINALITY \
             AS new (batch, number, live, completed, cancelled, discarded, place)), \
           locked AS MATERIALIZED (SELECT new.* FROM new JOIN {schema}.stripes \
             ON stripes.batch = ANY (ARRAY[new.batch]) AND stripes.number = new.number \
             ORDER BY new.place FOR UPDATE OF stripes) \
           UPDATE {schema}.stripes SET live = stripes.live + locked.live, \
             completed = stripes.completed + locked.completed, cancelled = stripes.cancelled + locked.cancelled, \
             discarded = stripes.discarded + locked.discarded \
           FROM locked WHERE stripes.batch = ANY (ARRAY[locked.batch]) AND stripes.number = locked.number \
           RETURNING stripes.gate, stripes.live::bigint, stripes.completed::bigint, stripes.cancelled::bigint, \
             stripes.discarded::bigint, stripes.batch, stripes.number",
    types: &[
        Type::UUID_ARRAY,
        Type::INT4_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
        Type::INT8_ARRAY,
    ],
};

/// What decides whether a job adds as a member, locked against its end. Parameter: the job.
static ADDER: Sql = Sql {
    text: "SELECT state, lease_id, links FROM {schema}.jobs WHERE id = $1 FOR SHARE",
    types: &[Type::UUID],
};

/// Deletes a batch, of which a newer copy is stored next. Parameter: the batch.
static DELETE_BATCH: Sql = Sql {
    text: "WITH gone AS (DELETE FROM {schema}.batches WHERE id = $1) DELETE FROM {schema}.stripes WHERE batch = $1",
    types: &[Type::UUID],
};

/// Deletes batches that ended long ago and to which nothing belongs any more. Parameters: moment, limit.
static PRUNE: Sql = Sql {
    text: "WITH gone AS (DELETE FROM {schema}.batches WHERE id = ANY (ARRAY( \
             SELECT id FROM {schema}.batches AS old WHERE ended_at < $1 \
               AND NOT EXISTS (SELECT FROM {schema}.jobs WHERE jobs.batch = old.id) \
               AND NOT EXISTS (SELECT FROM {schema}.finished WHERE finished.batch = old.id) \
               AND NOT EXISTS (SELECT FROM {schema}.batches AS nested WHERE nested.parent = old.id) \
             ORDER BY ended_at LIMIT $2 FOR UPDATE SKIP LOCKED)) AND ended_at < $1 RETURNING id), \
           without_stripes AS (DELETE FROM {schema}.stripes WHERE batch = ANY(ARRAY(SELECT id FROM gone))) \
           SELECT id FROM gone",
    types: &[Type::TIMESTAMPTZ, Type::INT8],
};

/// What a transaction does to the members of batches.
#[derive(Default)]
pub(super) struct Members {
    /// The latest moment of a change.
    at: Option<Timestamp>,
    changes: Vec<Change>,
    /// Batches that get new members, each with who adds.
    adders: BTreeMap<BatchId, Adder>,
}

struct Change {
    batch: BatchId,
    member: Uuid,
    /// None for a new member.
    from: Option<MemberState>,
    to: MemberState,
}

impl Members {
    pub(super) fn changed(&mut self, at: Timestamp, member: MemberChange) {
        self.at = self.at.max(Some(at));
        let MemberChange { batch, job, from, to } = member;
        self.changes.push(Change { batch, member: job.0, from: Some(from), to });
    }

    pub(super) fn added(
        &mut self,
        at: Timestamp,
        batch: BatchId,
        member: Uuid,
        to: MemberState,
        adder: Adder,
    ) {
        self.at = self.at.max(Some(at));
        self.changes.push(Change { batch, member, from: None, to });
        self.adders.insert(batch, adder);
    }
}

/// Writes what a transaction does to the members of batches, and what follows from it: the deepest batches first. Fails as invalid
/// for a batch that takes no members.
pub(super) async fn write_members(
    session: &mut Session<'_>,
    members: Members,
    done: &mut FollowUp,
) -> Result<(), Fault> {
    let Some(at) = members.at else { return Ok(()) };
    let mut ids: Vec<Uuid> = members.changes.iter().map(|change| change.batch.0).collect();
    ids.sort_unstable();
    ids.dedup();
    let batches = batches(session, &ids).await?;
    let mut tally = Tally::default();
    for Change { batch, member, from, to } in members.changes {
        match (batches.get(&batch), from) {
            (Some(batch), Some(from)) => tally.changed(batch, member, from, to),
            (Some(batch), None) => tally.added(batch, member, to),
            // A batch that was deleted counts nothing.
            (None, Some(_)) => {}
            (None, None) => return Err(unknown_batch(batch).into()),
        }
    }
    write_tally(session, tally, &members.adders, at, done).await
}

async fn write_tally(
    session: &mut Session<'_>,
    mut tally: Tally,
    adders: &BTreeMap<BatchId, Adder>,
    at: Timestamp,
    done: &mut FollowUp,
) -> Result<(), Fault> {
    loop {
        let stripes = tally.take_deepest();
        if stripes.is_empty() {
            return Ok(());
        }
        for (id, written) in count(session, &stripes).await? {
            if let (Some(adder), Some((_, stripe))) = (adders.get(&id), written.first()) {
                may_add(id, stripe.gate, *adder).map_err(Error::from)?;
            }
            if let Some(crossings) = Batch::crossings(written) {
                cross(session, id, crossings, at, &mut tally, done).await?;
            }
        }
    }
}

/// By batch, the counts before and the row after.
type Written = BTreeMap<BatchId, Vec<(Counts, Stripe)>>;

async fn count(session: &mut Session<'_>, stripes: &[(BatchId, u16, Delta)]) -> Result<Written, Fault> {
    let batches: Vec<Uuid> = stripes.iter().map(|(batch, ..)| batch.0).collect();
    let numbers: Vec<i32> = stripes.iter().map(|(_, number, _)| i32::from(*number)).collect();
    let of = |state| stripes.iter().map(|(.., delta)| delta.of(state)).collect::<Vec<i64>>();
    let [live, completed, cancelled, discarded] = MemberState::ALL.map(of);
    let rows =
        session.query(&COUNT, &[&batches, &numbers, &live, &completed, &cancelled, &discarded]).await?;
    let deltas: HashMap<(Uuid, i32), Delta> =
        stripes.iter().map(|(batch, number, delta)| ((batch.0, i32::from(*number)), *delta)).collect();
    let mut written = Written::new();
    for row in &rows {
        let after = stripe(row)?;
        let (batch, number) = (row.cell::<Uuid>(5)?, row.cell::<i32>(6)?);
        let Some(delta) = deltas.get(&(batch, number)) else { continue };
        let before = after.counts.before(*delta);
        written.entry(BatchId(batch)).or_default().push((before, after));
    }
    Ok(written)
}

/// Stripes of a batch ran empty or filled: its row is locked and changes.
async fn cross(
    session: &mut Session<'_>,
    id: BatchId,
    crossings: i32,
    at: Timestamp,
    tally: &mut Tally,
    done: &mut FollowUp,
) -> Result<(), Fault> {
    let Some(mut batch) = batch_of(&session.query(&LOCK_BATCH, &[&id.0]).await?)? else { return Ok(()) };
    let stripes = session.query(&STRIPES, &[&id.0]).await?;
    let counts = stripes.iter().map(|row| Ok(stripe(row)?.counts)).collect::<Result<Vec<_>, Fault>>()?;
    let crossed = batch.crossed(crossings, Counts::sum(counts), at).map_err(Error::from)?;
    write_crossed(session, &batch, crossed, tally, done).await
}

/// Writes the row of a batch, and what follows from what its stripes count.
async fn write_crossed(
    session: &mut Session<'_>,
    batch: &Batch,
    crossed: backroom_core::batch::Crossed,
    tally: &mut Tally,
    done: &mut FollowUp,
) -> Result<(), Fault> {
    let text = batch.stored().map_err(Error::from)?;
    session.query(&WRITE_BATCH, &[&batch.id.0, &ended_at(batch), &text]).await?;
    for new in crossed.jobs {
        let notify = Effect::NotifyQueue { queue: new.job.queue.clone(), due_at: new.job.scheduled_at };
        let id = new.job.id;
        done.effects.extend([(id, Effect::Enqueue(Box::new(new))), (id, notify)]);
    }
    if let (Some((from, to)), Some(parent)) = (crossed.in_parent, batch.parent)
        && let Some(parent) = batches(session, &[parent.0]).await?.remove(&parent)
    {
        tally.changed(&parent, batch.id.0, from, to);
    }
    Ok(())
}

async fn batches(session: &mut Session<'_>, ids: &[Uuid]) -> Result<HashMap<BatchId, Batch>, Fault> {
    let mut found = HashMap::new();
    for row in session.query(&BATCHES, &[&ids]).await? {
        let batch = Batch::from_stored(row.cell(0)?).map_err(Error::from)?;
        found.insert(batch.id, batch);
    }
    Ok(found)
}

fn batch_of(rows: &[Row]) -> Result<Option<Batch>, Fault> {
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(Batch::from_stored(row.cell(0)?).map_err(Error::from)?))
}

fn ended_at(batch: &Batch) -> Option<PgTimestamp> {
    opt(batch.finished_at.filter(|_| batch.has_ended()))
}

/// A stripe from `gate, live, completed, cancelled, discarded`.
pub(super) fn stripe(row: &impl row::Cells) -> Result<Stripe, Fault> {
    let count = |column| Ok::<u64, Fault>(row.cell::<i64>(column)?.unsigned_abs());
    let counts = Counts { live: count(1)?, completed: count(2)?, cancelled: count(3)?, discarded: count(4)? };
    Ok(Stripe { counts, gate: row::word(row, 0)? })
}

/// As what a job adds to a batch; its row is locked if it is a member that runs.
pub(super) async fn adder(
    session: &mut Session<'_>,
    by: Option<(JobId, LeaseId)>,
    batch: BatchId,
) -> Result<Adder, Fault> {
    let Some((id, lease)) = by else { return Ok(Adder::Outside) };
    let rows = session.query(&ADDER, &[&id.0]).await?;
    let Some(found) = rows.first() else { return Ok(Adder::Outside) };
    let runs = row::word::<State>(found, 0)? == State::Running
        && found.cell::<Option<Uuid>>(1)? == Some(lease.0)
        && Links::from_stored(found.cell(2)?).map_err(Error::from)?.batch == Some(batch);
    Ok(if runs { Adder::Member } else { Adder::Outside })
}

async fn insert_row(session: &mut Session<'_>, batch: &Batch, stripes: &[Stripe]) -> Result<bool, Fault> {
    let text = batch.stored().map_err(Error::from)?;
    let parent = batch.parent.map(|parent| parent.0);
    let inserted = session.query(&INSERT_BATCH, &[&batch.id.0, &parent, &ended_at(batch), &text]).await?;
    if inserted.is_empty() {
        return Ok(false);
    }
    let gates: Vec<&str> = stripes.iter().map(|stripe| stripe.gate.as_str()).collect();
    let of = |count: fn(&Counts) -> u64| {
        stripes.iter().map(|stripe| row::revision(count(&stripe.counts))).collect::<Vec<i64>>()
    };
    let (live, completed) = (of(|counts| counts.live), of(|counts| counts.completed));
    let (cancelled, discarded) = (of(|counts| counts.cancelled), of(|counts| counts.discarded));
    session.query(&INSERT_STRIPES, &[&batch.id.0, &gates, &live, &completed, &cancelled, &discarded]).await?;
    Ok(true)
}

/// Opens a batch, unless it is stored.
pub(crate) async fn open_batch(core: &Core, open: &OpenBatch, now: Timestamp) -> Result<BatchRow, Fault> {
    let batch = &open.batch;
    let stripes = vec![Stripe::OPENED; usize::from(batch.stripes)];
    let transaction = core.writer.begin().await?;
    let opened = async {
        let session = &mut Session::Ours(&transaction);
        let mut done = FollowUp::default();
        if insert_row(session, batch, &stripes).await?
            && let Some(parent) = batch.parent
        {
            let adder = adder(session, open.by, parent).await?;
            let mut members = Members::default();
            members.added(now, parent, batch.id.0, MemberState::Live, adder);
            write_members(session, members, &mut done).await?;
        }
        Ok::<_, Fault>(done)
    };
    match opened.await {
        Ok(done) => {
            let effects = done.stored(core, std::iter::empty())?;
            transaction.commit_with(&effects.statements()).await?;
            effects.committed(core);
            done.notify(core);
        }
        Err(fault) => {
            // The caller gets the first reason; a rollback that fails ends the connection.
            _ = transaction.rollback().await;
            return Err(fault);
        }
    }
    let found = super::read::batch(core, batch.id).await?;
    found.ok_or_else(|| unknown_batch(batch.id).into())
}

/// Closes, cancels, reopens or forgets a batch.
pub(crate) async fn turn_batch(
    core: &Core,
    id: BatchId,
    turn: BatchTurn,
    now: Timestamp,
) -> Result<Option<BatchRow>, Fault> {
    let transaction = core.writer.begin().await?;
    let turned = async {
        let session = &mut Session::Ours(&transaction);
        // This waits for every transaction that adds or ends a member.
        let rows = session.query(&LOCK_STRIPES, &[&id.0]).await?;
        let mut stripes = rows.iter().map(stripe).collect::<Result<Vec<_>, _>>()?;
        let Some(batch) = batch_of(&session.query(&LOCK_BATCH, &[&id.0]).await?)? else { return Ok(None) };
        let mut done = FollowUp::default();
        let decided = decide(&batch, &stripes, turn, now).map_err(Error::from)?;
        let Some((closed, gate)) = decided else { return Ok(Some((BatchRow { batch, stripes }, done))) };
        session.query(&SET_GATES, &[&id.0, &gate.as_str()]).await?;
        stripes.iter_mut().for_each(|stripe| stripe.gate = gate);
        let mut tally = Tally::default();
        write_crossed(session, &closed.batch, closed.crossed, &mut tally, &mut done).await?;
        write_tally(session, tally, &BTreeMap::new(), now, &mut done).await?;
        Ok::<_, Fault>(Some((BatchRow { batch: closed.batch, stripes }, done)))
    };
    match turned.await {
        Ok(Some((row, done))) => {
            let effects = done.stored(core, std::iter::empty())?;
            transaction.commit_with(&effects.statements()).await?;
            effects.committed(core);
            done.notify(core);
            Ok(Some(row))
        }
        Ok(None) => {
            transaction.rollback().await?;
            Ok(None)
        }
        Err(fault) => {
            // The caller gets the first reason; a rollback that fails ends the connection.
            _ = transaction.rollback().await;
            Err(fault)
        }
    }
}

/// Stores whole batches; answers how many were new.
pub(crate) async fn import_batches(core: &Core, batches: &[BatchRow]) -> Result<u64, Fault> {
    let transaction = core.writer.begin().await?;
    let imported = async {
        let session = &mut Session::Ours(&transaction);
        let mut new = 0;
        for row in batches {
            let stripes = session.query(&LOCK_STRIPES, &[&row.batch.id.0]).await?;
            let stored = batch_of(&session.query(&LOCK_BATCH, &[&row.batch.id.0]).await?)?;
            if let Some(batch) = stored {
                let stripes = stripes.iter().map(stripe).collect::<Result<Vec<_>, _>>()?;
                if !is_newer(row, &BatchRow { batch, stripes }) {
                    continue;
                }
                session.query(&DELETE_BATCH, &[&row.batch.id.0]).await?;
            }
            new += u64::from(insert_row(session, &row.batch, &row.stripes).await?);
        }
        Ok::<_, Fault>(new)
    };
    match imported.await {
        Ok(new) => {
            transaction.commit().await?;
            Ok(new)
        }
        Err(fault) => {
            // The caller gets the first reason; a rollback that fails ends the connection.
            _ = transaction.rollback().await;
            Err(fault)
        }
    }
}

/// Deletes batches that ended before this moment and have no members any more; answers how many.
pub(crate) async fn prune_batches(core: &Core, ended_before: Timestamp, limit: usize) -> Result<u64, Fault> {
    let gone = core.writer.query(&PRUNE, &[&PgTimestamp(ended_before), &row::at_most(limit)]).await?;
    Ok(gone.len() as u64)
}
