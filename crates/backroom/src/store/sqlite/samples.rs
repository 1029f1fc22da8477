//! What was done over time.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{
    Timestamp,
    bounds::earlier,
    sample::{Grain, Sample},
};
use rusqlite::{Connection, params};

use super::{
    SqliteStore,
    error::Fault,
    operation::Weight,
    row::{self, micros},
};
use crate::{Error, store::SampleVerbs};

fn put(connection: &Connection, samples: &[Sample], now: Timestamp) -> Result<(), Fault> {
    let mut upsert = connection
        .prepare_cached("INSERT OR REPLACE INTO backroom_samples (grain, at, sample) VALUES (?1, ?2, ?3)")?;
    for sample in samples {
        let text = row::encoded(Some(sample))?;
        upsert.execute(params![sample.grain.as_str(), micros(sample.at), text])?;
    }
    let mut forget =
        connection.prepare_cached("DELETE FROM backroom_samples WHERE grain = ?1 AND at < ?2")?;
    for grain in Grain::ALL {
        forget.execute(params![grain.as_str(), micros(earlier(now, grain.retention()))])?;
    }
    Ok(())
}

fn samples(connection: &Connection, grain: Grain, since: Timestamp) -> Result<Vec<Sample>, Fault> {
    let mut select = connection
        .prepare_cached("SELECT sample FROM backroom_samples WHERE grain = ?1 AND at >= ?2 ORDER BY at")?;
    let rows = select.query_map(params![grain.as_str(), micros(since)], |found| row::required(found, 0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[async_trait]
impl SampleVerbs for SqliteStore {
    async fn put_samples(&self, rows: Arc<Vec<Sample>>, now: Timestamp) -> Result<(), Error> {
        self.write(Weight::passing(rows.len()), move |tx, _| put(tx, &rows, now)).await
    }

    async fn samples(&self, grain: Grain, since: Timestamp) -> Result<Vec<Sample>, Error> {
        self.readers.run(move |reader| samples(reader, grain, since)).await
    }
}
