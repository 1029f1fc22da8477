//! What is hidden of a job, for an admin who asks for it: a page that is made once, after the audit log says who asked.

use axum::{
    Router,
    extract::{Path, State},
    response::IntoResponse as _,
    routing::post,
};
use backroom::{JobRow, Redacted, Scope};
use maud::{Markup, html};

use super::{Answer, Page, Posted, Section, Visitor, job, kit};
use crate::{api::jobs::find, serve::AppState};

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/jobs/{id}/reveal", post(reveal))
}

/// The button that shows what is hidden, if something is, for those who may see it.
pub(super) fn button(visitor: &Visitor, job: &JobRow, redacted: &Redacted) -> Markup {
    html! {
        @if !redacted.is_empty() && visitor.may_in(Scope::Admin, &job.queue) {
            p.muted { "The audit log says who asked for hidden fields." }
            (kit::button(visitor, &format!("/jobs/{}/reveal", job.id), "Show what is hidden", Some(&format!("backroom job {} --reveal", job.id))))
        }
    }
}

async fn reveal(State(state): State<AppState>, Path(id): Path<String>, posted: Posted) -> Answer {
    let visitor = posted.visitor;
    let job = find(&state, &visitor.caller, Scope::Admin, &id).await?;
    visitor.caller.require_in(Scope::Admin, &job.queue)?;
    visitor.record(&state, "job.reveal", &job.id.to_string(), None::<&()>).await?;
    let nothing = Redacted::default();
    let attempts = state.backroom.attempts(job.id).await?;
    let lines = job::newest_lines(&state, job.id, &nothing).await?;
    let journal = super::journal::read(&state, &job, &nothing).await?;
    let body = html! {
        p.notice.warn { "This page shows what is hidden from readers. The audit log says that you have seen it." }
        p { (kit::state(job.shown(visitor.now))) " " code { (job.id) }
            @if let Some(reason) = &job.reason { ": " (kit::shown(reason)) } }
        @if let Some(progress) = &job.progress { p { (progress.percent) " % " (kit::shown(&progress.message)) } }
        (job::carried(&job))
        p.muted { "The files to download hide it all the same. " (kit::cli(&format!("backroom job {} --reveal --json", job.id))) " has all of it." }
        @if let Some(journal) = &journal { (super::journal::timeline(&visitor, journal)) }
        (job::timeline(&visitor, &job, &attempts))
        (job::lines_of(&job, &lines))
        p { a href=(format!("/jobs/{}", job.id)) { "Back to the job" } }
    };
    let title = format!("Job {}, with what is hidden", kit::shown(&job.kind));
    Ok(Page::new(title, Section::Jobs, &visitor, body).into_response())
}
