//! The part of a job's page that shows a workflow: its journal as a timeline, and the form that sends a signal.

use axum::{
    Router,
    extract::{Path, State},
    routing::post,
};
use backroom::{
    JobRow, Json, Redacted, Scope,
    core::{bounds::clip, sealed},
};
use maud::{Markup, html};
use uuid::Uuid;

use super::{Answer, Posted, Trouble, Visitor, frame, kit};
use crate::{
    api::jobs::find,
    serve::AppState,
    views::{
        JournalView,
        journal::{ArrivalView, EntryView},
    },
};

/// Entries on the page, the newest; the command line shows all.
const ENTRIES_MAX: usize = 60;
/// So much of a value stands on the page.
const VALUE_BYTES_MAX: usize = 200;

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/jobs/{id}/signal", post(signal))
}

/// The journal of a job, if it is a workflow that has begun.
pub(super) async fn read(
    state: &AppState,
    job: &JobRow,
    redacted: &Redacted,
) -> Result<Option<JournalView>, Trouble> {
    let journal = state.backroom.journal(job.id).await?;
    Ok(journal.map(|journal| JournalView::new(redacted.journal(journal))))
}

/// The journal as a timeline.
pub(super) fn timeline(visitor: &Visitor, journal: &JournalView) -> Markup {
    let skipped = journal.entries.len().saturating_sub(ENTRIES_MAX);
    html! {
        h2 { "Workflow" }
        dl.facts {
            dt { "Began" } dd { (kit::moment(journal.began_at, visitor)) @if journal.generation > 0 { ", generation " (journal.generation) } }
            @if let Some(at) = journal.wake_at { dt { "Wakes" } dd { (kit::moment(at, visitor)) } }
            @if let Some(published) = &journal.published { dt { "Published" } dd { code { (value(published)) } } }
        }
        @if let Some(why) = &journal.blocked { p.notice.bad { "The code of this deploy cannot run it: " (kit::shown(why)) } }
        @if let Some(why) = &journal.undoes { p.notice.warn { "It undoes what it has done: " (kit::shown(why)) } }
        @if skipped > 0 { p { (skipped) " earlier entries are left out." } }
        ol.timeline { @for entry in &journal.entries[skipped..] { (entry_of(visitor, entry)) } }
        @if !journal.waiting.is_empty() {
            h2 { "Arrived, and not taken yet" }
            ul { @for arrival in journal.waiting.iter().take(ENTRIES_MAX) { (arrival_of(visitor, arrival)) } }
        }
    }
}

fn entry_of(visitor: &Visitor, entry: &EntryView) -> Markup {
    let class = match entry.state.as_str() {
        "done" => "completed",
        "failed" | "lost" => "discarded",
        "timed_out" | "trying" => "retrying",
        _ => "waiting",
    };
    html! {
        li {
            strong { (entry.kind) " " (kit::shown(&entry.key)) } " "
            span class={ "state " (class) } { (entry.state) }
            @if let Some(tries) = entry.tries { ", " (tries) " tries" }
            @if let Some(at) = entry.ended_at { " " (kit::moment(at, visitor)) }
            @else if let Some(at) = entry.began_at { " since " (kit::moment(at, visitor)) }
            @if let Some(until) = entry.until { ", until " (kit::moment(until, visitor)) }
            @if let Some(signal) = &entry.signal { ", waits for the signal " code { (kit::shown(signal)) } }
            @if let Some(child) = entry.child { ", job " (kit::job_link(child)) }
            @if let Some(answer) = &entry.value { " " code { (value(answer)) } }
            @if let Some(error) = &entry.error { pre { (kit::shown(&clip(&sealed::shown(error), 400))) } }
            @if let Some(undo) = &entry.undo { span.muted { " compensation: " (undo.state) } }
        }
    }
}

fn arrival_of(visitor: &Visitor, arrival: &ArrivalView) -> Markup {
    html! {
        li {
            (arrival.kind) " " (kit::shown(&arrival.name)) " " (kit::moment(arrival.at, visitor))
            @if let Some(carried) = &arrival.value { " " code { (value(carried)) } }
        }
    }
}

fn value(value: &Json) -> String {
    kit::shown(&clip(&sealed::shown(value.as_str()), VALUE_BYTES_MAX)).into_owned()
}

/// The form that sends a signal. `id` names the signal, so that a form that is sent twice sends one.
pub(super) fn form(visitor: &Visitor, job: &JobRow, id: Uuid) -> Markup {
    kit::opened(
        "Send a signal",
        html! {
            form method="post" action=(format!("/jobs/{}/signal", job.id)) {
                (kit::key(visitor))
                input type="hidden" name="id" value=(id);
                label for="signal" { "Name of the signal" }
                input #signal name="name" required maxlength="128";
                label for="carried" { "What it carries, as JSON" }
                textarea #carried name="value" rows="3" spellcheck="false" { "null" }
                button type="submit" { "Send the signal" }
                (kit::cli(&format!("backroom signal {} NAME JSON", job.id)))
            }
        },
    )
}

async fn signal(State(state): State<AppState>, Path(id): Path<String>, posted: Posted) -> Answer {
    let Posted { visitor, fields } = posted;
    let job = find(&state, &visitor.caller, Scope::Enqueue, &id).await?;
    let name = fields.get("name").unwrap_or_default();
    backroom::core::bounds::check_name("signal", name)?;
    let value = Json::parse(fields.get("value").unwrap_or("null"))?;
    let id = Uuid::try_parse(fields.get("id").unwrap_or_default());
    let id = id.map_err(|_| Trouble::invalid("the id of the signal is no UUID"))?;
    visitor.record(&state, "job.signal", &job.id.to_string(), Some(&[("name", name)])).await?;
    state.backroom.signal_as(job.id, name, value, id).await?;
    Ok(frame::done(&format!("/jobs/{}", job.id), "signalled"))
}
