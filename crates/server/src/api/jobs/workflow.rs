//! Workflows: their journals, and signals to them.

use axum::{Json, extract::State, http::StatusCode};
use backroom::Json as Text;

use super::{
    find,
    reveal::{Reveal, RevealQuery},
};
use crate::{
    api::{
        body::JsonBytes,
        caller::{Caller, Scope},
        extract::{Path, Query},
        problem::{Problem, Problems},
    },
    bodies::Signal,
    serve::AppState,
    views::{JobJournal, JournalView, SignalSent},
};

/// Read the journal of a workflow
///
/// What the workflow has asked for, and what came of it: steps, timers, signals, children. The value that it last published answers
/// queries, also while it is parked.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/journal",
    operation_id = "journal_job",
    tag = "jobs",
    params(("id" = String, Path, description = "The job.", format = "uuid"), RevealQuery),
    responses((status = 200, description = "The journal.", body = JobJournal), Problems)
)]
pub(super) async fn journal(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<RevealQuery>,
) -> Result<Json<JobJournal>, Problem> {
    let job = find(&state, &caller, Scope::Read, &id).await?;
    let reveal = Reveal::asked(&state, &caller, query.reveal, &job).await?;
    let (job, redacted) = reveal.redacted(&state.backroom, job);
    let journal = state.backroom.journal(job.id).await?;
    let journal = journal.map(|journal| JournalView::new(redacted.journal(journal)));
    Ok(Json(JobJournal { journal }))
}

/// Send a signal to a workflow
///
/// It may come before the workflow waits for it. Signals of one name are taken in the order in which they came, each once.
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/signals",
    operation_id = "signal_job",
    tag = "jobs",
    params(("id" = String, Path, description = "The job.", format = "uuid")),
    request_body = Signal,
    responses((status = 202, description = "The signal is stored.", body = SignalSent), Problems)
)]
pub(super) async fn signal(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    body: JsonBytes,
) -> Result<(StatusCode, Json<SignalSent>), Problem> {
    let job = find(&state, &caller, Scope::Enqueue, &id).await?;
    let Signal { name, value, id } = body.read()?;
    let value = value.unwrap_or_else(Text::null);
    match id {
        Some(id) => state.backroom.signal_as(job.id, &name, value, id).await?,
        None => state.backroom.signal(job.id, &name, &value).await?,
    }
    Ok((StatusCode::ACCEPTED, Json(SignalSent { workflow: job.id, name })))
}
