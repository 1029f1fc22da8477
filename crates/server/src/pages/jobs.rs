//! `/jobs`: jobs by filter, the newest first. A filter is a link.

use std::time::Duration;

use axum::{
    Router,
    extract::{OriginalUri, State as Of},
    response::IntoResponse as _,
    routing::get,
};
use backroom::{Filter, JobId, JobRow, Scope, State};
use maud::{Markup, html};

use super::{Answer, Fields, Page, Section, Trouble, Visitor, counted::Snapshot, kit, selection};
use crate::serve::AppState;

/// Jobs on one page.
const LIMIT: usize = 50;
/// How long jobs are searched that no index finds.
pub(super) const PATIENCE: Duration = Duration::from_millis(12);
/// So many jobs, in all or of a state, are looked at without a search.
const LOOKED_AT_MAX: u64 = 20_000;
/// So much of an error or of a progress stands in a row.
const WORDS_MAX: usize = 80;

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/jobs", get(page))
}

async fn page(Of(state): Of<AppState>, visitor: Visitor, OriginalUri(uri): OriginalUri) -> Answer {
    let query = Fields::parse(uri.query().unwrap_or_default());
    let parts = parts(&state, &visitor, &query).await?;
    let asked = query.only(&selection::NAMES);
    let body = html! {
        @if visitor.may(Scope::Enqueue) { p { a.button href="/enqueue" { "Enqueue a job" } } }
        (selection::form(&query))
        p {
            "Often wanted: " a href="/jobs?state=running" { "what runs" } " · "
            a href="/jobs?state=discarded&ended=1d" { "given up since yesterday" } " · "
            a href="/jobs?state=waiting" { "parked workflows, and jobs that run after others" }
        }
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
    let seen = state.pages.counted.get(&state.backroom).await;
    let (jobs, next, looked_to) = if is_indexed(&filter, seen.as_deref()) {
        let page = state.backroom.list(filter, before, LIMIT).await?;
        (page.jobs, page.next, None)
    } else {
        let found = state.backroom.search(filter, before, LIMIT, PATIENCE).await?;
        (found.jobs, found.next, found.looked_to)
    };
    let next = next.map(|next| query.only(&selection::NAMES).with("before", &next.to_string()).link("/jobs"));
    let is_empty = jobs.is_empty();
    let shown = table(state, visitor, jobs);
    Ok(kit::live(
        "list",
        html! {
            @if !is_empty { (shown) }
            @if let (Some(to), Some(next)) = (looked_to, &next) {
                p.notice { "Jobs that were enqueued before " (kit::moment(to, visitor)) " have not been searched yet. "
                    a.button rel="next" href=(next) { "Search further back" } }
            } @else {
                @if is_empty { p { "No job matches." } }
                (kit::next(next.as_deref()))
            }
        },
    ))
}

/// Whether the store finds the jobs of a filter by an index, or they are so few that it needs none. Others are searched for a short time only.
fn is_indexed(filter: &Filter, seen: Option<&Snapshot>) -> bool {
    let counted = |state: Option<State>| {
        let counts = seen.map(|seen| seen.counts.as_slice())?;
        let of_state = counts.iter().filter(|count| state.is_none_or(|state| count.state.stored() == state));
        Some(of_state.map(|count| count.jobs).sum::<u64>())
    };
    let are_few = |state| counted(state).is_some_and(|jobs| jobs <= LOOKED_AT_MAX);
    if are_few(None) {
        return true;
    }
    if filter.tag.is_some() || filter.batch.is_some() {
        return true;
    }
    let only_states =
        Filter { states: filter.states.clone(), queued_as: filter.queued_as.clone(), ..Filter::default() };
    match filter.states.as_slice() {
        [] => *filter == only_states,
        [State::Waiting | State::Cancelled | State::Discarded] if *filter == only_states => true,
        // All of them are looked at.
        [state] if *state != State::Completed => are_few(Some(*state)),
        _ => false,
    }
}

/// Jobs as a table, without what is hidden of them.
pub(super) fn table(state: &AppState, visitor: &Visitor, jobs: Vec<JobRow>) -> Markup {
    let rows = html! {
        @for job in jobs.into_iter().map(|job| state.backroom.redacted(job).0) {
            tr {
                td { (kit::job_link(job.id)) }
                td { (kit::state(job.shown(visitor.now))) }
                td { (kit::shown(&job.kind)) }
                td { (kit::shown(&job.queue)) }
                td.num { (job.attempt) "/" (job.max_attempts) }
                td { (when(visitor, &job)) }
                td { (words(&job)) }
            }
        }
    };
    kit::table("Jobs", &["Job", "State", "Kind", "Queue", "Attempt", "When", "What it says"], rows)
}

/// The moment that matters most in its state.
fn when(visitor: &Visitor, job: &JobRow) -> Markup {
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
