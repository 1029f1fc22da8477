//! A folder while it is read: scans, hints, and files that settle.

use std::{
    collections::{HashSet, VecDeque},
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use backroom::{Backroom, clock::Clock};
use serde_json::json;

use super::{
    FolderEvent, Rules,
    hints::Hints,
    ledger::{self, PREFIX, Print},
    scan::{Difference, Scan},
    settling::Settling,
};
use crate::{SourceContext, SourceError, SourceState};

/// Differences that wait to be delivered. A scan goes on when fewer wait.
const READY_MAX: usize = 4000;
/// Hints that are looked at together.
const HINTS_AT_ONCE: usize = 1000;
/// Folders that are to be scanned by themselves; of more, the whole is scanned.
const PARTS_MAX: usize = 100;
/// A file that has not settled for so long is named in the log.
const RESTLESS: Duration = Duration::from_secs(600);
/// A folder with more files that settle than can be watched is scanned again so soon.
const SCAN_SOON: Duration = Duration::from_secs(1);
/// Set in the state once a whole scan has been recorded.
const SCANNED: &str = "scanned";

/// A change of a file that is to be delivered, or is only to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) key: String,
    pub(super) event: FolderEvent,
    /// What the ledger has afterwards.
    pub(super) print: Option<Print>,
    /// What it had before.
    pub(super) known: Option<Print>,
}

/// A folder that is being read.
pub(super) struct Reading {
    rules: Arc<Rules>,
    backroom: Backroom,
    state: SourceState,
    hints: Option<Hints>,
    scan: Option<Scan>,
    /// Folders that are to be scanned by themselves.
    parts: VecDeque<String>,
    /// Names that are gone and may have been folders.
    maybe_folders: Vec<String>,
    /// The reading of the clock at which the whole folder is scanned next.
    scan_at: Duration,
    scan_begun_at: Duration,
    settling: Settling,
    ready: VecDeque<Change>,
    /// Their keys, and those in the hands of the frame.
    busy: HashSet<String>,
    /// Changes that are only recorded.
    quiet: Vec<Change>,
    /// Whether files that are found now were there before the trigger.
    is_first: bool,
    last_scan: serde_json::Value,
    restless_named: Option<String>,
}

impl Reading {
    pub(super) async fn begin(rules: Arc<Rules>, context: &SourceContext) -> Result<Self, SourceError> {
        let state = context.state();
        let is_first = state.value(SCANNED).await?.is_none();
        if let Err(error) = tokio::fs::metadata(&rules.root).await {
            return Err(rules.unreadable(&error));
        }
        // Before the first scan, so that nothing happens unseen between the two.
        let of = Arc::clone(&rules);
        let begun = tokio::task::spawn_blocking(move || Hints::begin(&of)).await;
        let hints = match begun {
            Ok(Ok(hints)) => Some(hints),
            Ok(Err(error)) => {
                tracing::warn!(
                    trigger = context.trigger(),
                    "the folder {} cannot be watched ({error}); changes are found by a scan every {:?}",
                    rules.root.display(),
                    rules.rescan
                );
                None
            }
            Err(error) => return Err(SourceError::new(format!("watch the folder: {error}"))),
        };
        let backroom = context.backroom().clone();
        let now = backroom.clock().monotonic();
        Ok(Self {
            rules,
            backroom,
            state,
            hints,
            scan: None,
            parts: VecDeque::new(),
            maybe_folders: Vec::new(),
            scan_at: now,
            scan_begun_at: now,
            settling: Settling::default(),
            ready: VecDeque::new(),
            busy: HashSet::new(),
            quiet: Vec::new(),
            is_first,
            last_scan: serde_json::Value::Null,
            restless_named: None,
        })
    }

    /// Changes that are ready.
    pub(super) fn take(&mut self, limit: usize) -> Vec<Change> {
        self.ready.drain(..limit.min(self.ready.len())).collect()
    }

    /// Does one piece of work, or waits until there is one. Dropping the future loses nothing.
    pub(super) async fn advance(&mut self) -> Result<(), SourceError> {
        self.record_quiet().await?;
        let now = self.clock().monotonic();
        if self.ready.len() < READY_MAX && self.settling.next_due().is_some_and(|due| due <= now) {
            return self.look_at_settled(now).await;
        }
        while let Some(folder) = self.maybe_folders.last() {
            let was_folder = !self.state.page(&format!("{PREFIX}{folder}"), None, 1).await?.is_empty();
            if let Some(folder) = self.maybe_folders.pop().filter(|_| was_folder) {
                self.scan_part(folder, now);
            }
        }
        if self.scan.is_none() {
            let whole = now >= self.scan_at;
            let part = if whole { Some(String::new()) } else { self.parts.pop_front() };
            if let Some(prefix) = part {
                if whole {
                    self.parts.clear();
                    (self.scan_begun_at, self.scan_at) = (now, now.saturating_add(self.rules.rescan));
                }
                self.scan = Some(Scan::begin(&self.rules, &prefix));
            }
        }
        if let Some(scan) = &mut self.scan {
            match scan.step(&self.rules, &self.state).await? {
                Some(differences) => differences.into_iter().for_each(|difference| self.differs(difference)),
                None => self.scan_ended(),
            }
            return Ok(());
        }
        self.wait(now).await
    }

