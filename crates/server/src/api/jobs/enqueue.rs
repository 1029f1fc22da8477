//! Putting jobs in: one, or many together.

use axum::{
    Extension,
    extract::{FromRequest as _, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use backroom::{ChosenJob, Inserted, JobId};
use serde::{Deserialize, Serialize};
use tracing::Instrument as _;
use utoipa::IntoParams;

use super::{
    answer, lines,
    reach::{check_named, check_predecessors},
    wait::Wait,
};
use crate::{
    api::{
        around::Deadline,
        body::{JsonBytes, media_type},
        caller::{Caller, Scope},
        codes::Code,
        extract::Query,
        once::{self, Once, Pass},
        problem::{Problem, Problems},
    },
    bodies::NewJob,
    config,
    serve::AppState,
    views::{Enqueued, EnqueuedBatch, JobSchema, JobView},
};

/// When a client reads a job again that was enqueued just now.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// How long to wait.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WaitQuery {
    /// Wait up to this long, like `30s`, for the end of the job. At most the setting `limits.wait_time`.
    wait: Option<String>,
}

/// Enqueue a job
///
/// Once this answers, the job is on disk. With `?wait=30s` or `Prefer: wait=30` the answer waits for the end of the job: 200 with the
/// whole job if it ended in time, else 202 as usual. With an `Idempotency-Key` a repeated request gets the first answer again; keys
/// are retained for 24 hours.
#[utoipa::path(
    post,
    path = "/v1/jobs",
    operation_id = "enqueue_job",
    tag = "jobs",
    params(
        WaitQuery,
        ("Idempotency-Key" = Option<String>, Header, description = "Carries the request out once, however often it is sent."),
        ("Prefer" = Option<String>, Header, description = "`wait=30`: wait up to 30 seconds for the end of the job.")
    ),
    request_body = NewJob,
    responses(
        (status = 200, description = "The job ended while the request waited.", body = JobSchema),
        (status = 202, description = "The job is stored.", body = Enqueued,
            headers(("location" = String, description = "Where the job is read."),
                ("retry-after" = u64, description = "After how many seconds to read it."))),
        Problems
    )
)]
pub(super) async fn one(
    State(state): State<AppState>,
    caller: Caller,
    Extension(deadline): Extension<Deadline>,
    Query(query): Query<WaitQuery>,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response, Problem> {
    caller.require(Scope::Enqueue)?;
    let wait = Wait::asked(query.wait.as_deref(), &headers)?;
    let new: NewJob = body.read()?;
    check_new(&state, &caller, &new)?;
    if wait.is_some() && !caller.sees(new.queue()) {
        let why = format!(
            "queue {:?} is for some tokens only, and the end of a job shows its output; leave `wait` out",
            new.queue()
        );
        return Err(Problem::new(Code::Forbidden, why));
    }
    // Without one of its own, the id follows from the request's key, which is read below.
    let now = state.backroom.clock().now();
    let new = new.chosen(JobId(uuid::Uuid::nil()), traceparent(&state, &headers), now)?;
    check_predecessors(&state, &caller, &new.after).await?;
    let pass = match once::begin(&state, &caller, &headers, "POST /v1/jobs", &body.0).await? {
        Once::Go(pass) => pass,
        Once::Replay(response) => return Ok(response),
    };
    let stored = if pass.is_recorded() {
        let of_task = state.clone();
        // A client that leaves must not stop what it began: the record of its key would stay open.
        let storing = async move {
            let stored = store_one(&of_task, &pass, new).await;
            end(&pass, &stored).await;
            stored
        };
        let storing = tokio::spawn(storing.in_current_span());
        storing.await.map_err(|_| Problem::new(Code::Internal, "the server failed"))??
    } else {
        store_one(&state, &pass, new).await?
    };
    let Some(wait) = wait else { return Ok(stored.into_response()) };
    // Nothing of the request is held while it waits.
    drop((headers, body));
    let job = wait.wait(&state, &deadline, stored.id, |job| job.state.is_finished()).await?;
    // The job that holds a unique key may be in a queue that the caller does not see.
    let mut response = if job.state.is_finished() && caller.sees(&job.queue) {
        let view = JobView::of(&state.backroom, job);
        answer::job(&view, StatusCode::OK, &HeaderMap::new())
    } else {
        stored.into_response()
    };
    if let Some(applied) = wait.applied() {
        response.headers_mut().insert("preference-applied", applied);
    }
    Ok(response)
}

/// The answer to a request that stored something.
struct Stored {
    id: JobId,
    status: StatusCode,
    location: Option<String>,
    body: String,
}

impl Stored {
    fn new<T: Serialize>(id: JobId, location: Option<String>, answer: &T) -> Self {
        let body = serde_json::to_string(answer).expect("invariant: ids and words are JSON");
        Self { id, status: StatusCode::ACCEPTED, location, body }
    }

    fn into_response(self) -> Response {
        let mut response =
            (self.status, [(header::CONTENT_TYPE, "application/json")], self.body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        if let Some(location) = self.location.and_then(|location| HeaderValue::from_str(&location).ok()) {
            headers.insert(header::LOCATION, location);
        }
        response
    }
}

async fn end(pass: &Pass, stored: &Result<Stored, Problem>) {
    match stored {
        Ok(stored) => pass.answered(stored.status, stored.location.as_deref(), &stored.body).await,
        Err(problem) => pass.failed(problem).await,
    }
}

async fn store_one(state: &AppState, pass: &Pass, new: ChosenJob) -> Result<Stored, Problem> {
    // An id that a caller chose may be stored already.
    let is_repeated = pass.is_repeated || new.draft.id.is_some();
    let id = new.draft.id.unwrap_or_else(|| pass.id(0));
    let chosen = vec![ChosenJob { id, ..new }];
    let inserted = state.backroom.enqueue_chosen_linked(chosen, pass.at, is_repeated).await?;
    let inserted = inserted.first().copied().unwrap_or(Inserted::Created);
    if let Inserted::KeyHeld(holder) = inserted {
        let why = format!("job {holder} holds the unique key");
        return Err(Problem::new(Code::KeyHeld, why).member("holder", holder.to_string()));
    }
    let enqueued = Enqueued::new(id, inserted);
    Ok(Stored::new(enqueued.id, Some(answer::location(enqueued.id)), &enqueued))
}

/// Enqueue many jobs
///
/// `application/json`: an array of jobs, stored in one transaction: all of them or none. A unique key that is held is no failure, but
/// the outcome of its job. `application/x-ndjson`: a stream of jobs, one on each line, in both directions: jobs are stored as they come, in
/// batches, and each line is answered, in order, with its outcome or with a problem document. Lines that are wrong do not stop
/// the others. If the connection is cut, what was answered is stored; of the lines without an answer some may be.
#[utoipa::path(
    post,
    path = "/v1/jobs/batch",
    operation_id = "enqueue_jobs",
    tag = "jobs",
    params(("Idempotency-Key" = Option<String>, Header,
        description = "Carries the request out once, however often it is sent. Not for streams.")),
    request_body(content((Vec<NewJob> = "application/json"), (String = "application/x-ndjson"))),
    responses(
        (status = 200, description = "The stream of answers, one line for each line.", body = String, content_type = "application/x-ndjson"),
        (status = 202, description = "The jobs are stored.", body = EnqueuedBatch),
        Problems
    )
)]
pub(super) async fn batch(
    State(state): State<AppState>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    caller.require(Scope::Enqueue)?;
    let headers = request.headers().clone();
    match media_type(&headers).as_deref() {
        Some("application/x-ndjson" | "application/jsonl") => return lines::answer(state, caller, request),
        Some("application/json") => {}
        _ => {
            let why = "the route reads application/json and application/x-ndjson";
            return Err(Problem::new(Code::UnsupportedMediaType, why));
        }
    }
    let body = JsonBytes::from_request(request, &state).await?;
    let new: Vec<NewJob> = body.read()?;
    let most = state.settings.now().limits.batch_jobs;
    if new.len() as u64 > most {
        let why = format!("the array has {} jobs; at most {most} are allowed", new.len());
        return Err(Problem::new(Code::BodyTooLarge, why));
    }
    new.iter().try_for_each(|new| check_new(&state, &caller, new))?;
    let (traceparent, now) = (traceparent(&state, &headers), state.backroom.clock().now());
    let drafts = new.into_iter().enumerate().map(|(number, new)| {
        new.chosen(JobId(uuid::Uuid::nil()), traceparent, now)
            .map_err(|invalid| Problem::new(Code::Invalid, format!("job {number}: {invalid}")))
    });
    let drafts: Vec<_> = drafts.collect::<Result<_, _>>()?;
    for new in &drafts {
        check_predecessors(&state, &caller, &new.after).await?;
    }
    let pass = match once::begin(&state, &caller, &headers, "POST /v1/jobs/batch", &body.0).await? {
        Once::Go(pass) => pass,
        Once::Replay(response) => return Ok(response),
    };
    let storing = async move {
        let stored = store_many(&state, &pass, drafts).await;
        end(&pass, &stored).await;
        stored
    };
    let storing = tokio::spawn(storing.in_current_span());
    let stored = storing.await.map_err(|_| Problem::new(Code::Internal, "the server failed"))?;
    Ok(stored?.into_response())
}

