//! What a kind of source implements.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use backroom::{Backroom, LeaseId, store::WriteState};

use crate::Delivery;

/// Where deliveries come from. The frame does the rest: jobs, dead letters, back-off, back-pressure, leases, metrics.
///
/// The frame opens a source, then calls [`next`](Source::next) and [`settle`](Source::settle) in turn. After an error it closes the
/// source, waits, and opens it again. While its trigger is paused, it is closed.
#[async_trait]
pub trait Source: Send + 'static {
    /// Its kind, as the settings have it: `folder`, `amqp`.
    fn kind(&self) -> &'static str;

    /// What it reads for a trigger of this name, for people and without secrets.
    fn describe(&self, trigger: &str) -> serde_json::Value;

    /// Whether only one process may read it at a time. Others wait until that one stops, or dies and its lease ends.
    fn is_exclusive(&self) -> bool {
        false
    }

    /// Connects, or begins. Deliveries that were not settled before the last close come again.
    async fn open(&mut self, context: &SourceContext) -> Result<(), SourceError>;

    /// The next deliveries, at least one and in the source's order, within the bounds as well as it can. Waits until there is one.
    /// The frame may drop the future at any time; no delivery may be lost by that.
    async fn next(&mut self, bounds: Bounds) -> Result<Vec<Delivery>, SourceError>;

    /// These deliveries are done with, in the order in which they came: each became a durable job, needs none, or was refused and
    /// is stored as a dead letter. Now the source may forget them.
    async fn settle(&mut self, settled: Vec<Settled>) -> Result<(), SourceError>;

    /// Called every few seconds while deliveries wait because no job can be enqueued: to keep a broker from delivering them to another
    /// reader.
    async fn keep(&mut self, _receipts: &[u64]) -> Result<(), SourceError> {
        Ok(())
    }

    /// How many deliveries wait in the source, as far as it is known without effort.
    async fn lag(&mut self) -> Option<u64> {
        None
    }

    /// What else its status shows to people.
    fn details(&self) -> serde_json::Value {
        serde_json::Value::Null
    }

    /// Disconnects. What was delivered and not settled is given back, where the source can do so.
    async fn close(&mut self) {}
}

/// How much the frame takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most deliveries.
    pub rows: usize,
    /// Most bytes of deliveries; a single larger one passes.
    pub bytes: usize,
}

/// A delivery that is done with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Its [`Delivery::receipt`].
    pub receipt: u64,
    /// What became of it.
    pub verdict: Verdict,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A durable job stands for it, or the mapping's filter left it out.
    Accepted,
    /// It cannot become a job. It is stored as a dead letter; a source with a dead-letter place of its own may send it there, too.
    Refused {
        /// Why.
        reason: String,
        /// Whether the dead letter has its body. If not, it was too large, and the source should retain the message if it can.
        has_body: bool,
    },
}

/// What a source works with.
#[derive(Clone)]
pub struct SourceContext {
    pub(crate) backroom: Backroom,
    pub(crate) trigger: Arc<str>,
    pub(crate) lease: Option<LeaseId>,
    pub(crate) bounds: Bounds,
}

impl SourceContext {
    /// The trigger that reads the source.
    pub fn trigger(&self) -> &str {
        &self.trigger
    }

    /// The client, for its clock and its store.
    pub fn backroom(&self) -> &Backroom {
        &self.backroom
    }

    /// How much the frame takes at once. A source that reads ahead reads about as much again.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// What the source remembers from one process to the next.
    pub fn state(&self) -> SourceState {
        SourceState { context: self.clone() }
    }
}

impl fmt::Debug for SourceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceContext").field("trigger", &self.trigger).finish_non_exhaustive()
    }
}

/// Values by key that outlive the process: a cursor, a ledger. Keys come in the order of their bytes.
#[derive(Debug, Clone)]
pub struct SourceState {
    context: SourceContext,
}

impl SourceState {
    /// Writes values, all or none; none deletes a key. Fails as [lost](SourceError::lost) when another process reads the source by
    /// now.
    pub async fn write(&self, values: Vec<(String, Option<String>)>) -> Result<(), SourceError> {
        if values.is_empty() {
            return Ok(());
        }
        let SourceContext { backroom, trigger, lease, .. } = &self.context;
        let write = WriteState { trigger: trigger.to_string(), lease: *lease, values };
        if backroom.store().write_trigger_state(Arc::new(write)).await? {
            Ok(())
        } else {
            Err(SourceError::lost())
        }
    }

    /// Values by key: keys that begin with `prefix`, after `after` when given, at most `limit`.
    pub async fn page(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, String)>, SourceError> {
        let SourceContext { backroom, trigger, .. } = &self.context;
        Ok(backroom.store().trigger_state(trigger, prefix, after, limit).await?)
    }

    /// The values of these keys, in order.
    pub async fn values(&self, keys: Vec<String>) -> Result<Vec<Option<String>>, SourceError> {
        let SourceContext { backroom, trigger, .. } = &self.context;
        Ok(backroom.store().trigger_values(trigger, Arc::new(keys)).await?)
    }

    /// The value of one key.
    pub async fn value(&self, key: &str) -> Result<Option<String>, SourceError> {
        Ok(self.values(vec![key.to_owned()]).await?.pop().flatten())
    }
}

/// Why a source cannot be read now. The frame closes it, waits and opens it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceError {
    /// What failed and why, as the end of "failed to …".
    pub message: String,
    /// What a person may do about it.
    pub remedy: Option<String>,
    is_lost: bool,
}

impl SourceError {
    /// Completes "failed to …".
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: None, is_lost: false }
    }

    /// The same, with what a person may do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Another process reads the source by now.
    pub fn lost() -> Self {
        let message = "write the state of the source: another process reads it by now";
        Self { message: message.into(), remedy: None, is_lost: true }
    }

    /// Whether another process reads the source by now.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }
}

impl From<backroom::Error> for SourceError {
    fn from(error: backroom::Error) -> Self {
        let text = error.to_string();
        Self::new(text.strip_prefix("failed to ").unwrap_or(&text).to_owned())
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to {}", self.message)?;
        self.remedy.as_ref().map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
    }
}

impl std::error::Error for SourceError {}
