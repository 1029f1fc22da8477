//! Errors of PostgreSQL and its drivers, as errors of this library.

use tokio_postgres::{config::SslMode, error::SqlState};

use super::handshake;
#[cfg(feature = "sqlx")]
use super::session::sqlx::{Said as SaidToSqlx, kind_without_code};
use crate::{Error, ErrorKind};

/// A failure before its meaning is decided: some are answers (a unique key is held), some are worth another try.
#[derive(Debug)]
pub(crate) enum Fault {
    /// From the driver or the server.
    Sql(tokio_postgres::Error),
    /// From the caller's driver or from the server, in the caller's transaction.
    #[cfg(feature = "sqlx")]
    Sqlx {
        /// The code that the server answered, if it answered.
        code: Option<SqlState>,
        error: sqlx::Error,
    },
    /// Already an error of this library.
    Ours(Error),
}

impl Fault {
    /// A unique index refused the row.
    pub(crate) fn is_unique_violation(&self) -> bool {
        self.code() == Some(&SqlState::UNIQUE_VIOLATION)
    }

    /// Another transaction had locked what this one needed, for longer than this one waits.
    pub(crate) fn is_locked_out(&self) -> bool {
        self.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
    }

    /// A claim met a job whose claim writes a message too, outside of a transaction. See `verbs/claim.rs`.
    pub(crate) fn is_claim_with_message(&self) -> bool {
        self.code() == Some(&SqlState::INVALID_TEXT_REPRESENTATION)
    }

    /// Two transactions conflicted, and the server rolled this one back. The same statements may succeed at once.
    pub(crate) fn is_collision(&self) -> bool {
        self.code().is_some_and(|code| {
            *code == SqlState::T_R_SERIALIZATION_FAILURE || *code == SqlState::T_R_DEADLOCK_DETECTED
        })
    }

    /// The server found a deadlock and rolled this transaction back.
    pub(crate) fn is_deadlock(&self) -> bool {
        self.code() == Some(&SqlState::T_R_DEADLOCK_DETECTED)
    }

    /// The same statements may succeed at once: the transaction collided with another one and was rolled back, or its
    /// statements were outdated.
    pub(crate) fn is_worth_repeating(&self) -> bool {
        self.is_collision() || self.is_outdated()
    }

    /// The prepared statement is for tables that were made again since, or was dropped.
    pub(crate) fn is_outdated(&self) -> bool {
        match self {
            Self::Sql(error) => is_outdated(error),
            #[cfg(feature = "sqlx")]
            Self::Sqlx { .. } => false,
            Self::Ours(_) => false,
        }
    }

    pub(crate) fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Sql(error) => error.code(),
            #[cfg(feature = "sqlx")]
            Self::Sqlx { code, .. } => code.as_ref(),
            Self::Ours(_) => None,
        }
    }

    /// As an error of the library; `doing` completes "failed to …".
    pub(crate) fn into_error(self, doing: &str) -> Error {
        match self {
            Self::Ours(error) => error,
            Self::Sql(error) => {
                let kind = kind_of(&error);
                Error::new(kind, format!("{doing} in PostgreSQL{}", remedy(kind, error.code())))
                    .caused_by(Said(error))
            }
            #[cfg(feature = "sqlx")]
            Self::Sqlx { code, error } => {
                let kind = code.as_ref().map_or_else(|| kind_without_code(&error), kind_of_code);
                Error::new(kind, format!("{doing} in PostgreSQL{}", remedy(kind, code.as_ref())))
                    .caused_by(SaidToSqlx(error))
            }
        }
    }
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

/// What the caller should do. Without a code, the connection broke or the bytes could not be decoded.
pub(crate) fn kind_of(error: &tokio_postgres::Error) -> ErrorKind {
    match error.code() {
        Some(_) if is_outdated(error) => ErrorKind::Unavailable,
        Some(code) => kind_of_code(code),
        None if is_about_the_connection(error) => ErrorKind::Unavailable,
        None => ErrorKind::Internal,
    }
}

/// What the caller should do, by SQLSTATE (PostgreSQL manual, appendix A).
fn kind_of_code(code: &SqlState) -> ErrorKind {
    match code.code() {
        // Disk full.
        "53100" => ErrorKind::NoSpace,
        // Wrong password or database, missing rights, no such table or column: an operator must set it up.
        "28000" | "28P01" | "3D000" | "3F000" | "42501" | "42P01" | "42703" => ErrorKind::Unusable,
        // The database is damaged.
        "XX001" | "XX002" => ErrorKind::Unusable,
        // A text or number that PostgreSQL cannot store (a NUL byte, a date out of range).
        code if code.starts_with("22") => ErrorKind::Invalid,
        // The CHECKs and unique indexes of our tables refuse the row.
        code if code.starts_with("23") => ErrorKind::Invalid,
        // Connection, rollback (deadlock, serialization), resources, operator (shutdown, cancelled statement), lock not
        // available, I/O error, read-only after a failover, an aborted transaction after one of these.
        code if ["08", "40", "53", "57", "55", "58", "25"].iter().any(|class| code.starts_with(class)) => {
            ErrorKind::Unavailable
        }
        _ => ErrorKind::Internal,
    }
}

