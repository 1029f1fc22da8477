//! Reading edges and batches.

use backroom_core::{
    JobId,
    batch::{Batch, BatchId},
};
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::batches::stripe;
use crate::{
    Error,
    store::{
        BatchRow, EdgesOfJob, Neighbour, NeighbourState, Side,
        postgres::{
            Core,
            columns::row,
            wire::{error::Fault, sql::Sql},
        },
    },
};

/// Edges of a job, with the kinds and states of the jobs at their other ends. Parameters: the job, the last job that was read, whether
/// only open edges count, how many at most.
macro_rules! edges {
    ($own:literal, $other:literal) => {
        Sql {
            text: concat!(
                "SELECT page.*, coalesce(jobs.kind, finished.kind), coalesce(jobs.state, finished.state) FROM ( \
                   SELECT ", $other, " AS job, on_failure, state FROM {schema}.edges \
                   WHERE ", $own, " = $1 AND ", $other, " > $2 AND (NOT $3 OR state = 'open') \
                   ORDER BY ", $other, " LIMIT $4) AS page \
                 LEFT JOIN {schema}.jobs ON jobs.id = page.job LEFT JOIN {schema}.finished ON finished.id = page.job \
                 ORDER BY page.job"
            ),
            types: &[Type::UUID, Type::UUID, Type::BOOL, Type::INT8],
        }
    };
}
static PREDECESSORS: Sql = edges!("dependant", "predecessor");
static DEPENDANTS: Sql = edges!("predecessor", "dependant");

/// One batch with its stripes: a row for each. Parameter: the batch.
static BATCH: Sql = Sql {
    text: "SELECT gate, live::bigint, completed::bigint, cancelled::bigint, discarded::bigint, batches.batch \
           FROM {schema}.batches JOIN {schema}.stripes ON stripes.batch = batches.id \
           WHERE batches.id = $1 ORDER BY number",
    types: &[Type::UUID],
};

/// The newest batches, each with its stripes. Parameters: below this id, how many at most, and in which batch, or null.
static BATCHES: Sql = Sql {
    text: "SELECT gate, live::bigint, completed::bigint, cancelled::bigint, discarded::bigint, page.batch \
           FROM (SELECT id, batch FROM {schema}.batches WHERE id < $1 AND ($3::uuid IS NULL OR parent = $3) \
             ORDER BY id DESC LIMIT $2) AS page \
           JOIN {schema}.stripes ON stripes.batch = page.id ORDER BY page.id DESC, number",
    types: &[Type::UUID, Type::INT8, Type::UUID],
};

/// Edges of a job.
pub(crate) async fn neighbours(
    core: &Core,
    of: EdgesOfJob,
    after: Option<JobId>,
    limit: usize,
) -> Result<Vec<Neighbour>, Fault> {
    let sql = match of.side {
        Side::Predecessors => &PREDECESSORS,
        Side::Dependants => &DEPENDANTS,
    };
    let after = after.map_or(Uuid::nil(), |after| after.0);
    let rows = core.claims.query(sql, &[&of.job.0, &after, &of.only_open, &row::at_most(limit)]).await?;
    let neighbour = |found: &Row| {
        let kind: Option<String> = found.try_get(3)?;
        let state = |kind| Ok::<_, Fault>(NeighbourState { kind, state: row::word(found, 4)? });
        Ok(Neighbour {
            job: JobId(found.try_get(0)?),
            on_failure: row::word(found, 1)?,
            edge: row::word(found, 2)?,
            found: kind.map(state).transpose()?,
        })
    };
    rows.iter().map(neighbour).collect()
}

/// One batch with its counts.
pub(crate) async fn batch(core: &Core, id: BatchId) -> Result<Option<BatchRow>, Fault> {
    Ok(with_stripes(&core.claims.query(&BATCH, &[&id.0]).await?)?.pop())
}

/// The newest batches.
pub(crate) async fn batches(
    core: &Core,
    parent: Option<BatchId>,
    before: Option<BatchId>,
    limit: usize,
) -> Result<Vec<BatchRow>, Fault> {
    let before = before.map_or(Uuid::max(), |before| before.0);
    let parent = parent.map(|parent| parent.0);
    with_stripes(&core.reads.query(&BATCHES, &[&before, &row::at_most(limit), &parent]).await?)
}

fn with_stripes(rows: &[Row]) -> Result<Vec<BatchRow>, Fault> {
    let mut found: Vec<BatchRow> = Vec::new();
    for row in rows {
        let batch = Batch::from_stored(row.try_get(5)?).map_err(Error::from)?;
        match found.last_mut() {
            Some(last) if last.batch.id == batch.id => last.stripes.push(stripe(row)?),
            _ => found.push(BatchRow { batch, stripes: vec![stripe(row)?] }),
        }
    }
    Ok(found)
}
