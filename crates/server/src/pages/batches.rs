//! `/batches`: many jobs under one id, how far each batch is, its members, and what can be done about it.

use axum::{
    Router,
    extract::{OriginalUri, Path, State},
    response::IntoResponse as _,
    routing::{get, post},
};
use backroom::{BatchHandle, BatchId, BatchState, BatchStatus, JobId, Scope};
use maud::{Markup, html};

use super::{Answer, Fields, Page, Posted, Section, Trouble, Visitor, frame, jobs, kit, selection};
use crate::serve::AppState;

/// Batches on one page.
const LIMIT: usize = 50;
/// Members on one page of a batch.
const MEMBERS: usize = 40;
/// Batches in a batch that stand on its page.
const NESTED_MAX: usize = 20;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/batches", get(list))
        .route("/batches/{id}", get(page))
        .route("/batches/{id}/{act}", post(act))
}

async fn list(State(state): State<AppState>, visitor: Visitor, OriginalUri(uri): OriginalUri) -> Answer {
    let query = Fields::parse(uri.query().unwrap_or_default());
    let body = list_parts(&state, &visitor, &query).await?;
    let page = Page::new("Batches", Section::Batches, &visitor, body).said(&query);
    // An older page does not change.
    let is_first = query.get("before").is_none();
    Ok(if is_first { page.live("/batches") } else { page }.into_response())
}

pub(super) async fn list_parts(
    state: &AppState,
    visitor: &Visitor,
    query: &Fields,
) -> Result<Markup, Trouble> {
    visitor.caller.require_everywhere(Scope::Read)?;
    let before: Option<BatchId> = query.get("before").map(str::parse).transpose()?;
    let batches = state.backroom.batches(None, before, LIMIT).await?;
    let last = batches.last().filter(|_| batches.len() == LIMIT);
    let next = last.map(|last| format!("/batches?before={}", last.id));
    Ok(kit::live(
        "list",
        html! {
            @if batches.is_empty() {
                p { "There is no batch. " (kit::cli("backroom batch open --on-finish KIND")) " opens one." }
            } @else { (table(visitor, &batches)) }
            (kit::next(next.as_deref()))
        },
    ))
}

fn table(visitor: &Visitor, batches: &[BatchStatus]) -> Markup {
    let rows = html! {
        @for batch in batches {
            tr {
                td { (link(batch.id)) }
                td { (word(batch)) }
                td { (batch.description.as_deref().map(kit::shown).unwrap_or_default()) }
                td { (kit::bar("Members that have ended", batch.progress.percent.into())) }
                td.num { (kit::number(batch.counts.finished())) "/" (kit::number(batch.counts.total())) }
                td.num { (kit::number(batch.counts.failed())) }
                td { (kit::moment(batch.opened_at, visitor)) }
            }
        }
    };
    kit::table("Batches", &["Batch", "State", "Description", "Progress", "Ended", "Failed", "Opened"], rows)
}

/// A link to a batch, by the end of its id, as jobs have it.
pub(super) fn link(id: BatchId) -> Markup {
    let id = id.to_string();
    html! { a.id href={ "/batches/" (id) } { "…" (&id[id.len() - 12..]) } }
}

/// The state of a batch: a word with a colour and a sign.
fn word(batch: &BatchStatus) -> Markup {
    let (class, sign) = match batch.state {
        BatchState::Open => ("available", "●"),
        BatchState::Closed => ("running", "▶"),
        BatchState::Cancelled => ("cancelled", "⊘"),
        BatchState::Ended if batch.counts.failed() > 0 => ("discarded", "✕"),
        BatchState::Ended => ("completed", "✓"),
    };
    html! { span class=(format!("state {class}")) { span aria-hidden="true" { (sign) } " " (batch.state.as_str()) } }
}

/// How far a batch is, on the page of a member.
pub(super) fn bar(batch: &BatchStatus) -> Markup {
    html! {
        (link(batch.id)) " " (word(batch)) " "
        (kit::bar("Members of the batch that have ended", batch.progress.percent.into())) " "
        (kit::number(batch.counts.finished())) " of " (kit::number(batch.counts.total()))
    }
}

async fn page(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(id): Path<String>,
    OriginalUri(uri): OriginalUri,
) -> Answer {
    let query = Fields::parse(uri.query().unwrap_or_default());
    let batch = find(&state, &visitor, Scope::Read, &id)?;
    let status = batch.status().await?;
    let body = html! {
        (parts(&state, &visitor, &id, &query).await?)
        (acts(&visitor, &status))
    };
    let title =
        status.description.as_deref().map_or("Batch".into(), |words| format!("Batch: {}", kit::shown(words)));
    let page = Page::new(title, Section::Batches, &visitor, body).said(&query);
    let path = query.only(&["state"]).link(&format!("/batches/{}", status.id));
    Ok(if query.get("before").is_none() { page.live(path) } else { page }.into_response())
}

/// A batch has members of any queue, so the visitor must reach all.
fn find(state: &AppState, visitor: &Visitor, wanted: Scope, id: &str) -> Result<BatchHandle, Trouble> {
    visitor.caller.require_everywhere(wanted)?;
    Ok(state.backroom.batch(id.parse()?))
}

