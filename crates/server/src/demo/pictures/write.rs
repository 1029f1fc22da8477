//! Writing a file so that no reader ever sees half of it, not even after a loss of power.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use backroom::Failure;

/// Writes a text for a handler that is async, on a thread for blocking work.
pub(crate) async fn write_apart(target: PathBuf, text: String) -> Result<(), Failure> {
    tokio::task::spawn_blocking(move || write_whole(&target, text.as_bytes())).await??;
    Ok(())
}

/// Writes `bytes` to `target`, replacing what is there: a hidden file beside it, fsync, rename, fsync of the folder. Missing
/// folders are created. Two writers of one target do not disturb each other: the last rename wins.
pub(crate) fn write_whole(target: &Path, bytes: &[u8]) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);

    let folder = target.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    // Not from the target's name, which may already be as long as the file system allows.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let hidden = folder.join(format!(".{}-{number}.part", std::process::id()));
    let written = File::create(&hidden).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&hidden, target)?;
        // Without it a loss of power may take the new name although the job is already recorded as completed. Elsewhere than on Unix
        // a folder cannot be opened as a file.
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    });
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&hidden);
    }
    written
}
