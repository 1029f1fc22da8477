//! `/v1/triggers` and `/v1/dead-letters`: what starts jobs from outside, and what could not become one.

use axum::{Json, extract::State, http::StatusCode};
use backroom_triggers::admin::{self, Sample};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    act::record,
    body::JsonBytes,
    caller::{Caller, Scope},
    codes::Code,
    extract::{Path, Query},
    letters,
    problem::{Problem, Problems},
};
use crate::{
    bodies::{SampleSchema, TriggerPause},
    serve::AppState,
    views::trigger::{DeadLetterPage, DeadLetterView, OutcomeView, PreviewView, TriggerList, TriggerView},
};

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get, delete))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(test))
        .routes(routes!(dead_letters))
        .routes(routes!(dead_letter, delete_dead_letter))
        .routes(routes!(replay))
}

/// List the triggers
///
/// Those of every server of the store, also while no server reads their sources.
#[utoipa::path(
    get,
    path = "/v1/triggers",
    operation_id = "list_triggers",
    tag = "triggers",
    responses((status = 200, description = "The triggers.", body = TriggerList), Problems)
)]
async fn list(State(state): State<AppState>, caller: Caller) -> Result<Json<TriggerList>, Problem> {
    caller.require_everywhere(Scope::Read)?;
    let rows = admin::list(&state.backroom, None).await?;
    let now = state.backroom.clock().now();
    Ok(Json(TriggerList { triggers: rows.into_iter().map(|row| TriggerView::new(row, now)).collect() }))
}

/// Read a trigger
#[utoipa::path(
    get,
    path = "/v1/triggers/{name}",
    operation_id = "read_trigger",
    tag = "triggers",
    params(("name" = String, Path, description = "The trigger.")),
    responses((status = 200, description = "The trigger, with what each process that reads it reports.", body = TriggerView), Problems)
)]
async fn get(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<TriggerView>, Problem> {
    caller.require_everywhere(Scope::Read)?;
    view(&state, &name).await.map(Json)
}

async fn view(state: &AppState, name: &str) -> Result<TriggerView, Problem> {
    let row = admin::get(&state.backroom, name).await?;
    Ok(TriggerView::new(row, state.backroom.clock().now()))
}

/// Forget a trigger
///
/// With its state and its dead letters. Its jobs stay. If the settings still name it, its source is read from the beginning at the next start.
#[utoipa::path(
    delete,
    path = "/v1/triggers/{name}",
    operation_id = "delete_trigger",
    tag = "triggers",
    params(("name" = String, Path, description = "The trigger.")),
    responses((status = 204, description = "The trigger is forgotten."), Problems)
)]
async fn delete(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.require_everywhere(Scope::Operate)?;
    record(&state, &caller, "trigger.delete", &name, None::<&()>).await?;
    admin::delete(&state.backroom, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Pause a trigger
///
/// Within seconds no process reads its source, and what is sent to a hook is refused with 503. What was delivered stays delivered.
#[utoipa::path(
    post,
    path = "/v1/triggers/{name}/pause",
    operation_id = "pause_trigger",
    tag = "triggers",
    params(("name" = String, Path, description = "The trigger.")),
    request_body = Option<TriggerPause>,
    responses((status = 200, description = "The trigger.", body = TriggerView), Problems)
)]
async fn pause(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
    body: Option<JsonBytes>,
) -> Result<Json<TriggerView>, Problem> {
    caller.require_everywhere(Scope::Operate)?;
    let wanted: TriggerPause = body.map(|body| body.read()).transpose()?.unwrap_or_default();
    record(&state, &caller, "trigger.pause", &name, Some(&wanted)).await?;
    let reason = wanted.reason.as_deref().unwrap_or("paused by a call of the API");
    admin::pause(&state.backroom, &name, reason).await?;
    hurry(&state);
    view(&state, &name).await.map(Json)
}

