//! Writing to journals, many at once.
//!
//! One statement writes the heads, entries and taken arrivals of many workflows. It checks the leases without locking the jobs: the row of
//! the journal orders its writers. A run that has lost its lease can at most write before the next run reads or writes the journal, and
//! that run then finds another revision and reads again.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use backroom_core::{Effect, JobId, Json, links::Links};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{number, signals::LOCK_JOBS};
use crate::store::postgres::{
    Core,
    columns::{
        row::Cells as _,
        timestamp::{PgTimestamp, opt},
    },
    tray,
    verbs::{
        effects,
        links::{self, FollowUp},
    },
    wire::{
        connection::{Bound, Param, Transaction},
        error::Fault,
        session::Session,
        settings::Wait,
        sql::{Sql, rows_by_id},
    },
};
use crate::{
    Error,
    store::{JournalWrite, Wrote},
};

/// Journals in one statement.
const ROWS_MAX: usize = 1000;

/// Writes to the journals of runs that hold their lease. Answers with the workflows whose lease holds, and whether the journal had the
/// expected revision. Parameters: workflows, leases, revisions before, headers, wake times; of entries the workflows, keys and texts; of
/// taken arrivals the workflows and numbers; now.
static WRITE: Sql = Sql {
    text: concat!(
        "WITH live AS MATERIALIZED (SELECT new.* FROM \
             unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::timestamptz[]) \
               AS new (id, lease, revision, header, wake_at), {schema}.jobs ",
        rows_by_id!(),
        " AND jobs.lease_id = new.lease AND jobs.lease_until IS NOT NULL), \
           written AS MATERIALIZED ( \
             INSERT INTO {schema}.journals AS stored (workflow, revision, header, wake_at, arrived) \
             SELECT id, revision + 1, header, wake_at, 0 FROM live \
             WHERE revision = 0 OR EXISTS (SELECT FROM {schema}.journals WHERE workflow = live.id) ORDER BY id \
             ON CONFLICT (workflow) DO UPDATE \
               SET revision = excluded.revision, header = excluded.header, wake_at = excluded.wake_at \
               WHERE stored.revision = excluded.revision - 1 \
             RETURNING workflow), \
           put AS ( \
             INSERT INTO {schema}.journal (workflow, key, entry) \
             SELECT new.* FROM unnest($6::uuid[], $7::text[], $8::text[]) AS new (workflow, key, entry) \
             WHERE (new.workflow IN (SELECT workflow FROM written)) IS TRUE \
             ON CONFLICT (workflow, key) DO UPDATE SET entry = excluded.entry), \
           taken AS ( \
             UPDATE {schema}.arrivals SET arrival = NULL, taken_at = $11 \
             FROM unnest($9::uuid[], $10::bigint[]) AS new (workflow, n) \
             WHERE arrivals.workflow = ANY (ARRAY[new.workflow]) AND arrivals.n = new.n AND arrivals.taken_at IS NULL \
               AND (new.workflow IN (SELECT workflow FROM written)) IS TRUE) \
           SELECT id, (id IN (SELECT workflow FROM written)) IS TRUE FROM live"
    ),
    types: &[
        Type::UUID_ARRAY,
        Type::UUID_ARRAY,
        Type::INT8_ARRAY,
        Type::TEXT_ARRAY,
        Type::TIMESTAMPTZ_ARRAY,
        Type::UUID_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::UUID_ARRAY,
        Type::INT8_ARRAY,
        Type::TIMESTAMPTZ,
    ],
};

/// Changes what is published. Parameters: the workflow, the value.
static PUBLISH: Sql = Sql {
    text: "UPDATE {schema}.journals SET published = $2 WHERE workflow = $1",
    types: &[Type::UUID, Type::TEXT],
};

/// Deletes all entries. Parameter: the workflow.
static CLEAR: Sql = Sql { text: "DELETE FROM {schema}.journal WHERE workflow = $1", types: &[Type::UUID] };

/// Gives a job new args. Parameters: the job, the args.
static SET_ARGS: Sql = Sql {
    text: "UPDATE {schema}.jobs SET args = $2, revision = revision + 1 WHERE id = $1",
    types: &[Type::UUID, Type::TEXT],
};

