//! What can go wrong with a picture, in two kinds: the one that a retry may cure and the one it never will.

use std::io;
use std::path::{Path, PathBuf};

/// Why a picture could not be read, made or written.
///
/// The messages complete "failed to …". They hold their cause in full and have no `source()`: a job's error is
/// stored as one string, so a cause that sat in the chain would be lost.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PictureError {
    /// The file was read, and what is in it will never become a thumbnail: it is broken, of another kind, or
    /// larger than we allow. The caller should discard the job, not retry it.
    #[error("make a thumbnail of {}: {why}", .path.display())]
    NotAPicture {
        /// The source that was read.
        path: PathBuf,
        /// Half a sentence about the file, with the remedy where there is one.
        why: String,
    },

    /// The disk, not the picture, was in the way. The caller should retry: the file may be back, or space freed.
    #[error("{doing} {}: {error}", .path.display())]
    Io {
        /// The verb of the message: `read`, `write`, `create the folder`…
        doing: &'static str,
        /// The file or folder that it was done to.
        path: PathBuf,
        /// What the system answered.
        error: io::Error,
    },
}

impl PictureError {
    /// For `map_err`: an [`Io`](PictureError::Io) error that says what was being done to which file.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PictureError {
        move |error| PictureError::Io { doing, path: path.to_path_buf(), error }
    }
}
