//! Journals of workflows, and what arrives for them.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{
    Event, JobId, JobRow, Json, State, Timestamp,
    links::{ChildEnded, Links},
    transition,
    workflow::{Arrival, Arrived, Entry, SIGNALS_MAX},
};
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::{
    SqliteStore, commit,
    error::Fault,
    hints::Hints,
    insert, links,
    operation::Weight,
    row::{self, micros},
};
use crate::{
    Error, ErrorKind, Failure,
    store::{
        DueWakes, JOURNAL_PAGE_BYTES, JournalAfter, JournalHead, JournalPage, JournalRecord, JournalVerbs,
        JournalWrite, Signal, Signalled, Wrote, header_of, stored_header,
    },
    workflow::set_value,
};

/// Forgets the journal of a job, if it has one: one lookup for jobs that have none.
pub(super) fn remove(connection: &Connection, id: JobId) -> Result<(), Fault> {
    let id = id.0.as_bytes();
    let mut delete = connection.prepare_cached("DELETE FROM backroom_journals WHERE workflow = ?1")?;
    if delete.execute([id])? > 0 {
        for sql in [
            "DELETE FROM backroom_journal WHERE workflow = ?1",
            "DELETE FROM backroom_arrivals WHERE workflow = ?1",
        ] {
            connection.prepare_cached(sql)?.execute([id])?;
        }
    }
    Ok(())
}

fn page(
    connection: &Connection,
    workflow: JobId,
    after: &JournalAfter,
    limit: usize,
) -> Result<JournalPage, Fault> {
    let id = workflow.0.as_bytes();
    let mut select = connection.prepare_cached(
        "SELECT revision, header, published, wake_at, arrived FROM backroom_journals WHERE workflow = ?1",
    )?;
    let found = select.query_row([id], |found| {
        let header: Option<String> = found.get(1)?;
        let published: Option<String> = found.get(2)?;
        let arrived: i64 = found.get(4)?;
        Ok((found.get::<_, i64>(0)?, header, published, row::moment_or_none(found, 3)?, arrived))
    });
    let Some((revision, header, published, wake_at, arrived)) = found.optional()? else {
        return Ok(JournalPage::default());
    };
    let header = header_of(header.as_deref(), published)?;
    let (revision, arrived) = (revision.unsigned_abs(), arrived.unsigned_abs());
    let head = JournalHead { revision, header, wake_at, arrived };
    let mut page = JournalPage { head: Some(head), ..JournalPage::default() };
    let mut bytes = 0;
    // One more than asked for, to know whether there are more.
    let most = row::at_most(limit.saturating_add(1));
    let mut select = connection.prepare_cached(
        "SELECT entry FROM backroom_journal WHERE workflow = ?1 AND key > ?2 ORDER BY key LIMIT ?3",
    )?;
    let mut rows = select.query(params![id, after.key, most])?;
    while let Some(found) = rows.next()? {
        if page.entries.len() == limit || bytes >= JOURNAL_PAGE_BYTES {
            page.more = true;
            break;
        }
        let text = found.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        bytes += text.len();
        page.entries.push(Entry::from_stored(text).map_err(Error::from)?);
    }
    let mut select = connection.prepare_cached(
        "SELECT arrival, id FROM backroom_arrivals WHERE workflow = ?1 AND n > ?2 AND taken_at IS NULL ORDER BY n LIMIT ?3",
    )?;
    let mut rows = select.query(params![id, number(after.n), most])?;
    while let Some(found) = rows.next()? {
        if page.arrivals.len() == limit || bytes >= JOURNAL_PAGE_BYTES {
            page.more = true;
            break;
        }
        let text = found.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        bytes += text.len();
        page.arrivals.push(Arrival::from_stored(text).map_err(Error::from)?);
        page.arrival_ids.push(row::job_id(found, 1)?.0);
    }
    Ok(page)
}

