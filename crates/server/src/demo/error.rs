//! Why the demo could not begin or go on.

use std::{io, path::PathBuf};

use super::pictures::PictureError;
use crate::terminal::Problem;

/// The messages complete "failed to …".
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// `--photos` leads nowhere, or not to a folder.
    #[error("watch {}: {why}", .folder.display())]
    Photos {
        /// As given.
        folder: PathBuf,
        /// With the remedy.
        why: String,
    },
    /// `--photos` is empty and the demo is not to wait.
    #[error(
        "find pictures in {}: there is no file in it; put some JPEG, PNG, WebP or GIF pictures there, or leave \
         --photos away to use some of ours",
        .folder.display()
    )]
    NoPictures {
        /// As given.
        folder: PathBuf,
    },
    /// There are more files than the demo watches.
    #[error("watch {}: {files} files are more than the {max} that the demo takes on", .folder.display())]
    TooMany {
        /// The watched folder.
        folder: PathBuf,
        /// How many there are.
        files: usize,
        /// How many may be.
        max: usize,
    },
    /// `--out` cannot be written.
    #[error("write thumbnails into {}: {error}; name another folder with --out", .folder.display())]
    Out {
        /// As given.
        folder: PathBuf,
        /// What the system answered.
        error: io::Error,
    },
    /// The folder could not be read.
    #[error("{0}")]
    Look(io::Error),
    /// The pictures that the demo brings along could not be written.
    #[error(transparent)]
    Pictures(PictureError),
    /// The system refused something else.
    #[error("{doing}: {error}")]
    Io {
        /// The verb of the message.
        doing: &'static str,
        /// What the system answered.
        error: io::Error,
    },
    /// Nothing can be said any more; the problem tells why.
    #[error("write the answer")]
    Say(Problem),
    /// The store said no.
    #[error(transparent)]
    Store(#[from] backroom::Error),
}

impl DemoError {
    /// For `map_err`.
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { doing, error }
    }
}

impl From<DemoError> for Problem {
    fn from(error: DemoError) -> Self {
        match error {
            DemoError::Store(error) => error.into(),
            DemoError::Say(problem) => problem,
            error => Self::Failed { message: error.to_string(), hint: None },
        }
    }
}

impl From<Problem> for DemoError {
    fn from(problem: Problem) -> Self {
        Self::Say(problem)
    }
}
