//! Whether the folder of the store's files has changed since all files were found in it.
//!
//! To remove, move, create or replace a file changes the time of its folder. So one question about the folder answers for all
//! files in it. A folder that is itself moved or replaced has another number under its path. The answer counts only once the
//! folder has been the same for longer than its time is coarse: else a change could leave that time as it is.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Longer than the times of a file system are coarse that has parts of seconds: these come from the ticks of the kernel.
const FINE: Duration = Duration::from_millis(50);
/// The same for one that has none; FAT has every second one.
const COARSE: Duration = Duration::from_secs(3);

/// What changes with the entries of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    device: u64,
    inode: u64,
    changed_secs: i64,
    changed_nanos: i64,
}

impl State {
    fn coarse_by(&self) -> Duration {
        if self.changed_nanos == 0 { COARSE } else { FINE }
    }
}

/// The folder of a store.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    held: Mutex<Option<Held>>,
}

/// The folder held all files when it was in this state.
#[derive(Debug)]
struct Held {
    state: State,
    since: Instant,
    /// The files were found again so long after `since` that every later change shows.
    is_proven: bool,
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), held: Mutex::default() }
    }

    /// Its present state, to be asked for before the files are examined; none if it cannot be said.
    #[cfg(unix)]
    pub(super) fn state(&self) -> Option<State> {
        use std::os::unix::fs::MetadataExt as _;
        let found = std::fs::metadata(&self.path).ok()?;
        let (changed_secs, changed_nanos) = (found.mtime(), found.mtime_nsec());
        Some(State { device: found.dev(), inode: found.ino(), changed_secs, changed_nanos })
    }

    #[cfg(not(unix))]
    pub(super) fn state(&self) -> Option<State> {
        None
    }

    /// All files were in place after it was in this state.
    #[expect(
        clippy::disallowed_methods,
        reason = "how long a state lasts; nothing about a job depends on it"
    )]
    pub(super) fn held_all_files(&self, state: Option<State>) {
        let Some(state) = state else { return };
        let mut held = self.held();
        match &mut *held {
            Some(held) if held.state == state => {
                held.is_proven |= held.since.elapsed() > state.coarse_by();
            }
            Some(_) | None => *held = Some(Held { state, since: Instant::now(), is_proven: false }),
        }
    }

    /// Whether it is as it was when all files were found in it.
    pub(super) fn is_unchanged(&self) -> bool {
        let proven = self.held().as_ref().filter(|held| held.is_proven).map(|held| held.state);
        proven.is_some() && self.state() == proven
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;

    use super::*;

    /// A folder that was found unchanged for long enough.
    fn proven(path: &Path) -> Folder {
        let folder = Folder::new(path);
        folder.held_all_files(folder.state());
        assert!(!folder.is_unchanged(), "not before its time could have changed");
        while !folder.is_unchanged() {
            std::thread::yield_now();
            folder.held_all_files(folder.state());
        }
        folder
    }

    #[test]
    fn what_happens_to_an_entry_shows() {
        let place = tempfile::tempdir().expect("a folder");
        let (a, b) = (place.path().join("a"), place.path().join("b"));
        type Step = fn(&Path, &Path) -> std::io::Result<()>;
        let changes: [(&str, Step); 4] = [
            ("created", |a, _| fs::write(a, "1")),
            ("moved", |a, b| fs::rename(a, b)),
            ("created again", |a, _| fs::write(a, "2")),
            ("replaced", |a, b| fs::rename(b, a)),
        ];
        for (what, change) in changes {
            let folder = proven(place.path());
            change(&a, &b).expect(what);
            assert!(!folder.is_unchanged(), "{what}");
        }
        let folder = proven(place.path());
        fs::write(&a, "an entry stays, though what it holds changes").expect("a write");
        assert!(folder.is_unchanged());
        fs::remove_file(&a).expect("a file");
        assert!(!folder.is_unchanged(), "removed");
    }

    #[test]
    fn another_folder_under_the_same_path_is_not_the_same() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("store");
        fs::create_dir(&path).expect("a folder");
        let folder = proven(&path);
        fs::rename(&path, place.path().join("elsewhere")).expect("a rename");
        assert!(!folder.is_unchanged(), "moved");
        fs::create_dir(&path).expect("a folder");
        assert!(!folder.is_unchanged(), "replaced");
    }
}
