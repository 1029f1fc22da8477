//! The tables in the file: which version they have, and the migrations from each version to the newest.

use rusqlite::{Connection, OptionalExtension};

use super::error::Fault;
use crate::{Error, ErrorKind};

/// Forward only, one after the other; a published one never changes.
const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "jobs", sql: include_str!("migrations/0001_jobs.sql") },
    Migration { version: 2, name: "imported", sql: include_str!("migrations/0002_imported.sql") },
    Migration { version: 3, name: "messages", sql: include_str!("migrations/0003_messages.sql") },
    Migration { version: 4, name: "access", sql: include_str!("migrations/0004_access.sql") },
    Migration { version: 5, name: "schedules", sql: include_str!("migrations/0005_schedules.sql") },
    Migration { version: 6, name: "workflows", sql: include_str!("migrations/0006_workflows.sql") },
    Migration { version: 7, name: "links", sql: include_str!("migrations/0007_links.sql") },
];

struct Migration {
    version: u32,
    name: &'static str,
    sql: &'static str,
}

/// Which versions the tables went through.
const CREATE_VERSIONS: &str = "CREATE TABLE IF NOT EXISTS backroom_schema (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL) STRICT";

/// The migrations as an operator would run them by hand.
pub(super) fn migrations() -> Vec<crate::store::Migration> {
    MIGRATIONS
        .iter()
        .map(|Migration { version, name, sql }| crate::store::Migration {
            version: *version,
            name: (*name).into(),
            sql: format!(
                "{CREATE_VERSIONS};\n\n{sql}\nINSERT INTO backroom_schema (version, name) VALUES ({version}, '{name}');\n"
            ),
        })
        .collect()
}

/// Every table that the newest version has. Each is read from when a file is opened.
const TABLES: [&str; 29] = [
    "backroom_jobs",
    "backroom_attempts",
    "backroom_logs",
    "backroom_tags",
    "backroom_queues",
    "backroom_workers",
    "backroom_stats",
    "backroom_imported",
    "backroom_messages",
    "backroom_reply_queues",
    "backroom_tokens",
    "backroom_audit",
    "backroom_requests",
    "backroom_ended_endpoints",
    "backroom_triggers",
    "backroom_trigger_readers",
    "backroom_trigger_state",
    "backroom_dead_letters",
    "backroom_schedules",
    "backroom_edges",
    "backroom_edges_left",
    "backroom_batches",
    "backroom_stripes",
    "backroom_schedule_entries",
    "backroom_schedule_reports",
    "backroom_journals",
    "backroom_journal",
    "backroom_arrivals",
    "backroom_samples",
];

/// The version this program writes.
pub(super) fn newest() -> u32 {
    MIGRATIONS.last().map_or(0, |migration| migration.version)
}

/// Whether our tables are there.
pub(super) const HAS_VERSIONS: &str =
    "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'backroom_schema'";
/// The version of our tables.
pub(super) const VERSION: &str = "SELECT max(version) FROM backroom_schema";

/// The version of the file; 0 if our tables are not there.
pub(super) fn version(connection: &Connection) -> Result<u32, Fault> {
    if !connection.prepare_cached(HAS_VERSIONS)?.exists([])? {
        return Ok(0);
    }
    let mut select = connection.prepare_cached(VERSION)?;
    let version = select.query_row([], |found| found.get::<_, Option<u32>>(0)).optional()?;
    Ok(version.flatten().unwrap_or(0))
}

/// Migrates the file to the newest version, in one transaction. Several processes may do so at once. The second waits for the
/// first and finds nothing left to do.
pub(super) fn migrate(connection: &Connection) -> Result<(), Fault> {
    let found = version(connection)?;
    check_not_newer(found)?;
    if found == newest() {
        return Ok(());
    }
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let migrated = migrate_from_here(connection).and_then(|()| Ok(connection.execute_batch("COMMIT")?));
    if migrated.is_err() && !connection.is_autocommit() {
        // The caller gets the reason. Closing the connection undoes the rest in any case.
        _ = connection.execute_batch("ROLLBACK");
    }
    migrated
}

fn migrate_from_here(connection: &Connection) -> Result<(), Fault> {
    connection.execute_batch(CREATE_VERSIONS)?;
    let found = version(connection)?;
    check_not_newer(found)?;
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > found) {
        connection.execute_batch(migration.sql)?;
        connection.execute(
            "INSERT INTO backroom_schema (version, name) VALUES (?1, ?2)",
            (migration.version, migration.name),
        )?;
    }
    Ok(())
}

/// Refuses a file of a newer version, which this program may misunderstand.
fn check_not_newer(found: u32) -> Result<(), Fault> {
    if found <= newest() {
        return Ok(());
    }
    let why = format!(
        "open the store: its tables have version {found}, this program knows versions up to {}; update the program",
        newest()
    );
    Err(Error::new(ErrorKind::Unusable, why).into())
}

/// Refuses a connection of the caller whose file is not ready for this program.
pub(super) fn check_newest(connection: &Connection) -> Result<(), Fault> {
    check_newest_is(version(connection)?)
}

/// The same for a version that was read already.
pub(super) fn check_newest_is(found: u32) -> Result<(), Fault> {
    check_not_newer(found)?;
    if found == newest() {
        return Ok(());
    }
    let what = if found == 0 {
        "the database of this transaction has no Backroom tables".to_owned()
    } else {
        format!("the Backroom tables of this database have the older version {found}")
    };
    let why = format!("insert the jobs: {what}; open the file once with SqliteStore::open");
    Err(Error::new(ErrorKind::Unusable, why).into())
}

/// Reads the first page of each of the tables and indexes. Damage farther down shows when it is read, or in a full check
/// ([`health`](super::health)). Reading gigabytes at every start would take too long.
pub(super) fn check_readable(connection: &Connection) -> Result<(), Fault> {
    for table in TABLES {
        connection.prepare(&format!("SELECT * FROM {table} LIMIT 1"))?.query([])?.next()?;
    }
    let mut select = connection.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name LIKE 'backroom\\_%' ESCAPE '\\'",
    )?;
    let indexes = select.query_map([], |found| found.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    if !indexes.iter().any(|index| index == "backroom_jobs_queued") {
        let why = "open the store: the index backroom_jobs_queued is missing; restore a backup";
        return Err(Error::new(ErrorKind::Unusable, why).into());
    }
    Ok(())
}
