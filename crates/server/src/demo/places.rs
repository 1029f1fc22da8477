//! Where the demo finds pictures and puts thumbnails, checked before anything begins.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::DemoError;
use crate::settings::Settings;

/// The demo's own folder, under the current one.
const HOME: &str = "backroom-demo";

/// The folders of a run.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The watched folder, absolute.
    pub(crate) photos: PathBuf,
    /// The thumbnails' folder, absolute.
    pub(crate) out: PathBuf,
    /// The watched folder as people know it.
    pub(crate) photos_shown: String,
    /// The thumbnails' folder as people know it.
    pub(crate) out_shown: String,
    /// Whether the demo brings the pictures along.
    pub(crate) are_brought: bool,
    /// The store's file, if it is one.
    pub(crate) store: Option<PathBuf>,
}

impl Places {
    /// Finds the folders, makes those that are ours, and refuses what could not work.
    pub(crate) fn find(
        photos: Option<&Path>,
        out: Option<&Path>,
        settings: &Settings,
    ) -> Result<Self, DemoError> {
        let are_brought = photos.is_none();
        let brought = Path::new(HOME).join("photos");
        let photos = photos.unwrap_or(&brought);
        if are_brought {
            fs::create_dir_all(photos).map_err(|error| no_photos(photos, error.to_string()))?;
        }
        let thumbnails = Path::new(HOME).join("thumbnails");
        let out = out.unwrap_or(&thumbnails);
        // Looked at first: a mistyped --photos should not leave an empty folder behind.
        let photos_found = watched(photos)?;
        let out_found = writable(out).map_err(|error| DemoError::Out { folder: out.into(), error })?;
        Ok(Self {
            photos: photos_found,
            out: out_found,
            photos_shown: photos.display().to_string(),
            out_shown: out.display().to_string(),
            are_brought,
            store: settings.file().and_then(|file| absolute(&file)),
        })
    }

    /// A path below the thumbnails' folder, as people know it.
    pub(crate) fn show(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.out).map(|below| Path::new(&self.out_shown).join(below));
        below.unwrap_or_else(|_| path.to_path_buf()).display().to_string()
    }
}

/// The store's file may not exist yet, but its folder must.
fn absolute(file: &Path) -> Option<PathBuf> {
    let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    Some(fs::canonicalize(folder).ok()?.join(file.file_name()?))
}

fn watched(photos: &Path) -> Result<PathBuf, DemoError> {
    let found = fs::canonicalize(photos).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => no_photos(
            photos,
            "there is no such folder; give an existing one with --photos, or leave it away to use some of ours",
        ),
        _ => no_photos(photos, error.to_string()),
    })?;
    if !found.is_dir() {
        return Err(no_photos(photos, "it is not a folder; give the folder that the picture is in"));
    }
    Ok(found)
}

fn no_photos(folder: &Path, why: impl Into<String>) -> DemoError {
    DemoError::Photos { folder: folder.into(), why: why.into() }
}

/// Tries it out: permissions alone do not tell (a read-only disk, a full one, root).
fn writable(out: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(out)?;
    let probe = out.join(format!(".{}-probe.part", std::process::id()));
    File::create(&probe)?;
    fs::remove_file(&probe)?;
    fs::canonicalize(out)
}
