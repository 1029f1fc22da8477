//! The headers of every answer, and the size of the header of a request.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};

/// Headers that every answer has, unless a route has set its own.
const ALWAYS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];
/// Half a year.
const TLS_ONLY: &str = "max-age=15768000";

/// Adds the headers of every answer.
pub(super) fn secure(headers: &mut HeaderMap, by_tls: bool) {
    for (name, value) in ALWAYS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if by_tls {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(TLS_ONLY));
    }
}

/// How many bytes the header of a request has, about as it was sent.
pub(super) fn bytes(parts: &Parts) -> u64 {
    let lines = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    (lines.sum::<usize>() + target + parts.method.as_str().len()) as u64
}
