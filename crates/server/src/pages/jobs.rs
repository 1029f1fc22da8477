//! `/jobs`: jobs by filter, the newest first. A filter is a link.

use axum::{
    Router,
    extract::{OriginalUri, State},
    response::IntoResponse as _,
    routing::get,
};
use backroom::{JobId, JobRow, Scope};
use maud::{Markup, html};

use super::{Answer, Fields, Page, Section, Trouble, Visitor, kit, selection};
use crate::serve::AppState;

/// Jobs on one page.
const LIMIT: usize = 50;
/// So much of an error or of a progress stands in a row.
const WORDS_MAX: usize = 80;

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/jobs", get(page))
}

async fn page(State(state): State<AppState>, visitor: Visitor, OriginalUri(uri): OriginalUri) -> Answer {
    let query = Fields::parse(uri.query().unwrap_or_default());
    let parts = parts(&state, &visitor, &query).await?;
    let asked = query.only(&selection::NAMES);
    let body = html! {
        @if visitor.may(Scope::Enqueue) { p { a.button href="/enqueue" { "Enqueue a job" } } }
        (selection::form(&query))
        (parts)
        @if visitor.may(Scope::Operate) {
            section aria-label="All jobs that match" {
                h2 { "All jobs that match" }
                p { "They are counted first; nothing changes before you confirm." }
                div.acts {
                    @for (action, name) in super::bulk::ACTIONS {
                        a.button href=(asked.with("action", action).link("/bulk")) { (name) "…" }
                    }
                }
            }
        }
    };
    let page = Page::new("Jobs", Section::Jobs, &visitor, body).said(&query);
    // An older page does not change.
    let is_first = query.get("before").is_none();
    Ok(if is_first { page.live(asked.link("/jobs")) } else { page }.into_response())
}

pub(super) async fn parts(state: &AppState, visitor: &Visitor, query: &Fields) -> Result<Markup, Trouble> {
    visitor.require_read()?;
    let filter = selection::filter(state, visitor, query).await?;
    let before: Option<JobId> = query.get("before").map(str::parse).transpose()?;
    let page = state.backroom.list(filter, before, LIMIT).await?;
    let next =
        page.next.map(|next| query.only(&selection::NAMES).with("before", &next.to_string()).link("/jobs"));
    Ok(kit::live(
        "list",
        html! {
            @if page.jobs.is_empty() { p { "No job matches." } }
            @else { (table(visitor, &page.jobs)) }
            (kit::next(next.as_deref()))
        },
    ))
}

/// Jobs as a table.
pub(super) fn table(visitor: &Visitor, jobs: &[JobRow]) -> Markup {
    let rows = html! {
        @for job in jobs {
            tr {
                td { (kit::job_link(job.id)) }
                td { (kit::state(job.shown(visitor.now))) }
                td { (kit::shown(&job.kind)) }
                td { (kit::shown(&job.queue)) }
                td.num { (job.attempt) "/" (job.max_attempts) }
                td { (when(visitor, job)) }
                td { (words(job)) }
            }
        }
    };
    kit::table("Jobs", &["Job", "State", "Kind", "Queue", "Attempt", "When", "What it says"], rows)
}

/// The moment that matters most in its state.
fn when(visitor: &Visitor, job: &JobRow) -> Markup {
    use backroom::State;
    match job.state {
        State::Queued => html! { "due " (kit::moment(job.scheduled_at, visitor)) },
        State::Running => html! { "began " (kit::ago(job.started_at, visitor)) },
        State::Waiting => html! { "since " (kit::ago(job.started_at.or(Some(job.created_at)), visitor)) },
        State::Completed | State::Cancelled | State::Discarded => {
            html! { "ended " (kit::ago(job.finished_at, visitor)) }
        }
    }
}

/// Its reason or its progress, in a few words.
fn words(job: &JobRow) -> String {
    let words = match (&job.reason, &job.progress) {
        (Some(reason), _) => reason.clone(),
        (None, Some(progress)) => format!("{} % {}", progress.percent, progress.message),
        (None, None) => String::new(),
    };
    kit::shown(&backroom::core::bounds::clip(&words, WORDS_MAX)).into_owned()
}