/// The tables were dropped and created again after the statement was prepared. Or another program dropped the
/// statement: `DISCARD ALL`, or a pooler that the URL does not mention.
fn is_outdated(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|said| match said.code().code() {
        "26000" => true,
        // The message is in the server's language; the name of the function that reports it is not.
        "0A000" => said.routine() == Some("RevalidateCachedQuery"),
        "XX000" => said.message().contains("cache lookup failed"),
        _ => false,
    })
}

fn is_about_the_connection(error: &tokio_postgres::Error) -> bool {
    use std::error::Error as _;
    if error.is_closed() {
        return true;
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.is::<std::io::Error>() {
            return true;
        }
        cause = inner.source();
    }
    // The others: TLS, an authentication method that the driver lacks, a value that cannot be encoded.
    error.to_string().contains("connecting")
}

fn remedy(kind: ErrorKind, code: Option<&SqlState>) -> &'static str {
    match (kind, code.map(SqlState::code)) {
        (ErrorKind::NoSpace, _) => "; its disk is full, make room",
        (ErrorKind::Unusable, Some("28000" | "28P01")) => "; check user and password of the URL",
        (_, Some("25006")) => {
            "; the server is a read-only standby, or the role may only read: name the primary in the URL"
        }
        (ErrorKind::Unusable, Some("3D000")) => "; create the database or correct the URL",
        (ErrorKind::Unusable, Some("42501")) => "; grant the user rights on the schema",
        (ErrorKind::Unusable, Some("42P01" | "42703" | "3F000")) => {
            "; our tables are missing or not ours, run `backroom migrate`"
        }
        _ => "",
    }
}

/// The driver's own Display is only "db error" or "error connecting to server". This one adds the message of the server
/// or the system.
#[derive(Debug)]
struct Said(tokio_postgres::Error);

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_db_error() {
            Some(said) => {
                write!(f, "{} (SQLSTATE {})", said.message(), said.code().code())?;
                said.detail().map_or(Ok(()), |detail| write!(f, ": {detail}"))
            }
            None => {
                self.0.fmt(f)?;
                // The driver names the operation, its source the failure.
                std::error::Error::source(&self.0).map_or(Ok(()), |cause| write!(f, ": {cause}"))
            }
        }
    }
}

impl std::error::Error for Said {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// Why there is no connection, with a remedy. As [`kind_of`], with one difference: a failure for which neither the
/// server has a code nor TLS a reason means that the server cannot be reached yet. A missing host that can write is
/// one.
pub(crate) fn unconnected(error: tokio_postgres::Error, reach: &str, ssl_mode: SslMode) -> Error {
    let (kind, remedy) = match error.code() {
        None => handshake::reason(&error)
            .map(|remedy| (ErrorKind::Unusable, remedy))
            .unwrap_or((ErrorKind::Unavailable, "; is it running, and are host and port right?")),
        Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => (ErrorKind::Unusable, not_let_in(ssl_mode)),
        // PgBouncer's answer to the settings with which our own connections begin. PostgreSQL accepts them.
        Some(&SqlState::PROTOCOL_VIOLATION) => {
            (ErrorKind::Unusable, "; behind PgBouncer in transaction mode, add listen=false to the URL")
        }
        Some(code) => {
            let kind = kind_of(&error);
            (kind, remedy(kind, Some(code)))
        }
    };
    Error::new(kind, format!("{reach}{remedy}")).caused_by(Said(error))
}

/// The server's message names what is missing, in the server's language. This adds the remedy on our side.
fn not_let_in(ssl_mode: SslMode) -> &'static str {
    match ssl_mode {
        SslMode::Disable => {
            "; check the user of the URL, and whether the server's pg_hba.conf takes it without encryption: if not, use \
             sslmode=require or verify-full"
        }
        _ => {
            "; check the user of the URL, and whether the server's pg_hba.conf takes it from here; a client certificate \
             that it wants is given by sslcert= and sslkey="
        }
    }
}

/// Whether the connection is useless after this failure. A server that became read-only is a standby now; a new
/// connection finds the one that can write.
pub(crate) fn ends_usefulness(error: &tokio_postgres::Error) -> bool {
    error.is_closed() || error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
}
