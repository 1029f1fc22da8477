//! Compares a listing with the ledger, in the order of the keys, a page of each at a time.

use std::{collections::VecDeque, time::Duration};

use tokio::sync::mpsc::{self, Receiver};
use tokio_util::task::AbortOnDropHandle;

use super::{
    ledger::{self, PREFIX, Print},
    listing::{Listing, Object},
};
use crate::{SourceError, SourceState};

/// Objects on one page of a listing. No service gives more on one.
const PAGE: usize = 1000;
/// Rows of the ledger that are read at once.
const LEDGER_PAGE: usize = 2000;
/// Pages of the listing that wait to be compared.
const PAGES: usize = 2;

/// A difference between a bucket and its ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Difference {
    /// An object that the ledger does not have, or has with another content.
    Present { key: String, print: Print, known: Option<Print> },
    /// An object of the ledger that is gone.
    Gone { key: String, known: Print },
}

/// What the task that lists sends.
enum Listed {
    Page(Vec<Object>),
    /// Everything was listed. A listing that breaks off must not look as if everything behind it were gone.
    End,
    Failed(SourceError),
}

/// One comparison under way.
pub(super) struct Scan {
    prefix: String,
    pages: Receiver<Listed>,
    _lister: AbortOnDropHandle<()>,
    listed: VecDeque<Object>,
    /// The last key that was listed.
    listed_to: Option<String>,
    is_listed: bool,
    ledger: VecDeque<(String, Print)>,
    /// The last key that was read from the ledger.
    read_to: Option<String>,
    is_read: bool,
    /// Differences that were found and not answered with yet: what a dropped call of `step` had found stays here.
    differences: Vec<Difference>,
    /// Objects that were listed.
    pub(super) objects: u64,
    /// When it began.
    pub(super) begun_at: Duration,
}

impl Scan {
    /// Begins to compare the objects whose keys begin with `prefix`.
    pub(super) fn begin(listing: &Listing, prefix: &str, now: Duration) -> Self {
        let (sender, pages) = mpsc::channel(PAGES);
        let (listing, of) = (listing.clone(), prefix.to_owned());
        // In a task, because the frame drops a call that takes long.
        let lister = tokio::spawn(async move {
            let mut from: Option<String> = None;
            loop {
                let listed = listing.page(&of, from.as_deref(), PAGE).await;
                let (listed, next) = match listed {
                    Ok(page) => (Listed::Page(page.objects), page.next),
                    Err(error) => (Listed::Failed(error), None),
                };
                let is_over = next.is_none();
                let is_failed = matches!(listed, Listed::Failed(_));
                // The receiver is dropped when the scan is.
                if sender.send(listed).await.is_err() || is_failed {
                    return;
                }
                if is_over {
                    let _ = sender.send(Listed::End).await;
                    return;
                }
                from = next;
            }
        });
        Self {
            prefix: prefix.to_owned(),
            pages,
            _lister: AbortOnDropHandle::new(lister),
            listed: VecDeque::new(),
            listed_to: None,
            is_listed: false,
            ledger: VecDeque::new(),
            read_to: None,
            is_read: false,
            differences: Vec::new(),
            objects: 0,
            begun_at: now,
        }
    }

    /// Compares one page. None when everything is compared. Dropping the future loses nothing.
    pub(super) async fn step(&mut self, state: &SourceState) -> Result<Option<Vec<Difference>>, SourceError> {
        if self.listed.is_empty() && !self.is_listed {
            match self.pages.recv().await {
                Some(Listed::Page(objects)) => self.add_page(objects)?,
                Some(Listed::End) => self.is_listed = true,
                Some(Listed::Failed(error)) => return Err(error),
                None => return Err(SourceError::new("list the objects: the task that lists has ended")),
            }
        }
        loop {
            if self.ledger.is_empty() && !self.is_read {
                self.read(state).await?;
            }
            match (self.listed.front(), self.ledger.front()) {
                // More may be listed before what the ledger has next.
                (None, _) if !self.is_listed => return Ok(Some(std::mem::take(&mut self.differences))),
                (None, None) => {
                    let differences = std::mem::take(&mut self.differences);
                    return Ok((!differences.is_empty()).then_some(differences));
                }
                (Some(object), known)
                    if known.is_none_or(|(known, _)| object.key.as_str() <= known.as_str()) =>
                {
                    let is_known = known.is_some_and(|(known, _)| *known == object.key);
                    let known = if is_known { self.ledger.pop_front().map(|(_, print)| print) } else { None };
                    self.take_listed(known);
                }
                (_, Some(_)) => {
                    if let Some((key, known)) = self.ledger.pop_front() {
                        self.differences.push(Difference::Gone { key, known });
                    }
                }
                (Some(_), None) => unreachable!("what is listed without a ledger comes first"),
            }
            if self.differences.len() >= PAGE {
                return Ok(Some(std::mem::take(&mut self.differences)));
            }
        }
    }

    /// Refuses a page that is not in the order of the keys: an object that is only listed later would count as gone.
    fn add_page(&mut self, objects: Vec<Object>) -> Result<(), SourceError> {
        for object in objects {
            if self.listed_to.as_ref().is_some_and(|last| *last >= object.key) {
                let last = self.listed_to.as_deref().unwrap_or_default();
                let why = format!(
                    "compare the listing with what is known: {:?} is listed behind {last:?}, which is not the order of their bytes",
                    object.key
                );
                return Err(SourceError::new(why).remedy(
                    "a bucket whose listing has no order, such as a directory bucket of S3, cannot be a source",
                ));
            }
            self.listed_to = Some(object.key.clone());
            self.objects += 1;
            self.listed.push_back(object);
        }
        Ok(())
    }

    fn take_listed(&mut self, known: Option<Print>) {
        let Some(object) = self.listed.pop_front() else { return };
        let print = Print::of(&object);
        if known.as_ref().is_none_or(|known| !known.is_same(&print)) {
            self.differences.push(Difference::Present { key: object.key, print, known });
        }
    }

    async fn read(&mut self, state: &SourceState) -> Result<(), SourceError> {
        let prefix = format!("{PREFIX}{}", ledger::encode(&self.prefix));
        let page = state.page(&prefix, self.read_to.as_deref(), LEDGER_PAGE).await?;
        self.is_read = page.len() < LEDGER_PAGE;
        self.read_to = page.last().map(|(key, _)| key.clone()).or(self.read_to.take());
        for (key, value) in page {
            let key = ledger::decode(key.strip_prefix(PREFIX).unwrap_or(&key)).into_owned();
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