/// Stores the journal of an imported job.
pub(super) fn import(connection: &Connection, workflow: JobId, record: &JournalRecord) -> Result<(), Fault> {
    let (id, JournalHead { revision, header, wake_at, arrived }) = (workflow.0.as_bytes(), &record.head);
    let text = header.as_ref().map(stored_header).transpose()?;
    let published = header.as_ref().and_then(|header| header.published.as_ref()).map(Json::as_str);
    let mut insert = connection.prepare_cached(
        "INSERT INTO backroom_journals (workflow, revision, header, published, wake_at, arrived) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    insert.execute(params![id, number(*revision), text, published, wake_at.map(micros), number(*arrived)])?;
    let mut put = connection
        .prepare_cached("INSERT INTO backroom_journal (workflow, key, entry) VALUES (?1, ?2, ?3)")?;
    for entry in &record.entries {
        put.execute(params![id, entry.key, entry.stored().map_err(Error::from)?])?;
    }
    let mut arrive = connection
        .prepare_cached("INSERT INTO backroom_arrivals (workflow, n, id, arrival) VALUES (?1, ?2, ?3, ?4)")?;
    for (of, arrival) in &record.arrivals {
        let text = arrival.stored().map_err(Error::from)?;
        arrive.execute(params![id, number(arrival.n), of.as_bytes(), text])?;
    }
    Ok(())
}

/// Writes each under its guards.
pub(super) fn write(
    connection: &Connection,
    writes: &[JournalWrite],
    hints: &mut Hints,
) -> Result<Vec<Wrote>, Fault> {
    writes.iter().map(|write| write_one(connection, write, hints)).collect()
}

fn write_one(connection: &Connection, write: &JournalWrite, hints: &mut Hints) -> Result<Wrote, Fault> {
    let id = write.workflow.0.as_bytes();
    let mut held = connection.prepare_cached(
        "SELECT 1 FROM backroom_jobs WHERE id = ?1 AND state = 'running' AND lease_id = ?2",
    )?;
    if !held.exists(params![id, write.lease.0.as_bytes()])? {
        return Ok(Wrote::Fenced);
    }
    let header = write.stored_header()?;
    let (before, wake_at) = (number(write.revision_before), write.wake_at.map(micros));
    let written = if before == 0 {
        // A signal may have come before: then the row is there, with revision 0.
        let mut insert = connection.prepare_cached(
            "INSERT INTO backroom_journals (workflow, revision, header, wake_at, arrived) VALUES (?1, 1, ?2, ?3, 0) \
             ON CONFLICT (workflow) DO UPDATE SET revision = 1, header = ?2, wake_at = ?3 WHERE revision = 0",
        )?;
        insert.execute(params![id, header, wake_at])?
    } else {
        let mut update = connection.prepare_cached(
            "UPDATE backroom_journals SET revision = ?2 + 1, header = ?3, wake_at = ?4 \
             WHERE workflow = ?1 AND revision = ?2",
        )?;
        update.execute(params![id, before, header, wake_at])?
    };
    if written == 0 {
        return unwritten(connection, write, &header);
    }
    if write.publishes {
        let mut publish =
            connection.prepare_cached("UPDATE backroom_journals SET published = ?2 WHERE workflow = ?1")?;
        publish.execute(params![id, write.header.published.as_ref().map(Json::as_str)])?;
    }
    if write.clears {
        connection.prepare_cached("DELETE FROM backroom_journal WHERE workflow = ?1")?.execute([id])?;
    }
    if !write.entries.is_empty() {
        let mut put = connection.prepare_cached(
            "INSERT INTO backroom_journal (workflow, key, entry) VALUES (?1, ?2, ?3) \
             ON CONFLICT (workflow, key) DO UPDATE SET entry = excluded.entry",
        )?;
        for entry in &write.entries {
            put.execute(params![id, entry.key, entry.stored().map_err(Error::from)?])?;
        }
    }
    if !write.taken.is_empty() {
        let mut take = connection.prepare_cached(
            "UPDATE backroom_arrivals SET arrival = NULL, taken_at = ?3 WHERE workflow = ?1 AND n = ?2 AND taken_at IS NULL",
        )?;
        for n in &write.taken {
            take.execute(params![id, number(*n), micros(write.at)])?;
        }
    }
    for child in &write.children {
        insert::insert_effect(connection, child, hints)?;
        hints.queue(&child.job.queue);
    }
    if let Some(args) = &write.args {
        let mut update = connection
            .prepare_cached("UPDATE backroom_jobs SET args = ?2, revision = revision + 1 WHERE id = ?1")?;
        update.execute(params![id, args.as_str()])?;
    }
    if write.forgives {
        let mut update = connection.prepare_cached(
            "UPDATE backroom_jobs SET attempt = 1, crashes = 0, suspicion = NULL, revision = revision + 1 WHERE id = ?1",
        )?;
        update.execute([id])?;
    }
    if write.ties {
        let mut select = connection.prepare_cached("SELECT links FROM backroom_jobs WHERE id = ?1")?;
        let stored: Option<String> = select.query_row([id], |found| found.get(0))?;
        let links = Links { journal: true, ..Links::from_stored(stored.as_deref())? };
        let mut tie = connection
            .prepare_cached("UPDATE backroom_jobs SET links = ?2, revision = revision + 1 WHERE id = ?1")?;
        tie.execute(params![id, links.stored()?])?;
    }
    if !write.cancels.is_empty() {
        links::carry_out(connection, write.effects(), hints)?;
    }
    Ok(Wrote::Done)
}

/// What became of a step that wrote rows of the application.
pub(crate) enum Transacted {
    /// Its rows and its entry are committed.
    Done(Entry),
    /// Its code failed. Nothing is written.
    Failed(Failure),
    /// The journal was not written, and so were the rows.
    Refused(Wrote),
}

impl SqliteStore {
    /// Runs the code of a step in a transaction of the writer, and writes its entry with the value that it answered.
    pub(crate) async fn transact(
        &self,
        mut write: JournalWrite,
        mut code: impl FnMut(&Connection) -> Result<Json, Failure> + Send + 'static,
    ) -> Result<Transacted, Error> {
        const ROWS: usize = 20;
        let step = move |tx: &Connection, hints: &mut Hints| -> Result<Transacted, Fault> {
            tx.execute_batch("SAVEPOINT backroom_step")?;
            let done = match code(tx) {
                Err(failure) => Transacted::Failed(failure),
                Ok(value) => {
                    set_value(&mut write.entries, value);
                    match (write_one(tx, &write, hints)?, write.entries.first()) {
                        (Wrote::Done, Some(entry)) => Transacted::Done(entry.clone()),
                        (wrote, _) => Transacted::Refused(wrote),
                    }
                }
            };
            if !matches!(done, Transacted::Done(_)) {
                tx.execute_batch("ROLLBACK TO backroom_step")?;
            }
            tx.execute_batch("RELEASE backroom_step")?;
            Ok(done)
        };
        self.write(Weight::durable(ROWS), step).await
    }
}

/// The guard of the revision matched no row: the write was made before, and its answer was lost; or the journal has moved on.
fn unwritten(connection: &Connection, write: &JournalWrite, header: &str) -> Result<Wrote, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT revision, header, wake_at, published FROM backroom_journals WHERE workflow = ?1",
    )?;
    let found = select.query_row([write.workflow.0.as_bytes()], |found| {
        let (revision, header) = (found.get::<_, i64>(0)?, found.get::<_, Option<String>>(1)?);
        Ok((revision, header, found.get::<_, Option<i64>>(2)?, found.get::<_, Option<String>>(3)?))
    });
    let Some((revision, stored, wake_at, published)) = found.optional()? else { return Ok(Wrote::Moved) };
    // Two calls of a remote worker may write at once, under one lease: another write is no repeat of this one.
    let is_same = stored.as_deref() == Some(header)
        && wake_at == write.wake_at.map(micros)
        && (!write.publishes || published.as_deref() == write.header.published.as_ref().map(Json::as_str));
    let is_next = revision == number(write.revision_before) + 1 && is_same;
    if !is_next {
        return Ok(Wrote::Moved);
    }
    for entry in &write.entries {
        let mut select = connection
            .prepare_cached("SELECT entry FROM backroom_journal WHERE workflow = ?1 AND key = ?2")?;
        let found = select
            .query_row(params![write.workflow.0.as_bytes(), entry.key], |found| found.get::<_, String>(0));
        if found.optional()?.is_none_or(|found| entry.stored().map_or(true, |text| text != found)) {
            return Ok(Wrote::Moved);
        }
    }
    Ok(Wrote::Done)
}

