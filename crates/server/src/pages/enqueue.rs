//! `/enqueue`: a job by form, also once more with other args.

use std::time::Duration;

use axum::{
    Router,
    extract::{OriginalUri, State},
    response::IntoResponse as _,
    routing::get,
};
use backroom::{
    Draft, Inserted, JobId, JobRow, Json, Scope,
    core::{Extras, draft::When, redact::HIDDEN, sealed::Sealed},
};
use maud::{Markup, html};

use super::{Answer, Fields, Page, Posted, Section, Trouble, Visitor, bulk, frame, job, kit, selection};
use crate::{api::jobs::check_queue, bodies::check_id_is_new, serve::AppState};

/// How long a form may lie open: its id is that of the job.
const FORM_SPAN: Duration = Duration::from_secs(24 * 3600);

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/enqueue", get(form).post(enqueue))
}

async fn form(State(state): State<AppState>, visitor: Visitor, OriginalUri(uri): OriginalUri) -> Answer {
    visitor.caller.require(Scope::Enqueue)?;
    let query = Fields::parse(uri.query().unwrap_or_default());
    let from = match query.get("from") {
        Some(id) => Some(job::read(&state, &visitor, id).await?),
        None => None,
    };
    // Chosen now: a form that is sent twice makes one job.
    let id = state.ids.job(visitor.now);
    let body = fields(&visitor, id, from.as_ref());
    Ok(Page::new("Enqueue a job", Section::Jobs, &visitor, body).into_response())
}

fn fields(visitor: &Visitor, id: JobId, from: Option<&JobRow>) -> Markup {
    let kind = from.map(|job| job.kind.as_str());
    let queue = from.map_or(backroom::core::draft::QUEUE_DEFAULT, |job| job.queue.as_str());
    // Sealed args are for the job that has them.
    let args = from.map(|job| job.args.as_str()).filter(|args| Sealed::of(args).is_none()).unwrap_or("{}");
    let priority = from.map_or(5, |job| job.priority);
    let tags = from.map(|job| job.tags.join(" ")).unwrap_or_default();
    html! {
        form.stack method="post" action="/enqueue" {
            (kit::key(visitor))
            input type="hidden" name="id" value=(id);
            label for="kind" { "Kind" }
            input #kind name="kind" required maxlength="128" value=[kind];
            label for="queue" { "Queue" }
            input #queue name="queue" required maxlength="128" value=(queue);
            label for="args" { "Args, as JSON" }
            @if args.contains(HIDDEN) { p { "Fill in what is hidden: the new job gets the args as they stand here." } }
            textarea #args name="args" rows="10" spellcheck="false" { (args) }
            (bulk::inputs_of_priority("priority", priority))
            label for="at" { "When: empty for now, in 2h, or 2026-01-31 09:00 (UTC)" }
            input #at name="at";
            label for="attempts" { "Attempts allowed" }
            input #attempts name="attempts" type="number" min="1" max="10000" value=[from.map(|job| job.max_attempts)];
            label for="tags" { "Tags, with spaces between them" }
            input #tags name="tags" value=(tags);
            label for="lane" { "Lane, empty for none" }
            input #lane name="lane" maxlength="128" value=[from.and_then(|job| job.lane.as_deref())];
            @if let Some(job) = from {
                input type="hidden" name="from" value=(job.id);
                p { "The new job gets the timeout, the retries and the meta of the earlier one, too. It gets no unique key, no reply, no callback and no batch, and runs after no other job." }
            }
            button.primary type="submit" { "Enqueue" }
            (kit::cli("backroom enqueue KIND ARGS --queue QUEUE"))
        }
    }
}

async fn enqueue(State(state): State<AppState>, posted: Posted) -> Answer {
    let Posted { visitor, fields } = posted;
    let queue = fields.get("queue").unwrap_or(backroom::core::draft::QUEUE_DEFAULT);
    check_queue(&visitor.caller, queue)?;
    let id: JobId = fields.get("id").unwrap_or_default().parse()?;
    check_id_is_new(id, visitor.now, FORM_SPAN)?;
    let from = match fields.get("from") {
        // It may have been deleted since the form was made; then the new job would silently miss what is carried over.
        Some(id) => Some(job::read(&state, &visitor, id).await?),
        None => None,
    };
    let draft = draft(&visitor, &fields, queue, from)?;
    visitor.record(&state, "job.enqueue", &id.to_string(), Some(&(&draft.kind, queue))).await?;
    let inserted = state.backroom.enqueue_chosen(vec![(id, draft)], visitor.now, true).await?;
    state.pages.counted.changed();
    let (id, said) = match inserted.first() {
        Some(Inserted::Duplicate(held) | Inserted::KeyHeld(held)) => (*held, "held"),
        Some(Inserted::Replaced(held)) => (*held, "changed"),
        Some(Inserted::Created) | None => (id, "enqueued"),
    };
    Ok(frame::done(&format!("/jobs/{id}"), said))
}

fn draft(visitor: &Visitor, fields: &Fields, queue: &str, from: Option<JobRow>) -> Result<Draft, Trouble> {
    let args = Json::parse(fields.get("args").unwrap_or("null"))?;
    let defaults = Draft::new(fields.get("kind").unwrap_or_default(), args);
    let start = match fields.get("at") {
        Some(text) => When::At(selection::moment_ahead("when", text, visitor.now)?),
        None => When::Now,
    };
    let attempts = fields.get("attempts").map(|text| {
        text.parse()
            .map_err(|_| Trouble::invalid(format!("the number of attempts is {text:?}; use 1 to 10000")))
    });
    let words = fields.get("tags").unwrap_or_default().split_whitespace();
    let carried = from.map(|job| job.extras);
    let extras = carried.map(|extras| Extras {
        timeout: extras.timeout,
        retry: extras.retry.clone(),
        meta: extras.meta.clone(),
        ..Extras::default()
    });
    Ok(Draft {
        lane: fields.get("lane").map(str::to_owned),
        extras: extras.unwrap_or_default(),
        queue: queue.to_owned(),
        priority: bulk::priority(fields, "priority")?,
        start,
        max_attempts: attempts.transpose()?,
        tags: words.map(str::to_owned).collect(),
        ..defaults
    })
}
