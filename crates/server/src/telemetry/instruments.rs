//! What is counted for the export, under the names of the semantic conventions of OpenTelemetry for HTTP and messaging.
//!
//! What the conventions have no name for begins with `backroom.`. `/metrics` has the same numbers and more.

use std::{sync::Arc, time::Duration};

use backroom::{
    Backroom, Ended,
    clock::Clock,
    store::{Answered, layer::Verb},
};
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram, Meter},
};

use crate::metrics::{Request, Stored};

/// Upper bounds of the buckets of spans, in seconds: those of the conventions, and longer ones.
const BOUNDS: [f64; 18] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0, 600.0,
    3600.0,
];
const SYSTEM: &str = "messaging.system";
const OPERATION: &str = "messaging.operation.name";

/// Counts for the export; nothing where metrics are not exported.
#[derive(Clone, Default)]
pub(crate) struct Instruments(Option<Arc<Inner>>);

struct Inner {
    meter: Meter,
    clock: Arc<dyn Clock>,
    every: Duration,
    requests: Histogram<f64>,
    operations: Histogram<f64>,
    sent: Counter<u64>,
    processed: Histogram<f64>,
}

impl Instruments {
    /// `every`: how often they are exported.
    pub(super) fn new(meter: &Meter, clock: Arc<dyn Clock>, every: Duration) -> Self {
        let spans = |name: &'static str, about: &'static str| {
            meter
                .f64_histogram(name)
                .with_unit("s")
                .with_description(about)
                .with_boundaries(BOUNDS.to_vec())
                .build()
        };
        Self(Some(Arc::new(Inner {
            requests: spans("http.server.request.duration", "From a request until the begin of its answer"),
            operations: spans("messaging.client.operation.duration", "How long calls to the store took"),
            processed: spans("messaging.process.duration", "How long handlers of this server ran"),
            sent: meter
                .u64_counter("messaging.client.sent.messages")
                .with_unit("{message}")
                .with_description("Jobs that were enqueued through this server")
                .build(),
            meter: meter.clone(),
            clock,
            every,
        })))
    }

    /// Counts one request that was answered.
    pub(crate) fn answered(&self, request: &Request<'_>) {
        let Some(inner) = &self.0 else { return };
        let mut attributes = vec![
            KeyValue::new("http.request.method", request.method.to_owned()),
            KeyValue::new("http.response.status_code", i64::from(request.status)),
            KeyValue::new("url.scheme", if request.by_tls { "https" } else { "http" }),
        ];
        attributes.extend(request.route.map(|route| KeyValue::new("http.route", route.to_owned())));
        if request.status >= 500 {
            attributes.push(KeyValue::new("error.type", request.status.to_string()));
        }
        inner.requests.record(request.took.as_secs_f64(), &attributes);
    }

    /// Counts one call to the store, if it moved jobs.
    pub(crate) fn called(&self, call: &Answered) {
        let Some(inner) = &self.0 else { return };
        let operation = match call.verb {
            Verb::Insert => "send",
            Verb::Claim => "receive",
            Verb::Commit => "settle",
            _ => return,
        };
        let mut attributes = vec![KeyValue::new(SYSTEM, "backroom"), KeyValue::new(OPERATION, operation)];
        if call.error.is_some() {
            attributes.push(KeyValue::new("error.type", "store"));
        } else if operation == "send" {
            inner.sent.add(call.sent as u64, &attributes);
        }
        inner.operations.record(call.took.as_secs_f64(), &attributes);
    }

    /// Counts one attempt that this server ran.
    pub(crate) fn ended(&self, end: &Ended<'_>) {
        let (Some(inner), Some(ran)) = (&self.0, end.ran) else { return };
        let mut attributes = vec![
            KeyValue::new(SYSTEM, "backroom"),
            KeyValue::new(OPERATION, "process"),
            KeyValue::new("messaging.destination.name", end.queue.to_owned()),
            KeyValue::new("backroom.job.kind", end.kind.to_owned()),
        ];
        if end.ending.is_failure() {
            attributes.push(KeyValue::new("error.type", end.ending.as_str()));
        }
        inner.processed.record(ran.as_secs_f64(), &attributes);
    }

    /// Exports also what the store knows of all processes, as it was read last.
    pub(crate) fn observe(&self, stored: &Arc<Stored>) {
        let Some(inner) = &self.0 else { return };
        let (jobs, oldest) = (Arc::clone(stored), Arc::clone(stored));
        let (workers, attempts) = (Arc::clone(stored), Arc::clone(stored));
        inner
            .meter
            .u64_observable_gauge("backroom.jobs")
            .with_unit("{job}")
            .with_description("Jobs in the store")
            .with_callback(move |observer| {
                jobs.jobs(|queue, state, jobs| {
                    let queue = KeyValue::new("messaging.destination.name", queue.to_owned());
                    observer.observe(jobs, &[queue, KeyValue::new("backroom.job.state", state)]);
                });
            })
            .build();
        inner
            .meter
            .f64_observable_gauge("backroom.oldest_due")
            .with_unit("s")
            .with_description("For how long the oldest due job has been due")
            .with_callback(move |observer| {
                oldest.oldest(|queue, age| {
                    let queue = KeyValue::new("messaging.destination.name", queue.to_owned());
                    observer.observe(age.as_secs_f64(), &[queue]);
                });
            })
            .build();
        inner
            .meter
            .u64_observable_gauge("backroom.workers")
            .with_unit("{worker}")
            .with_description("Workers that are alive")
            .with_callback(move |observer| observer.observe(workers.workers(), &[]))
            .build();
        inner
            .meter
            .u64_observable_counter("backroom.attempts")
            .with_unit("{attempt}")
            .with_description("Attempts that ended, of all workers")
            .with_callback(move |observer| {
                attempts.attempts(|kind, end, count| {
                    let kind = KeyValue::new("backroom.job.kind", kind.to_owned());
                    observer.observe(count, &[kind, KeyValue::new("backroom.attempt.end", end)]);
                });
            })
            .build();
    }

    /// Reads the store again and again, so that each export has fresh numbers. Never returns.
    pub(crate) async fn refresh(&self, stored: &Stored, backroom: &Backroom) {
        let Some(inner) = &self.0 else { return std::future::pending().await };
        let pause = (inner.every / 2).max(Duration::from_millis(100));
        loop {
            stored.refresh(backroom, pause / 2).await;
            inner.clock.sleep(pause).await;
        }
    }
}
