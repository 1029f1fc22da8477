//! A folder as a source: files that appear, change or go.
//!
//! A ledger in the store remembers each file that was delivered. A scan compares the folder with the ledger; hints of the operating
//! system only make it faster. A file counts once it has been still for a while. Start reading at [`Reading::advance`].

mod hints;
mod ledger;
mod reading;
mod scan;
mod settling;
mod walk;

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use self::{
    ledger::{PREFIX, Print},
    reading::{Change, Reading},
};
use crate::{Bounds, Delivery, Settled, Source, SourceContext, SourceError, glob::Pattern};

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FolderEvent {
    /// It appeared.
    Created,
    /// Its content changed, or another file took its name.
    Changed,
    /// It is gone.
    Removed,
}

impl FolderEvent {
    /// Its name in messages and settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

/// What is done with symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Symlinks {
    /// They are left out.
    #[default]
    Ignore,
    /// They are followed. A link to a folder that lies above it ends there.
    Follow,
}

/// A folder whose files become jobs. The args of a job are `{"event", "path", "relative", "name", "size", "modified_at"}`.
///
/// A file that is moved or renamed within the folder counts as removed under its old name and created under its new one.
#[derive(Debug)]
pub struct Folder {
    rules: Rules,
    reading: Option<Reading>,
    next_receipt: u64,
    in_hand: HashMap<u64, Change>,
}

/// What a folder source looks for.
#[derive(Debug, Clone)]
struct Rules {
    root: PathBuf,
    recursive: bool,
    follows_links: bool,
    names: Vec<Pattern>,
    ignored: Vec<Pattern>,
    created: bool,
    changed: bool,
    removed: bool,
    existing: bool,
    settle: Duration,
    rescan: Duration,
}

impl Folder {
    /// Files of this folder and those below it: created and changed ones, once they have been still for two seconds.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let rules = Rules {
            // Paths in jobs mean the same to a process in another working directory.
            root: std::path::absolute(&root).unwrap_or(root),
            recursive: true,
            follows_links: false,
            names: Vec::new(),
            ignored: Vec::new(),
            created: true,
            changed: true,
            removed: false,
            existing: true,
            settle: Duration::from_secs(2),
            rescan: Duration::from_secs(60),
        };
        Self { rules, reading: None, next_receipt: 0, in_hand: HashMap::new() }
    }

    /// Only files that appear. A file that takes the name of another one counts, too.
    #[must_use]
    pub fn created(self) -> Self {
        self.events(&[FolderEvent::Created])
    }

    /// Only these events.
    #[must_use]
    pub fn events(mut self, events: &[FolderEvent]) -> Self {
        self.rules.created = events.contains(&FolderEvent::Created);
        self.rules.changed = events.contains(&FolderEvent::Changed);
        self.rules.removed = events.contains(&FolderEvent::Removed);
        self
    }

    /// Whether the folders below it are read, too. Default true.
    #[must_use]
    pub fn recursive(mut self, recursive: bool) -> Self {
        self.rules.recursive = recursive;
        self
    }

    /// Only files whose name fits one of these patterns: `*.jpg`. A pattern with a `/` is compared with the path below the folder;
    /// `**` stands for any number of folders.
    #[must_use]
    pub fn names<S: AsRef<str>>(mut self, patterns: impl IntoIterator<Item = S>) -> Self {
        self.rules.names = patterns.into_iter().map(|pattern| Pattern::new(pattern.as_ref())).collect();
        self
    }

    /// Files that are left out, by patterns of the same form.
    #[must_use]
    pub fn ignore<S: AsRef<str>>(mut self, patterns: impl IntoIterator<Item = S>) -> Self {
        self.rules.ignored = patterns.into_iter().map(|pattern| Pattern::new(pattern.as_ref())).collect();
        self
    }

    /// What is done with symbolic links. Default: they are left out.
    #[must_use]
    pub fn symlinks(mut self, symlinks: Symlinks) -> Self {
        self.rules.follows_links = symlinks == Symlinks::Follow;
        self
    }

    /// Whether files that are there when the trigger begins for the first time count as created. Default true.
    #[must_use]
    pub fn existing(mut self, existing: bool) -> Self {
        self.rules.existing = existing;
        self
    }

    /// How long size and time of a file must stay the same before it counts. Default 2 s.
    #[must_use]
    pub fn settle(mut self, settle: Duration) -> Self {
        self.rules.settle = settle;
        self
    }

    /// How often the whole folder is compared with the ledger. Default 60 s.
    #[must_use]
    pub fn rescan(mut self, rescan: Duration) -> Self {
        self.rules.rescan = rescan.max(Duration::from_millis(100));
        self
    }
}

impl Rules {
    /// Whether a file is looked for, by its key.
    fn wants(&self, key: &str) -> bool {
        let is_below = self.recursive || !key.contains('/');
        is_below
            && (self.names.is_empty() || self.names.iter().any(|pattern| pattern.fits(key)))
            && !self.ignored.iter().any(|pattern| pattern.fits(key))
    }

    /// What is known of a key, if it is a file that counts. Blocks for a moment.
    fn print(&self, key: &str) -> Option<Print> {
        if self.leaves(key) {
            return None;
        }
        self.print_at(&ledger::path_of(&self.root, key))
    }

    /// What is known of a path in a folder that is known to lie below the root.
    fn print_at(&self, path: &Path) -> Option<Print> {
        self.metadata(path).ok().filter(fs::Metadata::is_file).map(|found| Print::of(&found))
    }