/// What is charged to a job counts no longer. Parameter: the job.
static FORGIVE: Sql = Sql {
    text: "UPDATE {schema}.jobs SET attempt = 1, crashes = 0, suspicion = NULL, revision = revision + 1 WHERE id = $1",
    types: &[Type::UUID],
};

/// Locks a job that runs under a lease, and answers with its links. A transaction with several statements begins with it: no other run
/// begins before it ends, and the order of locks is that of signals. Parameters: the job, the lease.
static LOCK_RUN: Sql = Sql {
    text: "SELECT links FROM {schema}.jobs WHERE id = $1 AND lease_id = $2 AND lease_until IS NOT NULL FOR NO KEY UPDATE",
    types: &[Type::UUID, Type::UUID],
};

/// Writes the links of a job. Parameters: the job, the text.
static TIE: Sql = Sql {
    text: "UPDATE {schema}.jobs SET links = $2, revision = revision + 1 WHERE id = $1",
    types: &[Type::UUID, Type::TEXT],
};

/// Revision and header of a journal. Parameter: the workflow.
static HEAD: Sql = Sql {
    text: "SELECT revision::bigint, header, wake_at, published FROM {schema}.journals WHERE workflow = $1",
    types: &[Type::UUID],
};

/// One entry. Parameters: the workflow, the key.
static ENTRY: Sql = Sql {
    text: "SELECT entry FROM {schema}.journal WHERE workflow = $1 AND key = $2",
    types: &[Type::UUID, Type::TEXT],
};

/// Writes of several calls; one answer per write, in order.
pub(crate) async fn write(
    core: &Core,
    calls: &[Arc<Vec<JournalWrite>>],
) -> Result<Vec<Result<Vec<Wrote>, Fault>>, Fault> {
    let writes: Vec<&JournalWrite> = calls.iter().flat_map(|call| call.iter()).collect();
    let mut answers = vec![Wrote::Fenced; writes.len()];
    let mut open: Vec<usize> = (0..writes.len()).collect();
    while !open.is_empty() {
        // One write per workflow in a round; one with more than a statement writes is a round of its own.
        let (mut ids, mut round, mut later) = (HashSet::new(), Vec::new(), Vec::new());
        for index in open {
            let write = writes[index];
            let fits = if is_simple(write) {
                round.len() < ROWS_MAX && round.first().is_none_or(|first| is_simple(writes[*first]))
            } else {
                round.is_empty()
            };
            if fits && ids.insert(write.workflow) { round.push(index) } else { later.push(index) }
        }
        let of_round: Vec<&JournalWrite> = round.iter().map(|index| writes[*index]).collect();
        let answered = write_round(core, &of_round).await?;
        for index in round {
            answers[index] = answered.get(&writes[index].workflow).copied().unwrap_or(Wrote::Fenced);
        }
        open = later;
    }
    let mut answers = answers.into_iter();
    Ok(calls.iter().map(|call| Ok(answers.by_ref().take(call.len()).collect())).collect())
}

/// Whether one statement writes all of it.
fn is_simple(write: &JournalWrite) -> bool {
    !write.publishes
        && !write.clears
        && write.children.is_empty()
        && write.cancels.is_empty()
        && write.args.is_none()
        && !write.forgives
        && !write.ties
}

async fn write_round(core: &Core, writes: &[&JournalWrite]) -> Result<HashMap<JobId, Wrote>, Fault> {
    let mut answers = HashMap::new();
    for is_last in [false, true] {
        let open: Vec<&JournalWrite> =
            writes.iter().copied().filter(|write| !answers.contains_key(&write.workflow)).collect();
        if open.is_empty() {
            break;
        }
        for (id, is_written) in write_live(core, &open).await? {
            answers.insert(id, is_written);
        }
        let left: Vec<Uuid> = open
            .iter()
            .filter(|write| !answers.contains_key(&write.workflow))
            .map(|write| write.lease.0)
            .collect();
        if left.is_empty() || is_last {
            break;
        }
        // Their leases are lost, or the jobs are on trays.
        core.trays.disturbed();
        if tray::unload(core, &core.writer, left).await?.trays == 0 {
            break;
        }
    }
    let mut found = HashMap::new();
    for write in writes {
        let wrote = match answers.get(&write.workflow) {
            None => Wrote::Fenced,
            Some(true) => Wrote::Done,
            Some(false) if is_written(core, write).await? => Wrote::Done,
            Some(false) => Wrote::Moved,
        };
        found.insert(write.workflow, wrote);
    }
    Ok(found)
}

