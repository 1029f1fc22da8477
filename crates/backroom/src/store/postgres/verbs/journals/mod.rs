//! Journals of workflows, and what arrives for them.

mod import;
mod signals;
mod writes;

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use backroom_core::{
    JobId, JobRow, Timestamp,
    workflow::{Arrival, Entry},
};
use tokio_postgres::types::Type;
use uuid::Uuid;

pub(crate) use self::{
    import::import_journals,
    signals::{Signals, cancel_child, child_ended, send},
    writes::{write, write_theirs},
};
use crate::store::postgres::{
    Core, PostgresStore,
    columns::{row, timestamp::PgTimestamp},
    failing,
    wire::{
        error::Fault,
        sql::{Sql, columns},
    },
};
use crate::{
    Error,
    store::{
        DueWakes, JOURNAL_PAGE_BYTES, JournalAfter, JournalHead, JournalPage, JournalVerbs, JournalWrite,
        Signal, Signalled, Wrote, header_of,
    },
};

/// The journal as a whole. Parameter: the workflow.
static HEAD: Sql = Sql {
    text: "SELECT revision::bigint, header, published, wake_at, arrived::bigint FROM {schema}.journals WHERE workflow = $1",
    types: &[Type::UUID],
};

/// Entries by key. Parameters: the workflow, the key before the first one, how many at most, bytes.
static ENTRIES: Sql = Sql {
    text: "SELECT entry FROM ( \
             SELECT key, entry, sum(octet_length(entry)) OVER (ORDER BY key ROWS UNBOUNDED PRECEDING) - octet_length(entry) AS bytes_before \
             FROM (SELECT key, entry FROM {schema}.journal WHERE workflow = $1 AND key > $2 ORDER BY key LIMIT $3) AS page) AS summed \
           WHERE bytes_before < $4 ORDER BY key",
    types: &[Type::UUID, Type::TEXT, Type::INT8, Type::INT8],
};

/// Arrivals that no entry has taken, by number. Parameters: the workflow, the number before the first one, how many at most, bytes.
static ARRIVALS: Sql = Sql {
    text: "SELECT n, arrival, id FROM ( \
             SELECT n, arrival, id, sum(octet_length(arrival)) OVER (ORDER BY n ROWS UNBOUNDED PRECEDING) - octet_length(arrival) AS bytes_before \
             FROM (SELECT n, arrival, id FROM {schema}.arrivals WHERE workflow = $1 AND n > $2 AND taken_at IS NULL \
               ORDER BY n LIMIT $3) AS page) AS summed \
           WHERE bytes_before < $4 ORDER BY n",
    types: &[Type::UUID, Type::INT8, Type::INT8, Type::INT8],
};

/// Workflows whose wake time has come. Parameters: now, how many at most.
static DUE: Sql = Sql {
    text: "SELECT workflow, wake_at FROM {schema}.journals WHERE wake_at <= $1 ORDER BY wake_at, workflow LIMIT $2",
    types: &[Type::TIMESTAMPTZ, Type::INT8],
};

/// The earliest wake time that has not come. Parameter: now.
static NEXT: Sql = Sql {
    text: "SELECT wake_at FROM {schema}.journals WHERE wake_at > $1 ORDER BY wake_at LIMIT 1",
    types: &[Type::TIMESTAMPTZ],
};

/// Jobs that are live. Parameter: ids.
static LIVE: Sql = Sql {
    text: concat!("SELECT ", columns!(), " FROM {schema}.jobs WHERE id = ANY($1::uuid[])"),
    types: &[Type::UUID_ARRAY],
};

/// Forgets wake times that are still as they were read. Parameters: workflows, wake times.
static CLEAR: Sql = Sql {
    text: "UPDATE {schema}.journals SET wake_at = NULL FROM unnest($1::uuid[], $2::timestamptz[]) AS new (id, wake_at) \
           WHERE journals.workflow = ANY (ARRAY[new.id]) AND journals.wake_at = new.wake_at",
    types: &[Type::UUID_ARRAY, Type::TIMESTAMPTZ_ARRAY],
};

/// Forgets what was taken. Parameters: the first moment that stays, how many at most.
static FORGET: Sql = Sql {
    text: "WITH gone AS (DELETE FROM {schema}.arrivals WHERE ctid = ANY(ARRAY( \
             SELECT ctid FROM {schema}.arrivals WHERE taken_at < $1 ORDER BY taken_at LIMIT $2 FOR UPDATE SKIP LOCKED)) \
             RETURNING n) SELECT count(*) FROM gone",
    types: &[Type::TIMESTAMPTZ, Type::INT8],
};

