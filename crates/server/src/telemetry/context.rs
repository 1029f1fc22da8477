//! Traces that reach beyond this process, in the form of W3C Trace Context.

use backroom::TraceContext;
use opentelemetry::{
    Context, SpanId, TraceFlags, TraceId,
    trace::{SpanContext, TraceContextExt as _, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Joins spans with traces of other processes.
#[derive(Debug)]
pub(super) struct W3c;

impl TraceContext for W3c {
    fn set_parent(&self, span: &Span, traceparent: &str) {
        if let Some(parent) = parsed(traceparent) {
            // Only fails where the span is not traced.
            let _ = span.set_parent(Context::new().with_remote_span_context(parent));
        }
    }

    fn traceparent(&self, span: &Span) -> Option<String> {
        let context = span.context();
        let of_span = context.span();
        let span = of_span.span_context();
        span.is_valid()
            .then(|| format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8()))
    }
}

/// The span that a `traceparent` names. Of a later version only the fields of version 00 are read, as the standard says.
fn parsed(traceparent: &str) -> Option<SpanContext> {
    let mut fields = traceparent.split('-').skip(1);
    let trace = TraceId::from_hex(fields.next()?).ok()?;
    let span = SpanId::from_hex(fields.next()?).ok()?;
    let flags = u8::from_str_radix(fields.next()?, 16).ok()?;
    let flags = TraceFlags::new(flags) & TraceFlags::SAMPLED;
    let context = SpanContext::new(trace, span, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}