async fn store_many(state: &AppState, pass: &Pass, drafts: Vec<ChosenJob>) -> Result<Stored, Problem> {
    // An id that a caller chose may be stored already.
    let is_repeated = pass.is_repeated || drafts.iter().any(|new| new.draft.id.is_some());
    let with_id = |(number, new): (usize, ChosenJob)| {
        let id = new.draft.id.unwrap_or_else(|| pass.id(number));
        ChosenJob { id, ..new }
    };
    let chosen: Vec<_> = drafts.into_iter().enumerate().map(with_id).collect();
    let ids: Vec<JobId> = chosen.iter().map(|chosen| chosen.id).collect();
    let inserted = state.backroom.enqueue_chosen_linked(chosen, pass.at, is_repeated).await?;
    let jobs = ids.into_iter().zip(inserted).map(|(id, inserted)| Enqueued::new(id, inserted)).collect();
    Ok(Stored::new(pass.id(0), None, &EnqueuedBatch { jobs }))
}

/// Whether the caller may enqueue into a queue.
pub(crate) fn check_queue(caller: &Caller, queue: &str) -> Result<(), Problem> {
    caller.require_in(Scope::Enqueue, queue)?;
    if queue.starts_with("backroom.") {
        let why = format!(
            "queue {queue:?} belongs to Backroom itself; choose a name that does not begin with backroom."
        );
        return Err(Problem::new(Code::Invalid, why));
    }
    Ok(())
}

