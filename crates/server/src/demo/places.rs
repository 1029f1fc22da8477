//! Where the demo finds pictures and puts thumbnails, checked before anything begins.

use std::{fmt::Display, fs, io, path::Path};

use super::pictures;
use crate::terminal::Problem;

/// The demo's own folders, under the current one.
const PHOTOS: &str = "backroom-demo/photos";
const OUT: &str = "backroom-demo/thumbnails";

/// The folders of a run.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The watched folder, absolute: another process may run the jobs from elsewhere.
    pub(crate) photos: String,
    /// The thumbnails' folder, absolute.
    pub(crate) out: String,
    /// The watched folder as the user named it.
    pub(crate) photos_shown: String,
    /// The thumbnails' folder as the user named it.
    pub(crate) out_shown: String,
    /// Whether the demo brings the pictures along.
    pub(crate) are_brought: bool,
}

impl Places {
    /// Finds the folders, makes those that are ours, and refuses what could not work.
    pub(crate) fn find(photos: Option<&Path>, out: Option<&Path>) -> Result<Self, Problem> {
        let (are_brought, photos) = (photos.is_none(), photos.unwrap_or(Path::new(PHOTOS)));
        let out = out.unwrap_or(Path::new(OUT));
        let (photos_shown, out_shown) = (photos.display().to_string(), out.display().to_string());
        let unwatched = |why: &dyn Display| Problem::new(format_args!("watch {photos_shown}"), why);
        if are_brought {
            fs::create_dir_all(photos).map_err(|error| unwatched(&error))?;
        }
        // Checked first: a mistyped --photos should not leave an empty folder behind.
        let photos = absolute(photos).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => unwatched(
                &"there is no such folder; give an existing one with --photos, or leave it out to use some of ours",
            ),
            _ => unwatched(&error),
        })?;
        if !Path::new(&photos).is_dir() {
            return Err(unwatched(&"it is not a folder; give the folder that the picture is in"));
        }
        // Written for real: permissions alone do not show a read-only disk, or a full one.
        let written = pictures::write_whole(&out.join(".probe"), b"");
        let out = written.and_then(|()| fs::remove_file(out.join(".probe"))).and_then(|()| absolute(out));
        let out = out.map_err(|error| {
            let why = format!("{error}; name another folder with --out");
            Problem::new(format_args!("write thumbnails into {out_shown}"), &why)
        })?;
        if out == photos {
            return Err(unwatched(
                &"it is also the thumbnails' folder, so each thumbnail would become a picture; name another with --out",
            ));
        }
        Ok(Self { photos, out, photos_shown, out_shown, are_brought })
    }
}

/// The args of a job are JSON, which holds text only.
fn absolute(path: &Path) -> io::Result<String> {
    let found = fs::canonicalize(path)?.into_os_string();
    found.into_string().map_err(|_| io::Error::other("its path is not UTF-8"))
}