pub(super) async fn parts(
    state: &AppState,
    visitor: &Visitor,
    id: &str,
    query: &Fields,
) -> Result<Markup, Trouble> {
    let batch = find(state, visitor, Scope::Read, id)?;
    let status = batch.status().await?;
    let mut filter = selection::filter(state, visitor, &query.only(&["state"])).await?;
    filter.batch = Some(status.id);
    let before: Option<JobId> = query.get("before").map(str::parse).transpose()?;
    let members = state.backroom.list(filter, before, MEMBERS).await?;
    let is_empty = members.jobs.is_empty();
    let shown = jobs::table(state, visitor, members.jobs);
    let nested = state.backroom.batches(Some(status.id), None, NESTED_MAX).await?;
    let path = format!("/batches/{}", status.id);
    let next = members.next.map(|next| query.only(&["state"]).with("before", &next.to_string()).link(&path));
    Ok(html! {
        (kit::live("progress", progress(&status, &path)))
        (kit::live("facts", facts(visitor, &status)))
        @if !nested.is_empty() {
            (kit::live("nested", html! {
                h2 { "Batches in it" }
                (table(visitor, &nested))
                @if nested.len() == NESTED_MAX { p { "The newest " (NESTED_MAX) "." } }
            }))
        }
        (kit::live("members", html! {
            h2 { "Members" }
            p { a href=(format!("/jobs?batch={}", status.id)) { "Filter them" } }
            @if is_empty { p { "No job of the batch matches." } } @else { (shown) }
            (kit::next(next.as_deref()))
        }))
    })
}

fn progress(status: &BatchStatus, path: &str) -> Markup {
    let counts = status.counts;
    let cards = [
        ("queued,running,waiting", "live", counts.live),
        ("completed", "completed", counts.completed),
        ("cancelled", "cancelled", counts.cancelled),
        ("discarded", "discarded", counts.discarded),
    ];
    html! {
        p {
            (word(status)) " " (kit::bar("Members that have ended", status.progress.percent.into())) " "
            (status.progress.percent) " %: " (kit::number(counts.finished())) " of " (kit::number(counts.total()))
            " members have ended" @if status.closed_at.is_none() { ", and more can be added" } "."
        }
        ul.cards {
            @for (states, name, count) in cards {
                li { a href=(Fields::default().with("state", states).link(path)) {
                    span.value { (kit::number(count)) } span.name { (name) }
                } }
            }
        }
    }
}

fn facts(visitor: &Visitor, status: &BatchStatus) -> Markup {
    html! {
        h2 { "Facts" }
        dl.facts {
            dt { "Id" } dd { code { (status.id) } }
            @if let Some(parent) = status.parent { dt { "In the batch" } dd { (link(parent)) } }
            dt { "Opened" } dd { (kit::moment(status.opened_at, visitor)) }
            @if let Some(at) = status.closed_at { dt { "Closed" } dd { (kit::moment(at, visitor)) } }
            @if let Some(at) = status.cancelled_at { dt { "Cancelled" } dd { (kit::moment(at, visitor)) } }
            @if let Some(at) = status.finished_at { dt { "All had ended" } dd { (kit::moment(at, visitor)) } }
            @if let Some(at) = status.succeeded_at { dt { "All had completed" } dd { (kit::moment(at, visitor)) } }
            @if let Some(job) = status.finish_job { dt { "Job at its end" } dd { (kit::job_link(job)) } }
            @if let Some(job) = status.success_job { dt { "Job of its success" } dd { (kit::job_link(job)) } }
        }
    }
}

fn acts(visitor: &Visitor, status: &BatchStatus) -> Markup {
    let (id, path) = (status.id, |act: &str| format!("/batches/{}/{act}", status.id));
    html! {
        @if visitor.may_everywhere(Scope::Operate) {
            section aria-label="What can be done" {
                h2 { "What can be done" }
                div.acts {
                    @if status.closed_at.is_none() {
                        (kit::button(visitor, &path("close"), "Close", Some(&format!("backroom batch close {id}"))))
                    } @else if status.cancelled_at.is_none() {
                        (kit::button(visitor, &path("reopen"), "Open again", Some(&format!("backroom batch reopen {id}"))))
                    }
                    @if status.counts.failed() > 0 {
                        (kit::button(visitor, &path("retry"), "Retry what failed", Some(&format!("backroom batch retry {id}"))))
                    }
                    @if status.cancelled_at.is_none() && (status.counts.live > 0 || status.closed_at.is_none()) {
                        (kit::opened("Cancel", html! {
                            form method="post" action=(path("cancel")) {
                                (kit::key(visitor))
                                p { "No job can be added any more, and each member that lives is cancelled." }
                                (super::bulk::inputs("cancel"))
                                button.danger type="submit" { "Cancel the batch" }
                                (kit::cli(&format!("backroom batch cancel {id}")))
                            }
                        }))
                    }
                }
            }
        }
    }
}

async fn act(
    State(state): State<AppState>,
    Path((id, act)): Path<(String, String)>,
    posted: Posted,
) -> Answer {
    let Posted { visitor, fields } = posted;
    let batch = find(&state, &visitor, Scope::Operate, &id)?;
    let said = match act.as_str() {
        "close" => "batch-closed",
        "reopen" => "batch-reopened",
        "cancel" => "batch-cancelled",
        "retry" => "batch-retried",
        _ => return Err(Trouble::invalid("the act is none that can be done to a batch")),
    };
    let reason = fields.get("reason").unwrap_or("its batch was cancelled by hand");
    backroom::core::bounds::check_text("reason", reason, backroom::core::bounds::MESSAGE_BYTES_MAX)?;
    visitor.record(&state, &format!("batch.{act}"), &batch.id().to_string(), None::<&()>).await?;
    match act.as_str() {
        "close" => drop(batch.close().await?),
        "reopen" => drop(batch.reopen().await?),
        "cancel" => drop(batch.cancel(reason).await?),
        _ => drop(batch.retry_failed().await?),
    }
    state.pages.counted.changed();
    Ok(frame::done(&format!("/batches/{}", batch.id()), said))
}
