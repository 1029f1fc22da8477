//! The verbs for links and batches.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{
    JobId, Timestamp,
    batch::{Batch, BatchId},
};
use rusqlite::{Connection, params};
use uuid::Uuid;

use super::{
    super::{
        SqliteStore, bytes,
        error::Fault,
        operation::Weight,
        row::{self, at_most, micros},
    },
    rows::{self, SqliteLinks},
};
use crate::{
    Error,
    store::{
        BatchRow, BatchTurn, BatchVerbs, Call, EdgesOfJob, InsertLinked, Inserted, LinkVerbs, Neighbour,
        NeighbourState, OpenBatch, Side,
        linked::{self, NewRows as _},
    },
};

/// About how many rows the settlement of a page writes.
const ROWS_OF_PAGE: usize = 1000;

#[async_trait]
impl LinkVerbs for SqliteStore {
    async fn insert_linked(
        &self,
        insert: Arc<InsertLinked>,
        now: Timestamp,
        _call: Call,
    ) -> Result<Vec<Inserted>, Error> {
        let edges: usize = insert.jobs.iter().map(|linked| linked.edges.len()).sum();
        let bytes = bytes::of_jobs(insert.jobs.iter().map(|linked| &linked.new.job));
        let weight = Weight::durable(insert.jobs.len() + edges).bytes(bytes);
        self.write(weight, move |tx, hints| super::insert(tx, &insert, now, hints)).await?
    }

    async fn settle_left(&self, now: Timestamp) -> Result<bool, Error> {
        let has_left = |reader: &Connection| {
            Ok(reader.prepare_cached("SELECT 1 FROM backroom_edges_left LIMIT 1")?.exists([])?)
        };
        if !self.vital_readers.run(has_left).await? {
            return Ok(false);
        }
        self.write(Weight::durable(ROWS_OF_PAGE), move |connection, hints| {
            linked::settle_left(&mut SqliteLinks { connection, hints }, now)
        })
        .await
    }

    async fn edges(
        &self,
        of: EdgesOfJob,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<Neighbour>, Error> {
        self.readers.run(move |reader| neighbours(reader, of, after, limit)).await
    }
}

#[async_trait]
impl BatchVerbs for SqliteStore {
    async fn open_batch(&self, open: Arc<OpenBatch>, now: Timestamp) -> Result<BatchRow, Error> {
        self.write(Weight::durable(3), move |connection, hints| {
            linked::open_batch(&mut SqliteLinks { connection, hints }, &open, now)
        })
        .await?
    }

    async fn turn_batch(
        &self,
        id: BatchId,
        turn: BatchTurn,
        now: Timestamp,
    ) -> Result<Option<BatchRow>, Error> {
        self.write(Weight::durable(5), move |connection, hints| {
            linked::turn_batch(&mut SqliteLinks { connection, hints }, id, turn, now)
        })
        .await
    }

    async fn batch(&self, id: BatchId) -> Result<Option<BatchRow>, Error> {
        self.vital_readers.run(move |reader| batch(reader, id)).await
    }

    async fn batches(
        &self,
        parent: Option<BatchId>,
        before: Option<BatchId>,
        limit: usize,
    ) -> Result<Vec<BatchRow>, Error> {
        self.readers.run(move |reader| batches(reader, parent, before, limit)).await
    }

    async fn import_batches(&self, batches: Arc<Vec<BatchRow>>) -> Result<u64, Error> {
        let weight = Weight::durable(batches.len() * 2);
        self.write(weight, move |connection, hints| {
            let mut new = 0;
            for imported in batches.iter() {
                let mut rows = SqliteLinks { connection, hints };
                let id = imported.batch.id;
                if let Some(batch) = rows.batch(id)? {
                    let stored = BatchRow { batch, stripes: rows.stripes(id)? };
                    if !linked::is_newer(imported, &stored) {
                        continue;
                    }
                }
                let (batch, stripe) = linked::in_one_stripe(imported);
                rows.put_batch(&batch)?;
                rows.put_stripe(batch.id, 0, &stripe)?;
                new += 1;
            }
            Ok(new)
        })
        .await
    }