fn signal(
    connection: &Connection,
    signal: &Signal,
    now: Timestamp,
    hints: &mut Hints,
) -> Result<Signalled, Fault> {
    let id = signal.workflow.0.as_bytes();
    let Some(job) = row::find(connection, signal.workflow)? else { return Ok(Signalled::NotFound) };
    let mut known =
        connection.prepare_cached("SELECT 1 FROM backroom_arrivals WHERE workflow = ?1 AND id = ?2")?;
    if known.exists(params![id, signal.id.as_bytes()])? {
        return Ok(Signalled::Done);
    }
    if job.state.is_finished() {
        return Ok(Signalled::Ended);
    }
    let mut count = connection.prepare_cached(
        "SELECT count(*) FROM (SELECT 1 FROM backroom_arrivals WHERE workflow = ?1 AND taken_at IS NULL LIMIT ?2)",
    )?;
    let waiting: i64 = count.query_row(params![id, row::at_most(SIGNALS_MAX)], |found| found.get(0))?;
    if waiting >= row::at_most(SIGNALS_MAX) {
        return Ok(Signalled::Full);
    }
    let what = Arrived::Signal { name: signal.name.clone(), value: signal.value.clone() };
    arrive(connection, signal.workflow, signal.id, what, now)?;
    wake(connection, &job, now, hints)?;
    Ok(Signalled::Done)
}

