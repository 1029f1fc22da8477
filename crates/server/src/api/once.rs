//! `Idempotency-Key`: a request is carried out once, however often it is sent.
//!
//! The record is begun before anything is stored, and chooses the ids of the jobs. So a request that is sent again after the
//! server died stores jobs of the same ids, and nothing twice.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use backroom::{
    JobId, Timestamp,
    core::{
        bounds::{later, whole_micros},
        idempotency::{
            Begun, IDEMPOTENCY_HOLD, IDEMPOTENCY_RETENTION, IdempotencyAnswer, IdempotencyRecord, RequestEnd,
        },
    },
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{caller::Caller, codes::Code, problem::Problem};
use crate::serve::AppState;

static KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer is the one of an earlier request.
static REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Longest key, in bytes.
const KEY_BYTES_MAX: usize = 255;

/// A request that is to be carried out now.
pub(crate) struct Pass {
    state: AppState,
    first_id: JobId,
    /// The moment of its jobs.
    pub(crate) at: Timestamp,
    /// Whether it may have been carried out before.
    pub(crate) is_repeated: bool,
    /// Its record: key and holder.
    record: Option<(String, Uuid)>,
}

/// What to do with a request.
pub(crate) enum Once {
    /// Carry it out.
    Go(Pass),
    /// It was answered before.
    Replay(Response),
}

/// Begins a request: at once if it names no key.
pub(crate) async fn begin(
    state: &AppState,
    caller: &Caller,
    headers: &HeaderMap,
    route: &str,
    body: &[u8],
) -> Result<Once, Problem> {
    let now = whole_micros(state.backroom.clock().now());
    let Some(key) = key(headers)? else {
        let pass = Pass {
            state: state.clone(),
            first_id: state.ids.job(now),
            at: now,
            is_repeated: false,
            record: None,
        };
        return Ok(Once::Go(pass));
    };
    let wanted = IdempotencyRecord {
        key: hash(&[caller.id().as_bytes(), route.as_bytes(), key.as_bytes()]),
        body: hash(&[body]),
        first_id: state.ids.job(now),
        begun_at: now,
        holder: state.ids.lease().0,
        held_until: later(now, IDEMPOTENCY_HOLD),
        expires_at: later(now, IDEMPOTENCY_RETENTION),
        answer: None,
    };
    let wanted_id = wanted.first_id;
    match state.backroom.store().begin_request(Arc::new(wanted), now).await? {
        Begun::Yours(record) => Ok(Once::Go(Pass {
            state: state.clone(),
            first_id: record.first_id,
            at: record.begun_at,
            is_repeated: record.first_id != wanted_id,
            record: Some((record.key, record.holder)),
        })),
        Begun::InFlight => Err(Problem::new(
            Code::InFlight,
            "another request with this Idempotency-Key is being carried out",
        )
        .retry_after_secs(1)),
        Begun::OtherBody => Err(Problem::new(
            Code::KeyReused,
            "this Idempotency-Key was used for a request with another body",
        )),
        Begun::Answered(answer) => Ok(Once::Replay(replay(answer))),
    }
}

impl Pass {
    /// The id of the `n`th job.
    pub(crate) fn id(&self, n: usize) -> JobId {
        self.first_id.nth(n as u64)
    }

    /// Whether the store has a record of the request, which its end must close.
    pub(crate) fn is_recorded(&self) -> bool {
        self.record.is_some()
    }

    /// Retains the answer of a request that was carried out.
    pub(crate) async fn answered(&self, status: StatusCode, location: Option<&str>, body: &str) {
        let answer = IdempotencyAnswer {
            status: status.as_u16(),
            location: location.map(str::to_owned),
            body: body.to_owned(),
        };
        self.end(RequestEnd::Answered(answer)).await;
    }

    /// Frees the key of a request that stored nothing, or lets the next one go on where it is not known what was stored.
    pub(crate) async fn failed(&self, problem: &Problem) {
        let is_unknown = problem.code().status().is_server_error() && problem.code() != Code::NoSpace;
        self.end(if is_unknown { RequestEnd::Unknown } else { RequestEnd::Undone }).await;
    }

    async fn end(&self, end: RequestEnd) {
        let Some((key, holder)) = &self.record else { return };
        // What the jobs are is stored already. Without this record, a repeated request stores the same jobs again, which changes
        // nothing.
        if let Err(error) = self.state.backroom.store().end_request(key, *holder, Arc::new(end)).await {
            tracing::warn!(%error, "the answer to a request with an Idempotency-Key could not be retained");
        }
    }
}

fn replay(answer: IdempotencyAnswer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = (status, answer.body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(REPLAYED.clone(), HeaderValue::from_static("true"));
    if let Some(location) = answer.location.and_then(|location| HeaderValue::from_str(&location).ok()) {
        headers.insert(header::LOCATION, location);
    }
    response
}

/// The key: a string of the header's own syntax (in quotes), or the same without quotes.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut named = headers.get_all(&KEY).iter();
    let Some(first) = named.next() else { return Ok(None) };
    let refused = |why: &str| Err(Problem::new(Code::Malformed, format!("the header Idempotency-Key {why}")));
    if named.next().is_some() {
        return refused("stands there twice");
    }
    let Ok(text) = first.to_str() else { return refused("has characters beyond ASCII") };
    let text = text.trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    if text.is_empty() || text.len() > KEY_BYTES_MAX {
        return refused(&format!("must have 1 to {KEY_BYTES_MAX} characters"));
    }
    Ok(Some(text.to_owned()))
}

/// A hash of several texts, each apart from the next.
fn hash(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