    /// What lies at a path: the link itself where links are left out.
    fn metadata(&self, path: &Path) -> io::Result<fs::Metadata> {
        if self.follows_links { fs::metadata(path) } else { fs::symlink_metadata(path) }
    }

    /// Whether a folder of this key is a link that is not followed. What lies below it is outside. Of a key with a slash at the end, the
    /// whole is a folder.
    fn leaves(&self, key: &str) -> bool {
        !self.follows_links
            && key.match_indices('/').any(|(at, _)| {
                let folder = ledger::path_of(&self.root, &key[..at]);
                fs::symlink_metadata(folder).is_ok_and(|found| found.is_symlink())
            })
    }

    fn unreadable(&self, error: &io::Error) -> SourceError {
        let failed = SourceError::new(format!("read the folder {}: {error}", self.root.display()));
        failed.remedy(match error.kind() {
            io::ErrorKind::NotFound => {
                "make the folder, or correct its path; no file counts as removed until it is there"
            }
            io::ErrorKind::PermissionDenied => "let the user of this process read it",
            _ => "the folder is read again in a while",
        })
    }
}

#[async_trait]
impl Source for Folder {
    fn kind(&self) -> &'static str {
        "folder"
    }

    fn describe(&self, _: &str) -> serde_json::Value {
        let rules = &self.rules;
        let events = [
            (FolderEvent::Created, rules.created),
            (FolderEvent::Changed, rules.changed),
            (FolderEvent::Removed, rules.removed),
        ];
        let events: Vec<_> =
            events.iter().filter(|(_, is_on)| *is_on).map(|(event, _)| event.as_str()).collect();
        json!({
            "path": rules.root.to_string_lossy(),
            "recursive": rules.recursive,
            "names": rules.names.iter().map(Pattern::as_str).collect::<Vec<_>>(),
            "ignore": rules.ignored.iter().map(Pattern::as_str).collect::<Vec<_>>(),
            "events": events,
            "symlinks": if rules.follows_links { "follow" } else { "ignore" },
            "settle_ms": u64::try_from(rules.settle.as_millis()).unwrap_or(u64::MAX),
            "rescan_ms": u64::try_from(rules.rescan.as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    async fn open(&mut self, context: &SourceContext) -> Result<(), SourceError> {
        self.in_hand.clear();
        self.reading = Some(Reading::begin(Arc::new(self.rules.clone()), context).await?);
        Ok(())
    }

    async fn next(&mut self, bounds: Bounds) -> Result<Vec<Delivery>, SourceError> {
        let reading =
            self.reading.as_mut().ok_or_else(|| SourceError::new("read the folder: it is not open"))?;
        let changes = loop {
            let changes = reading.take(bounds.rows);
            if !changes.is_empty() {
                break changes;
            }
            reading.advance().await?;
        };
        let deliver = |change: Change| {
            let receipt = self.next_receipt;
            self.next_receipt += 1;
            let delivery = delivery(&self.rules, &change).receipt(receipt);
            self.in_hand.insert(receipt, change);
            delivery
        };
        Ok(changes.into_iter().map(deliver).collect())
    }

    async fn settle(&mut self, settled: Vec<Settled>) -> Result<(), SourceError> {
        let reading = self
            .reading
            .as_mut()
            .ok_or_else(|| SourceError::new("write the ledger: the folder is not open"))?;
        // A file that could not become a job is recorded all the same: its dead letter has the reason.
        let changes: Vec<Change> =
            settled.iter().filter_map(|settled| self.in_hand.remove(&settled.receipt)).collect();
        reading.record(&changes).await
    }

    async fn lag(&mut self) -> Option<u64> {
        self.reading.as_ref().map(Reading::lag)
    }

    fn details(&self) -> serde_json::Value {
        self.reading.as_ref().map_or(serde_json::Value::Null, Reading::details)
    }

    async fn close(&mut self) {
        self.reading = None;
    }
}

/// What a change becomes for the frame.
fn delivery(rules: &Rules, change: &Change) -> Delivery {
    let Change { key, event, print, known } = change;
    let path = ledger::path_of(&rules.root, key);
    let bytes = path.as_os_str().as_encoded_bytes();
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let relative = path.strip_prefix(&rules.root).unwrap_or(&path).to_string_lossy().into_owned();
    let seen = print.or(*known);
    let modified_at = seen.and_then(|print| {
        let micros = i64::try_from(print.modified_ns.div_euclid(1000)).ok()?;
        backroom::Timestamp::from_microsecond(micros).ok()
    });
    let mut body = json!({
        "event": event.as_str(),
        "path": path.to_string_lossy(),
        "relative": relative,
        "name": name,
        "size": seen.map(|print| print.size),
        "modified_at": modified_at.map(|at| at.to_string()),
    });
    if std::str::from_utf8(bytes).is_err()
        && let Some(fields) = body.as_object_mut()
    {
        // The other fields have marks in the place of what is no UTF-8.
        fields.insert("path_base64".into(), STANDARD.encode(bytes).into());
    }
    let print = seen.map(|print| print.text()).unwrap_or_default();
    let identity = format!("{} {} {PREFIX}{key}", event.as_str(), print);
    let delivery = Delivery::new(identity, body.to_string().into_bytes()).header("event", event.as_str());
    Delivery { at: modified_at, ..delivery }
}
