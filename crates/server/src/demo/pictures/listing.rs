//! Which files in a folder are to be tried as pictures.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Whether `path` is a file to try: a regular one, or a symbolic link to one, whose name does not start with a
/// dot. A path that is gone, or a link that leads nowhere, is not a candidate.
///
/// The extension plays no part: a text file is a candidate too, and [`make`](super::make) says what is wrong
/// with it, which is better than a file that is silently passed by.
///
/// # Errors
/// When the system cannot tell, for instance for want of permission.
pub(crate) fn is_candidate(path: &Path) -> io::Result<bool> {
    if is_hidden(path) {
        return Ok(false);
    }
    match fs::metadata(path) {
        Ok(found) => Ok(found.is_file()),
        Err(error) if is_gone(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What a walk through a folder found.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The candidates, sorted by path, each starting with the folder as given.
    pub(crate) candidates: Vec<PathBuf>,
    /// What could not be looked at.
    pub(crate) skipped: Vec<Skipped>,
}

/// A file or folder that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skipped {
    /// Which.
    pub(crate) path: PathBuf,
    /// Why, without the path: files with the same reason are in the same trouble.
    pub(crate) why: String,
}

/// All candidates in `folder` and the folders inside it.
///
/// A folder inside that cannot be read, or an entry that cannot be looked at, is skipped: one of them must not keep all others
/// from being done.
///
/// Hidden folders are passed by, and so are symbolic links to folders, which is what keeps a loop of links from
/// being walked for ever. So is `out`, the thumbnails' folder, when it lies inside `folder`: else each thumbnail
/// would become a source. `out` need not exist yet.
///
/// # Errors
/// When `out` is `folder` itself, and when `folder` cannot be read. What vanishes during the walk is no error.
pub(crate) fn list(folder: &Path, out: &Path) -> io::Result<Listing> {
    let out = canonical(out)?;
    if out.is_some() && canonical(folder)? == out {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "list {}: it is also the thumbnails' folder, so that each thumbnail would become a source; \
                 name another folder for them",
                folder.display()
            ),
        ));
    }

    let mut listing = Listing::default();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(current) = folders.pop() {
        let entries = match fs::read_dir(&current) {
            Ok(entries) => entries,
            // The folder that was asked for must be there and readable; one found on the way may be gone, or closed to us.
            Err(error) if current == folder => return Err(named(&current, error)),
            Err(error) => {
                listing.skip(current, &error);
                continue;
            }
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    listing.skip(current.clone(), &error);
                    continue;
                }
            };
            let path = entry.path();
            match look_at(&entry, &path, out.as_deref()) {
                Ok(Entry::Folder) => folders.push(path),
                Ok(Entry::Candidate) => listing.candidates.push(path),
                Ok(Entry::Other) => {}
                Err(error) => listing.skip(path, &error),
            }
        }
    }
    listing.candidates.sort();
    Ok(listing)
}

/// What an entry of a folder is to a walk.
enum Entry {
    Folder,
    Candidate,
    Other,
}

fn look_at(entry: &fs::DirEntry, path: &Path, out: Option<&Path>) -> io::Result<Entry> {
    // Of the entry itself, not of what a link leads to.
    if entry.file_type()?.is_dir() {
        let is_out = out.is_some() && fs::canonicalize(path)? == out.unwrap_or(path);
        return Ok(if is_hidden(path) || is_out { Entry::Other } else { Entry::Folder });
    }
    Ok(if is_candidate(path)? { Entry::Candidate } else { Entry::Other })
}

impl Listing {
    fn skip(&mut self, path: PathBuf, error: &io::Error) {
        // It vanished during the walk: that is no trouble.
        if !is_gone(error) {
            self.skipped.push(Skipped { path, why: error.to_string() });
        }
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// The path with all links resolved, or nothing when it does not exist.
fn canonical(path: &Path) -> io::Result<Option<PathBuf>> {
    match fs::canonicalize(path) {
        Ok(path) => Ok(Some(path)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(named(path, error)),
    }
}

/// Gone, or a link that leads nowhere or round in a circle: nothing that could be read.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) || is_link_loop(error)
}

/// ELOOP has no stable `ErrorKind` (`FilesystemLoop` is unstable), so it is recognised by its number.
#[cfg(unix)]
fn is_link_loop(error: &io::Error) -> bool {
    const ELOOP_LINUX: i32 = 40;
    const ELOOP_BSD_AND_MACOS: i32 = 62;

    let number =
        if cfg!(any(target_os = "linux", target_os = "android")) { ELOOP_LINUX } else { ELOOP_BSD_AND_MACOS };
    error.raw_os_error() == Some(number)
}

/// Elsewhere such a link is an error like another.
#[cfg(not(unix))]
fn is_link_loop(_error: &io::Error) -> bool {
    false
}

/// The standard library's errors do not name the file.
fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("list {}: {error}", path.display()))
}
