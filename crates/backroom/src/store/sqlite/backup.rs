//! A copy of the store's file, made while other processes write to it (docs/decisions/0037).
//!
//! All pages are copied within one read transaction, so the copy is the store as it was at one moment. It is written under
//! another name, checked, synced to the disk, and only then given its own name.

use std::{
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};

use super::{
    connection::{self, sibling},
    error::{Fault, explain},
    schema, unwritable,
};
use crate::{
    Error, ErrorKind,
    store::{BackedUp, BackupProgress},
};

/// Pages copied between two reports of progress: a few milliseconds.
const STEP_PAGES: i32 = 500;

/// Copies the store at `from` to a new file `to`.
///
/// `progress` ends it by answering false.
pub(super) fn backup(
    from: &Path,
    to: &Path,
    progress: &mut dyn FnMut(BackupProgress) -> bool,
) -> Result<BackedUp, Error> {
    let part = Part::new(to)?;
    let jobs = match connection::open_to_look(from) {
        Ok(source) => copy(&source, from, &part, progress)?,
        // A file that may only be read, with no log beside it.
        Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::NoSpace) => {
            unwritable::read(from, |source| Ok(copy(source, from, &part, progress)?))?
        }
        Err(error) => return Err(error),
    };
    let bytes = part.finish()?;
    Ok(BackedUp { bytes, jobs })
}

/// Copies all pages and checks the copy; how many jobs are in it.
fn copy(
    source: &Connection,
    from: &Path,
    part: &Part<'_>,
    progress: &mut dyn FnMut(BackupProgress) -> bool,
) -> Result<u64, Error> {
    let of_source = |error: rusqlite::Error| explain(&error, from);
    let of_copy = |error: rusqlite::Error| explain(&error, &part.path);
    // From here to the end it reads one state of the file: SQLite would otherwise begin again at each commit of others.
    source.execute_batch("BEGIN").map_err(of_source)?;
    if schema::version(source).map_err(|fault| fault.explain(from))? == 0 {
        let why = format!("back up {}: there are no tables of Backroom in the file", from.display());
        return Err(Error::new(ErrorKind::Unusable, why));
    }
    let mut copy = connection::open(&part.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    {
        let backup = Backup::new(source, &mut copy).map_err(of_source)?;
        loop {
            let step = backup.step(STEP_PAGES).map_err(of_copy)?;
            let done = backup.progress();
            let pages = |pages: i32| u64::try_from(pages).unwrap_or(0);
            let goes_on = progress(BackupProgress {
                copied: pages(done.pagecount - done.remaining),
                pages: pages(done.pagecount),
            });
            if !goes_on {
                return Err(Error::new(ErrorKind::Closed, "back up the store: it was interrupted"));
            }
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                // No other process has the copy open, and a read takes no lock in WAL mode. The source may have another mode.
                _ => pause(),
            }
        }
    }
    source.execute_batch("COMMIT").map_err(of_source)?;
    check(&copy).map_err(|fault| fault.explain(&part.path))
}

/// A single file, without a log beside it, whose every page is whole.
fn check(copy: &Connection) -> Result<u64, Fault> {
    copy.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
    let found: String = copy.query_row("PRAGMA integrity_check(1)", [], |found| found.get(0))?;
    if found != "ok" {
        let why = format!(
            "back up the store: the copy is damaged ({found}), so the store is; run `backroom doctor`"
        );
        return Err(Error::new(ErrorKind::Unusable, why).into());
    }
    let jobs: i64 = copy.query_row("SELECT count(*) FROM backroom_jobs", [], |found| found.get(0))?;
    Ok(jobs.unsigned_abs())
}

#[expect(
    clippy::disallowed_methods,
    reason = "waits for a lock of another process on a file, beside no clock"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

/// The file while it is written; removed unless it is finished.
struct Part<'a> {
    to: &'a Path,
    path: PathBuf,
    finished: bool,
}

impl<'a> Part<'a> {
    fn new(to: &'a Path) -> Result<Self, Error> {
        if to.symlink_metadata().is_ok() {
            return Err(exists(to));
        }
        let path = sibling(to, &format!(".part-{}", std::process::id()));
        // It must be new: a leftover would be another process's, or be overwritten page by page.
        let made = OpenOptions::new().write(true).create_new(true).open(&path);
        made.map_err(|error| unwritten(to, error))?;
        Ok(Self { to, path, finished: false })
    }

    /// Gives the file its name once it is on the disk; its bytes. No connection has it open any more.
    fn finish(mut self) -> Result<u64, Error> {
        let failed = |error| unwritten(self.to, error);
        let file = OpenOptions::new().write(true).open(&self.path).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        if self.to.symlink_metadata().is_ok() {
            return Err(exists(self.to));
        }
        std::fs::rename(&self.path, self.to).map_err(failed)?;
        self.finished = true;
        if cfg!(unix) {
            let folder = self.to.parent().filter(|folder| !folder.as_os_str().is_empty());
            let synced = File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
            synced.map_err(|error| unwritten(self.to, error))?;
        }
        Ok(bytes)
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        if !self.finished {
            for suffix in ["", "-journal"] {
                _ = std::fs::remove_file(sibling(&self.path, suffix));
            }
        }
    }
}

fn exists(to: &Path) -> Error {
    let why = format!("back up to {}: the file exists; a backup replaces none, name another", to.display());
    Error::new(ErrorKind::Invalid, why)
}

fn unwritten(to: &Path, error: io::Error) -> Error {
    let why = format!("back up to {}: the file cannot be written", to.display());
    Error::new(ErrorKind::NoSpace, why).caused_by(error)
}