    async fn prune_batches(&self, ended_before: Timestamp, limit: usize) -> Result<u64, Error> {
        let found = self.readers.run(move |reader| prunable(reader, ended_before, limit)).await?;
        if found.is_empty() {
            return Ok(0);
        }
        self.write(Weight::durable(found.len()), move |tx, _| prune(tx, &found, ended_before)).await
    }
}

/// Edges of a job with the kinds and states of the jobs at their other ends.
fn neighbours(
    connection: &Connection,
    of: EdgesOfJob,
    after: Option<JobId>,
    limit: usize,
) -> Result<Vec<Neighbour>, Fault> {
    let (own, other) = match of.side {
        Side::Predecessors => ("dependant", "predecessor"),
        Side::Dependants => ("predecessor", "dependant"),
    };
    let only_open = if of.only_open { "AND edges.state = 'open'" } else { "" };
    let mut select = connection.prepare_cached(&format!(
        "SELECT edges.{other}, edges.on_failure, edges.state, jobs.kind, jobs.state FROM backroom_edges AS edges \
         LEFT JOIN backroom_jobs AS jobs ON jobs.id = edges.{other} \
         WHERE edges.{own} = ?1 AND edges.{other} > ?2 {only_open} ORDER BY edges.{other} LIMIT ?3"
    ))?;
    let after = after.map_or(Uuid::nil(), |after| after.0);
    let rows = select.query_map(params![of.job.0.as_bytes(), after.as_bytes(), at_most(limit)], |found| {
        let kind: Option<String> = found.get(3)?;
        let state = |kind| Ok::<_, rusqlite::Error>(NeighbourState { kind, state: row::name(found, 4)? });
        Ok(Neighbour {
            job: row::job_id(found, 0)?,
            on_failure: row::name(found, 1)?,
            edge: row::name(found, 2)?,
            found: kind.map(state).transpose()?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn batch(connection: &Connection, id: BatchId) -> Result<Option<BatchRow>, Fault> {
    // One transaction, so that both tables are read as they were at one moment.
    let transaction = connection.unchecked_transaction()?;
    let found = rows::batch(connection, id)?;
    let found = match found {
        Some(batch) => Some(BatchRow { batch, stripes: rows::stripes(connection, id)? }),
        None => None,
    };
    transaction.finish()?;
    Ok(found)
}

fn batches(
    connection: &Connection,
    parent: Option<BatchId>,
    before: Option<BatchId>,
    limit: usize,
) -> Result<Vec<BatchRow>, Fault> {
    let before = before.map_or(vec![u8::MAX; 17], |before| before.0.as_bytes().to_vec());
    let of_parent = if parent.is_some() { "AND parent = ?3" } else { "AND ?3 IS NULL" };
    let mut select = connection.prepare_cached(&format!(
        "SELECT batch FROM backroom_batches WHERE id < ?1 {of_parent} ORDER BY id DESC LIMIT ?2"
    ))?;
    let parent = parent.as_ref().map(|parent| parent.0.as_bytes());
    let texts =
        select.query_map(params![before, at_most(limit), parent], |found| found.get::<_, String>(0))?;
    let texts: Vec<String> = texts.collect::<Result<_, _>>()?;
    let mut found = Vec::with_capacity(texts.len());
    for text in texts {
        let batch = Batch::from_stored(&text)?;
        let stripes = rows::stripes(connection, batch.id)?;
        found.push(BatchRow { batch, stripes });
    }
    Ok(found)
}

/// Batches that ended long ago and to which nothing belongs any more. Parameters: moment, limit.
const PRUNABLE: &str = "SELECT id FROM backroom_batches AS batches WHERE ended_at < ?1 \
    AND NOT EXISTS (SELECT 1 FROM backroom_jobs INDEXED BY backroom_jobs_batch WHERE batch = batches.id) \
    AND NOT EXISTS (SELECT 1 FROM backroom_batches AS nested WHERE nested.parent = batches.id) \
    ORDER BY ended_at LIMIT ?2";

fn prunable(connection: &Connection, ended_before: Timestamp, limit: usize) -> Result<Vec<[u8; 16]>, Fault> {
    let mut select = connection.prepare_cached(PRUNABLE)?;
    let ids = select.query_map(params![micros(ended_before), at_most(limit)], |found| found.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// Deletes those that have not begun again since they were found.
fn prune(connection: &Connection, found: &[[u8; 16]], ended_before: Timestamp) -> Result<u64, Fault> {
    let mut deleted = 0;
    for id in found {
        let mut delete =
            connection.prepare_cached("DELETE FROM backroom_batches WHERE id = ?1 AND ended_at < ?2")?;
        if delete.execute(params![id, micros(ended_before)])? > 0 {
            connection.prepare_cached("DELETE FROM backroom_stripes WHERE batch = ?1")?.execute([id])?;
            deleted += 1;
        }
    }
    Ok(deleted)
}
