//! Storing whole records as they are.

use backroom_core::JobId;
use rusqlite::Connection;

use super::{
    columns::INSERT,
    error::{Fault, is_unique_violation},
    hints::Hints,
    insert::{holder_of, is_stored, name_queues},
    journals, links, row,
};
use crate::{
    Error, ErrorKind,
    store::{Record, verbs::places},
};

/// Stores the records whose id is new; answers how many were.
pub(super) fn import(connection: &Connection, records: &[Record], hints: &mut Hints) -> Result<u64, Fault> {
    name_queues(connection, records.iter().map(|record| record.job.queue.as_str()))?;
    let mut stored = 0;
    for record in records {
        if is_stored(connection, record.job.id)? || was_imported(connection, record.job.id)? {
            continue;
        }
        import_one(connection, record, hints)?;
        if !record.job.state.is_finished() {
            let mut insert =
                connection.prepare_cached("INSERT OR IGNORE INTO backroom_imported (job_id) VALUES (?1)")?;
            insert.execute([record.job.id.0.as_bytes()])?;
        }
        hints.queue(&record.job.queue);
        stored += 1;
    }
    Ok(stored)
}

fn was_imported(connection: &Connection, id: JobId) -> Result<bool, Fault> {
    let mut select = connection.prepare_cached("SELECT 1 FROM backroom_imported WHERE job_id = ?1")?;
    Ok(select.exists([id.0.as_bytes()])?)
}

fn import_one(connection: &Connection, record: &Record, hints: &mut Hints) -> Result<(), Fault> {
    let job = &record.job;
    match row::insert(&mut *connection.prepare_cached(INSERT)?, job) {
        Ok(()) => {}
        Err(Fault::Sql(error)) if is_unique_violation(&error) => {
            let key = job.unique_key.as_deref().unwrap_or_default();
            let Some((holder, _)) = holder_of(connection, key)? else { return Err(error.into()) };
            let holder = holder.id;
            let why = format!("import job {}: job {holder} holds its unique key {key:?}", job.id);
            return Err(Error::new(ErrorKind::KeyHeld { holder }, why).into());
        }
        Err(other) => return Err(other),
    }
    row::insert_tags(connection, job)?;
    for (attempt, after_lines) in record.attempts.iter().zip(places(record)) {
        row::insert_attempt(connection, job.id, attempt, Some(after_lines))?;
    }
    links::import_edges(connection, record, hints)?;
    if let Some(journal) = &record.journal {
        journals::import(connection, job.id, journal)?;
    }
    let mut position = 0;
    for line in &record.lines {
        position += u32::from(row::insert_line(connection, job.id, position, line)?);
    }
    Ok(())
}
