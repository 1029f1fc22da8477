//! The spans of attempts and of enqueues, and how they belong to traces that reach beyond this process.
//!
//! The library knows `tracing` only. A program that exports its traces passes a [`TraceContext`], and then the spans follow the
//! semantic conventions of OpenTelemetry for messaging (<https://opentelemetry.io/docs/specs/semconv/messaging/>). Without one
//! there is no span around an enqueue, and the span of an attempt has short fields for people who read logs. Nothing here exports.

use std::{fmt, sync::Arc};

use backroom_core::{Draft, JobId, JobRow, bounds::clip};
use tracing::{Instrument as _, Span, field::Empty};

use crate::{
    Error, Failure,
    engine::{Engine, loggable},
};

/// The target of the spans that belong to traces. Filters name it, so it stays as it is wherever the code moves.
pub const SPANS_TARGET: &str = "backroom::spans";

/// Most bytes of an error's text on a span.
const DESCRIPTION_BYTES_MAX: usize = 1024;

/// Joins `tracing` spans with traces of other processes. With `tracing-opentelemetry` each of the two is one call: its
/// `OpenTelemetrySpanExt` has `set_parent` and `context`. It is passed to [`Options::trace_context`](crate::Options::trace_context).
pub trait TraceContext: Send + Sync + fmt::Debug {
    /// Makes a span the child of a span of another process, named by a valid `traceparent`. Called before the span is entered.
    fn set_parent(&self, span: &Span, traceparent: &str);

    /// The `traceparent` of a span; none if the span is not traced.
    fn traceparent(&self, span: &Span) -> Option<String>;
}

impl Engine {
    /// The `traceparent` of the span that is entered at this moment.
    pub(crate) fn current_traceparent(&self) -> Option<String> {
        self.traces.as_ref()?.traceparent(&Span::current())
    }
}

/// The span of one attempt, and what the handler passes on: its own `traceparent`, if it is traced.
pub(crate) fn attempt(
    engine: &Engine,
    job: &JobRow,
    worker: impl FnOnce() -> String,
) -> (Span, Option<String>) {
    let Some(traces) = &engine.traces else {
        let span = tracing::info_span!("job", id = %job.id, kind = %job.kind, queue = %job.queue, attempt = job.attempt);
        return (span, None);
    };
    let correlation = job.extras.reply.as_ref().and_then(|reply| reply.correlation_id.as_deref());
    let span = tracing::info_span!(
        target: SPANS_TARGET, "job",
        otel.name = %format_args!("process {}", job.queue), otel.kind = "consumer",
        otel.status_code = Empty, otel.status_description = Empty, error.type = Empty,
        messaging.system = "backroom", messaging.operation.name = "process", messaging.operation.type = "process",
        messaging.destination.name = %job.queue, messaging.message.id = %job.id,
        messaging.message.conversation_id = correlation, messaging.client.id = %worker(),
        backroom.job.kind = %job.kind, backroom.job.attempt = job.attempt,
    );
    if let Some(caller) = &job.extras.traceparent {
        traces.set_parent(&span, caller);
    }
    let own = traces.traceparent(&span);
    (span, own)
}

/// Records on the span of an attempt how it failed.
pub(crate) fn failed(engine: &Engine, span: &Span, job: &JobRow, failure: &Failure) {
    if engine.traces.is_none() || !failure.ending().is_failure() {
        return;
    }
    span.record("otel.status_code", "ERROR");
    span.record("error.type", failure.ending().as_str());
    let text = loggable(&engine.hidden, job, failure.message());
    span.record("otel.status_description", clip(&text, DESCRIPTION_BYTES_MAX).as_str());
}

/// An enqueue that is traced: its span, and what its jobs pass on to their handlers. Empty in a program without a
/// [`TraceContext`].
#[derive(Clone)]
pub(crate) struct Sending {
    span: Span,
    traceparent: Option<Arc<str>>,
}

impl Sending {
    /// Begins a span, in the one that is entered. `job` is what is the same for all jobs.
    pub(crate) fn begin(engine: &Engine, job: Option<&Draft>) -> Self {
        let Some(traces) = &engine.traces else { return Self { span: Span::none(), traceparent: None } };
        let queue = job.map(|job| job.queue.as_str());
        let span = tracing::info_span!(
            target: SPANS_TARGET, "enqueue",
            otel.name = %format_args!("send{}{}", if queue.is_some() { " " } else { "" }, queue.unwrap_or_default()),
            otel.kind = "producer", otel.status_code = Empty, error.type = Empty,
            messaging.system = "backroom", messaging.operation.name = "send", messaging.operation.type = "send",
            messaging.destination.name = queue, messaging.message.id = Empty,
            messaging.batch.message_count = Empty, backroom.job.kind = job.map(|job| job.kind.as_str()),
        );
        let traceparent = traces.traceparent(&span).map(Arc::from);
        Self { span, traceparent }
    }

    /// Has the job continue the trace of this enqueue, unless the caller named another span.
    pub(crate) fn stamp(&self, draft: &mut Draft) {
        if let Some(traceparent) = &self.traceparent
            && draft.extras.traceparent.is_none()
        {
            draft.extras.traceparent = Some(traceparent.as_ref().to_owned());
        }
    }

    /// Runs the enqueue inside its span, and records how it failed.
    pub(crate) async fn around<T>(
        &self,
        enqueue: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let answer = enqueue.instrument(self.span.clone()).await;
        self.ended(&answer);
        answer
    }

    /// Records the id of the one job.
    pub(crate) fn is_of(&self, id: JobId) {
        if self.traceparent.is_some() {
            self.span.record("messaging.message.id", tracing::field::display(id));
        }
    }

    /// Records how many jobs there were.
    pub(crate) fn is_of_many(&self, jobs: u64) {
        self.span.record("messaging.batch.message_count", jobs);
    }

    /// Records what came of it.
    pub(crate) fn ended<T>(&self, answer: &Result<T, Error>) {
        if let Err(error) = answer {
            self.span.record("otel.status_code", "ERROR");
            self.span.record("error.type", error.kind().name());
        }
    }
}
