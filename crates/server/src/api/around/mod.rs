//! What happens around every request: its id, its limits, its problem document, and the headers of every answer.
//!
//! [`answer`] is the order of it. A route sees only requests that passed.

mod arrival;
mod cors;
mod deadline;
mod headers;
mod host;
mod span;

use std::{panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, request::Parts},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use tracing::Instrument as _;

pub(crate) use self::{
    arrival::{Arrival, Cut},
    deadline::Deadline,
};
use super::{
    codes::Code,
    problem::{self, Problem},
};
use crate::{
    config::ServerSettings,
    metrics,
    serve::{AppState, Arrived},
};

/// The id of a request, in its answer and in the log.
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The time of the store's clock, whose moments jobs bear, in RFC 3339. With it a client shows a job as the server does.
pub(crate) static TIME: HeaderName = HeaderName::from_static("backroom-time");
/// Longest id of a request that is taken from the client.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Puts everything around the routes.
pub(super) fn layers(router: Router<AppState>, state: AppState) -> Router<AppState> {
    router
        .fallback(crate::pages::no_such_path)
        // The body has a limit already, and one in time, too.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(state, answer))
}

/// Answers one request.
async fn answer(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let settings = state.settings.now();
    let (parts, body) = request.into_parts();
    // What is needed until the answer is copied. A part of the request would hold the whole buffer that it was read into, for as long
    // as a long poll waits.
    let id = request_id(&parts, &state);
    let shown_id = id.to_str().unwrap_or_default();
    let path = parts.uri.path().to_owned();
    let began = state.backroom.clock().monotonic();
    let method = parts.method.clone();
    let matched = parts.extensions.get::<MatchedPath>().cloned();
    let route = matched.as_ref().map(MatchedPath::as_str);
    let by_tls = parts.extensions.get::<Arrived>().is_some_and(|arrived| arrived.by_tls);
    let origin = cors::allowed(&parts, &settings.cors_origins);
    let is_question = origin.is_some() && cors::is_question(&parts);
    let traceparent = tracing::enabled!(tracing::Level::DEBUG).then(|| {
        parts.headers.get("traceparent").map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    });

    let span = span::begin(&state, &parts, route, by_tls);
    let answering = async {
        match check(&parts, &settings, &state).await {
            Err(problem) => problem.into_response(),
            Ok(()) if is_question => StatusCode::NO_CONTENT.into_response(),
            Ok(()) => run(parts, body, next, &settings, &state, shown_id).await,
        }
    };
    let response = answering.instrument(span.clone()).await;
    let mut response = problem::finish(response, || format!("{path}#{shown_id}"));

    let headers = response.headers_mut();
    if let Ok(now) = HeaderValue::try_from(state.backroom.clock().now().to_string()) {
        headers.insert(TIME.clone(), now);
    }
    headers::secure(headers, by_tls);
    if !settings.cors_origins.is_empty() {
        headers.append(axum::http::header::VARY, HeaderValue::from_static("origin"));
    }
    if let Some(origin) = origin {
        cors::permit(headers, origin, is_question);
    }
    let took = state.backroom.clock().monotonic().saturating_sub(began);
    let status = response.status().as_u16();
    span::end(&span, status);
    state.metrics.answered(&metrics::Request { method: method.as_str(), route, status, by_tls, took });
    tracing::debug!(
        id = shown_id, %method, route = route.unwrap_or("none"), status, took_us = took.as_micros(),
        traceparent = ?traceparent.flatten(), "answered a request"
    );
    response.headers_mut().insert(REQUEST_ID.clone(), id);
    response
}

/// What must hold before a route sees the request.
async fn check(parts: &Parts, settings: &ServerSettings, state: &AppState) -> Result<(), Problem> {
    let most = settings.limits.header_bytes.0;
    let has = headers::bytes(parts);
    if has > most {
        return Err(Problem::new(
            Code::HeadersTooLarge,
            format!("the header has {has} bytes, and at most {most} are allowed"),
        ));
    }
    let host = host::named(parts);
    let is_ours = host.as_deref().is_some_and(|host| {
        host::is_local(host) || settings.allowed_hosts.iter().any(|ours| ours.eq_ignore_ascii_case(host))
    });
    let is_foreign = cors::is_foreign_change(parts, &settings.cors_origins);
    // Where a token is needed, a page that brings none can do nothing.
    if is_foreign && state.access.is_open().await? {
        return Err(Problem::new(
            Code::Forbidden,
            "a web page of another origin sent this; the setting cors_origins names the origins that may",
        ));
    }
    if !is_ours && state.access.is_open().await? {
        let named = host.unwrap_or_default();
        return Err(Problem::new(
            Code::Misdirected,
            format!("this server does not answer for the host {named:?}"),
        ));
    }
    Ok(())
}

/// Has the route answer, within its time.
async fn run(
    mut parts: Parts,
    body: Body,
    next: Next,
    settings: &ServerSettings,
    state: &AppState,
    id: &str,
) -> Response {
    let limits = &settings.limits;
    let (arrival, clock) = (Arrival::default(), state.backroom.clock());
    let deadline = Deadline::after(&**clock, limits.body_time.saturating_add(limits.request_time));
    parts.extensions.insert(arrival.clone());
    parts.extensions.insert(deadline.clone());
    let body =
        arrival::Arriving::new(body, arrival, Arc::clone(clock), limits.body_bytes.0, limits.body_time);
    let answered = AssertUnwindSafe(next.run(Request::from_parts(parts, Body::new(body)))).catch_unwind();
    tokio::select! {
        answered = answered => answered.unwrap_or_else(|_| {
            // The hook of the process has written the panic itself to stderr.
            state.metrics.panicked();
            tracing::error!(id, "a request ended in a panic");
            Problem::new(Code::Internal, "the server failed").into_response()
        }),
        () = deadline.passed(&**clock) => deadline::problem().into_response(),
    }
}

/// The client's id, if it is one that can stand in a log, or one of our own.
fn request_id(parts: &Parts, state: &AppState) -> HeaderValue {
    let is_plain = |id: &&HeaderValue| {
        let bytes = id.as_bytes();
        (1..=REQUEST_ID_BYTES_MAX).contains(&bytes.len())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
    };
    let copied = |id: &HeaderValue| HeaderValue::from_bytes(id.as_bytes()).ok();
    parts.headers.get(&REQUEST_ID).filter(is_plain).and_then(copied).unwrap_or_else(|| {
        let id = state.ids.lease().to_string();
        HeaderValue::try_from(id).expect("invariant: an id is plain text")
    })
}
