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
        Err(error) => Err(named(path, error)),
    }
}

/// All candidates in `folder` and the folders inside it, sorted by path, each starting with `folder` as given.
///
/// Hidden folders are passed by, and so are symbolic links to folders, which is what keeps a loop of links from
/// being walked for ever. So is `out`, the thumbnails' folder, when it lies inside `folder`: else each thumbnail
/// would become a source. `out` need not exist yet.
///
/// # Errors
/// When `out` is `folder` itself, and when a folder cannot be read. What vanishes during the walk is no error.
pub(crate) fn list(folder: &Path, out: &Path) -> io::Result<Vec<PathBuf>> {
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

    let mut candidates = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(current) = folders.pop() {
        let entries = match fs::read_dir(&current) {
            Ok(entries) => entries,
            // The folder that was asked for must be there; one found on the way may have been removed since.
            Err(error) if is_gone(&error) && current != folder => continue,
            Err(error) => return Err(named(&current, error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| named(&current, error))?;
            let path = entry.path();
            // Of the entry itself, not of what a link leads to.
            let kind = match entry.file_type() {
                Ok(kind) => kind,
                Err(error) if is_gone(&error) => continue,
                Err(error) => return Err(named(&path, error)),
            };
            if kind.is_dir() {
                if !is_hidden(&path) && (out.is_none() || canonical(&path)? != out) {
                    folders.push(path);
                }
            } else if is_candidate(&path)? {
                candidates.push(path);
            }
        }
    }
    candidates.sort();
    Ok(candidates)
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

/// ELOOP has no stable `ErrorKind` (`FilesystemLoop` is unstable), so it is told by its number.
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
