//! What this process sees itself.

use std::{sync::atomic::AtomicI64, time::Duration};

use backroom::{
    Ended, Ending,
    store::{Answered, layer::Verb},
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::distribution::BOUNDS;

/// One request that was answered.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// The template of the route, such as `/v1/jobs/{id}`; none if no route matched.
    pub(crate) route: Option<&'a str>,
    pub(crate) status: u16,
    #[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "only exported metrics name the scheme"))]
    pub(crate) by_tls: bool,
    pub(crate) took: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabels {
    verb: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CommandLabels {
    command: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    end: &'static str,
}

/// What this process sees itself.
pub(super) struct Own {
    requests: Family<RequestLabels, Counter>,
    request_times: Family<RouteLabels, Histogram>,
    pub(super) panics: Counter,
    pub(super) connections: Gauge<i64, AtomicI64>,
    pub(super) faktory_connections: Gauge<i64, AtomicI64>,
    commands: Family<CommandLabels, Counter>,
    calls: Family<VerbLabels, Histogram>,
    call_errors: Family<VerbLabels, Counter>,
    inserted: Histogram,
    committed: Histogram,
    ends: Family<EndLabels, Counter>,
    rescued: Counter,
}

/// Spans, as the buckets of a histogram of the registry. The last bound, which is none, it adds itself.
fn spans() -> Histogram {
    Histogram::new(BOUNDS.into_iter().filter(|bound| bound.is_finite()))
}

/// Rows of one call: 1, 2, 4 … 16,384.
fn rows() -> Histogram {
    Histogram::new((0..15).map(|power| f64::from(1_u32 << power)))
}

impl Own {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let own = Self {
            requests: Family::default(),
            request_times: Family::new_with_constructor(spans),
            panics: Counter::default(),
            connections: Gauge::default(),
            faktory_connections: Gauge::default(),
            commands: Family::default(),
            calls: Family::new_with_constructor(spans),
            call_errors: Family::default(),
            inserted: rows(),
            committed: rows(),
            ends: Family::default(),
            rescued: Counter::default(),
        };
        registry.register("http_requests", "Requests answered, by route", own.requests.clone());
        let help = "From a request until the begin of its answer, by route";
        registry.register_with_unit("http_request", help, Unit::Seconds, own.request_times.clone());
        registry.register("http_panics", "Requests that ended in a panic", own.panics.clone());
        registry.register("http_connections", "Connections that are open", own.connections.clone());
        registry.register(
            "faktory_connections",
            "Connections of Faktory clients that are open",
            own.faktory_connections.clone(),
        );
        let help = "Commands of Faktory clients, by their word";
        registry.register("faktory_commands", help, own.commands.clone());
        let help = "How long calls to the store took, with their repeats, by verb";
        registry.register_with_unit("store_call", help, Unit::Seconds, own.calls.clone());
        registry.register(
            "store_call_errors",
            "Calls to the store that failed, by verb",
            own.call_errors.clone(),
        );
        registry.register("insert_batch_jobs", "Jobs in one insert of this process", own.inserted.clone());
        registry.register(
            "commit_batch_changes",
            "Changes in one commit of this process",
            own.committed.clone(),
        );
        let help = "Attempts whose end this process recorded, or found as the upkeep of the store";
        registry.register("ends", help, own.ends.clone());
        registry.register(
            "rescued_jobs",
            "Jobs of dead workers that this process rescued",
            own.rescued.clone(),
        );
        own
    }

    pub(super) fn answered(&self, request: &Request<'_>) {
        let route = request.route.unwrap_or("none").to_owned();
        let labels = RequestLabels {
            method: bounded_method(request.method),
            route: route.clone(),
            status: request.status,
        };
        self.requests.get_or_create(&labels).inc();
        self.request_times.get_or_create(&RouteLabels { route }).observe(request.took.as_secs_f64());
    }

    pub(super) fn commanded(&self, command: &'static str) {
        self.commands.get_or_create(&CommandLabels { command }).inc();
    }

    pub(super) fn called(&self, call: &Answered) {
        let labels = VerbLabels { verb: call.verb.name() };
        self.calls.get_or_create(&labels).observe(call.took.as_secs_f64());
        if call.error.is_some() {
            self.call_errors.get_or_create(&labels).inc();
        }
        match call.verb {
            Verb::Insert => self.inserted.observe(call.sent as f64),
            Verb::Commit => self.committed.observe(call.sent as f64),
            _ => {}
        }
    }

    pub(super) fn ended(&self, end: &Ended<'_>) {
        self.ends.get_or_create(&EndLabels { end: end.ending.as_str() }).inc();
        if matches!(end.ending, Ending::Crashed | Ending::Lost | Ending::NotBegun) {
            self.rescued.inc();
        }
    }
}

/// A client can send any word as a method: all but the usual ones count together.
fn bounded_method(method: &str) -> &'static str {
    const USUAL: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    USUAL.into_iter().find(|usual| *usual == method).unwrap_or(super::names::OTHER)
}