    /// Waits for a hint, for a file to settle, or for the next scan.
    async fn wait(&mut self, now: Duration) -> Result<(), SourceError> {
        let next = self.settling.next_due().unwrap_or(Duration::MAX).min(self.scan_at);
        let clock = Arc::clone(self.clock());
        let hint = match &mut self.hints {
            Some(hints) => {
                if hints.is_lost.swap(false, Relaxed) {
                    self.scan_at = now;
                    return Ok(());
                }
                tokio::select! {
                    hint = hints.paths.recv() => hint,
                    () = clock.sleep_to(next) => return Ok(()),
                }
            }
            None => {
                clock.sleep_to(next).await;
                return Ok(());
            }
        };
        let Some(first) = hint else {
            self.hints = None;
            return Ok(());
        };
        let mut paths = vec![first];
        if let Some(hints) = &mut self.hints {
            while paths.len() < HINTS_AT_ONCE
                && let Ok(path) = hints.paths.try_recv()
            {
                paths.push(path);
            }
        }
        // From here on a dropped future loses hints, so they are noted before anything waits.
        self.hinted(paths).await
    }

    /// Looks at paths that may have changed.
    async fn hinted(&mut self, mut paths: Vec<PathBuf>) -> Result<(), SourceError> {
        paths.sort_unstable();
        paths.dedup();
        let now = self.clock().monotonic();
        let mut gone = Vec::new();
        for path in paths {
            let Some(key) = ledger::key_of(&self.rules.root, &path) else { continue };
            if key.is_empty() {
                if !self.rules.root.is_dir() {
                    let error = std::io::Error::from(std::io::ErrorKind::NotFound);
                    return Err(self.rules.unreadable(&error));
                }
                continue;
            }
            // A link to a folder leads out of the watched one, unless links are followed.
            if self.rules.metadata(&path).is_ok_and(|found| found.is_dir()) {
                if self.rules.recursive && !self.rules.leaves(&key) {
                    self.scan_part(format!("{key}/"), now);
                }
                continue;
            }
            match self.rules.print(&key) {
                Some(print) if self.rules.wants(&key) => self.unsettled(&key, print, now),
                Some(_) => {}
                None => gone.push(key),
            }
        }
        // A file that is gone may have been a folder. Looking is left to a scan of what may have been there.
        for key in gone {
            self.settling.forget(&key);
            if !self.settling.saw(&key, None, now, Duration::ZERO) {
                self.scan_at = now;
            }
        }
        Ok(())
    }

    fn scan_part(&mut self, prefix: String, now: Duration) {
        if self.parts.iter().any(|part| prefix.starts_with(part.as_str())) {
            return;
        }
        if self.parts.len() >= PARTS_MAX {
            self.parts.clear();
            self.scan_at = now;
        } else {
            self.parts.push_back(prefix);
        }
    }

    /// Compares files that have been still for long enough with the ledger.
    async fn look_at_settled(&mut self, now: Duration) -> Result<(), SourceError> {
        let due = self.settling.due(now, HINTS_AT_ONCE);
        let keys: Vec<String> = due.iter().map(|(key, _)| format!("{PREFIX}{key}")).collect();
        let known = self.state.values(keys).await?;
        for ((key, print), known) in due.into_iter().zip(known) {
            let found = self.rules.print(&key);
            if found != print {
                // It moved on, so it must settle again.
                self.settling.saw(&key, found, now, self.rules.settle);
                continue;
            }
            if self.busy.contains(&key) {
                // The frame has a change of it in hand. It is compared again when that is recorded.
                self.settling.forget(&key);
                self.settling.saw(&key, found, now, self.rules.settle.max(SCAN_SOON));
                continue;
            }
            self.settling.forget(&key);
            let known = known.as_deref().and_then(Print::parse);
            match (found, known) {
                (Some(print), known) if known.is_none_or(|known| !known.is_same(&print)) => {
                    self.changed(Difference::Present { key, print, known });
                }
                (None, Some(known)) => self.changed(Difference::Gone { key, known }),
                (None, None) if self.rules.recursive => {
                    self.maybe_folders.push(format!("{key}/"));
                }
                (Some(_) | None, _) => {}
            }
        }
        if self.maybe_folders.len() > HINTS_AT_ONCE {
            self.maybe_folders.clear();
            self.scan_at = now;
        }
        Ok(())
    }

