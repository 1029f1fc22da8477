//! Reading a file that this process may not write (docs/decisions/0036).
//!
//! SQLite reads a file in WAL mode through the log and its index beside it, and creates them where they are missing.
//! Nothing may be created here: the store's own processes could not write to files of another owner. So the log is read
//! where it and its index are there. Where there is none, the file alone is read as it is, each time through a
//! connection of its own. The answer counts only if the file stayed the same meanwhile.

use std::{
    fs::Metadata,
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rusqlite::{Connection, OpenFlags};

use super::{
    connection::{self, sibling},
    error::Fault,
    schema,
};
use crate::{Error, ErrorKind};

/// Checks that the file can be read, and that this program knows its tables.
pub(super) fn check(path: &Path) -> Result<(), Error> {
    read(path, |connection| {
        let found = schema::version(connection)?;
        if found == schema::newest() {
            return Ok(());
        }
        schema::check_newest_is(found)
    })
}

/// Opens the file, reads, and closes it.
pub(super) fn read<T>(path: &Path, read: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, Error> {
    let real = std::fs::canonicalize(path).map_err(|error| {
        let why = format!(
            "open the store {}: the file cannot be found or its folder not be searched",
            path.display()
        );
        Error::new(ErrorKind::NoSpace, why).caused_by(error)
    })?;
    let (log, index) = (sibling(&real, "-wal"), sibling(&real, "-shm"));
    let as_it_is = match (length(&log), length(&index)) {
        (Some(_), Some(_)) => false,
        (None | Some(0), _) => true,
        (Some(_), None) => {
            let why = format!(
                "open the store {}: it cannot be written, and its log {} can only be read together with an index that \
                 would have to be created; make the file and its folder writable, or copy both files to a folder of yours",
                path.display(),
                log.display()
            );
            return Err(Error::new(ErrorKind::NoSpace, why));
        }
    };
    let explained = |fault: Fault| fault.explain(path);
    if !as_it_is {
        let connection = connection::open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection::check_header(&connection, path)?;
        return read(&connection).map_err(explained);
    }
    let before = state(&real)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = connection::open(&immutable(&real), flags)?;
    connection::check_header(&connection, path)?;
    let answer = read(&connection);
    if state(&real)? != before || length(&log).is_some_and(|length| length > 0) {
        let why =
            format!("read the store {}: another process changed it meanwhile; try again", path.display());
        return Err(Error::new(ErrorKind::Unavailable, why));
    }
    answer.map_err(explained)
}

/// As a URI with which SQLite takes no locks and expects no log.
fn immutable(path: &Path) -> PathBuf {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            uri += &format!("%{byte:02X}");
        }
    }
    uri += "?immutable=1";
    uri.into()
}

fn length(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|found| found.len())
}

/// What changes with each write to the file.
fn state(path: &Path) -> Result<(u64, Option<SystemTime>), Error> {
    let found: io::Result<Metadata> = std::fs::metadata(path);
    let found = found.map_err(|error| {
        let why = format!("read the store {}: the file cannot be examined", path.display());
        Error::new(ErrorKind::Unavailable, why).caused_by(error)
    })?;
    Ok((found.len(), found.modified().ok()))
}