/// Writes those whose lease holds: by workflow, whether the journal had the expected revision.
async fn write_live(core: &Core, writes: &[&JournalWrite]) -> Result<Vec<(JobId, bool)>, Fault> {
    let columns = Columns::of(writes)?;
    let rows = match writes {
        [write] if !is_simple(write) => return write_alone(core, write, &columns).await,
        _ => core.writer.query(&WRITE, &columns.params()).await?,
    };
    rows.iter().map(|row| Ok((JobId(row.try_get(0)?), row.try_get(1)?))).collect()
}

/// Writes one with more than a statement writes, in a transaction.
async fn write_alone(
    core: &Core,
    write: &JournalWrite,
    columns: &Columns,
) -> Result<Vec<(JobId, bool)>, Fault> {
    let (id, lease) = (write.workflow.0, write.lease.0);
    // The end of a child locks the child and then its workflow, and so does this.
    let children: Vec<JobId> = write.cancels.iter().map(|cancel| cancel.child).collect();
    let (transaction, locked) = if children.is_empty() {
        core.writer.begin_with(Wait::Usual, &LOCK_RUN, &[&id, &lease]).await?
    } else {
        let ids: Vec<Uuid> = children.iter().map(|child| child.0).collect();
        let (transaction, _) = core.writer.begin_with(Wait::Usual, &LOCK_JOBS, &[&ids]).await?;
        let locked = transaction.query(&LOCK_RUN, &[&id, &lease]).await?;
        (transaction, locked)
    };
    let Some(job) = locked.first() else {
        transaction.rollback().await?;
        return Ok(Vec::new());
    };
    let links = Links::from_stored(job.try_get(0)?).map_err(Error::from)?;
    let rows = transaction.query(&WRITE, &columns.params()).await?;
    let found = rows.iter().map(|row| Ok((JobId(row.try_get(0)?), row.try_get(1)?)));
    let found: Vec<(JobId, bool)> = found.collect::<Result<_, Fault>>()?;
    if !found.iter().any(|(_, is_written)| *is_written) {
        transaction.rollback().await?;
        return Ok(found);
    }
    let published = write.header.published.as_ref().map(Json::as_str);
    let args = write.args.as_ref().map(Json::as_str);
    let links = Links { journal: true, ..links }.stored().map_err(Error::from)?;
    let mut statements: Vec<Bound<'_>> = Vec::new();
    if write.publishes {
        statements.push((&PUBLISH, vec![&id, &published]));
    }
    if write.ties {
        statements.push((&TIE, vec![&id, &links]));
    }
    if write.clears {
        statements.push((&CLEAR, vec![&id]));
    }
    if write.args.is_some() {
        statements.push((&SET_ARGS, vec![&id, &args]));
    }
    if write.forgives {
        statements.push((&FORGIVE, vec![&id]));
    }
    let begun: Vec<Effect> =
        write.children.iter().map(|child| Effect::Enqueue(Box::new(child.clone()))).collect();
    let follow_up = match cancel_children(&transaction, write).await {
        Ok(follow_up) => follow_up,
        Err(fault) => {
            // The caller needs the cause. If the rollback fails as well, the connection is dropped.
            _ = transaction.rollback().await;
            return Err(fault);
        }
    };
    let effects = follow_up.stored(core, begun.iter().map(|child| (write.workflow, child)))?;
    statements.extend(effects.statements());
    transaction.commit_with(&statements).await?;
    effects.committed(core);
    write.children.iter().for_each(|child| core.hints.queue(&child.job.queue));
    effects::notify(core, begun.iter());
    follow_up.notify(core);
    Ok(found)
}

/// Cancels children in the transaction of the write, with what follows from that for other jobs.
async fn cancel_children(transaction: &Transaction, write: &JournalWrite) -> Result<FollowUp, Fault> {
    if write.cancels.is_empty() {
        return Ok(FollowUp::default());
    }
    // Boxed: it is rare, and its future is large.
    Box::pin(links::carry_out(&mut Session::Ours(transaction), write.effects())).await
}