async fn page(
    core: &Core,
    workflow: JobId,
    after: &JournalAfter,
    limit: usize,
) -> Result<JournalPage, Fault> {
    let rows = core.claims.query(&HEAD, &[&workflow.0]).await?;
    let Some(found) = rows.first() else { return Ok(JournalPage::default()) };
    let header: Option<&str> = found.try_get(1)?;
    let head = JournalHead {
        revision: found.try_get::<_, i64>(0)?.unsigned_abs(),
        header: header_of(header, found.try_get(2)?)?,
        wake_at: row::moment_or_none(found, 3)?,
        arrived: found.try_get::<_, i64>(4)?.unsigned_abs(),
    };
    let mut page = JournalPage { head: Some(head), ..JournalPage::default() };
    // One more than asked for, to know whether there are more.
    let (most, bytes) = (row::at_most(limit.saturating_add(1)), row::at_most(JOURNAL_PAGE_BYTES));
    for found in core.claims.query(&ENTRIES, &[&workflow.0, &after.key, &most, &bytes]).await? {
        page.entries.push(Entry::from_stored(found.try_get(0)?).map_err(Error::from)?);
    }
    let number = number(after.n);
    for found in core.claims.query(&ARRIVALS, &[&workflow.0, &number, &most, &bytes]).await? {
        let n = found.try_get::<_, i64>(0)?.unsigned_abs();
        let arrival = Arrival::from_stored(found.try_get(1)?).map_err(Error::from)?;
        page.arrivals.push(Arrival { n, ..arrival });
        page.arrival_ids.push(found.try_get(2)?);
    }
    let is_cut = |texts: usize| texts >= JOURNAL_PAGE_BYTES;
    page.more = page.entries.len() > limit
        || page.arrivals.len() > limit
        || is_cut(page.entries.iter().map(Entry::bytes).sum())
        || is_cut(page.arrivals.iter().map(Arrival::bytes).sum());
    page.entries.truncate(limit);
    page.arrivals.truncate(limit);
    page.arrival_ids.truncate(limit);
    Ok(page)
}

async fn due_wakes(core: &Core, limit: usize, now: Timestamp) -> Result<DueWakes, Fault> {
    let rows = core.claims.query(&DUE, &[&PgTimestamp(now), &row::at_most(limit)]).await?;
    let mut found = Vec::with_capacity(rows.len());
    for due in &rows {
        found.push((JobId(due.try_get(0)?), row::moment(due, 1)?));
    }
    let mut due = Vec::with_capacity(found.len());
    if !found.is_empty() {
        let ids: Vec<Uuid> = found.iter().map(|(id, _)| id.0).collect();
        let jobs = row::readable_jobs(&core.claims.query(&LIVE, &[&ids]).await?)?;
        let mut jobs: HashMap<JobId, JobRow> = jobs.into_iter().map(|job| (job.id, job)).collect();
        due.extend(found.into_iter().map(|(id, at)| (id, at, jobs.remove(&id))));
    }
    let next = core.claims.query(&NEXT, &[&PgTimestamp(now)]).await?;
    let next_at = next.first().map(|found| row::moment(found, 0)).transpose()?;
    Ok(DueWakes { due, next_at })
}

async fn clear_wakes(core: &Core, wakes: &[(JobId, Timestamp)]) -> Result<(), Fault> {
    let (ids, moments): (Vec<Uuid>, Vec<PgTimestamp>) =
        wakes.iter().map(|(id, at)| (id.0, PgTimestamp(*at))).unzip();
    core.writer.query(&CLEAR, &[&ids, &moments]).await.map(drop)
}

async fn forget_taken(core: &Core, before: Timestamp, limit: usize) -> Result<u64, Fault> {
    let rows = core.writer.query(&FORGET, &[&PgTimestamp(before), &row::at_most(limit)]).await?;
    Ok(rows.first().map_or(Ok(0), |found| found.try_get::<_, i64>(0))?.unsigned_abs())
}

/// A number as a parameter.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[async_trait]
impl JournalVerbs for PostgresStore {
    async fn journal(
        &self,
        workflow: JobId,
        after: Option<Arc<JournalAfter>>,
        limit: usize,
    ) -> Result<JournalPage, Error> {
        let after = after.unwrap_or_default();
        page(&self.core, workflow, &after, limit).await.map_err(failing("read a journal"))
    }

    async fn write_journals(&self, writes: Arc<Vec<JournalWrite>>) -> Result<Vec<Wrote>, Error> {
        self.journals.submit(writes).await
    }

    async fn signal(&self, signals: Arc<Vec<Signal>>, now: Timestamp) -> Result<Vec<Signalled>, Error> {
        self.signals.submit(Arc::new(Signals { signals, now })).await
    }

    async fn due_wakes(&self, limit: usize, now: Timestamp) -> Result<DueWakes, Error> {
        due_wakes(&self.core, limit, now).await.map_err(failing("read which workflows are to be woken"))
    }

    async fn clear_wakes(&self, wakes: Arc<Vec<(JobId, Timestamp)>>) -> Result<(), Error> {
        clear_wakes(&self.core, &wakes).await.map_err(failing("forget wake times"))
    }

    async fn forget_taken(&self, before: Timestamp, limit: usize) -> Result<u64, Error> {
        forget_taken(&self.core, before, limit).await.map_err(failing("forget taken signals"))
    }
}