/// Something has arrived for a live job: a parked one is queued, a running one is marked.
fn wake(connection: &Connection, job: &JobRow, now: Timestamp, hints: &mut Hints) -> Result<(), Fault> {
    match transition::apply(job, Event::Wake, now).map_err(Error::from)? {
        Some(change) => commit::write_decided(connection, &change, hints)?,
        // A claim that finds revision 0 knows that nothing has arrived.
        None if job.state == State::Queued => {
            let mut mark = connection
                .prepare_cached("UPDATE backroom_jobs SET revision = revision + 1 WHERE id = ?1")?;
            mark.execute([job.id.0.as_bytes()])?;
        }
        None => {}
    }
    hints.job(job.id);
    Ok(())
}

/// A child has ended: its end waits in the journal of its workflow, and wakes it.
pub(super) fn child_ended(
    connection: &Connection,
    ended: &ChildEnded,
    now: Timestamp,
    hints: &mut Hints,
) -> Result<(), Fault> {
    let Some(job) = row::find(connection, ended.workflow)?.filter(|job| ChildEnded::arrives_at(job.state))
    else {
        return Ok(());
    };
    let what = Arrived::Child { key: ended.key.clone(), job: ended.child, end: ended.end.clone() };
    // A child that was retried ends a second time, which is no news.
    if !arrive(connection, ended.workflow, ended.child.0, what, now)? || job.state.is_finished() {
        return Ok(());
    }
    wake(connection, &job, now, hints)
}

/// Appends what has arrived for a workflow, unless it did before under this id. Answers whether it is new.
pub(super) fn arrive(
    connection: &Connection,
    workflow: JobId,
    id: Uuid,
    what: Arrived,
    now: Timestamp,
) -> Result<bool, Fault> {
    let bytes = workflow.0.as_bytes();
    let mut known =
        connection.prepare_cached("SELECT 1 FROM backroom_arrivals WHERE workflow = ?1 AND id = ?2")?;
    if known.exists(params![bytes, id.as_bytes()])? {
        return Ok(false);
    }
    let mut counting = connection.prepare_cached(
        "INSERT INTO backroom_journals (workflow, revision, arrived) VALUES (?1, 0, 1) \
         ON CONFLICT (workflow) DO UPDATE SET arrived = arrived + 1 RETURNING arrived",
    )?;
    let n: i64 = counting.query_row([bytes], |found| found.get(0))?;
    let arrival = Arrival { n: n.unsigned_abs(), at: now, what }.stored().map_err(Error::from)?;
    let mut insert = connection
        .prepare_cached("INSERT INTO backroom_arrivals (workflow, n, id, arrival) VALUES (?1, ?2, ?3, ?4)")?;
    insert.execute(params![bytes, n, id.as_bytes(), arrival])?;
    Ok(true)
}

