//! Reading jobs and what belongs to them.

use axum::{
    Extension, Json,
    extract::{OriginalUri, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use backroom::JobId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    answer, filter, find, require,
    reveal::{Reveal, RevealQuery},
    wait::Wait,
};
use crate::{
    api::{
        around::Deadline,
        caller::{Caller, Scope},
        codes::Code,
        extract::{Path, Query},
        problem::{Problem, Problems},
    },
    bodies::Select,
    serve::AppState,
    views::{Attempts, JobPage, JobSchema, Logs, Reasons},
};

/// Jobs on a page that names no limit.
const LIMIT_DEFAULT: usize = 50;

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// In one of these states, as stored or as shown, with commas between them.
    #[param(example = "available,retrying")]
    state: Option<String>,
    /// Of this queue.
    queue: Option<String>,
    /// Of this kind.
    kind: Option<String>,
    /// With this tag.
    tag: Option<String>,
    /// Of this lane.
    lane: Option<String>,
    /// That this worker runs, or ran last.
    worker: Option<String>,
    /// Of this priority.
    #[param(maximum = 9)]
    priority: Option<u8>,
    /// With this text in the reason or in the error of an attempt; upper and lower case differ.
    error: Option<String>,
    /// Of this batch.
    #[param(value_type = Option<String>, format = "uuid")]
    batch: Option<backroom::BatchId>,
    /// Not those that were discarded because they took worker processes down with them. Default false.
    #[serde(default)]
    not_poison: bool,
    /// Enqueued at or after this moment.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<backroom::Timestamp>,
    /// Enqueued before this moment.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<backroom::Timestamp>,
    /// Ended at or after this moment.
    #[param(value_type = Option<String>, format = DateTime)]
    ended: Option<backroom::Timestamp>,
    /// Most jobs on the page, 1 to 1000. Default 50.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Continue below the job of this id: `next` of the page before.
    #[param(value_type = Option<String>, format = "uuid")]
    before: Option<JobId>,
}

/// List jobs
///
/// The newest first, page by page. A page can end early when its jobs are large; `next`, and the `Link` with the relation `next`, lead to
/// the page after it.
#[utoipa::path(
    get,
    path = "/v1/jobs",
    operation_id = "list_jobs",
    tag = "jobs",
    params(PageQuery),
    responses((status = 200, description = "A page of jobs.", body = JobPage), Problems)
)]
pub(super) async fn list(
    State(state): State<AppState>,
    caller: Caller,
    OriginalUri(uri): OriginalUri,
    Query(query): Query<PageQuery>,
) -> Result<Response, Problem> {
    require(&caller, Scope::Read)?;
    let PageQuery {
        state: word,
        queue,
        kind,
        tag,
        lane,
        worker,
        priority,
        error,
        batch,
        not_poison,
        since,
        until,
        ended,
        limit,
        before,
    } = query;
    let select = Select {
        state: word,
        queue,
        kind,
        tag,
        lane,
        worker,
        priority,
        error,
        batch,
        not_poison,
        since,
        until,
        ended,
    };
    let filter = filter::of(&select, &state, &caller).await?;
    let page = state.backroom.list(filter, before, limit.unwrap_or(LIMIT_DEFAULT)).await?;
    let next_uri = page.next.map(|next| {
        let others = uri.query().unwrap_or_default().split('&');
        let others = others.filter(|pair| !pair.is_empty() && !pair.starts_with("before="));
        let pairs: Vec<String> = others.map(str::to_owned).chain([format!("before={next}")]).collect();
        format!("{}?{}", uri.path(), pairs.join("&"))
    });
    Ok(answer::page(JobPage::of(&state.backroom, page), next_uri))
}

/// How long to wait.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WaitQuery {
    /// Wait up to this long, like `30s`: with `If-None-Match` until the job has changed, else until it has ended.
    wait: Option<String>,
    /// Show fields that are hidden from readers. It takes the scope `admin`, and is written into the audit log. Default false.
    #[serde(default)]
    reveal: bool,
}