    /// A scan found a difference.
    fn differs(&mut self, difference: Difference) {
        let Difference::Present { key, print, .. } = &difference else {
            return self.changed(difference);
        };
        // A folder may have become a link while it was listed.
        if self.rules.leaves(key) {
            return;
        }
        let clock = self.backroom.clock();
        let wall_ms = clock.now().as_millisecond() + clock.wall_ahead_ms().unwrap_or(0);
        let still_ns = i128::from(wall_ms) * 1_000_000 - print.modified_ns;
        let settle_ns = i128::try_from(self.rules.settle.as_nanos()).unwrap_or(i128::MAX);
        // A clock of another machine may have written the time of the file. Then it is watched until it is still by ours, or is
        // delivered too early and again when it changes.
        if still_ns >= settle_ns {
            self.changed(difference);
        } else {
            let (key, print) = (key.clone(), *print);
            self.unsettled(&key, print, self.clock().monotonic());
        }
    }

    fn unsettled(&mut self, key: &str, print: Print, now: Duration) {
        if !self.settling.saw(key, Some(print), now, self.rules.settle) {
            self.scan_at = self.scan_at.min(now.saturating_add(self.rules.settle.max(SCAN_SOON)));
        }
    }

    /// A settled difference: it is delivered, or only recorded.
    fn changed(&mut self, difference: Difference) {
        let Rules { created, changed, removed, existing, .. } = *self.rules;
        let (change, is_wanted) = match difference {
            Difference::Present { key, print, known: None } => {
                let is_old = self.is_first && !existing && self.scan.as_ref().is_some_and(Scan::is_whole);
                let change = Change { key, event: FolderEvent::Created, print: Some(print), known: None };
                (change, created && !is_old)
            }
            Difference::Present { key, print, known: Some(known) } => {
                // Where only new files are wanted, a file that took the name of another one is new.
                let is_new = created && !changed && known.inode != print.inode;
                let event = if is_new { FolderEvent::Created } else { FolderEvent::Changed };
                (Change { key, event, print: Some(print), known: Some(known) }, changed || is_new)
            }
            Difference::Gone { key, known } => {
                (Change { key, event: FolderEvent::Removed, print: None, known: Some(known) }, removed)
            }
        };
        if !is_wanted {
            self.quiet.push(change);
        } else if self.busy.insert(change.key.clone()) {
            self.ready.push_back(change);
        }
    }

    fn scan_ended(&mut self) {
        let Some(scan) = self.scan.take() else { return };
        if !scan.is_whole() {
            return;
        }
        let took = self.clock().monotonic().saturating_sub(self.scan_begun_at);
        self.last_scan = json!({
            "files": scan.files,
            "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "unreadable": scan.unreadables,
        });
        if self.is_first {
            self.is_first = false;
            let print = None;
            // Recorded with the next quiet changes.
            self.quiet.push(Change { key: String::new(), event: FolderEvent::Created, print, known: None });
        }
        self.name_the_restless();
    }

    fn name_the_restless(&mut self) {
        let now = self.clock().monotonic();
        let Some((key, span)) = self.settling.oldest(now).filter(|(_, span)| *span >= RESTLESS) else {
            return;
        };
        if self.restless_named.as_deref() != Some(key) {
            tracing::warn!(
                "the file {:?} of the folder {} has been changing for {} s; it becomes a job once it is still",
                key,
                self.rules.root.display(),
                span.as_secs()
            );
            self.restless_named = Some(key.to_owned());
        }
    }

    /// Records changes that are not delivered.
    async fn record_quiet(&mut self) -> Result<(), SourceError> {
        if self.quiet.is_empty() {
            return Ok(());
        }
        self.write(&self.quiet).await?;
        self.quiet.clear();
        Ok(())
    }

    /// Records changes that were delivered.
    pub(super) async fn record(&mut self, changes: &[Change]) -> Result<(), SourceError> {
        self.write(changes).await?;
        changes.iter().for_each(|change| _ = self.busy.remove(&change.key));
        Ok(())
    }

    async fn write(&self, changes: &[Change]) -> Result<(), SourceError> {
        let row = |change: &Change| match &change.key {
            key if key.is_empty() => (SCANNED.to_owned(), Some("1".to_owned())),
            key => (format!("{PREFIX}{key}"), change.print.map(|print| print.text())),
        };
        self.state.write(changes.iter().map(row).collect()).await
    }

    /// Files that wait.
    pub(super) fn lag(&self) -> u64 {
        (self.ready.len() + self.settling.len()) as u64
    }

    pub(super) fn details(&self) -> serde_json::Value {
        let now = self.clock().monotonic();
        json!({
            "settling": self.settling.len(),
            "longest_settling": self.settling.oldest(now).map(|(key, span)| json!({"file": key, "secs": span.as_secs()})),
            "watched": self.hints.is_some(),
            "scanning": self.scan.as_ref().is_some_and(Scan::is_whole),
            "last_scan": self.last_scan,
        })
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        self.backroom.clock()
    }
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("rules", &self.rules).finish_non_exhaustive()
    }
}
