//! How a job is answered: with its version, which a client names to learn of a change.

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use backroom::JobId;
use sha2::{Digest as _, Sha256};

use crate::views::{JobPage, JobView};

/// The answer with the job and its `ETag`, or the answer that it has not changed.
pub(super) fn job(job: &JobView, status: StatusCode, headers: &HeaderMap) -> Response {
    let body = written(job);
    let tag = tag(job, &body);
    let mut response = if status == StatusCode::OK && is_known(headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Of the headers of a request those that name versions, copied. The others lie in the buffer of the connection, which is free
/// again while the request waits.
pub(super) fn versions(headers: &HeaderMap) -> HeaderMap {
    let named = headers.get_all(header::IF_NONE_MATCH).iter();
    named
        .filter_map(|named| HeaderValue::from_bytes(named.as_bytes()).ok())
        .map(|named| (header::IF_NONE_MATCH, named))
        .collect()
}

/// Whether the client has another version of the job than this.
pub(super) fn is_news(job: &JobView, headers: &HeaderMap) -> bool {
    !is_known(headers, &tag(job, &written(job)))
}

fn written(job: &JobView) -> Vec<u8> {
    serde_json::to_vec(job).expect("invariant: a job is JSON")
}

/// Progress and the state that is shown change without a new revision, so the text counts, too.
fn tag(job: &JobView, body: &[u8]) -> String {
    let hash = Sha256::digest(body);
    let short = hash.iter().take(8).fold(0u64, |short, byte| short << 8 | u64::from(*byte));
    format!("\"{}-{short:016x}\"", job.job.revision)
}

/// Whether the client has this version already.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let named = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|named| named.to_str().ok());
    named.flat_map(|named| named.split(',')).any(|named| {
        let named = named.trim();
        named == "*" || named.strip_prefix("W/").unwrap_or(named) == tag
    })
}

/// Where a job is read.
pub(super) fn location(id: JobId) -> String {
    format!("/v1/jobs/{id}")
}

/// A page, with a link to the next one.
pub(super) fn page(page: JobPage, next_uri: Option<String>) -> Response {
    let mut response = Json(page).into_response();
    let link = next_uri.map(|uri| format!("<{uri}>; rel=\"next\""));
    if let Some(link) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}
