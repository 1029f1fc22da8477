//! `/`: whether all is well, and what needs attention first.

use axum::{
    Router,
    extract::{OriginalUri, State},
    response::IntoResponse as _,
    routing::get,
};
use backroom::{DisplayState, Scope};
use maud::{Markup, html};

use super::{
    Answer, Fields, Page, Section, Trouble, Visitor, attention, charts, counted::Snapshot, kit, queues,
    workers,
};
use crate::{serve::AppState, views::StateCounts};

/// Workers that stand here; all of them have a page of their own.
const WORKERS_MAX: usize = 20;
/// The same of queues.
const QUEUES_MAX: usize = 30;

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/", get(page))
}

async fn page(State(state): State<AppState>, visitor: Visitor, OriginalUri(uri): OriginalUri) -> Answer {
    let query = Fields::parse(uri.query().unwrap_or_default());
    let parts = parts(&state, &visitor, &query).await?;
    let path = query.only(&["span", attention::MORE]).link("/");
    Ok(Page::new("Overview", Section::Overview, &visitor, parts).said(&query).live(path).into_response())
}

pub(super) async fn parts(state: &AppState, visitor: &Visitor, query: &Fields) -> Result<Markup, Trouble> {
    visitor.require_read()?;
    let seen = state.pages.counted.get(&state.backroom).await;
    let mut queues = state.backroom.queues().await?;
    queues.retain(|queue| visitor.caller.sees(&queue.name));
    let workers =
        if visitor.may_everywhere(Scope::Read) { state.backroom.workers().await? } else { Vec::new() };
    Ok(html! {
        (kit::live("attention", attention::list(visitor, seen.as_deref(), &queues, &workers, query)))
        (kit::live("counts", counts(visitor, seen.as_deref())))
        @if visitor.may_everywhere(Scope::Read) { (kit::live("charts", charts::of(state, query).await?)) }
        (kit::live("queues", html! {
            h2 { "Queues" }
            (queues::table(state, visitor, queues.iter().take(QUEUES_MAX), seen.as_deref(), false).await?)
            @if queues.len() > QUEUES_MAX { p { a href="/queues" { "All " (queues.len()) " queues" } } }
        }))
        @if visitor.may_everywhere(Scope::Read) {
            (kit::live("workers", html! {
                h2 { "Workers" }
                (workers::table(visitor, &workers[..workers.len().min(WORKERS_MAX)]))
                @if workers.len() > WORKERS_MAX { p { a href="/workers" { "All " (workers.len()) " workers" } } }
            }))
        }
    })
}

/// Jobs by state, each number a link to the list.
fn counts(visitor: &Visitor, seen: Option<&Snapshot>) -> Markup {
    let all: Option<StateCounts> =
        seen.map(|seen| seen.counts.iter().filter(|count| visitor.caller.sees(&count.queue)).collect());
    html! {
        h2 { "Jobs" }
        ul.cards {
            @for state in DisplayState::ALL {
                li { a href=(format!("/jobs?state={}", state.as_str())) {
                    span.value { @match &all { Some(all) => (kit::number(all.get(state))), None => "…" } }
                    span.name { (kit::state(state)) }
                } }
            }
        }
    }
}
