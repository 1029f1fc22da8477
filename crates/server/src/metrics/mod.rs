//! What `/metrics` answers with, in the text format of OpenMetrics.
//!
//! Two sources: what this process sees itself ([`Metrics`]: requests, connections, calls to the store, rescues), and what the
//! store knows of all processes ([`stored`]: depths of queues, ended attempts, how long jobs waited and ran). The second is read at
//! most every few seconds, however often it is asked for. No label holds the id of a job, and every label has a bounded number of
//! values.

mod distribution;
mod names;
mod own;
mod schedules;
mod stored;
#[cfg(feature = "triggers")]
mod triggers;

use std::{fmt, sync::Arc, time::Duration};

use backroom::{Backroom, Ended, store::Answered};
use prometheus_client::registry::Registry;

use self::own::Own;
pub(crate) use self::{own::Request, stored::Stored};
use crate::telemetry::Instruments;

/// The media type of the answer.
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is measured.
pub(crate) struct Metrics {
    registry: Registry,
    /// The triggers of this server, once they run.
    #[cfg(feature = "triggers")]
    pub(crate) triggers: Arc<std::sync::OnceLock<crate::serve::Served>>,
    own: Own,
    stored: Arc<Stored>,
    /// Counts the same for an export.
    instruments: Instruments,
}

impl Metrics {
    /// `labels_max` bounds the queues and the kinds that have series of their own.
    pub(crate) fn new(labels_max: usize, instruments: Instruments) -> Self {
        let mut registry = Registry::with_prefix("backroom");
        let own = Own::register(&mut registry);
        let stored = Arc::new(Stored::new(labels_max));
        registry.register_collector(Box::new(Arc::clone(&stored)));
        instruments.observe(&stored);
        #[cfg(feature = "triggers")]
        let triggers = {
            let triggers = Arc::default();
            registry.register_collector(Box::new(triggers::OfTriggers(Arc::clone(&triggers))));
            triggers
        };
        Self {
            registry,
            #[cfg(feature = "triggers")]
            triggers,
            own,
            stored,
            instruments,
        }
    }

    /// Counts one request that was answered.
    pub(crate) fn answered(&self, request: &Request<'_>) {
        self.own.answered(request);
        self.instruments.answered(request);
    }

    /// Counts one panic of a route.
    pub(crate) fn panicked(&self) {
        self.own.panics.inc();
    }

    /// A connection began (`1`) or ended (`-1`).
    pub(crate) fn connections(&self, change: i64) {
        self.own.connections.inc_by(change);
    }

    /// A connection of a Faktory client began (`1`) or ended (`-1`).
    pub(crate) fn faktory_connections(&self, change: i64) {
        self.own.faktory_connections.inc_by(change);
    }

    /// Counts one command of a Faktory client.
    pub(crate) fn commanded(&self, command: &'static str) {
        self.own.commanded(command);
    }

    /// Counts one call to the store.
    pub(crate) fn called(&self, call: &Answered) {
        self.own.called(call);
        self.instruments.called(call);
    }

    /// Counts one attempt whose end this process recorded or found.
    pub(crate) fn ended(&self, end: &Ended<'_>) {
        self.own.ended(end);
        self.instruments.ended(end);
    }

    /// Reads the store, unless what was read is younger than `age_max`.
    pub(crate) async fn refresh(&self, backroom: &Backroom, age_max: Duration) {
        self.stored.refresh(backroom, age_max).await;
    }

    /// Reads the store again and again while metrics are exported. Never returns.
    pub(crate) async fn refresh_for_export(&self, backroom: &Backroom) {
        self.instruments.refresh(&self.stored, backroom).await;
    }

    /// All of it as text.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
