//! What is answered about jobs: the names that `backroom job --json` has.

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use backroom::{DisplayState, JobId, JobRow, Timestamp};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

/// A job with the state it is shown in.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct JobView {
    #[serde(flatten)]
    job: JobRow,
    shown: DisplayState,
}

impl JobView {
    pub(crate) fn new(job: JobRow, now: Timestamp) -> Self {
        let shown = job.shown(now);
        Self { job, shown }
    }

    /// The answer with the job and its `ETag`, or the answer that it has not changed.
    pub(crate) fn answer(&self, status: StatusCode, headers: &HeaderMap) -> Response {
        let body = serde_json::to_vec(self).expect("invariant: a job is JSON");
        let tag = self.tag(&body);
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

    /// Its `ETag`.
    pub(crate) fn etag(&self) -> String {
        self.tag(&serde_json::to_vec(self).expect("invariant: a job is JSON"))
    }

    /// Progress and the state that is shown change without a new revision, so the text counts, too.
    fn tag(&self, body: &[u8]) -> String {
        let hash = Sha256::digest(body);
        let short = hash.iter().take(8).fold(0u64, |short, byte| short << 8 | u64::from(*byte));
        format!("\"{}-{short:016x}\"", self.job.revision)
    }
}

/// Whether the client has this version already.
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let named = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|named| named.to_str().ok());
    named.flat_map(|named| named.split(',')).any(|named| {
        let named = named.trim();
        named == "*" || named.strip_prefix("W/").unwrap_or(named) == tag
    })
}

/// Where a job is read.
pub(crate) fn location(id: JobId) -> String {
    format!("/v1/jobs/{id}")
}

/// The fields of a job, for the document. `JobView` writes them.
#[derive(ToSchema)]
#[schema(as = Job)]
#[expect(dead_code, reason = "it describes what the library writes")]
pub(crate) struct JobSchema {
    /// A UUIDv7.
    #[schema(format = "uuid")]
    id: String,
    /// Which handler runs it.
    kind: String,
    /// Where it waits.
    queue: String,
    /// Key inside the queue.
    lane: Option<String>,
    /// 0 (first) to 9 (last).
    priority: u8,
    /// As stored: queued, running, waiting, completed, cancelled or discarded.
    state: String,
    /// Input of the handler.
    args: serde_json::Value,
    /// Attempts that were charged.
    attempt: u32,
    /// Attempts allowed.
    max_attempts: u32,
    /// Workers that died while they ran it.
    crashes: u32,
    /// When it may run.
    #[schema(format = DateTime)]
    scheduled_at: String,
    /// When it is cancelled unless it has begun.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// What its handler last reported: `{"percent", "message"}`.
    progress: Option<serde_json::Value>,
    /// What its handler returned; missing until it is completed.
    #[schema(required = false)]
    output: serde_json::Value,
    /// Why it was cancelled or discarded.
    reason: Option<String>,
    /// When it was enqueued.
    #[schema(format = DateTime)]
    created_at: String,
    /// When its current or last attempt began.
    #[schema(format = DateTime)]
    started_at: Option<String>,
    /// When it ended.
    #[schema(format = DateTime)]
    finished_at: Option<String>,
    /// Labels.
    tags: Vec<String>,
    /// +1 at every change.
    revision: u64,
    /// As people see it: scheduled, retrying, available, running, waiting, completed, cancelled or discarded.
    shown: String,
}

/// A page of jobs, the newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct JobPage {
    /// The jobs.
    #[schema(value_type = Vec<JobSchema>)]
    pub(crate) jobs: Vec<JobView>,
    /// Pass it as `before` for the next page; null on the last one.
    #[schema(value_type = Option<String>)]
    pub(crate) next: Option<JobId>,
}

impl JobPage {
    /// The answer, with a link to the next page.
    pub(crate) fn answer(self, next_uri: Option<String>) -> Response {
        let mut response = Json(self).into_response();
        let link = next_uri.map(|uri| format!("<{uri}>; rel=\"next\""));
        if let Some(link) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }
}