/// Writes one that one statement writes, in a transaction of the caller.
pub(crate) async fn write_theirs(session: &mut Session<'_>, write: &JournalWrite) -> Result<Wrote, Fault> {
    let columns = Columns::of(&[write])?;
    let rows = session.query_by_index(&WRITE, &columns.params()).await?;
    match rows.first() {
        None => Ok(Wrote::Fenced),
        Some(found) if found.cell::<bool>(1)? => Ok(Wrote::Done),
        Some(_) => Ok(Wrote::Moved),
    }
}

/// Whether a write was made before, as the last one, and its answer was lost.
async fn is_written(core: &Core, write: &JournalWrite) -> Result<bool, Fault> {
    let rows = core.writer.query(&HEAD, &[&write.workflow.0]).await?;
    let Some(found) = rows.first() else { return Ok(false) };
    let is_next = found.try_get::<_, i64>(0)? == number(write.revision_before) + 1
        && found.try_get::<_, Option<&str>>(1)? == Some(write.stored_header()?.as_str())
        // Two calls of a remote worker may write at once, under one lease: another write is no repeat of this one.
        && found.try_get::<_, Option<PgTimestamp>>(2)?.map(|at| at.0.as_microsecond())
            == write.wake_at.map(|at| at.as_microsecond())
        && (!write.publishes || found.try_get::<_, Option<&str>>(3)? == write.header.published.as_ref().map(Json::as_str));
    if !is_next {
        return Ok(false);
    }
    if write.clears {
        return Ok(true);
    }
    for entry in &write.entries {
        let rows = core.writer.query(&ENTRY, &[&write.workflow.0, &entry.key]).await?;
        let Some(found) = rows.first() else { return Ok(false) };
        if found.try_get::<_, &str>(0)? != entry.stored().map_err(Error::from)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Many writes as parameters of [`WRITE`].
struct Columns {
    workflow: Vec<Uuid>,
    lease: Vec<Uuid>,
    revision: Vec<i64>,
    header: Vec<String>,
    wake_at: Vec<Option<PgTimestamp>>,
    entry_workflow: Vec<Uuid>,
    key: Vec<String>,
    entry: Vec<String>,
    taken_workflow: Vec<Uuid>,
    taken: Vec<i64>,
    at: PgTimestamp,
}

impl Columns {
    fn of(writes: &[&JournalWrite]) -> Result<Self, Fault> {
        let at = PgTimestamp(writes.first().map(|write| write.at).unwrap_or_default());
        let mut columns = Self {
            workflow: Vec::with_capacity(writes.len()),
            lease: Vec::with_capacity(writes.len()),
            revision: Vec::with_capacity(writes.len()),
            header: Vec::with_capacity(writes.len()),
            wake_at: Vec::with_capacity(writes.len()),
            entry_workflow: Vec::new(),
            key: Vec::new(),
            entry: Vec::new(),
            taken_workflow: Vec::new(),
            taken: Vec::new(),
            at,
        };
        for write in writes {
            columns.workflow.push(write.workflow.0);
            columns.lease.push(write.lease.0);
            columns.revision.push(number(write.revision_before));
            columns.header.push(write.stored_header()?);
            columns.wake_at.push(opt(write.wake_at));
            // What a clear would delete is not written before it.
            for entry in write.entries.iter().filter(|_| !write.clears) {
                columns.entry_workflow.push(write.workflow.0);
                columns.key.push(entry.key.clone());
                columns.entry.push(entry.stored().map_err(Error::from)?);
            }
            for n in &write.taken {
                columns.taken_workflow.push(write.workflow.0);
                columns.taken.push(number(*n));
            }
        }
        Ok(columns)
    }

    fn params(&self) -> Vec<Param<'_>> {
        vec![
            &self.workflow,
            &self.lease,
            &self.revision,
            &self.header,
            &self.wake_at,
            &self.entry_workflow,
            &self.key,
            &self.entry,
            &self.taken_workflow,
            &self.taken,
            &self.at,
        ]
    }
}
