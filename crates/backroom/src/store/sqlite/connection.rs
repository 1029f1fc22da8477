//! Opening the file: whose it is, how SQLite is set up, and how long a lock is waited for.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{
    SqliteOptions,
    error::{Fault, explain},
    identity::{FileId, Identity},
    schema,
};
use crate::{Error, ErrorKind};

/// Rows are updated in place by id and read in ranges by index: with 8 KiB a page both cost fewer writes to the log
/// than with SQLite's 4 KiB (docs/decisions/0010). Only a new file takes it on.
const PAGE_BYTES: u32 = 8192;
/// Per connection. The file itself stays in the operating system's cache; memory here counts against the worker.
const WRITER_CACHE_KIB: u32 = 32 * 1024;
const READER_CACHE_KIB: u32 = 4 * 1024;
/// Prepared statements that each connection caches: more than there are.
const STATEMENTS: usize = 96;

/// The path as the store uses it, checked as far as that goes without opening it.
pub(super) fn checked_path(path: &Path) -> Result<PathBuf, Error> {
    let refuse =
        |kind, why: String| Err(Error::new(kind, format!("open the store {}: {why}", path.display())));
    let text = path.to_string_lossy();
    if text.is_empty() || text.contains(":memory:") || text.contains("mode=memory") {
        let why = "a SQLite database in memory cannot be shared by the store's connections; name a file, or use the memory store";
        return refuse(ErrorKind::Invalid, why.into());
    }
    if text.contains('\0') {
        return refuse(ErrorKind::Invalid, "the path holds a NUL byte".into());
    }
    // Absolute, so that a later change of the working folder moves nothing, and so that a file whose name begins with
    // `file:` is not taken for a URI.
    let absolute = match std::path::absolute(path) {
        Ok(absolute) => absolute,
        Err(error) => {
            return refuse(ErrorKind::Invalid, format!("the path cannot be made absolute: {error}"));
        }
    };
    if absolute.is_dir() {
        return refuse(ErrorKind::Invalid, "it is a folder; name a file in it".into());
    }
    match absolute.parent() {
        Some(folder) if !folder.is_dir() => refuse(
            ErrorKind::Invalid,
            format!("the folder {} does not exist; create it first", folder.display()),
        ),
        Some(_) | None => Ok(absolute),
    }
}

/// Opens the file to write, creates it if need be, and brings its tables to the newest version. Also answers which files
/// were opened.
pub(super) fn open_writer(path: &Path, options: &SqliteOptions) -> Result<(Connection, Identity), Error> {
    let (connection, file) = open_identified(path)?;
    set_up_writer(&connection, path, options).map_err(|fault| fault.explain(path))?;
    let identity = Identity::of_open(path, file)?;
    connection.busy_handler(Some(wait_when_writing)).map_err(|error| explain(&error, path))?;
    Ok((connection, identity))
}

/// Opens the file to write, or creates it, and answers which file that is: the one found under the path before and after
/// it was opened. One that was created just now is opened once more.
fn open_identified(path: &Path) -> Result<(Connection, FileId), Error> {
    const TRIES: usize = 10;
    let identified = || {
        FileId::of(path).map_err(|error| {
            let why = format!("open the store {}: the file cannot be examined", path.display());
            Error::new(ErrorKind::NoSpace, why).caused_by(error)
        })
    };
    let mut before = identified()?;
    for _ in 0..TRIES {
        let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        let after = identified()?;
        if let Some(file) = after
            && before == after
        {
            return Ok((connection, file));
        }
        before = after;
    }
    let why = format!(
        "open the store {}: the file is replaced again and again; stop what replaces it",
        path.display()
    );
    Err(Error::new(ErrorKind::Unavailable, why))
}

fn set_up_writer(connection: &Connection, path: &Path, options: &SqliteOptions) -> Result<(), Fault> {
    if connection.is_readonly("main")? {
        let why = format!(
            "open the store {}: the file is read-only; make it and its folder writable",
            path.display()
        );
        return Err(Error::new(ErrorKind::NoSpace, why).into());
    }
    check_header(connection, path)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    let mode = use_log(connection)?;
    if mode != "wal" {
        let why = format!(
            "open the store {}: SQLite cannot use a write-ahead log there; move the file to a local disk",
            path.display()
        );
        return Err(Error::new(ErrorKind::Unusable, why).into());
    }
    connection.pragma_update(None, "cache_size", -i64::from(WRITER_CACHE_KIB))?;
    // Savepoints save old pages: in memory, not in a file of their own.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    set_up_durable(connection)?;
    // Commits do not stop to fold the log back into the file; `checkpoint` does.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // A log that has grown is cut to this size when it restarts.
    connection.pragma_update(None, "journal_size_limit", super::checkpoint::LOG_BYTES_LEFT)?;
    if let Some(pages) = options.pages_max {
        // Bound by hand: as a plain argument it would be a string.
        connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
    }
    schema::migrate(connection)?;
    schema::check_readable(connection)
}