/// Resume a trigger
#[utoipa::path(
    post,
    path = "/v1/triggers/{name}/resume",
    operation_id = "resume_trigger",
    tag = "triggers",
    params(("name" = String, Path, description = "The trigger.")),
    responses((status = 200, description = "The trigger.", body = TriggerView), Problems)
)]
async fn resume(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<TriggerView>, Problem> {
    caller.require_everywhere(Scope::Operate)?;
    record(&state, &caller, "trigger.resume", &name, None::<&()>).await?;
    admin::resume(&state.backroom, &name).await?;
    hurry(&state);
    view(&state, &name).await.map(Json)
}

/// Has the triggers of this server notice it now.
fn hurry(state: &AppState) {
    if let Some(served) = state.triggers.get() {
        served.running().ask_now();
    }
}

/// Show what a message would become
///
/// Only the body of the message is needed. Nothing is enqueued.
#[utoipa::path(
    post,
    path = "/v1/triggers/{name}/test",
    operation_id = "test_trigger",
    tag = "triggers",
    params(("name" = String, Path, description = "The trigger.")),
    request_body = SampleSchema,
    responses((status = 200, description = "The job, that it is left out, or why it is refused.", body = PreviewView), Problems)
)]
async fn test(
    State(state): State<AppState>,
    caller: Caller,
    Path(name): Path<String>,
    body: JsonBytes,
) -> Result<Json<PreviewView>, Problem> {
    caller.require_everywhere(Scope::Read)?;
    let sample: Sample = body.read()?;
    Ok(Json(admin::test(&state.backroom, &name, sample).await?.into()))
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LetterQuery {
    /// Only those of this trigger.
    trigger: Option<String>,
    /// Most dead letters, 1 to 1000. Default 50.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Continue below the dead letter of this id: `next` of the page before.
    #[param(value_type = Option<String>, format = "uuid")]
    before: Option<Uuid>,
}

/// List the dead letters
///
/// Deliveries that could not become a job, with the reason.
#[utoipa::path(
    get,
    path = "/v1/dead-letters",
    operation_id = "list_dead_letters",
    tag = "triggers",
    params(LetterQuery),
    responses((status = 200, description = "A page of dead letters.", body = DeadLetterPage), Problems)
)]
async fn dead_letters(
    State(state): State<AppState>,
    caller: Caller,
    Query(query): Query<LetterQuery>,
) -> Result<Json<DeadLetterPage>, Problem> {
    caller.require_everywhere(Scope::Read)?;
    let limit = query.limit.unwrap_or(50);
    if !(1..=admin::PAGE_MAX).contains(&limit) {
        let why = format!("the limit {limit} is out of range; use 1 to {}", admin::PAGE_MAX);
        return Err(Problem::new(Code::Invalid, why));
    }
    let letters = letters::many(&state, &caller, query.trigger.as_deref(), query.before, limit).await?;
    let next = if letters.len() == limit { letters.last().map(|letter| letter.id) } else { None };
    Ok(Json(DeadLetterPage { dead_letters: letters, next }))
}

/// Read a dead letter
///
/// What jobs of its trigger hide is hidden. If it cannot be found in the body, only callers with the scope `admin` see the dead letter whole,
/// and the audit log says so.
#[utoipa::path(
    get,
    path = "/v1/dead-letters/{id}",
    operation_id = "read_dead_letter",
    tag = "triggers",
    params(("id" = String, Path, description = "The dead letter.", format = "uuid")),
    responses((status = 200, description = "The dead letter with its body.", body = DeadLetterView), Problems)
)]
async fn dead_letter(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<DeadLetterView>, Problem> {
    caller.require_everywhere(Scope::Read)?;
    letters::one(&state, &caller, id).await.map(Json)
}

/// Delete a dead letter
#[utoipa::path(
    delete,
    path = "/v1/dead-letters/{id}",
    operation_id = "delete_dead_letter",
    tag = "triggers",
    params(("id" = String, Path, description = "The dead letter.", format = "uuid")),
    responses((status = 204, description = "It is deleted."), Problems)
)]
async fn delete_dead_letter(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<StatusCode, Problem> {
    caller.require_everywhere(Scope::Operate)?;
    record(&state, &caller, "dead_letter.delete", &id.to_string(), None::<&()>).await?;
    admin::delete_dead_letter(&state.backroom, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deliver a dead letter again
///
/// With the mapping as it is now. If it becomes a job, or is left out, the dead letter is deleted. A repeated call makes no second job.
#[utoipa::path(
    post,
    path = "/v1/dead-letters/{id}/replay",
    operation_id = "replay_dead_letter",
    tag = "triggers",
    params(("id" = String, Path, description = "The dead letter.", format = "uuid")),
    responses((status = 200, description = "What became of it.", body = OutcomeView), Problems)
)]
async fn replay(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<OutcomeView>, Problem> {
    caller.require_everywhere(Scope::Operate)?;
    record(&state, &caller, "dead_letter.replay", &id.to_string(), None::<&()>).await?;
    let mut outcome: OutcomeView = admin::replay(&state.backroom, id).await?.into();
    if let Some(letter) = outcome.dead_letter {
        // The reason may have a part of the body.
        outcome.reason = Some(letters::one(&state, &caller, letter).await?.reason);
    }
    Ok(Json(outcome))
}
