//! Whether the files on the disk are still the ones that this store has open.
//!
//! A path is a promise: what was acknowledged is found there. SQLite does not notice when the database file, its
//! folder, its write-ahead log or the log's index is removed, moved or replaced. It goes on writing, without an error,
//! to files without a name. So the store compares the files at its paths with the ones it opened: before each
//! acknowledgement of a durable write, and about once a second besides. Before an acknowledgement it mostly asks only
//! whether their folder has changed since ([`folder`](super::folder)). It only asks for their metadata: to open and
//! close one of these files would drop every lock that this process holds on it (docs/decisions/0035).

use std::{
    ffi::OsString,
    fmt, io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use rusqlite::{Connection, config::DbConfig};

use super::{connection::sibling, folder::Folder};
use crate::{Error, ErrorKind};

/// What stays the same as long as a process has the file open: its device and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// Of the file at this path; none where there is no file.
    #[cfg(unix)]
    pub(super) fn of(path: &Path) -> io::Result<Option<Self>> {
        use std::os::unix::fs::MetadataExt as _;
        match std::fs::metadata(path) {
            Ok(found) => Ok(Some(Self { device: found.dev(), inode: found.ino() })),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Elsewhere (Windows) a file that is open can be neither removed nor replaced, so only its absence says something.
    #[cfg(not(unix))]
    pub(super) fn of(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::metadata(path) {
            Ok(_) => Ok(Some(Self { device: 0, inode: 0 })),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The files of an open store.
#[derive(Debug)]
pub(super) struct Identity {
    /// As the caller named it, absolute; links in it are followed at each comparison.
    path: PathBuf,
    files: Vec<(PathBuf, FileId)>,
    /// The folder of all of them; none where links lead to it, which may be changed elsewhere.
    folder: Option<Folder>,
    lost: OnceLock<Lost>,
}

/// What happened to one of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lost {
    file: PathBuf,
    replaced: bool,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.replaced { "was replaced by another file" } else { "was removed or moved" };
        write!(f, "{} {how} while this process had it open", self.file.display())
    }
}

/// What an operator has to do; also for `doctor`.
pub(super) const REMEDY: &str = "stop every process that uses the store, put the files back (all of jobs.db, jobs.db-wal and \
     jobs.db-shm that were moved) or restore a backup, then start again";

impl Identity {
    /// Of the store whose writer has just read through `connection`, so that the log and its index are there. `database`
    /// is the file that the connection has open.
    pub(super) fn of_open(path: &Path, database: FileId) -> Result<Self, Error> {
        let unclear = |error: io::Error| {
            let why = format!("open the store {}: its files cannot be examined", path.display());
            Error::new(ErrorKind::Unavailable, why).caused_by(error)
        };
        // SQLite follows links, too, and creates the log beside the real file.
        let real = std::fs::canonicalize(path).map_err(unclear)?;
        let mut files = vec![(path.to_owned(), database)];
        for suffix in ["-wal", "-shm"] {
            let file = sibling(&real, suffix);
            let Some(id) = FileId::of(&file).map_err(unclear)? else {
                let why = format!(
                    "open the store {}: the file {} was removed just now; open the store again",
                    path.display(),
                    file.display()
                );
                return Err(Error::new(ErrorKind::Unavailable, why));
            };
            files.push((file, id));
        }
        let folder = path.parent().filter(|_| real == path).map(Folder::new);
        Ok(Self { path: path.to_owned(), files, folder, lost: OnceLock::new() })
    }

    /// Fails as [`ErrorKind::Unusable`] once one of the files is another or gone, from then on for ever: what was written
    /// meanwhile is not where the path leads. Fails as [`ErrorKind::Unavailable`] while they cannot be examined.
    pub(super) fn check(&self) -> Result<(), Error> {
        let seen = self.folder.as_ref().map(Folder::state);
        self.check_files()?;
        if let (Some(folder), Some(seen)) = (&self.folder, seen) {
            folder.held_all_files(seen);
        }
        Ok(())
    }

    /// The same before an acknowledgement. Examines the files only if their folder has changed since they were found in it.
    pub(super) fn check_quickly(&self) -> Result<(), Error> {
        match &self.folder {
            Some(folder) if self.lost.get().is_none() && folder.is_unchanged() => Ok(()),
            Some(_) | None => self.check(),
        }
    }

    fn check_files(&self) -> Result<(), Error> {
        if self.lost.get().is_none()
            && let Some(lost) = self.compare()?
        {
            // Several connections may find it at once; one of them says so.
            if self.lost.set(lost.clone()).is_ok() {
                tracing::error!(
                    store = %self.path.display(),
                    "{lost}; the store accepts nothing more, what it acknowledged last may be lost; {REMEDY}"
                );
            }
        }
        self.lost.get().map_or(Ok(()), |lost| Err(self.error(lost)))
    }

    /// The error of a store that is known to be lost. Examines no file.
    pub(super) fn lost(&self) -> Option<Error> {
        self.lost.get().map(|lost| self.error(lost))
    }

    /// What happened, as text; none while all files are in place.
    pub(super) fn found(&self) -> Option<String> {
        _ = self.check();
        self.lost.get().map(|lost| format!("{lost}; {REMEDY}"))
    }

    /// Forbids `connection` to copy its log into the database when it closes. Its pages are older than those that
    /// other processes may have written to the file since.
    pub(super) fn disarm(connection: &Connection) {
        if let Err(error) = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
            tracing::error!(%error, "failed to forbid that the lost log is copied into the store's file");
        }
    }

    fn error(&self, lost: &Lost) -> Error {
        Error::new(
            ErrorKind::Unusable,
            format!("use the SQLite store {}: {lost}; {REMEDY}", self.path.display()),
        )
    }

    fn compare(&self) -> Result<Option<Lost>, Error> {
        for (file, known) in &self.files {
            match FileId::of(file) {
                Ok(Some(id)) if id == *known => {}
                Ok(found) => return Ok(Some(Lost { file: file.clone(), replaced: found.is_some() })),
                // A folder that may not be searched says nothing about the files in it, so nothing can be promised.
                Err(error) => {
                    let why = format!(
                        "use the SQLite store {}: the file {} cannot be examined; allow this process to search its folder",
                        self.path.display(),
                        file.display()
                    );
                    return Err(Error::new(ErrorKind::Unavailable, why).caused_by(error));
                }
            }
        }
        Ok(None)
    }
}

/// The suffixes of the files of one store.
pub(super) const SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];

/// Processes of this machine that have a file of this store open under whose path it is no longer found, as far as this
/// process may see them. Linux only; elsewhere none is found.
#[cfg(target_os = "linux")]
pub(super) fn holders_of_removed(path: &Path) -> Vec<u32> {
    // The folder has the real path even where the file is gone.
    let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let removed: Vec<OsString> = SUFFIXES
        .iter()
        .map(|suffix| sibling(&real, &format!("{suffix} (deleted)")).into_os_string())
        .collect();
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let holds = |pid: &u32| {
        let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        open.flatten().any(|entry| {
            std::fs::read_link(entry.path())
                .is_ok_and(|link| removed.iter().any(|name| link == Path::new(name)))
        })
    };
    pids.filter(holds).collect()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn holders_of_removed(_: &Path) -> Vec<u32> {
    Vec::new()
}