/// Whether the caller may enqueue a job: into its queue, and with the messages that it asks for.
pub(in crate::api) fn check_new(state: &AppState, caller: &Caller, new: &NewJob) -> Result<(), Problem> {
    let queue = new.queue();
    check_queue(caller, queue)?;
    if state.access.is_secure(queue) && new.informs(|reply_to| !state.access.is_secure(reply_to)) {
        // Its output would reach the program that takes the message.
        let why = format!(
            "queue {queue:?} is for some tokens only, and a message about the job would carry its output elsewhere; leave `callback` out, and \
             reply to a queue that is for these tokens, too"
        );
        return Err(Problem::new(Code::Forbidden, why));
    }
    check_named(caller, new)?;
    match new.reply_to().map(|reply_to| config::brokers::refuses(&state.settings.now(), reply_to)) {
        Some(Err(why)) => Err(Problem::new(Code::Invalid, format!("reply_to: {why}"))),
        Some(Ok(())) | None => Ok(()),
    }
}

/// The span that the request names, for its jobs to continue, if that is possible. Where spans are exported, jobs continue the span
/// of their enqueue, which lies below that of the request.
pub(in crate::api) fn traceparent<'a>(state: &AppState, headers: &'a HeaderMap) -> Option<&'a str> {
    if state.backroom.trace_context().is_some() {
        return None;
    }
    let named = headers.get("traceparent")?.to_str().ok()?;
    backroom::core::trace::check_traceparent(named).is_ok().then_some(named)
}
