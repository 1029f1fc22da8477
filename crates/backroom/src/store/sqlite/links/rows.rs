//! Rows of edges and batches.

use backroom_core::{
    Change, Effect, JobId, JobRow, LeaseId, Timestamp,
    batch::{Batch, BatchId, Counts, Gate, Stripe},
    dependency::EdgesOf,
    draft::NewJob,
    links::{ChildEnded, Links, follow},
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use uuid::Uuid;

use super::super::{
    commit::{carry_out, write_decided},
    error::Fault,
    hints::Hints,
    insert, journals,
    row::{self, at_most, micros},
};
use crate::{
    Error,
    store::{
        Inserted,
        linked::{self, EdgeRow, Facts, Left, LinkRows, NewRows},
    },
};

/// What is known of a predecessor. Parameter: the job.
pub(in super::super) const FACTS: &str = "SELECT kind, state, reason, links FROM backroom_jobs WHERE id = ?1";
/// Stores an edge. Parameters: the dependant, the predecessor, its policy, its state.
pub(in super::super) const PUT_EDGE: &str = "INSERT INTO backroom_edges (dependant, predecessor, on_failure, state) \
     VALUES (?1, ?2, ?3, ?4) ON CONFLICT (dependant, predecessor) DO UPDATE SET state = excluded.state";
/// A batch. Parameter: its id.
pub(in super::super) const BATCH: &str = "SELECT batch FROM backroom_batches WHERE id = ?1";
/// Writes a batch. Parameters: its id, its parent, since when it has ended, its text.
pub(in super::super) const PUT_BATCH: &str = "INSERT INTO backroom_batches (id, parent, ended_at, batch) \
     VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO UPDATE SET ended_at = excluded.ended_at, batch = excluded.batch";
/// The stripes of a batch. Parameter: its id.
pub(in super::super) const STRIPES: &str = "SELECT gate, live, completed, cancelled, discarded FROM backroom_stripes \
     WHERE batch = ?1 ORDER BY number";
/// Writes a stripe. Parameters: its batch, its number, its gate, its counts.
pub(in super::super) const PUT_STRIPE: &str = "INSERT INTO backroom_stripes \
     (batch, number, gate, live, completed, cancelled, discarded) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
     ON CONFLICT (batch, number) DO UPDATE SET gate = excluded.gate, live = excluded.live, \
     completed = excluded.completed, cancelled = excluded.cancelled, discarded = excluded.discarded";

/// The rows within a transaction.
pub(super) struct SqliteLinks<'a> {
    pub(super) connection: &'a Connection,
    pub(super) hints: &'a mut Hints,
}

impl NewRows for SqliteLinks<'_> {
    type Fault = Fault;

    fn facts(&mut self, id: JobId) -> Result<Option<Facts>, Fault> {
        let mut select = self.connection.prepare_cached(FACTS)?;
        let found = select.query_row([id.0.as_bytes()], |found| {
            Ok((found.get(0)?, row::name(found, 1)?, found.get(2)?, found.get::<_, Option<String>>(3)?))
        });
        let Some((kind, state, reason, links)) = found.optional()? else { return Ok(None) };
        let is_followed = Links::from_stored(links.as_deref())?.followed;
        Ok(Some(Facts { kind, state, reason, is_followed }))
    }

    fn mark_followed(&mut self, id: JobId) -> Result<(), Self::Fault> {
        match self.job(id)?.as_ref().and_then(follow) {
            Some(change) => self.write(&change),
            None => Ok(()),
        }
    }

    fn is_running_member(&mut self, id: JobId, lease: LeaseId, batch: BatchId) -> Result<bool, Self::Fault> {
        Ok(self.job(id)?.is_some_and(|job| linked::is_running_member(&job, lease, batch)))
    }

    fn insert(&mut self, jobs: &[NewJob], now: Timestamp) -> Result<Result<Vec<Inserted>, Error>, Fault> {
        insert::insert(self.connection, jobs, now, self.hints)
    }

    fn insert_end_job(&mut self, new: &NewJob) -> Result<(), Fault> {
        insert::insert_effect(self.connection, new, self.hints)?;
        self.hints.queue(&new.job.queue);
        Ok(())
    }

    fn carry_out_of_new(&mut self, id: JobId, effects: &[Effect]) -> Result<(), Fault> {
        effects.iter().try_for_each(|effect| carry_out(self.connection, id, effect, self.hints))
    }

    fn put_edge(&mut self, edge: &EdgeRow) -> Result<(), Fault> {
        put_edge(self.connection, edge)
    }

    fn batch(&mut self, id: BatchId) -> Result<Option<Batch>, Fault> {
        batch(self.connection, id)
    }

    fn put_batch(&mut self, batch: &Batch) -> Result<(), Fault> {
        let mut put = self.connection.prepare_cached(PUT_BATCH)?;
        let ended_at = batch.finished_at.filter(|_| batch.has_ended()).map(micros);
        let parent = batch.parent.as_ref().map(|parent| parent.0.as_bytes());
        put.execute(params![batch.id.0.as_bytes(), parent, ended_at, batch.stored()?])?;
        Ok(())
    }

    fn stripes(&mut self, id: BatchId) -> Result<Vec<Stripe>, Fault> {
        stripes(self.connection, id)
    }

    fn put_stripe(&mut self, id: BatchId, number: u16, stripe: &Stripe) -> Result<(), Fault> {
        let mut put = self.connection.prepare_cached(PUT_STRIPE)?;
        let Counts { live, completed, cancelled, discarded } = stripe.counts;
        let [live, completed, cancelled, discarded] =
            [live, completed, cancelled, discarded].map(row::revision);
        let gate = stripe.gate.as_str();
        put.execute(params![id.0.as_bytes(), number, gate, live, completed, cancelled, discarded])?;
        Ok(())
    }
}

