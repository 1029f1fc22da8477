//! `/v1/replies`: take the messages that jobs send, acknowledge them, give them back.

use std::time::Duration;

use axum::{Extension, Json, extract::State, http::StatusCode};
use backroom::core::bounds::check_name;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    around::Deadline,
    body::JsonBytes,
    caller::{Caller, Scope},
    codes::Code,
    extract::{Path, Query},
    problem::{Problem, Problems},
};
use crate::{
    bodies::{MessageTake, TakenIds},
    serve::AppState,
    views::{Acknowledgements, MessageList, ReplyQueueList, TakenMessages},
};

/// Most messages in one answer.
const LIMIT_MAX: usize = 1000;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(messages))
        .routes(routes!(take))
        .routes(routes!(acknowledge))
        .routes(routes!(release))
}

/// List the reply queues
#[utoipa::path(
    get,
    path = "/v1/replies",
    operation_id = "list_reply_queues",
    tag = "replies",
    responses((status = 200, description = "The reply queues.", body = ReplyQueueList), Problems)
)]
async fn list(State(state): State<AppState>, caller: Caller) -> Result<Json<ReplyQueueList>, Problem> {
    caller.require(Scope::Work)?;
    let mut reply_queues = state.backroom.reply_queues().await?;
    reply_queues.retain(|queue| caller.sees(&queue.name));
    Ok(Json(ReplyQueueList { reply_queues }))
}

/// Which messages.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct MessagesQuery {
    /// Those behind this position: `seq` of the last message of the page before. Default 0.
    #[serde(default)]
    after: u64,
    /// Most messages, 1 to 1000. Default 50.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// List messages
///
/// None is taken. Those that a taker has are among them.
#[utoipa::path(
    get,
    path = "/v1/replies/{queue}",
    operation_id = "list_replies",
    tag = "replies",
    params(("queue" = String, Path, description = "The reply queue."), MessagesQuery),
    responses((status = 200, description = "The messages.", body = MessageList), Problems)
)]
async fn messages(
    State(state): State<AppState>,
    caller: Caller,
    Path(queue): Path<String>,
    Query(query): Query<MessagesQuery>,
) -> Result<Json<MessageList>, Problem> {
    caller.require_in(Scope::Work, &queue)?;
    check_name("reply queue", &queue)?;
    let limit = bounded(query.limit.unwrap_or(50))?;
    Ok(Json(MessageList { messages: state.backroom.replies(queue).list(query.after, limit).await? }))
}

/// The limit, if a caller may ask for so many.
fn bounded(limit: usize) -> Result<usize, Problem> {
    if (1..=LIMIT_MAX).contains(&limit) {
        return Ok(limit);
    }
    let why = format!("the limit {limit} is out of range; use 1 to {LIMIT_MAX}");
    Err(Problem::new(Code::Invalid, why))
}

/// Take messages
///
/// The oldest first. While another taker has a message of a correlation id, later ones of it are not taken.
#[utoipa::path(
    post,
    path = "/v1/replies/{queue}/take",
    operation_id = "take_replies",
    tag = "replies",
    params(("queue" = String, Path, description = "The reply queue.")),
    request_body = MessageTake,
    responses((status = 200, description = "The messages; none if there are none now.", body = TakenMessages), Problems)
)]
async fn take(
    State(state): State<AppState>,
    caller: Caller,
    Extension(deadline): Extension<Deadline>,
    Path(queue): Path<String>,
    body: JsonBytes,
) -> Result<Json<TakenMessages>, Problem> {
    caller.require_in(Scope::Work, &queue)?;
    check_name("reply queue", &queue)?;
    let MessageTake { limit, wait_ms, lease_ms } = body.read()?;
    drop(body);
    let wait = Duration::from_millis(wait_ms).min(state.settings.now().limits.wait_time);
    deadline.extend(wait);
    let mut replies = state.backroom.replies(queue);
    if let Some(lease_ms) = lease_ms {
        replies = replies.lease(Duration::from_millis(lease_ms));
    }
    let limit = bounded(limit.unwrap_or(10))?;
    let taken = tokio::select! {
        taken = replies.take_wait(limit, wait) => taken?,
        // Once more without a wait: the answer says what is there now.
        () = state.stopping.cancelled() => replies.take(limit).await?,
    };
    Ok(Json(TakenMessages { lease: taken.lease(), messages: taken.messages().to_vec() }))
}

/// Acknowledge messages
///
/// They are never delivered again. Safe to repeat.
#[utoipa::path(
    post,
    path = "/v1/replies/{queue}/acknowledge",
    operation_id = "acknowledge_replies",
    tag = "replies",
    params(("queue" = String, Path, description = "The reply queue.")),
    request_body = TakenIds,
    responses((status = 200, description = "What became of each.", body = Acknowledgements), Problems)
)]
async fn acknowledge(
    State(state): State<AppState>,
    caller: Caller,
    Path(queue): Path<String>,
    body: JsonBytes,
) -> Result<Json<Acknowledgements>, Problem> {
    caller.require_in(Scope::Work, &queue)?;
    check_name("reply queue", &queue)?;
    let TakenIds { lease, ids } = body.read()?;
    let acknowledged = state.backroom.replies(queue).acknowledge(lease, &ids).await?;
    Ok(Json(Acknowledgements::new(acknowledged)))
}

/// Give messages back
///
/// They are delivered again at once.
#[utoipa::path(
    post,
    path = "/v1/replies/{queue}/release",
    operation_id = "release_replies",
    tag = "replies",
    params(("queue" = String, Path, description = "The reply queue.")),
    request_body = TakenIds,
    responses((status = 204, description = "They are given back."), Problems)
)]
async fn release(
    State(state): State<AppState>,
    caller: Caller,
    Path(queue): Path<String>,
    body: JsonBytes,
) -> Result<StatusCode, Problem> {
    caller.require_in(Scope::Work, &queue)?;
    check_name("reply queue", &queue)?;
    let TakenIds { lease, ids } = body.read()?;
    state.backroom.replies(queue).release(lease, &ids).await?;
    Ok(StatusCode::NO_CONTENT)
}
