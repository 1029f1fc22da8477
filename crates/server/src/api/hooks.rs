//! `/v1/hooks/{name}`: requests of other services that become jobs. No token: each proves who it is as its hook's scheme says.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use backroom_triggers::{
    Outcome,
    hooks::{Content, Refusal},
};
use bytes::Bytes;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    codes::Code,
    extract::Path,
    problem::{Problem, Problems},
};
use crate::{
    serve::{AppState, Served, ServedHook},
    views::trigger::OutcomeView,
};

/// How a sender of CloudEvents asks whether it may send them (the specification of its web hooks).
static ASKING: HeaderName = HeaderName::from_static("webhook-request-origin");
static ALLOWED: HeaderName = HeaderName::from_static("webhook-allowed-origin");
static RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(receive, ask))
}

/// What became of a request.
#[derive(Serialize, ToSchema)]
struct Received {
    /// One for each event of the request, in order.
    deliveries: Vec<OutcomeView>,
}

/// Deliver a request of another service
///
/// It is signed as the scheme of the hook says. The jobs are durable when the answer comes. A request that is repeated makes no
/// second job. An event that cannot become a job is stored as a dead letter.
#[utoipa::path(
    post,
    path = "/v1/hooks/{name}",
    operation_id = "deliver_hook",
    tag = "triggers",
    security(()),
    params(("name" = String, Path, description = "The hook: a trigger of the type `hook`.")),
    request_body(content = String, description = "Whatever the sender sends.", content_type = "application/json"),
    responses(
        (status = 202, description = "What became of each event.", body = Received),
        (status = 200, description = "A handshake, or a test of the sender: there is no event."),
        Problems
    )
)]
async fn receive(
    State(state): State<AppState>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let (served, hook) = find(&state, &name)?;
    if state.is_draining() {
        return Err(Problem::new(Code::Draining, "the server is stopping").retry_after_secs(1));
    }
    let named = headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
    let named: Vec<_> = named.collect();
    let clock = state.backroom.clock();
    let content = match hook.hook.receive(&named, &body, clock.now()) {
        Ok(content) => content,
        Err(refusal) => {
            if hook.refused(refusal, clock.monotonic()) {
                tracing::warn!(
                    hook = name,
                    reason = refusal.as_str(),
                    "a request was refused: {}",
                    refusal.described()
                );
            }
            return Err(refused(refusal));
        }
    };
    let (deliveries, malformed) = match content {
        Content::Deliveries(deliveries) => (deliveries, None),
        Content::Malformed(delivery) => {
            let why = delivery.refused.clone();
            (vec![delivery], why)
        }
        Content::Nothing => return Ok(StatusCode::OK.into_response()),
        Content::Handshake { content_type, body } => {
            return Ok(
                ([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))], body).into_response()
            );
        }
    };
    if let Some(reason) = served.running().paused(&name) {
        let why = format!("the trigger {name:?} is paused: {reason}");
        return Err(Problem::new(Code::Unavailable, why).retry_after_secs(60));
    }
    let intake = served.running().intake(&name).ok_or_else(|| unknown(&name))?;
    let outcomes = intake.take(&deliveries).await?;
    let replayed = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Duplicate(_))).count();
    if replayed > 0 {
        tracing::info!(hook = name, replayed, "deliveries came again; each has its job already");
    }
    if let [Outcome::Refused { reason, dead_letter, .. }] = outcomes.as_slice() {
        let (code, why) = match &malformed {
            Some(why) => (Code::Malformed, why),
            None => (Code::Invalid, reason),
        };
        // A sender that shows its answers to people shows them the reason.
        return Err(Problem::new(code, format!("{why}; it is stored as the dead letter {dead_letter}")));
    }
    let deliveries = outcomes.into_iter().map(OutcomeView::from).collect();
    Ok((StatusCode::ACCEPTED, axum::Json(Received { deliveries })).into_response())
}

/// Ask whether CloudEvents may be sent here
#[utoipa::path(
    options,
    path = "/v1/hooks/{name}",
    operation_id = "ask_hook",
    tag = "triggers",
    security(()),
    params(("name" = String, Path, description = "The hook: a trigger of the type `hook`.")),
    responses((status = 200, description = "The origin that may send, and how often."), Problems)
)]
async fn ask(
    State(state): State<AppState>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    find(&state, &name)?;
    let mut answer = HeaderMap::new();
    answer.insert(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"));
    if let Some(origin) = headers.get(&ASKING) {
        // Each event is signed, so every origin may send.
        answer.insert(ALLOWED.clone(), origin.clone());
        answer.insert(RATE.clone(), HeaderValue::from_static("*"));
    }
    Ok((StatusCode::OK, answer).into_response())
}

fn find<'a>(state: &'a AppState, name: &str) -> Result<(&'a Served, &'a ServedHook), Problem> {
    let served = state.triggers.get().ok_or_else(|| unknown(name))?;
    Ok((served, served.hook(name).ok_or_else(|| unknown(name))?))
}

fn unknown(name: &str) -> Problem {
    Problem::new(Code::NotFound, format!("this server has no hook {name:?}"))
}

fn refused(refusal: Refusal) -> Problem {
    Problem::new(Code::Unauthenticated, refusal.described())
}
