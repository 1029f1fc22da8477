//! Calls from web pages of other origins: refused by browsers unless the settings name the origin.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts};

/// Methods that such a page may use.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
/// Headers that it may send.
const SENDS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, if-none-match, last-event-id, prefer, traceparent, tracestate, x-request-id",
);
/// Headers that it may read.
const READS: HeaderValue = HeaderValue::from_static(
    "etag, idempotent-replayed, link, location, preference-applied, retry-after, x-request-id",
);
/// How long a browser may remember the answer to its question.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The origin of the page that calls, if the settings name it.
pub(super) fn allowed(parts: &Parts, origins: &[String]) -> Option<HeaderValue> {
    let origin = parts.headers.get(header::ORIGIN)?;
    origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then(|| origin.clone())
}

/// Whether a page of another origin, which the settings do not name, wants to change something. A browser sends such a request
/// without asking first if it has no body; only the answer is hidden from the page.
pub(super) fn is_foreign_change(parts: &Parts, origins: &[String]) -> bool {
    let Some(origin) = parts.headers.get(header::ORIGIN) else { return false };
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| parts.uri.authority().map(|authority| authority.as_str()));
    let is_own = host.is_some_and(|host| {
        [format!("http://{host}"), format!("https://{host}")]
            .iter()
            .any(|own| own.as_bytes() == origin.as_bytes())
    });
    !parts.method.is_safe() && !is_own && allowed(parts, origins).is_none()
}

/// Whether a browser asks, before the call itself, whether it may call.
pub(super) fn is_question(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Adds what lets a page of this origin read the answer.
pub(super) fn permit(headers: &mut HeaderMap, origin: HeaderValue, is_question: bool) {
    let mut add = |name: HeaderName, value| drop(headers.insert(name, value));
    add(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    add(header::ACCESS_CONTROL_EXPOSE_HEADERS, READS);
    if is_question {
        add(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        add(header::ACCESS_CONTROL_ALLOW_HEADERS, SENDS);
        add(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
}