/// Read a job
///
/// With `If-None-Match` the answer is 304 while the job has not changed. With `?wait=30s` the answer waits: for a change if
/// `If-None-Match` names the version that the client has, else for the end of the job.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}",
    operation_id = "read_job",
    tag = "jobs",
    params(
        ("id" = String, Path, description = "The job.", format = "uuid"),
        WaitQuery,
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of the version that the client has."),
        ("Prefer" = Option<String>, Header, description = "`wait=30` is the same as `?wait=30`.")
    ),
    responses(
        (status = 200, description = "The job.", body = JobSchema, headers(("etag" = String, description = "Its version."))),
        (status = 304, description = "The client has this version."),
        Problems
    )
)]
pub(super) async fn one(
    State(state): State<AppState>,
    caller: Caller,
    Extension(deadline): Extension<Deadline>,
    Path(id): Path<String>,
    Query(query): Query<WaitQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wait = Wait::asked(query.wait.as_deref(), &headers)?;
    let versions = answer::versions(&headers);
    drop(headers);
    let found = find(&state, &caller, Scope::Read, &id).await?;
    let reveal = Reveal::asked(&state, &caller, query.reveal, &found).await?;
    let job = if let Some(wait) = wait {
        let id = found.id;
        // It is read again, and not held while the answer waits.
        drop(found);
        let waits_for_change = versions.contains_key(header::IF_NONE_MATCH);
        let is_news =
            |job: &backroom::JobRow| answer::is_news(&reveal.view(&state.backroom, job.clone()), &versions);
        let done = |job: &backroom::JobRow| job.state.is_finished() || (waits_for_change && is_news(job));
        let job = wait.wait(&state, &deadline, id, done).await?;
        // It may have been moved meanwhile.
        if !caller.sees(&job.queue) {
            return Err(Problem::new(
                Code::NotFound,
                format!("there is no job {id} that this token reaches"),
            ));
        }
        job
    } else {
        found
    };
    let view = reveal.view(&state.backroom, job);
    let mut response = answer::job(&view, StatusCode::OK, &versions);
    if let Some(applied) = wait.and_then(Wait::applied) {
        response.headers_mut().insert("preference-applied", applied);
    }
    Ok(response)
}

/// Read the output of a job
///
/// The JSON that its handler returned, as it was written. A job that is not completed has none.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/output",
    operation_id = "output_job",
    tag = "jobs",
    params(("id" = String, Path, description = "The job.", format = "uuid"), RevealQuery),
    responses((status = 200, description = "The output.", body = serde_json::Value), Problems)
)]
pub(super) async fn output(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<RevealQuery>,
) -> Result<Response, Problem> {
    let job = find(&state, &caller, Scope::Read, &id).await?;
    let reveal = Reveal::asked(&state, &caller, query.reveal, &job).await?;
    let job = reveal.redacted(&state.backroom, job).0;
    match job.output {
        Some(output) => {
            Ok(([(header::CONTENT_TYPE, "application/json")], output.as_str().to_owned()).into_response())
        }
        None if job.state.is_finished() => {
            let why = job.reason.unwrap_or_default();
            Err(Problem::new(Code::Unsuccessful, format!("the job was {}: {why}", job.state)))
        }
        None => Err(Problem::new(Code::Refused, format!("the job is {}; it has no output yet", job.state))),
    }
}

/// Read the attempts of a job that did not succeed
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/attempts",
    operation_id = "attempts_job",
    tag = "jobs",
    params(("id" = String, Path, description = "The job.", format = "uuid"), RevealQuery),
    responses((status = 200, description = "The attempts.", body = Attempts), Problems)
)]
pub(super) async fn attempts(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<RevealQuery>,
) -> Result<Json<Attempts>, Problem> {
    let job = find(&state, &caller, Scope::Read, &id).await?;
    let reveal = Reveal::asked(&state, &caller, query.reveal, &job).await?;
    let (job, redacted) = reveal.redacted(&state.backroom, job);
    Ok(Json(Attempts::of(state.backroom.attempts(job.id).await?, &redacted)))
}

/// From where.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LogQuery {
    /// Pass over so many lines. Default 0.
    #[param(minimum = 0, maximum = 10000)]
    #[serde(default)]
    skip: u32,
    /// Show fields that are hidden from readers. It takes the scope `admin`, and is written into the audit log. Default false.
    #[serde(default)]
    reveal: bool,
}

/// Read what the handler of a job logged
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/logs",
    operation_id = "logs_job",
    tag = "jobs",
    params(("id" = String, Path, description = "The job.", format = "uuid"), LogQuery),
    responses((status = 200, description = "A page of lines, at most 1000.", body = Logs), Problems)
)]
pub(super) async fn logs(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<LogQuery>,
) -> Result<Json<Logs>, Problem> {
    let job = find(&state, &caller, Scope::Read, &id).await?;
    let skip = query.skip as usize;
    let reveal = Reveal::asked(&state, &caller, query.reveal, &job).await?;
    let (job, redacted) = reveal.redacted(&state.backroom, job);
    let log = state.backroom.log(job.id, skip).await?;
    let log: Vec<_> = log.into_iter().map(|line| redacted.line(line)).collect();
    let next = (!log.is_empty()).then_some(skip + log.len());
    Ok(Json(Logs { log, next }))
}

/// Explain why a job is where it is
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/explain",
    operation_id = "explain_job",
    tag = "jobs",
    params(("id" = String, Path, description = "The job.", format = "uuid"), RevealQuery),
    responses((status = 200, description = "The reasons.", body = Reasons), Problems)
)]
pub(super) async fn explain(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<RevealQuery>,
) -> Result<Json<Reasons>, Problem> {
    let job = find(&state, &caller, Scope::Read, &id).await?;
    let reveal = Reveal::asked(&state, &caller, query.reveal, &job).await?;
    let explained = state.backroom.explain(job.id).await?;
    let redacted = reveal.redacted(&state.backroom, explained.job).1;
    Ok(Json(Reasons::of(&explained.reasons, &redacted)))
}
