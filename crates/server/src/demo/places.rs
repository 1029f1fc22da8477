//! Where the demo finds pictures and puts thumbnails, checked before anything begins.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use crate::{settings::Settings, terminal::Problem};

/// The demo's own folder, under the current one.
const HOME: &str = "backroom-demo";

/// The folders of a run.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The watched folder, absolute.
    pub(crate) photos: PathBuf,
    /// The thumbnails' folder, absolute.
    pub(crate) out: PathBuf,
    /// The watched folder as the user named it.
    pub(crate) photos_shown: String,
    /// The thumbnails' folder as the user named it.
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
    ) -> Result<Self, Problem> {
        let (brought, thumbnails) = (Path::new(HOME).join("photos"), Path::new(HOME).join("thumbnails"));
        let (are_brought, photos) = (photos.is_none(), photos.unwrap_or(&brought));
        let out = out.unwrap_or(&thumbnails);
        let unwatched = |why: &dyn std::fmt::Display| {
            Problem::new(format_args!("watch {}", photos.display()), &why.to_string())
        };
        if are_brought {
            fs::create_dir_all(photos).map_err(|error| unwatched(&error))?;
        }
        // Checked first: a mistyped --photos should not leave an empty folder behind.
        let found = fs::canonicalize(photos).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => unwatched(
                &"there is no such folder; give an existing one with --photos, or leave it out to use some of ours",
            ),
            _ => unwatched(&error),
        })?;
        if !found.is_dir() {
            return Err(unwatched(&"it is not a folder; give the folder that the picture is in"));
        }
        let unwritable = |why: &dyn std::fmt::Display| {
            let why = format!("{why}; name another folder with --out");
            Problem::new(format_args!("write thumbnails into {}", out.display()), &why)
        };
        let out_found = writable(out).map_err(|error| unwritable(&error))?;
        if out_found == found {
            return Err(unwatched(
                &"it is also the thumbnails' folder, so each thumbnail would become a picture; name another with --out",
            ));
        }
        // The args of a job are JSON, which holds text only.
        match (found.to_str(), out_found.to_str()) {
            (None, _) => return Err(unwatched(&"its path is not UTF-8")),
            (_, None) => return Err(unwritable(&"its path is not UTF-8")),
            (Some(_), Some(_)) => {}
        }
        Ok(Self {
            photos: found,
            out: out_found,
            photos_shown: photos.display().to_string(),
            out_shown: out.display().to_string(),
            are_brought,
            store: settings.file().and_then(|file| absolute(&file)),
        })
    }

    /// A path below the thumbnails' folder, as the user named that folder.
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

/// Writes a file: permissions alone do not show whether that works (a read-only disk, a full one, root).
fn writable(out: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(out)?;
    let probe = out.join(format!(".{}-probe.part", std::process::id()));
    File::create(&probe)?;
    fs::remove_file(&probe)?;
    fs::canonicalize(out)
}