fn due_wakes(connection: &Connection, limit: usize, now: Timestamp) -> Result<DueWakes, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT workflow, wake_at FROM backroom_journals WHERE wake_at <= ?1 ORDER BY wake_at, workflow LIMIT ?2",
    )?;
    let rows = select.query_map(params![micros(now), row::at_most(limit)], |found| {
        Ok((row::job_id(found, 0)?, row::moment(found, 1)?))
    })?;
    let found: Vec<(JobId, Timestamp)> = rows.collect::<Result<_, _>>()?;
    let mut due = Vec::with_capacity(found.len());
    for (workflow, at) in found {
        match row::find(connection, workflow) {
            Ok(job) => due.push((workflow, at, job)),
            // A row that this program cannot read is left to another one.
            Err(Fault::Ours(error)) if error.kind() == ErrorKind::Unusable => {}
            Err(fault) => return Err(fault),
        }
    }
    let mut next =
        connection.prepare_cached("SELECT min(wake_at) FROM backroom_journals WHERE wake_at > ?1")?;
    let next_at = next.query_row([micros(now)], |found| row::moment_or_none(found, 0))?;
    Ok(DueWakes { due, next_at })
}

fn clear_wakes(connection: &Connection, wakes: &[(JobId, Timestamp)]) -> Result<(), Fault> {
    let mut clear = connection
        .prepare_cached("UPDATE backroom_journals SET wake_at = NULL WHERE workflow = ?1 AND wake_at = ?2")?;
    for (workflow, at) in wakes {
        clear.execute(params![workflow.0.as_bytes(), micros(*at)])?;
    }
    Ok(())
}

fn forget_taken(connection: &Connection, before: Timestamp, limit: usize) -> Result<u64, Fault> {
    let mut forget = connection.prepare_cached(
        "DELETE FROM backroom_arrivals WHERE (workflow, n) IN \
           (SELECT workflow, n FROM backroom_arrivals WHERE taken_at < ?1 ORDER BY taken_at LIMIT ?2)",
    )?;
    Ok(forget.execute(params![micros(before), row::at_most(limit)])? as u64)
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[async_trait]
impl JournalVerbs for SqliteStore {
    async fn journal(
        &self,
        workflow: JobId,
        after: Option<Arc<JournalAfter>>,
        limit: usize,
    ) -> Result<JournalPage, Error> {
        let after = after.unwrap_or_default();
        self.vital_readers.run(move |reader| page(reader, workflow, &after, limit)).await
    }

    async fn write_journals(&self, writes: Arc<Vec<JournalWrite>>) -> Result<Vec<Wrote>, Error> {
        let rows = writes.iter().map(JournalWrite::rows).sum();
        let weight = Weight::durable(rows).bytes(writes.iter().map(JournalWrite::bytes).sum());
        self.write(weight, move |tx, hints| write(tx, &writes, hints)).await
    }

    async fn signal(&self, signals: Arc<Vec<Signal>>, now: Timestamp) -> Result<Vec<Signalled>, Error> {
        let bytes = signals.iter().map(|signal| signal.value.as_str().len()).sum();
        let weight = Weight::durable(signals.len() * 2).bytes(bytes);
        let send = move |tx: &Connection, hints: &mut Hints| {
            signals.iter().map(|one| signal(tx, one, now, hints)).collect()
        };
        self.write(weight, send).await
    }

    async fn due_wakes(&self, limit: usize, now: Timestamp) -> Result<DueWakes, Error> {
        self.vital_readers.run(move |reader| due_wakes(reader, limit, now)).await
    }

    async fn clear_wakes(&self, wakes: Arc<Vec<(JobId, Timestamp)>>) -> Result<(), Error> {
        // A wake time that comes back after a loss of power wakes the workflow once more, which changes nothing.
        self.write(Weight::passing(wakes.len()), move |tx, _| clear_wakes(tx, &wakes)).await
    }

    async fn forget_taken(&self, before: Timestamp, limit: usize) -> Result<u64, Error> {
        self.write(Weight::passing(limit), move |tx, _| forget_taken(tx, before, limit)).await
    }
}
