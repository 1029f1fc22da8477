//! `/workers`: what runs jobs, with its slots, the memory of its process and what prevents it from working.

use axum::{Router, extract::State, response::IntoResponse as _, routing::get};
use backroom::{Scope, WorkerRow};
use maud::{Markup, html};

use super::{Answer, Page, Section, Trouble, Visitor, kit};
use crate::{serve::AppState, terminal::words};

/// Workers on the page; further ones are counted.
const SHOWN_MAX: usize = 100;
/// Names in one cell.
const NAMES_MAX: usize = 6;

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/workers", get(page))
}

async fn page(State(state): State<AppState>, visitor: Visitor) -> Answer {
    let parts = parts(&state, &visitor).await?;
    Ok(Page::new("Workers", Section::Workers, &visitor, parts).live("/workers").into_response())
}

pub(super) async fn parts(state: &AppState, visitor: &Visitor) -> Result<Markup, Trouble> {
    visitor.caller.require_everywhere(Scope::Read)?;
    let workers = state.backroom.workers().await?;
    Ok(kit::live(
        "list",
        html! {
            (table(visitor, &workers[..workers.len().min(SHOWN_MAX)]))
            @if workers.len() > SHOWN_MAX { p { "And " (workers.len() - SHOWN_MAX) " more." } }
        },
    ))
}

/// Workers as a table.
pub(super) fn table(visitor: &Visitor, workers: &[WorkerRow]) -> Markup {
    if workers.is_empty() {
        return html! { p { "No worker is alive. Jobs wait until one starts, such as " code { "backroom work" } "." } };
    }
    let rows = html! {
        @for worker in workers {
            tr {
                th scope="row" { (kit::shown(&worker.name)) }
                td { (kit::shown(&worker.host)) " " span.muted { (worker.pid) } }
                td.num { (worker.running) "/" (worker.slots) @if worker.stuck > 0 { " (" (worker.stuck) " stuck)" } }
                td.num { @match worker.details.memory_bytes { Some(bytes) => (words::bytes(bytes)), None => "–" } }
                td { (names(worker.queues.iter().map(|(name, slots)| format!("{name} ({slots})")))) }
                td { (names(worker.kinds.iter().cloned())) }
                td { (kit::moment(worker.started_at, visitor)) }
                td { (kit::moment(worker.beat_at, visitor)) }
                td {
                    @if worker.stopping { "is stopping " }
                    @if let Some(trouble) = &worker.trouble { strong.discarded { (kit::shown(trouble)) } " " }
                    @if let Some(blocked) = worker.details.blocked.as_ref().filter(|blocked| blocked.now) {
                        strong.discarded { (kit::shown(&blocked.to_string())) }
                    }
                    @for open in &worker.details.breakers { span.retrying { "does not claim " (kit::shown(&open.kind)) ": " (kit::shown(&open.why)) " " } }
                }
            }
        }
    };
    kit::table(
        "Workers",
        &[
            "Worker",
            "Machine",
            "Busy slots",
            "Memory",
            "Queues",
            "Kinds",
            "Alive since",
            "Heartbeat",
            "Condition",
        ],
        rows,
    )
}

fn names(names: impl Iterator<Item = String>) -> Markup {
    let mut names: Vec<String> = names.collect();
    let more = names.len().saturating_sub(NAMES_MAX);
    names.truncate(NAMES_MAX);
    html! { (kit::shown(&names.join(", "))) @if more > 0 { span.muted { " and " (more) " more" } } }
}