impl LinkRows for SqliteLinks<'_> {
    fn job(&mut self, id: JobId) -> Result<Option<JobRow>, Fault> {
        row::find(self.connection, id)
    }

    fn write(&mut self, change: &Change) -> Result<(), Fault> {
        write_decided(self.connection, change, self.hints)
    }

    fn child_ended(&mut self, ended: &ChildEnded, at: Timestamp) -> Result<(), Fault> {
        journals::child_ended(self.connection, ended, at, self.hints)
    }

    fn edges_from(
        &mut self,
        predecessor: JobId,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<EdgeRow>, Fault> {
        let mut select = self.connection.prepare_cached(
            "SELECT dependant, predecessor, on_failure, state FROM backroom_edges INDEXED BY backroom_edges_from \
             WHERE predecessor = ?1 AND dependant > ?2 ORDER BY dependant LIMIT ?3",
        )?;
        let after = after.map_or(Uuid::nil(), |after| after.0);
        let rows =
            select.query_map(params![predecessor.0.as_bytes(), after.as_bytes(), at_most(limit)], edge)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn edges_to(&mut self, dependant: JobId) -> Result<Vec<EdgeRow>, Fault> {
        edges_to(self.connection, dependant)
    }

    fn has_other_open_edge(&mut self, dependant: JobId, predecessor: JobId) -> Result<bool, Fault> {
        let mut select = self.connection.prepare_cached(
            "SELECT 1 FROM backroom_edges WHERE dependant = ?1 AND state = 'open' AND predecessor <> ?2 LIMIT 1",
        )?;
        Ok(select.exists(params![dependant.0.as_bytes(), predecessor.0.as_bytes()])?)
    }

    fn leave(&mut self, left: &Left) -> Result<(), Fault> {
        let mut insert = self
            .connection
            .prepare_cached("INSERT INTO backroom_edges_left (edges, \"after\") VALUES (?1, ?2)")?;
        insert.execute(params![left.edges.stored()?, left.after.as_ref().map(|after| after.0.as_bytes())])?;
        self.hints.edges_left();
        Ok(())
    }

    fn take_left(&mut self) -> Result<Option<Left>, Fault> {
        let mut select = self
            .connection
            .prepare_cached("SELECT seq, edges, \"after\" FROM backroom_edges_left ORDER BY seq LIMIT 1")?;
        let found = select.query_row([], |found| {
            let after = found.get::<_, Option<[u8; 16]>>(2)?;
            Ok((found.get::<_, i64>(0)?, found.get::<_, String>(1)?, after))
        });
        let Some((seq, edges, after)) = found.optional()? else { return Ok(None) };
        self.connection.prepare_cached("DELETE FROM backroom_edges_left WHERE seq = ?1")?.execute([seq])?;
        let after = after.map(|after| JobId(Uuid::from_bytes(after)));
        Ok(Some(Left { edges: EdgesOf::from_stored(&edges)?, after }))
    }

    fn has_left(&mut self) -> Result<bool, Fault> {
        Ok(self.connection.prepare_cached("SELECT 1 FROM backroom_edges_left LIMIT 1")?.exists([])?)
    }
}

pub(super) fn put_edge(connection: &Connection, edge: &EdgeRow) -> Result<(), Fault> {
    let mut put = connection.prepare_cached(PUT_EDGE)?;
    put.execute(params![
        edge.dependant.0.as_bytes(),
        edge.predecessor.0.as_bytes(),
        edge.on_failure.as_str(),
        edge.state.as_str()
    ])?;
    Ok(())
}

/// All edges that lead to a job.
fn edges_to(connection: &Connection, dependant: JobId) -> Result<Vec<EdgeRow>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT dependant, predecessor, on_failure, state FROM backroom_edges WHERE dependant = ?1 ORDER BY predecessor",
    )?;
    let rows = select.query_map([dependant.0.as_bytes()], edge)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn edge(found: &Row<'_>) -> rusqlite::Result<EdgeRow> {
    Ok(EdgeRow {
        dependant: row::job_id(found, 0)?,
        predecessor: row::job_id(found, 1)?,
        on_failure: row::name(found, 2)?,
        state: row::name(found, 3)?,
    })
}

pub(super) fn batch(connection: &Connection, id: BatchId) -> Result<Option<Batch>, Fault> {
    let mut select = connection.prepare_cached(BATCH)?;
    let text: Option<String> = select.query_row([id.0.as_bytes()], |found| found.get(0)).optional()?;
    Ok(text.as_deref().map(Batch::from_stored).transpose()?)
}

pub(super) fn stripes(connection: &Connection, id: BatchId) -> Result<Vec<Stripe>, Fault> {
    let mut select = connection.prepare_cached(STRIPES)?;
    let rows = select.query_map([id.0.as_bytes()], |found| {
        let count = |column| Ok::<u64, rusqlite::Error>(found.get::<_, i64>(column)?.unsigned_abs());
        let gate: Gate = row::name(found, 0)?;
        let counts =
            Counts { live: count(1)?, completed: count(2)?, cancelled: count(3)?, discarded: count(4)? };
        Ok(Stripe { counts, gate })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
