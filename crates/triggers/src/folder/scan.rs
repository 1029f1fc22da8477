//! Compares what lies in a folder with the ledger, in the order of the keys, a page at a time.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::mpsc::{self, Receiver};

use super::{
    Rules,
    ledger::{PREFIX, Print},
    walk::{self, Chunk, Found},
};
use crate::{SourceError, SourceState};

/// Rows of the ledger that are read at once.
const PAGE: usize = 2000;
/// Chunks of the walk that wait to be compared.
const CHUNKS: usize = 4;
/// Unreadable folders that are named to people.
const UNREADABLE_SHOWN: usize = 10;

/// A difference between a folder and its ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Difference {
    /// A file that the ledger does not have, or has with another content.
    Present { key: String, print: Print, known: Option<Print> },
    /// A file of the ledger that is gone.
    Gone { key: String, known: Print },
}

/// One comparison under way.
pub(super) struct Scan {
    prefix: String,
    chunks: Receiver<Chunk>,
    found: VecDeque<Found>,
    is_walked: bool,
    ledger: VecDeque<(String, Print)>,
    /// The last key that was read from the ledger.
    read_to: Option<String>,
    is_read: bool,
    /// The folder that was last found unreadable: nothing below it counts as gone.
    unreadable: Option<String>,
    /// Differences that were found and not answered with yet: what a dropped call of `step` had found stays here.
    differences: Vec<Difference>,
    /// Files that were seen.
    pub(super) files: u64,
    /// Folders that could not be read, with the reason.
    pub(super) unreadables: Vec<String>,
}

impl Scan {
    /// Begins to compare the files below `prefix` (empty, or a folder with a slash at the end).
    pub(super) fn begin(rules: &Arc<Rules>, prefix: &str) -> Self {
        let (sender, chunks) = mpsc::channel(CHUNKS);
        let (rules, from) = (Arc::clone(rules), prefix.to_owned());
        // It ends when it has walked through everything, or when the receiver is dropped.
        tokio::task::spawn_blocking(move || walk::walk(&rules, &from, &sender));
        Self {
            prefix: prefix.to_owned(),
            chunks,
            found: VecDeque::new(),
            is_walked: false,
            ledger: VecDeque::new(),
            read_to: None,
            is_read: false,
            unreadable: None,
            differences: Vec::new(),
            files: 0,
            unreadables: Vec::new(),
        }
    }

    /// Whether it compares the whole folder.
    pub(super) fn is_whole(&self) -> bool {
        self.prefix.is_empty()
    }

    /// Compares one chunk. None when everything is compared. Dropping the future loses nothing.
    pub(super) async fn step(
        &mut self,
        rules: &Rules,
        state: &SourceState,
    ) -> Result<Option<Vec<Difference>>, SourceError> {
        if self.found.is_empty() && !self.is_walked {
            match self.chunks.recv().await {
                Some(Ok(found)) => self.found.extend(found),
                Some(Err(error)) => return Err(rules.unreadable(&error)),
                None => self.is_walked = true,
            }
        }
        loop {
            if self.ledger.is_empty() && !self.is_read {
                self.read(state).await?;
            }
            match (self.found.front(), self.ledger.front()) {
                // More may be found before what the ledger has next.
                (None, _) if !self.is_walked => return Ok(Some(std::mem::take(&mut self.differences))),
                (None, None) => {
                    let differences = std::mem::take(&mut self.differences);
                    return Ok((!differences.is_empty()).then_some(differences));
                }
                (Some(found), Some((known, _))) if found.key() == known => {
                    let (_, known) =
                        self.ledger.pop_front().unwrap_or_else(|| unreachable!("it has a front"));
                    self.take_found(Some(known));
                }
                (Some(found), known) if known.is_none_or(|(known, _)| found.key() < known.as_str()) => {
                    self.take_found(None);
                }
                (_, Some(_)) => self.take_gone(rules),
                (Some(_), None) => unreachable!("what is found without a ledger comes first"),
            }
            if self.differences.len() >= PAGE {
                return Ok(Some(std::mem::take(&mut self.differences)));
            }
        }
    }

    fn take_found(&mut self, known: Option<Print>) {
        match self.found.pop_front() {
            Some(Found::File { key, print }) => {
                self.files += 1;
                if known.is_none_or(|known| !known.is_same(&print)) {
                    self.differences.push(Difference::Present { key, print, known });
                }
            }
            Some(Found::Unreadable { key, why }) => {
                if self.unreadables.len() < UNREADABLE_SHOWN {
                    self.unreadables.push(format!("{key}: {why}"));
                }
                self.unreadable = Some(key);
            }
            None => {}
        }
    }

    fn take_gone(&mut self, rules: &Rules) {
        let Some((key, known)) = self.ledger.pop_front() else { return };
        let is_hidden = self.unreadable.as_ref().is_some_and(|folder| key.starts_with(folder.as_str()));
        // A file that the patterns no longer name was not looked for.
        // Nor was one that appeared, and was recorded, after its folder was listed.
        let is_gone = || rules.print(&key).is_none();
        if !is_hidden && rules.wants(&key) && is_gone() {
            self.differences.push(Difference::Gone { key, known });
        }
    }

    async fn read(&mut self, state: &SourceState) -> Result<(), SourceError> {
        let prefix = format!("{PREFIX}{}", self.prefix);
        let page = state.page(&prefix, self.read_to.as_deref(), PAGE).await?;
        self.is_read = page.len() < PAGE;
        self.read_to = page.last().map(|(key, _)| key.clone()).or(self.read_to.take());
        for (key, value) in page {
            let key = key.strip_prefix(PREFIX).unwrap_or(&key).to_owned();
            let print = Print::parse(&value).ok_or_else(|| {
                SourceError::new(format!(
                    "read the ledger: the row of {key:?} is not what this program wrote"
                ))
            })?;
            self.ledger.push_back((key, print));
        }
        Ok(())
    }
}
