//! Lists the files of a folder, in the order of their keys, on a thread that may block.
//!
//! The names of one folder are in memory at a time, with those of the folders above it.

use std::{fs, io, path::PathBuf, sync::Arc};

use tokio::sync::mpsc::Sender;

use super::{
    Rules,
    ledger::{self, Print},
};

/// Files per message.
const CHUNK: usize = 512;

/// What a walk found.
#[derive(Debug)]
pub(super) enum Found {
    /// A file.
    File { key: String, print: Print },
    /// A folder that cannot be read. Nothing is known of what lies below it.
    Unreadable { key: String, why: String },
}

impl Found {
    /// Its place in the order.
    pub(super) fn key(&self) -> &str {
        match self {
            Self::File { key, .. } | Self::Unreadable { key, .. } => key,
        }
    }
}

/// Some of what was found, or why the folder itself cannot be read.
pub(super) type Chunk = Result<Vec<Found>, io::Error>;

/// A folder that is being listed.
struct Level {
    /// Its key, with a slash at the end; empty for the folder itself.
    prefix: String,
    /// What is left of its names, the last one first. Folders end with a slash.
    names: Vec<Box<str>>,
    identity: (u64, u64),
}

/// Lists the files whose keys begin with `prefix` (empty, or a folder with a slash at the end). Ends early when the receiver is dropped.
pub(super) fn walk(rules: &Arc<Rules>, prefix: &str, sender: &Sender<Chunk>) {
    let mut walk = Walk { rules, sender, chunk: Vec::with_capacity(CHUNK), levels: Vec::new() };
    let outcome = fs::metadata(&rules.root).and_then(|root| {
        if root.is_dir() { Ok(()) } else { Err(io::Error::from(io::ErrorKind::NotADirectory)) }
    });
    if let Err(error) = outcome {
        _ = sender.blocking_send(Err(error));
        return;
    }
    // What lies behind a link is not in the folder.
    if rules.leaves(prefix) {
        return;
    }
    let folder = ledger::path_of(&rules.root, prefix.trim_end_matches('/'));
    match walk.enter(prefix.to_owned(), &folder) {
        Ok(()) => {}
        // The folder below which to list is gone: then there is nothing in it.
        Err(error) if !prefix.is_empty() && is_gone(&error) => return,
        Err(error) => {
            if prefix.is_empty() {
                _ = sender.blocking_send(Err(error));
                return;
            }
            walk.chunk.push(Found::Unreadable { key: prefix.to_owned(), why: error.to_string() });
        }
    }
    walk.run();
}

struct Walk<'a> {
    rules: &'a Arc<Rules>,
    sender: &'a Sender<Chunk>,
    chunk: Vec<Found>,
    levels: Vec<Level>,
}

impl Walk<'_> {
    fn run(mut self) {
        while let Some(level) = self.levels.last_mut() {
            let Some(name) = level.names.pop() else {
                self.levels.pop();
                continue;
            };
            let key = format!("{}{name}", level.prefix);
            let path = ledger::path_of(&self.rules.root, key.trim_end_matches('/'));
            if name.ends_with('/') {
                match self.enter(key.clone(), &path) {
                    Err(error) if !is_gone(&error) => {
                        self.chunk.push(Found::Unreadable { key, why: error.to_string() });
                    }
                    Ok(()) | Err(_) => {}
                }
            } else if let Some(print) = self.rules.print_at(&path) {
                self.chunk.push(Found::File { key, print });
            }
            if self.chunk.len() >= CHUNK && !self.send() {
                return;
            }
        }
        self.send();
    }

    fn send(&mut self) -> bool {
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        chunk.is_empty() || self.sender.blocking_send(Ok(chunk)).is_ok()
    }

    /// Reads the names of a folder. A folder that is one of those above it, by a link, is left out.
    fn enter(&mut self, prefix: String, path: &PathBuf) -> io::Result<()> {
        // The root itself may be a link.
        let found = if prefix.is_empty() { fs::metadata(path)? } else { self.rules.metadata(path)? };
        if !found.is_dir() {
            return Err(io::Error::from(io::ErrorKind::NotADirectory));
        }
        let identity = identity(&found);
        if self.levels.iter().any(|level| level.identity == identity) {
            return Ok(());
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let sort = entry.file_type()?;
            let is_folder = if sort.is_symlink() {
                if !self.rules.follows_links {
                    continue;
                }
                match fs::metadata(entry.path()) {
                    Ok(found) => found.is_dir(),
                    // A link to nothing.
                    Err(_) => continue,
                }
            } else {
                sort.is_dir()
            };
            if is_folder && !self.rules.recursive {
                continue;
            }
            let mut name = ledger::encode(&entry.file_name());
            if is_folder {
                name.push('/');
            } else if !self.rules.wants(&format!("{prefix}{name}")) {
                continue;
            }
            names.push(name.into_boxed_str());
        }
        // The last one first, because they are taken from the end.
        names.sort_unstable_by(|a, b| b.cmp(a));
        self.levels.push(Level { prefix, names, identity });
        Ok(())
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(unix)]
fn identity(found: &fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    (found.dev(), found.ino())
}

#[cfg(not(unix))]
fn identity(_: &fs::Metadata) -> (u64, u64) {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    (0, NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}
