//! The one error of the library.

use std::{error::Error as StdError, fmt};

use backroom_core::{Invalid, JobId, Refused};

/// What went wrong, said so that a caller knows what to do about it.
///
/// The message reads "failed to …: why"; [`Error::kind`] is for programs.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kinds of error, by what the caller should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input breaks a rule or a bound. Mend the input; trying again cannot help.
    Invalid,
    /// There is no such job or queue. A job that was there has been deleted or pruned since.
    NotFound,
    /// The job's state does not allow it. Look at the job again.
    Refused,
    /// Another job holds the unique key.
    KeyHeld {
        /// That job.
        holder: JobId,
    },
    /// The queue is full: the enqueue would exceed its depth limit, and stored nothing. Try again when jobs have run.
    QueueFull {
        /// How many jobs waited in the queue, as far as they were counted.
        depth: u64,
        /// How many may.
        limit: u64,
    },
    /// The job ended without an output: it was cancelled or discarded.
    Unsuccessful,
    /// The store cannot be reached or is busy. Try again: no job is half written, though of several some may be.
    Unavailable,
    /// The disk is full or cannot be written. Nothing acknowledged is lost; make room, then try again.
    NoSpace,
    /// The store is not one of ours, is newer than this program, or is damaged; its files were removed or replaced under this
    /// process; or this process may only read it. An operator must look at it.
    Unusable,
    /// The client or worker was closed.
    Closed,
    /// A bug in Backroom.
    Internal,
}

impl ErrorKind {
    /// Its name on spans.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::Refused => "refused",
            Self::KeyHeld { .. } => "key_held",
            Self::QueueFull { .. } => "queue_full",
            Self::Unsuccessful => "unsuccessful",
            Self::Unavailable => "unavailable",
            Self::NoSpace => "no_space",
            Self::Unusable => "unusable",
            Self::Closed => "closed",
            Self::Internal => "internal",
        }
    }
}

impl Error {
    /// An error of `kind`; the message completes "failed to …".
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The same error with what caused it.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message without its cause.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the same call may succeed later without anybody mending anything.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable)
    }

    /// The same error for another caller; the cause, which cannot be copied, as its text.
    #[cfg(feature = "sqlite")]
    pub(crate) fn again(&self) -> Self {
        let again = Self::new(self.kind, self.message.clone());
        match &self.source {
            Some(source) => again.caused_by(source.to_string()),
            None => again,
        }
    }

    pub(crate) fn queue_full(queue: &str, depth: u64, limit: u64) -> Self {
        let why = format!(
            "enqueue: queue {queue:?} is full: {depth} jobs wait in it, and its depth limit is {limit}; try again when jobs have run"
        );
        Self::new(ErrorKind::QueueFull { depth, limit }, why)
    }

    pub(crate) fn not_found(id: JobId) -> Self {
        Self::new(ErrorKind::NotFound, format!("find job {id}: it does not exist or was pruned"))
    }

    pub(crate) fn closed(what: &str) -> Self {
        Self::new(ErrorKind::Closed, format!("use the {what}: it is closed"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to {}", self.message)?;
        if let Some(source) = &self.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::new(ErrorKind::Invalid, format!("accept the input: {invalid}"))
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::new(ErrorKind::Refused, format!("change the job: {refused}"))
    }
}
