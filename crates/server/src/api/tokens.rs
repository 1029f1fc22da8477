//! `/v1/tokens` and `/v1/audit`: who may call, and what they did.

use std::time::Duration;

use axum::{Json, extract::State, http::StatusCode};
use backroom::{NewToken, QueuePattern, TokenId};
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
    problem::{Problem, Problems},
};
use crate::{
    bodies::TokenWanted,
    serve::AppState,
    views::{AuditPage, NewTokenView, TokenList},
};

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke)).routes(routes!(audit))
}

/// List the tokens
#[utoipa::path(
    get,
    path = "/v1/tokens",
    operation_id = "list_tokens",
    tag = "tokens",
    responses((status = 200, description = "The tokens, without their secrets.", body = TokenList), Problems)
)]
async fn list(State(state): State<AppState>, caller: Caller) -> Result<Json<TokenList>, Problem> {
    caller.require_everywhere(Scope::Admin)?;
    Ok(Json(TokenList { tokens: state.backroom.tokens().list().await? }))
}

/// Make a token
#[utoipa::path(
    post,
    path = "/v1/tokens",
    operation_id = "create_token",
    tag = "tokens",
    request_body = TokenWanted,
    responses((status = 201, description = "The token and its secret, shown this once.", body = NewTokenView), Problems)
)]
async fn create(
    State(state): State<AppState>,
    caller: Caller,
    body: JsonBytes,
) -> Result<(StatusCode, Json<NewTokenView>), Problem> {
    caller.require_everywhere(Scope::Admin)?;
    let wanted: TokenWanted = body.read()?;
    let queues = wanted.queues.iter().map(QueuePattern::new).collect::<Result<_, _>>()?;
    record(&state, &caller, "token.create", &wanted.name, Some(&wanted)).await?;
    let new = NewToken {
        name: wanted.name,
        scopes: wanted.scopes,
        queues,
        expires_in: wanted.expires_in_secs.map(Duration::from_secs),
    };
    let (token, secret) = state.backroom.tokens().create(new).await?;
    Ok((StatusCode::CREATED, Json(NewTokenView { token, secret: secret.expose().to_owned() })))
}

/// Revoke a token
///
/// It is refused from now on; other servers of the same store follow within seconds.
#[utoipa::path(
    delete,
    path = "/v1/tokens/{id}",
    operation_id = "revoke_token",
    tag = "tokens",
    params(("id" = String, Path, description = "The token.", format = "uuid")),
    responses((status = 204, description = "The token is revoked."), Problems)
)]
async fn revoke(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    caller.require_everywhere(Scope::Admin)?;
    let id: TokenId = id.parse().map_err(|error| Problem::new(Code::Malformed, format!("{error}")))?;
    record(&state, &caller, "token.revoke", &id.to_string(), None::<&()>).await?;
    state.backroom.tokens().revoke(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// Most entries, 1 to 1000. Default 50.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Continue below the entry of this id: `next` of the page before.
    #[param(value_type = Option<String>, format = "uuid")]
    before: Option<Uuid>,
}

/// Read the audit log
///
/// Administrative acts and who did them. Entries stay for 400 days.
#[utoipa::path(
    get,
    path = "/v1/audit",
    operation_id = "read_audit_log",
    tag = "tokens",
    params(AuditQuery),
    responses((status = 200, description = "A page of entries.", body = AuditPage), Problems)
)]
async fn audit(
    State(state): State<AppState>,
    caller: Caller,
    Query(query): Query<AuditQuery>,
) -> Result<Json<AuditPage>, Problem> {
    caller.require_everywhere(Scope::Admin)?;
    let limit = query.limit.unwrap_or(50);
    let entries = state.backroom.audit().list(query.before, limit).await?;
    Ok(Json(AuditPage::new(entries, limit)))
}
