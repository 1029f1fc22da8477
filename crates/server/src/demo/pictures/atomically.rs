//! Writing a file so that nobody ever sees half of it, not even after a power cut.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many temporary names are tried. Names are taken only when another machine, or a process that died,
/// used this process's id in the same folder; a thousand leftovers mean something else is wrong.
const NAMES_MAX: u32 = 1_000;

/// Writes `bytes` to `target`, replacing what is there: a temporary file beside it, fsync, rename, fsync of the
/// folder. The folder must exist.
///
/// The temporary name starts with a dot, so that [`list`](super::list) and any watcher that heeds hidden files
/// pass it by. Two writers of one target do not disturb each other: each has its own temporary file, and the
/// last rename wins.
pub(crate) fn write(target: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = folder_of(target);
    let (mut file, temporary) = create_temporary(folder)?;

    let written =
        file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&temporary, target));
    if let Err(error) = written {
        return Err(match fs::remove_file(&temporary) {
            Ok(()) => error,
            Err(left) => io::Error::new(
                error.kind(),
                format!("{error} (and {} was left: {left})", temporary.display()),
            ),
        });
    }
    sync_folder(folder)
}

/// The folder that holds `path`; a bare file name lies in the current one.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) | None => Path::new("."),
    }
}

/// A new hidden file in `folder`. The name does not hold the target's, which may already be as long as the file
/// system allows.
fn create_temporary(folder: &Path) -> io::Result<(File, PathBuf)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);

    let mut names_left = NAMES_MAX;
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".{}-{number}.part", process::id()));
        match File::create_new(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && names_left > 1 => {
                names_left -= 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Makes the rename itself durable. Without it a power cut may leave the folder without the new name although
/// the job that wrote it is already recorded as completed.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Elsewhere a folder cannot be opened as a file; the system orders the rename after the data by itself.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}