/// Switches the file to a write-ahead log; answers with the mode that the file has then. The first connection switches
/// the file. A second one that tries this at the same moment is refused at once. It holds a read lock by then, so
/// SQLite does not ask the busy handler: that could be a deadlock. So the wait is here.
fn use_log(connection: &Connection) -> rusqlite::Result<String> {
    let mut tries = 0;
    loop {
        match connection.query_row("PRAGMA journal_mode = WAL", [], |found| found.get(0)) {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && wait_when_opening(tries) =>
            {
                tries += 1;
            }
            answered => return answered,
        }
    }
}

/// Opens the file to fold its log back.
pub(super) fn open_checkpointer(path: &Path) -> Result<Connection, Error> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    set_up_durable(&connection).map_err(|error| explain(&error, path))?;
    Ok(connection)
}

/// Opens a file to read, whatever it may hold.
pub(super) fn open_to_look(path: &Path) -> Result<Connection, Error> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    check_header(&connection, path)?;
    Ok(connection)
}

/// Opens the file to read. The tables exist by then. Fails when the file is another by now.
pub(super) fn open_reader(path: &Path, identity: &Identity) -> Result<Connection, Error> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    identity.check()?;
    connection
        .pragma_update(None, "cache_size", -i64::from(READER_CACHE_KIB))
        .and_then(|()| connection.pragma_update(None, "temp_store", "MEMORY"))
        .map_err(|error| explain(&error, path))?;
    Ok(connection)
}

/// On macOS a plain fsync leaves the data in the drive's own cache; elsewhere these mean nothing.
fn set_up_durable(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)
}

pub(super) fn open(path: &Path, flags: OpenFlags) -> Result<Connection, Error> {
    // Each connection has one owner at a time, so SQLite need not lock it once more.
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|error| unopened(&error, path))?;
    connection.busy_handler(Some(wait_when_opening)).map_err(|error| explain(&error, path))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

fn unopened(error: &rusqlite::Error, path: &Path) -> Error {
    if error.sqlite_error_code() == Some(rusqlite::ErrorCode::CannotOpen) {
        let why = format!(
            "open the store {}: the file cannot be created or read; make it and its folder readable and writable",
            path.display()
        );
        return Error::new(ErrorKind::NoSpace, why).caused_by(error.to_string());
    }
    explain(error, path)
}

/// Refuses a file that is something else, before SQLite could write to it. SQLite reads the header itself: opening the
/// file here would, on closing it, drop every lock of this process on it (docs/decisions/0035). An empty file is a
/// database without tables.
pub(super) fn check_header(connection: &Connection, path: &Path) -> Result<(), Error> {
    let read = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
    // SQLite takes a file of one byte for an empty one (a file system of macOS needs that) and would write over it.
    let is_one_byte = std::fs::metadata(path).is_ok_and(|found| found.len() == 1);
    match read {
        Err(error) if error.sqlite_error_code() != Some(rusqlite::ErrorCode::NotADatabase) => {
            Err(explain(&error, path))
        }
        Ok(()) if !is_one_byte => Ok(()),
        Ok(()) | Err(_) => {
            let why = format!(
                "open the store {}: the file is not a SQLite database; name another file",
                path.display()
            );
            Err(Error::new(ErrorKind::Unusable, why))
        }
    }
}

/// A file that SQLite creates beside the database.
pub(super) fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// How long the writer waits for the lock before it answers those who wait with who holds it. They make the call again,
/// so it is short beside the ten seconds that an enqueue may take in all.
const WRITER_WAIT: Duration = Duration::from_millis(800);
/// How long a store that is being opened waits for another transaction.
const OPENING_WAIT: Duration = Duration::from_secs(5);
/// The first waits for a lock are short, because our own transactions take about a millisecond.
const SHORT_WAIT: Duration = Duration::from_micros(500);
const SHORT_WAITS: i32 = 100;
const LONG_WAIT: Duration = Duration::from_millis(5);

fn wait_when_opening(tries: i32) -> bool {
    wait_for_lock(tries, OPENING_WAIT)
}

fn wait_when_writing(tries: i32) -> bool {
    wait_for_lock(tries, WRITER_WAIT)
}

/// Waits for another transaction, and whether to try once more. Counts its own waits instead of reading a clock.
fn wait_for_lock(tries: i32, at_most: Duration) -> bool {
    let long_waits = tries.saturating_sub(SHORT_WAITS);
    let pause = if long_waits < 0 { SHORT_WAIT } else { LONG_WAIT };
    let waited = SHORT_WAIT * SHORT_WAITS.unsigned_abs() + LONG_WAIT * long_waits.max(0).unsigned_abs();
    if waited >= at_most {
        return false;
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "SQLite asks from inside a statement, where no clock can be passed"
    )]
    std::thread::sleep(pause);
    true
}
