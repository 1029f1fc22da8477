//! `/tokens`: who may call; make a token, revoke one.

use std::time::Duration;

use axum::{
    Router,
    extract::{OriginalUri, Path, State},
    response::IntoResponse as _,
    routing::{get, post},
};
use backroom::{NewToken, QueuePattern, Scope, Token, TokenId};
use maud::{Markup, html};

use super::{Answer, Fields, Page, Posted, Section, Trouble, Visitor, frame, kit};
use crate::{serve::AppState, terminal::parse};

/// Tokens on the page, the newest; the command line lists all.
const SHOWN_MAX: usize = 100;

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/tokens", get(page).post(create)).route("/tokens/{id}/revoke", post(revoke))
}

async fn page(State(state): State<AppState>, visitor: Visitor, OriginalUri(uri): OriginalUri) -> Answer {
    visitor.caller.require_everywhere(Scope::Admin)?;
    let query = Fields::parse(uri.query().unwrap_or_default());
    let tokens = state.backroom.tokens().list().await?;
    let body = html! {
        @if tokens.is_empty() {
            p.notice.warn { "There is no token: every program of this machine may do everything, and no other machine can connect. The first token closes the server to all that have none." }
        } @else { (table(&visitor, &tokens)) }
        h2 { "Make a token" }
        form.stack method="post" action="/tokens" {
            (kit::key(&visitor))
            label for="name" { "Name" }
            input #name name="name" required maxlength="128";
            fieldset {
                legend { "What it permits" }
                @for scope in Scope::ALL {
                    label { input type="checkbox" name="scope" value=(scope.as_str()); " " (scope.as_str()) }
                }
            }
            label for="queues" { "Queues, with spaces between them; * stands for any text; empty for every queue" }
            input #queues name="queues";
            label for="expires" { "For how long, such as 90d; empty for ever" }
            input #expires name="expires";
            button.primary type="submit" { "Make the token" }
            (kit::cli("backroom tokens create NAME --scope read --queue 'mail*' --expires 90d"))
        }
    };
    Ok(Page::new("Tokens", Section::Tokens, &visitor, body).said(&query).into_response())
}

fn table(visitor: &Visitor, tokens: &[Token]) -> Markup {
    let rows = html! {
        @for token in tokens.iter().take(SHOWN_MAX) {
            tr {
                th scope="row" { (kit::shown(&token.name)) }
                td { (list(token.scopes.iter().map(|scope| scope.as_str()))) }
                td { @if token.queues.is_empty() { "every queue" } @else { (kit::shown(&list(token.queues.iter().map(QueuePattern::as_str)))) } }
                td { (kit::moment(token.created_at, visitor)) }
                td { (kit::ago(token.last_used_at, visitor)) }
                td { @match (token.revoked_at, token.expires_at) {
                    (Some(at), _) => { "revoked " (kit::moment(at, visitor)) }
                    (None, Some(at)) => { "expires " (kit::moment(at, visitor)) }
                    (None, None) => "valid",
                } }
                td { @if token.is_valid(visitor.now) {
                    (kit::opened("Revoke", html! {
                        form method="post" action=(format!("/tokens/{}/revoke", token.id)) {
                            (kit::key(visitor))
                            button.danger type="submit" { "Revoke " (kit::shown(&token.name)) }
                            (kit::cli(&format!("backroom tokens revoke {}", token.id)))
                        }
                    }))
                } }
            }
        }
    };
    kit::table("Tokens", &["Token", "Permits", "On", "Made", "Last used", "Condition", "Act"], rows)
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

async fn create(State(state): State<AppState>, posted: Posted) -> Answer {
    let Posted { visitor, fields } = posted;
    visitor.caller.require_everywhere(Scope::Admin)?;
    let scopes: Vec<Scope> = fields.all("scope").map(str::parse).collect::<Result<_, _>>()?;
    let words = fields.get("queues").unwrap_or_default().split_whitespace();
    let queues: Vec<QueuePattern> = words.map(QueuePattern::new).collect::<Result<_, _>>()?;
    let expires_in: Option<Duration> = fields
        .get("expires")
        .map(|text| parse::span(text).map_err(|why| Trouble::invalid(format!("the time {why}"))))
        .transpose()?;
    let name = fields.get("name").unwrap_or_default().to_owned();
    backroom::core::bounds::check_name("token name", &name)?;
    visitor.record(&state, "token.create", &name, Some(&(&scopes, &queues))).await?;
    let new = NewToken { name, scopes, queues, expires_in };
    let (token, secret) = state.backroom.tokens().create(new).await?;
    let body = html! {
        p.notice.good role="status" { "The token " strong { (kit::shown(&token.name)) } " is made. This is its secret; it is not stored, and no one can read it again:" }
        pre data-copy { (secret.expose()) }
        @if !visitor.is_signed_in() { p { "The server has a token now. " a href="/login" { "Sign in" } " to go on." } }
        p { a href="/tokens" { "Back to the tokens" } }
    };
    Ok(Page::new("The new token", Section::Tokens, &visitor, body).into_response())
}

async fn revoke(State(state): State<AppState>, Path(id): Path<String>, posted: Posted) -> Answer {
    posted.visitor.caller.require_everywhere(Scope::Admin)?;
    let id: TokenId = id.parse()?;
    posted.visitor.record(&state, "token.revoke", &id.to_string(), None::<&()>).await?;
    state.backroom.tokens().revoke(id).await?;
    state.access.forget(None);
    Ok(frame::done("/tokens", "revoked"))
}
