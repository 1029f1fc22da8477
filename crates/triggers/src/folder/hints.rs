//! Hints of the operating system that something in a folder changed. They only save time: a rescan is the truth.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use notify::{
    Config, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};
use tokio::sync::mpsc::{self, Receiver};

use super::Rules;

/// Most hints that wait; of more, the folder is scanned as a whole.
const HINTS_MAX: usize = 10_000;

/// Watches a folder.
pub(super) struct Hints {
    /// Dropped, it stops.
    _watcher: RecommendedWatcher,
    pub(super) paths: Receiver<PathBuf>,
    /// Hints were lost.
    pub(super) is_lost: Arc<AtomicBool>,
}

impl Hints {
    /// Begins to watch; blocks while it reads the tree of folders.
    pub(super) fn begin(rules: &Rules) -> Result<Self, notify::Error> {
        let (sender, paths) = mpsc::channel(HINTS_MAX);
        let is_lost = Arc::new(AtomicBool::new(false));
        let lost = Arc::clone(&is_lost);
        let heard = move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else {
                lost.store(true, Relaxed);
                return;
            };
            if event.need_rescan() {
                lost.store(true, Relaxed);
            }
            let is_change = match event.kind {
                EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
                EventKind::Access(_) => false,
                EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) => true,
                EventKind::Other => false,
            };
            for path in event.paths.into_iter().filter(|_| is_change) {
                if sender.try_send(path).is_err() {
                    lost.store(true, Relaxed);
                }
            }
        };
        let config = Config::default().with_follow_symlinks(rules.follows_links);
        let mut watcher = RecommendedWatcher::new(heard, config)?;
        let mode = if rules.recursive { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        // A root that is a link is watched by the folder that it leads to.
        let is_link = fs::symlink_metadata(&rules.root).is_ok_and(|found| found.is_symlink());
        let root = if is_link { rules.root.join(".") } else { rules.root.clone() };
        watcher.watch(&root, mode)?;
        Ok(Self { _watcher: watcher, paths, is_lost })
    }
}
