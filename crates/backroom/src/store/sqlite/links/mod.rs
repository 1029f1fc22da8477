//! Jobs that are tied to others, and batches.

pub(super) mod rows;
mod verbs;

use backroom_core::{JobId, Timestamp, links::LinkEffect};
use rusqlite::Connection;

use self::rows::SqliteLinks;
use super::{error::Fault, hints::Hints};
use crate::{
    Error,
    store::{
        InsertLinked, Inserted, Record,
        linked::{self, LinkRows as _},
    },
};

/// Carries out what follows for other jobs from changes that are written in this transaction.
pub(super) fn carry_out(
    connection: &Connection,
    effects: Vec<(Timestamp, LinkEffect)>,
    hints: &mut Hints,
) -> Result<(), Fault> {
    linked::carry_out(&mut SqliteLinks { connection, hints }, effects)
}

/// Stores jobs with their edges and as members of batches. A refusal is an answer, and then nothing is written.
pub(super) fn insert(
    connection: &Connection,
    insert: &InsertLinked,
    now: Timestamp,
    hints: &mut Hints,
) -> Result<Result<Vec<Inserted>, Error>, Fault> {
    linked::insert_linked(&mut SqliteLinks { connection, hints }, insert, now)
}

/// Stores the edges that lead to an imported job, and what its end leaves to be settled.
pub(super) fn import_edges(connection: &Connection, record: &Record, hints: &mut Hints) -> Result<(), Fault> {
    let dependant = record.job.id;
    for (edge, state) in &record.edges {
        let (predecessor, on_failure) = (edge.predecessor, edge.on_failure);
        rows::put_edge(connection, &linked::EdgeRow { dependant, predecessor, on_failure, state: *state })?;
    }
    match linked::left_of_imported(&record.job) {
        Some(left) => SqliteLinks { connection, hints }.leave(&left),
        None => Ok(()),
    }
}

/// Deletes the edges that lead to a job. Those that lead from it go with their dependants.
pub(super) fn forget(connection: &Connection, dependant: JobId) -> Result<(), Fault> {
    let mut delete = connection.prepare_cached("DELETE FROM backroom_edges WHERE dependant = ?1")?;
    delete.execute([dependant.0.as_bytes()])?;
    Ok(())
}
