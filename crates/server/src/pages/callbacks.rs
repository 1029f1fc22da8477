//! `/callbacks`: the jobs that send callbacks, and URLs whose receivers want no more of them.

use axum::{
    Router,
    extract::{OriginalUri, State},
    response::IntoResponse as _,
    routing::{get, post},
};
use backroom::{Filter, Scope};
use maud::{Markup, html};

use super::{Answer, Fields, Page, Posted, Section, Trouble, frame, jobs, kit, visitor::Visitor};
use crate::serve::AppState;

/// The queue in which callbacks wait.
const QUEUE: &str = "backroom.callbacks";
/// Callbacks that stand here, the newest.
const SHOWN_MAX: usize = 25;

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/callbacks", get(page)).route("/callbacks/enable", post(enable))
}

async fn page(State(state): State<AppState>, visitor: Visitor, OriginalUri(uri): OriginalUri) -> Answer {
    let query = Fields::parse(uri.query().unwrap_or_default());
    let parts = parts(&state, &visitor, &query).await?;
    let path = query.only(&["after"]).link("/callbacks");
    Ok(Page::new("Callbacks", Section::Callbacks, &visitor, parts).said(&query).live(path).into_response())
}

pub(super) async fn parts(state: &AppState, visitor: &Visitor, query: &Fields) -> Result<Markup, Trouble> {
    visitor.caller.require_everywhere(Scope::Read)?;
    let endpoints = state.backroom.ended_endpoints(query.get("after").map(str::to_owned)).await?;
    let filter = Filter { queue: Some(QUEUE.into()), ..Filter::default() };
    // They may be few among very many other jobs.
    let sent = state.backroom.search(filter, None, SHOWN_MAX, jobs::PATIENCE).await?;
    let is_empty = sent.jobs.is_empty();
    let shown = jobs::table(state, visitor, sent.jobs);
    let rows = html! {
        @for endpoint in endpoints.iter().take(100) {
            tr {
                th scope="row" { (kit::shown(&endpoint.url)) }
                td { (kit::shown(&endpoint.reason)) }
                td { (kit::moment(endpoint.ended_at, visitor)) }
                td { @if visitor.may_everywhere(Scope::Operate) {
                    form method="post" action="/callbacks/enable" {
                        (kit::key(visitor))
                        input type="hidden" name="url" value=(endpoint.url);
                        button type="submit" { "Send again" }
                    }
                } }
            }
        }
    };
    Ok(kit::live(
        "callbacks",
        html! {
            h2 { "Endpoints that want no more" }
            @if endpoints.is_empty() { p { "None: every receiver takes its callbacks." } }
            @else {
                (kit::table("Endpoints that want no more", &["URL", "What the receiver answered", "When", "Act"], rows))
                p { (kit::cli("backroom endpoints enable URL")) }
            }
            h2 { "Callbacks" }
            p { "A callback is a job: its page shows each try. " a href=(format!("/jobs?queue={QUEUE}")) { "All callbacks" } " · "
                a href=(format!("/jobs?queue={QUEUE}&state=discarded")) { "given up" } }
            @if !is_empty { (shown) }
            @else if sent.looked_to.is_none() { p { "There is none." } }
            @if let Some(to) = sent.looked_to { p { "Only those enqueued since " (kit::moment(to, visitor)) " were looked for." } }
        },
    ))
}

async fn enable(State(state): State<AppState>, posted: Posted) -> Answer {
    posted.visitor.caller.require_everywhere(Scope::Operate)?;
    let url = posted.fields.get("url").ok_or_else(|| Trouble::invalid("the URL is missing"))?;
    posted.visitor.record(&state, "endpoint.enable", "", Some(&[("url", url)])).await?;
    state.backroom.enable_endpoint(url).await?;
    state.pages.counted.changed();
    Ok(frame::done("/callbacks", "enabled"))
}
