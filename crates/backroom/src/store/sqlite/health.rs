//! What an operator wants to know of a store.

use std::path::Path;

use rusqlite::Connection;

use super::{connection::sibling, error::Fault, identity, release, schema};
use crate::store::{Durability, Health, HealthCheck};

/// Problems named in one answer; a damaged file can have millions.
const PROBLEMS_MAX: i64 = 20;

/// Makes every check, and reads the whole file for it: seconds to minutes for gigabytes.
pub(super) fn health(
    connection: &Connection,
    path: &Path,
    durability: Durability,
    is_writable: bool,
) -> Result<Health, Fault> {
    let schema = schema::version(connection)?;
    Ok(Health {
        store: format!("sqlite {}", path.display()),
        engine: format!("SQLite {}", rusqlite::version()),
        schema,
        durability,
        bytes: bytes(path),
        checks: vec![
            files(path),
            sqlite(rusqlite::version_number()),
            integrity(connection)?,
            if is_writable { journal(connection)? } else { only_read() },
            log_size(path),
            job_of_every_tag(connection)?,
        ],
    })
}

fn bytes(path: &Path) -> Option<u64> {
    let main = std::fs::metadata(path).ok()?.len();
    let log = std::fs::metadata(sibling(path, "-wal")).map_or(0, |found| found.len());
    Some(main + log)
}

/// Of a store whose files are no longer those that it has open: that is all there is to say.
pub(super) fn of_lost(path: &Path, durability: Durability, found: String) -> Health {
    Health {
        store: format!("sqlite {}", path.display()),
        engine: format!("SQLite {}", rusqlite::version()),
        schema: schema::newest(),
        durability,
        bytes: None,
        checks: vec![HealthCheck { name: FILES.into(), ok: false, found }],
    }
}

const FILES: &str = "files";

/// Whether every process that has the store open writes to the files at its path.
fn files(path: &Path) -> HealthCheck {
    let name = FILES.to_owned();
    let holders: Vec<String> = identity::holders_of_removed(path).iter().map(u32::to_string).collect();
    if holders.is_empty() {
        return HealthCheck { name, ok: true, found: "the path leads to the files that are open".into() };
    }
    let found = format!(
        "a file of this store was removed while the process {} had it open, and what that process writes is lost; \
         stop it, and start it again",
        holders.join(" and ")
    );
    HealthCheck { name, ok: false, found }
}

/// Whether the SQLite in this program is one that damages no file.
fn sqlite(number: i32) -> HealthCheck {
    let (version, others) = (rusqlite::version(), release::OTHERS);
    let ok = !release::is_faulty(number);
    let found = if ok {
        format!("{version} has the correction of the WAL-reset fault; {others}")
    } else {
        format!("{version} can damage the file when two connections write; link 3.51.3 or newer; {others}")
    };
    HealthCheck { name: "sqlite".into(), ok, found }
}

/// A process that may only read the file cannot see how others write it.
fn only_read() -> HealthCheck {
    let found = "this process may read the file but not write it".into();
    HealthCheck { name: "journal".into(), ok: true, found }
}

fn integrity(connection: &Connection) -> Result<HealthCheck, Fault> {
    let mut check = connection.prepare(&format!("PRAGMA integrity_check({PROBLEMS_MAX})"))?;
    let problems = check.query_map([], |found| found.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    let ok = problems == ["ok"];
    let found = if ok {
        "every page and index is whole".into()
    } else {
        format!("{}; stop all processes, copy the file, restore a backup", problems.join("; "))
    };
    Ok(HealthCheck { name: "integrity".into(), ok, found })
}

fn journal(connection: &Connection) -> Result<HealthCheck, Fault> {
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |found| found.get(0))?;
    let ok = mode == "wal";
    let found = if ok {
        "write-ahead log".into()
    } else {
        format!("{mode}; another program changed it, reopen the store to set it back")
    };
    Ok(HealthCheck { name: "journal".into(), ok, found })
}

/// The log grows past its bound only while a connection reads an old state of the file.
fn log_size(path: &Path) -> HealthCheck {
    let bytes = std::fs::metadata(sibling(path, "-wal")).map_or(0, |found| found.len());
    let mib = bytes / (1024 * 1024);
    let ok = mib < 1024;
    let found = if ok {
        format!("{mib} MiB")
    } else {
        format!(
            "{mib} MiB; a process holds a read transaction open, so the log cannot be copied back; end it"
        )
    };
    HealthCheck { name: "log size".into(), ok, found }
}

fn job_of_every_tag(connection: &Connection) -> Result<HealthCheck, Fault> {
    let stray: i64 = connection.query_row(
        "SELECT count(*) FROM backroom_tags WHERE job_id NOT IN (SELECT id FROM backroom_jobs)",
        [],
        |found| found.get(0),
    )?;
    let ok = stray == 0;
    let found = if ok {
        "every tag belongs to a job".into()
    } else {
        format!("{stray} tags belong to no job; rows of backroom_jobs were deleted by hand")
    };
    Ok(HealthCheck { name: "tags".into(), ok, found })
}
