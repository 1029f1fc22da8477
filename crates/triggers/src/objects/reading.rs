//! A bucket while it is read: scans, and changes that wait to be delivered.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use backroom::clock::Clock;
use serde_json::json;

use super::{
    ObjectEvent, Rules,
    ledger::{self, PREFIX, Print},
    listing::Listing,
    scan::{Difference, Scan},
};
use crate::{SourceContext, SourceError, SourceState};

/// Set in the state once a whole scan has been recorded.
const SCANNED: &str = "scanned";
/// Which bucket the ledger is about.
const ABOUT: &str = "about";
/// Rows of the ledger of another bucket that are deleted at once.
const FORGOTTEN_AT_ONCE: usize = 2000;

/// A change of an object that is to be delivered, or is only to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) key: String,
    pub(super) event: ObjectEvent,
    /// What the ledger has afterwards.
    pub(super) print: Option<Print>,
    /// What it had before.
    pub(super) known: Option<Print>,
}

/// A bucket that is being read.
pub(super) struct Reading {
    rules: Arc<Rules>,
    listing: Listing,
    state: SourceState,
    clock: Arc<dyn Clock>,
    scan: Option<Scan>,
    /// The reading of the clock at which the bucket is scanned next.
    scan_at: Duration,
    ready: VecDeque<Change>,
    /// Changes that are only recorded.
    quiet: Vec<Change>,
    /// A whole scan is over and is to be recorded as such.
    is_scanned: bool,
    /// Whether objects that are found now were there before the trigger.
    is_first: bool,
    /// Whole scans since the source was opened.
    scans: u64,
    last_scan: serde_json::Value,
}

impl Reading {
    /// Lists one object, so that a wrong key or a wrong name is known at once.
    pub(super) async fn begin(
        rules: Arc<Rules>,
        listing: Listing,
        context: &SourceContext,
    ) -> Result<Self, SourceError> {
        let state = context.state();
        listing.page(&rules.prefix, None, 1).await?;
        let about = rules.about();
        if state.value(ABOUT).await?.as_deref() != Some(about.as_str()) {
            forget(&state).await?;
            state.write(vec![(ABOUT.to_owned(), Some(about))]).await?;
        }
        let is_first = state.value(SCANNED).await?.is_none();
        let clock = Arc::clone(context.backroom().clock());
        let scan_at = clock.monotonic();
        Ok(Self {
            rules,
            listing,
            state,
            clock,
            scan: None,
            scan_at,
            ready: VecDeque::new(),
            quiet: Vec::new(),
            is_scanned: false,
            is_first,
            scans: 0,
            last_scan: serde_json::Value::Null,
        })
    }

    /// Changes that are ready.
    pub(super) fn take(&mut self, limit: usize) -> Vec<Change> {
        self.ready.drain(..limit.min(self.ready.len())).collect()
    }

    /// Does one piece of work, or waits until there is one. Dropping the future loses nothing. It is called when no change is ready or
    /// in the hands of the frame.
    pub(super) async fn advance(&mut self) -> Result<(), SourceError> {
        self.record_quiet().await?;
        let now = self.clock.monotonic();
        if self.scan.is_none() {
            if now < self.scan_at {
                self.clock.sleep_to(self.scan_at).await;
                return Ok(());
            }
            self.scan_at = now.saturating_add(self.rules.rescan);
            self.scan = Some(Scan::begin(&self.listing, &self.rules.prefix, now));
        }
        let Some(scan) = &mut self.scan else { return Ok(()) };
        match scan.step(&self.state).await? {
            Some(differences) => differences.into_iter().for_each(|difference| self.differs(difference)),
            None => self.scan_ended(),
        }
        Ok(())
    }

    fn differs(&mut self, difference: Difference) {
        let Rules { created, changed, removed, existing, .. } = *self.rules;
        let is_named = self.rules.wants(match &difference {
            Difference::Present { key, .. } | Difference::Gone { key, .. } => key,
        });
        let (change, is_wanted) = match difference {
            // What no pattern names is not remembered, so that it counts as created if a pattern names it later.
            Difference::Present { .. } if !is_named => return,
            Difference::Present { key, print, known: None } => {
                let is_old = self.is_first && !existing;
                let change = Change { key, event: ObjectEvent::Created, print: Some(print), known: None };
                (change, created && !is_old)
            }
            Difference::Present { key, print, known } => {
                (Change { key, event: ObjectEvent::Changed, print: Some(print), known }, changed)
            }
            Difference::Gone { key, known } => {
                let change = Change { key, event: ObjectEvent::Removed, print: None, known: Some(known) };
                (change, removed && is_named)
            }
        };
        if is_wanted { self.ready.push_back(change) } else { self.quiet.push(change) }
    }

    fn scan_ended(&mut self) {
        let Some(scan) = self.scan.take() else { return };
        self.scans += 1;
        let took = self.clock.monotonic().saturating_sub(scan.begun_at);
        self.last_scan = json!({
            "objects": scan.objects,
            "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        });
        self.is_scanned = std::mem::take(&mut self.is_first);
    }

    /// Records changes that are not delivered.
    async fn record_quiet(&mut self) -> Result<(), SourceError> {
        self.write(&self.quiet).await?;
        self.quiet.clear();
        if self.is_scanned {
            self.state.write(vec![(SCANNED.to_owned(), Some("1".to_owned()))]).await?;
            self.is_scanned = false;
        }
        Ok(())
    }

    /// Records changes that were delivered.
    pub(super) async fn record(&self, changes: &[Change]) -> Result<(), SourceError> {
        self.write(changes).await
    }

    async fn write(&self, changes: &[Change]) -> Result<(), SourceError> {
        let row = |change: &Change| {
            let key = format!("{PREFIX}{}", ledger::encode(&change.key));
            (key, change.print.as_ref().map(Print::text))
        };
        self.state.write(changes.iter().map(row).collect()).await
    }

    /// Changes that wait.
    pub(super) fn lag(&self) -> u64 {
        self.ready.len() as u64
    }

    pub(super) fn details(&self) -> serde_json::Value {
        json!({
            "scanning": self.scan.is_some(),
            "listed": self.scan.as_ref().map(|scan| scan.objects),
            "scans": self.scans,
            "last_scan": self.last_scan,
        })
    }
}

/// The ledger is about another bucket: none of its objects counts as removed.
async fn forget(state: &SourceState) -> Result<(), SourceError> {
    loop {
        let page = state.page(PREFIX, None, FORGOTTEN_AT_ONCE).await?;
        if page.is_empty() {
            return state.write(vec![(SCANNED.to_owned(), None)]).await;
        }
        state.write(page.into_iter().map(|(key, _)| (key, None)).collect()).await?;
    }
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("rules", &self.rules).finish_non_exhaustive()
    }
}
