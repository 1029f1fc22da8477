//! What SQLite's errors mean to a caller.

use std::path::Path;

use backroom_core::Invalid;
use rusqlite::{ErrorCode, ffi};

use super::lock::Holder;
use crate::{Error, ErrorKind};

/// What can go wrong inside a statement: an error of SQLite or of ours. Errors of the driver end at [`Fault::explain`].
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite's.
    Sql(rusqlite::Error),
    /// Ours, already explained.
    Ours(Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<Invalid> for Fault {
    fn from(invalid: Invalid) -> Self {
        Self::Ours(invalid.into())
    }
}

impl Fault {
    /// The error for the caller of the store at `path`.
    pub(super) fn explain(self, path: &Path) -> Error {
        match self {
            Self::Sql(error) => explain(&error, path),
            Self::Ours(error) => error,
        }
    }
}

/// SQLite's error as one of ours. Takes a reference, because one failed commit answers every operation in it.
pub(super) fn explain(error: &rusqlite::Error, path: &Path) -> Error {
    let (kind, why) = meaning(error);
    Error::new(kind, format!("use the SQLite store {}: {why}", path.display())).caused_by(error.to_string())
}

/// The error of a transaction that could not begin, because this one holds the write lock.
pub(super) fn locked(error: &rusqlite::Error, path: &Path, holder: &Holder) -> Error {
    let why = format!("use the SQLite store {}: {}", path.display(), holder.explain());
    Error::new(ErrorKind::Unavailable, why).caused_by(error.to_string())
}

/// The error of an insert in a caller's transaction.
pub(super) fn in_callers(fault: Fault, path: &Path) -> Error {
    match fault {
        Fault::Sql(error) if is_busy(&error) => {
            let why = "another transaction wrote first; roll this one back, begin it again as IMMEDIATE \
                       (rusqlite: transaction_with_behavior, sqlx: begin_with(\"BEGIN IMMEDIATE\")), so that it waits for the \
                       write lock before it reads, and set a busy timeout";
            let why = format!("enqueue in a transaction of the SQLite store {}: {why}", path.display());
            Error::new(ErrorKind::Unavailable, why).caused_by(error.to_string())
        }
        other => other.explain(path),
    }
}

/// Whether an error that is explained already comes from another connection's lock: SQLite's own text is its cause.
pub(super) fn is_of_a_lock(error: &Error) -> bool {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    cause.is_some_and(|cause| cause.contains("database is locked") || cause.contains("table is locked"))
}

/// Whether another connection's lock is in the way.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn meaning(error: &rusqlite::Error) -> (ErrorKind, &'static str) {
    use rusqlite::Error as Sql;
    match error {
        Sql::SqliteFailure(failure, message) => match failure.code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                (ErrorKind::Unavailable, "a transaction of another connection holds a lock; try again")
            }
            ErrorCode::DiskFull => (ErrorKind::NoSpace, "the disk is full; make room, then try again"),
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => {
                (ErrorKind::NoSpace, "it is read-only; make the file and its folder writable")
            }
            ErrorCode::SystemIoFailure if failure.extended_code == ffi::SQLITE_IOERR_NOMEM => {
                (ErrorKind::Unavailable, "the memory is used up; try again")
            }
            ErrorCode::SystemIoFailure => {
                (ErrorKind::NoSpace, "the disk cannot be read or written; check the disk, then try again")
            }
            ErrorCode::CannotOpen => {
                (ErrorKind::Unavailable, "its files cannot be opened; check the folder and open-file limits")
            }
            ErrorCode::NotADatabase => (ErrorKind::Unusable, "the file is not a SQLite database"),
            ErrorCode::DatabaseCorrupt => {
                (ErrorKind::Unusable, "the file is damaged; stop, copy it, and restore a backup")
            }
            ErrorCode::OutOfMemory => (ErrorKind::Unavailable, "the memory is used up; try again"),
            ErrorCode::OperationInterrupted | ErrorCode::OperationAborted => {
                (ErrorKind::Unavailable, "the operation was interrupted; try again")
            }
            ErrorCode::FileLockingProtocolFailed => {
                (ErrorKind::Unavailable, "file locks do not work there; move it to a local disk")
            }
            ErrorCode::TooBig => (ErrorKind::Invalid, "a value is larger than SQLite can store"),
            ErrorCode::Unknown if message.as_deref().is_some_and(|text| text.starts_with("no such")) => (
                ErrorKind::Unusable,
                "its tables are missing or altered; open it with a fresh store, or restore a backup",
            ),
            _ => (ErrorKind::Internal, "SQLite refused a statement"),
        },
        Sql::FromSqlConversionFailure(..)
        | Sql::IntegralValueOutOfRange(..)
        | Sql::Utf8Error(..)
        | Sql::InvalidColumnType(..) => {
            (ErrorKind::Unusable, "it holds a value that Backroom never writes; restore a backup")
        }
        _ => (ErrorKind::Internal, "the SQLite driver was misused"),
    }
}

/// Whether the statement broke a unique index or a primary key.
pub(super) fn is_unique_violation(error: &rusqlite::Error) -> bool {
    const UNIQUE: [i32; 2] = [ffi::SQLITE_CONSTRAINT_UNIQUE, ffi::SQLITE_CONSTRAINT_PRIMARYKEY];
    matches!(error, rusqlite::Error::SqliteFailure(failure, _) if UNIQUE.contains(&failure.extended_code))
}
