//! Why a command did not succeed, said to people.

use std::{fmt, io};

use backroom::{Error, ErrorKind, Invalid};

/// The end of a command that did not succeed.
#[derive(Debug)]
pub(crate) enum Problem {
    /// Something failed: "failed to …: why", and a remedy where there is one.
    Failed {
        /// Without "failed to".
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// What failed is on stderr or in the answer already.
    Reported,
    /// The reader of our output has gone (`backroom jobs | head`): that is no failure.
    ReaderGone,
    /// Ctrl-C.
    Interrupted,
}

impl Problem {
    /// `doing` completes "failed to …".
    pub(crate) fn new(doing: impl fmt::Display, why: &dyn fmt::Display) -> Self {
        Self::Failed { message: format!("{doing}: {why}"), hint: None }
    }

    /// The same with a remedy.
    #[must_use]
    pub(crate) fn hint(self, remedy: impl Into<String>) -> Self {
        match self {
            Self::Failed { message, hint: _ } => Self::Failed { message, hint: Some(remedy.into()) },
            Self::Reported | Self::ReaderGone | Self::Interrupted => self,
        }
    }

    /// The same, said to have happened while doing something larger.
    #[must_use]
    pub(crate) fn at(self, doing: impl fmt::Display) -> Self {
        match self {
            Self::Failed { message, hint } => Self::Failed { message: format!("{doing}: {message}"), hint },
            Self::Reported | Self::ReaderGone | Self::Interrupted => self,
        }
    }

    /// In one line, as the library's errors are: "failed to …: why".
    pub(crate) fn said(&self) -> String {
        match self {
            Self::Failed { message, hint: _ } => format!("failed to {message}"),
            Self::Reported => "failed".into(),
            Self::ReaderGone => "the reader of the answer has gone".into(),
            Self::Interrupted => "interrupted".into(),
        }
    }

    /// What became of a write to stdout.
    pub(crate) fn of_writing(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::new("write the answer", error),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { message, .. } => write!(f, "failed to {message}"),
            Self::Reported => f.write_str("failed, as reported"),
            Self::ReaderGone => f.write_str("the reader of the output has gone"),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let said = error.to_string();
        let message = said.strip_prefix("failed to ").unwrap_or(&said).to_owned();
        Self::Failed { message, hint: remedy(error.kind()) }
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self::from(Error::from(invalid))
    }
}

/// What the message of such an error does not say already.
fn remedy(kind: ErrorKind) -> Option<String> {
    let remedy = match kind {
        ErrorKind::NotFound => "`backroom jobs` lists the jobs there are",
        ErrorKind::KeyHeld { .. } => "`backroom job ID` shows the job that holds the key",
        ErrorKind::NoSpace => "nothing acknowledged is lost; mend the disk or the rights, then try again",
        ErrorKind::Internal => "this is a bug in Backroom; please report it with the command you ran",
        ErrorKind::Invalid
        | ErrorKind::Refused
        | ErrorKind::Unsuccessful
        | ErrorKind::Unavailable
        | ErrorKind::Unusable
        | ErrorKind::Closed => return None,
        // The list of kinds may grow; a new one only lacks its hint.
        _ => return None,
    };
    Some(remedy.into())
}
