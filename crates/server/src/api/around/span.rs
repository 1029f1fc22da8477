//! The span of a request, by the semantic conventions of OpenTelemetry for HTTP. There is one only where spans are exported.

use axum::http::{header, request::Parts};
use backroom::SPANS_TARGET;
use tracing::{Span, field::Empty};

use crate::serve::AppState;

/// Begins it, below the span that the caller names in `traceparent`.
pub(super) fn begin(state: &AppState, parts: &Parts, route: Option<&str>, by_tls: bool) -> Span {
    let Some(traces) = state.backroom.trace_context() else { return Span::none() };
    let text = |name| parts.headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    let span = tracing::info_span!(
        target: SPANS_TARGET, "request",
        otel.name = %format_args!("{} {}", parts.method, route.unwrap_or_default()), otel.kind = "server",
        otel.status_code = Empty, error.type = Empty,
        http.request.method = %parts.method, http.route = route, http.response.status_code = Empty,
        url.path = parts.uri.path(), url.scheme = if by_tls { "https" } else { "http" },
        server.address = text(header::HOST), user_agent.original = text(header::USER_AGENT),
    );
    if let Some(caller) = traceparent(parts) {
        traces.set_parent(&span, caller);
    }
    span
}

/// Records what was answered.
pub(super) fn end(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", tracing::field::display(status));
    }
}

/// The span of the caller, if it is one that can be continued.
fn traceparent(parts: &Parts) -> Option<&str> {
    let named = parts.headers.get("traceparent")?.to_str().ok()?;
    backroom::core::trace::check_traceparent(named).is_ok().then_some(named)
}
