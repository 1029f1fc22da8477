//! `/jobs/{id}`: one job: why it is where it is, what was tried, what it carries, and what can be done about it.

use axum::{
    Router,
    body::Body,
    extract::{OriginalUri, Path, State},
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use backroom::{Attempt, BatchStatus, JobId, JobRow, LogLine, Redacted, Scope, State as Stored, Tree};
use maud::{Markup, html};

use super::{Answer, Fields, Page, Section, Trouble, Visitor, fields::escaped, kit};
use crate::{
    api::{codes::Code, jobs::find, problem::Problem},
    serve::AppState,
};

/// Attempts that stand on the page, the newest of them.
const ATTEMPTS_MAX: usize = 20;
/// Lines of the log that stand on the page.
const LINES_MAX: usize = 100;
/// Lines that are read at once. Nearly every log is shorter.
const LINES_READ: usize = 1000;
/// Bytes of an error that stand there without opening it.
const ERROR_BYTES_MAX: usize = 400;
/// Bytes of the log that stand on the page.
const LOG_BYTES_MAX: usize = 8 * 1024;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/jobs/{id}", get(page))
        .route("/jobs/{id}/args.json", get(args))
        .route("/jobs/{id}/output.json", get(output))
        .route("/jobs/{id}/log.txt", get(log))
        .route("/jobs/{id}/attempts.txt", get(attempts))
}

async fn page(
    State(state): State<AppState>,
    visitor: Visitor,
    Path(id): Path<String>,
    OriginalUri(uri): OriginalUri,
) -> Answer {
    let query = Fields::parse(uri.query().unwrap_or_default());
    let (job, redacted) = read_with(&state, &visitor, &id).await?;
    let is_workflow =
        super::journal::read(&state, &job, &redacted).await?.is_some() && !job.state.is_finished();
    let body = html! {
        (parts(&state, &visitor, &id).await?)
        // Its id names the signal, so that a form that is sent twice sends one. Live parts are the same for several visitors.
        @if is_workflow && visitor.may_in(Scope::Enqueue, &job.queue) {
            div.acts { (super::journal::form(&visitor, &job, state.ids.job(visitor.now).0)) }
        }
    };
    let title = format!("Job {}", kit::shown(&job.kind));
    let page = Page::new(title, Section::Jobs, &visitor, body).said(&query);
    Ok(page.live(format!("/jobs/{}", job.id)).into_response())
}

/// A job that the visitor may read, without what is hidden from readers.
pub(super) async fn read(state: &AppState, visitor: &Visitor, id: &str) -> Result<JobRow, Trouble> {
    Ok(read_with(state, visitor, id).await?.0)
}

/// The same, and what hides it in other texts about the job.
async fn read_with(state: &AppState, visitor: &Visitor, id: &str) -> Result<(JobRow, Redacted), Trouble> {
    Ok(state.backroom.redacted(find(state, &visitor.caller, Scope::Read, id).await?))
}

pub(super) async fn parts(state: &AppState, visitor: &Visitor, id: &str) -> Result<Markup, Trouble> {
    let id = read(state, visitor, id).await?.id;
    let mut explained = state.backroom.explain(id).await?;
    let (job, redacted) = state.backroom.redacted(explained.job);
    explained.job = job;
    let job = &explained.job;
    let attempts = state.backroom.attempts(id).await?;
    let journal = super::journal::read(state, job, &redacted).await?;
    let attempts: Vec<_> = attempts.into_iter().map(|attempt| redacted.attempt(attempt)).collect();
    let around = Around::read(state, visitor, job).await?;
    let log = newest_lines(state, id, &redacted).await?;
    Ok(html! {
        (kit::live("why", html! {
            p { (kit::state(job.shown(visitor.now))) " " code { (job.id) } }
            h2 { "Why it is where it is" }
            ul.why { @for reason in &explained.reasons { li { (kit::shown(&redacted.text(&reason.to_string()))) } } }
            @if let Some(progress) = &job.progress {
                p { (kit::bar("Progress", progress.percent.into())) " " (progress.percent) " % " (kit::shown(&progress.message)) }
            }
        }))
        (kit::live("facts", facts(visitor, job, around.batch.as_ref())))
        @if let Some(tree) = &around.tree { (kit::live("tree", super::picture::picture(tree))) }
        @if let Some(journal) = &journal { (kit::live("journal", super::journal::timeline(visitor, journal))) }
        (kit::live("attempts", timeline(visitor, job, &attempts)))
        (kit::live("log", lines_of(job, &log)))
        (kit::live("args", html! { (carried(job)) (super::reveal::button(visitor, job, &redacted)) }))
        (kit::live("acts", acts(visitor, job)))
    })
}

/// The end of a log.
pub(super) struct Log {
    lines: Vec<LogLine>,
    /// How many lines there are.
    count: usize,
}

/// The newest lines of a log, of however many.
pub(super) async fn newest_lines(state: &AppState, id: JobId, redacted: &Redacted) -> Result<Log, Trouble> {
    let store = state.backroom.store();
    let mut lines = store.logs(id, 0, LINES_READ).await?;
    let mut count = lines.len();
    // An answer may have fewer lines than there are, so only an empty one is the end.
    if count > 0 && !store.logs(id, count, 1).await?.is_empty() {
        let mut most = backroom::core::bounds::JOB_LOG_LINES_MAX as usize;
        while count < most {
            let half = count + (most - count) / 2;
            if store.logs(id, half, 1).await?.is_empty() { most = half } else { count = half + 1 }
        }
        lines = store.logs(id, count.saturating_sub(LINES_MAX), LINES_MAX).await?;
    }
    let lines = lines.split_off(lines.len().saturating_sub(LINES_MAX));
    Ok(Log { lines: lines.into_iter().map(|line| redacted.line(line)).collect(), count })
}

/// What a job is tied to. A visitor who does not reach all queues sees neither.
#[derive(Default)]
struct Around {
    tree: Option<Tree>,
    batch: Option<BatchStatus>,
}

impl Around {
    async fn read(state: &AppState, visitor: &Visitor, job: &JobRow) -> Result<Self, Trouble> {
        let Some(links) = job.links.as_deref().filter(|_| visitor.may_everywhere(Scope::Read)) else {
            return Ok(Self::default());
        };
        let is_in_tree = links.followed || links.after.is_some();
        let tree = match is_in_tree {
            true => Some(state.backroom.tree(job.id, super::picture::JOBS_MAX).await?),
            false => None,
        };
        let batch = match links.batch {
            // It may have been deleted after its retention.
            Some(batch) => state.backroom.batch(batch).status().await.ok(),
            None => None,
        };
        Ok(Self { tree: tree.filter(|tree| tree.jobs.len() > 1), batch })
    }
}

fn facts(visitor: &Visitor, job: &JobRow, batch: Option<&BatchStatus>) -> Markup {
    let links = job.links.as_deref();
    let queue = escaped(&job.queue).to_string();
    html! {
        h2 { "Facts" }
        dl.facts {
            dt { "Kind" } dd { a href=(format!("/jobs?kind={}", escaped(&job.kind))) { (kit::shown(&job.kind)) } }
            dt { "Queue" } dd { a href=(format!("/queues/{queue}")) { (kit::shown(&job.queue)) } }
            @if let Some(lane) = &job.lane { dt { "Lane" } dd { a href=(format!("/jobs?lane={}", escaped(lane))) { (kit::shown(lane)) } } }
            @if let Some(batch) = batch { dt { "Batch" } dd { (super::batches::bar(batch)) } }
            @if let Some(ends) = links.and_then(|links| links.ends) { dt { "At the end of batch" } dd { (super::batches::link(ends.batch)) } }
            @if let Some(parent) = links.and_then(|links| links.parent.as_ref()) { dt { "Child of" } dd { (kit::job_link(parent.workflow)) } }
            dt { "Priority" } dd { (job.priority) }
            dt { "Attempt" } dd { (job.attempt) " of " (job.max_attempts) @if job.crashes > 0 { ", " (job.crashes) " crashes" } }
            dt { "Enqueued" } dd { (kit::moment(job.created_at, visitor)) }
            dt { "Due" } dd { (kit::moment(job.scheduled_at, visitor)) }
            @if let Some(at) = job.started_at { dt { "Began" } dd { (kit::moment(at, visitor)) } }
            @if let Some(at) = job.finished_at { dt { "Ended" } dd { (kit::moment(at, visitor)) } }
            @if let Some(at) = job.expires_at { dt { "Expires" } dd { (kit::moment(at, visitor)) } }
            @if let Some(at) = job.cancel_requested_at { dt { "Asked to stop" } dd { (kit::moment(at, visitor)) } }
            @if let Some(worker) = &job.worker { dt { "Worker" } dd { a href=(format!("/jobs?worker={}", escaped(worker))) { (kit::shown(worker)) } } }
            @if let Some(key) = &job.unique_key { dt { "Unique key" } dd { (kit::shown(key)) @if !job.unique_held { " (free again)" } } }
            @if let Some(timeout) = job.extras.timeout { dt { "Timeout" } dd { (kit::span(timeout)) } }
            @if !job.tags.is_empty() {
                dt { "Tags" }
                dd.tags { @for tag in &job.tags { a href=(format!("/jobs?tag={}", escaped(tag))) { (kit::shown(tag)) } } }
            }
            @for (name, value) in &job.extras.meta { dt { (kit::shown(name)) } dd { (kit::shown(value)) } }
            @if let Some(reply) = &job.extras.reply {
                dt { "Replies to" } dd { a href=(format!("/replies/{}", escaped(&reply.to))) { (kit::shown(&reply.to)) } }
                @if let Some(id) = &reply.correlation_id { dt { "Correlation id" } dd { (kit::shown(id)) } }
            }
            @if let Some(callback) = &job.extras.callback {
                dt { "Callback" } dd { (kit::shown(callback.url.as_str())) " " a href=(format!("/jobs?tag={}", escaped(&format!("job:{}", job.id)))) { "Tries" } }
            }
            @if let Some(occurrence) = &job.extras.occurrence {
                dt { "Run of the schedule" }
                dd { a href=(format!("/schedules/{}", escaped(&occurrence.schedule))) { (kit::shown(&occurrence.schedule)) } }
            }
        }
    }
}

pub(super) fn timeline(visitor: &Visitor, job: &JobRow, attempts: &[Attempt]) -> Markup {
    let newest = attempts.iter().rev().take(ATTEMPTS_MAX);
    html! {
        h2 { "Attempts" }
        @if attempts.is_empty() {
            p { @if job.attempt == 0 { "None yet." } @else { "None has failed." } }
        }
        ol.timeline reversed {
            @for attempt in newest {
                li {
                    strong { "Attempt " (attempt.attempt) ": " (attempt.end.as_str()) } " "
                    (kit::moment(attempt.ended_at, visitor))
                    @if let Some(started) = attempt.started_at {
                        " after " (kit::span(backroom::core::bounds::span_until(started, attempt.ended_at)))
                    }
                    @if let Some(worker) = &attempt.worker { span.muted { " on " (kit::shown(worker)) } }
                    @let text = kit::shown(&attempt.error);
                    @if text.len() <= ERROR_BYTES_MAX { pre { (text) } }
                    @else {
                        details { summary { (kit::shown(&backroom::core::bounds::clip(&attempt.error, 120))) } pre { (clipped(&text)) } }
                    }
                }
            }
        }
        @if attempts.len() > ATTEMPTS_MAX {
            p { "The newest " (ATTEMPTS_MAX) " of " (attempts.len()) ". " a href=(format!("/jobs/{}/attempts.txt", job.id)) download { "All of them" } }
        }
    }
}

/// So much of an error stands on the page; a page with twenty of them stays small.
fn clipped(text: &str) -> String {
    backroom::core::bounds::clip(text, 1024)
}

pub(super) fn lines_of(job: &JobRow, log: &Log) -> Markup {
    let (mut shown, mut bytes) = (Vec::new(), 0);
    for line in log.lines.iter().rev() {
        bytes += line.line.len() + 10;
        if bytes > LOG_BYTES_MAX && !shown.is_empty() {
            break;
        }
        shown.push(line);
    }
    shown.reverse();
    html! {
        h2 { "Log" }
        @if shown.is_empty() { p { "It has logged nothing." } }
        @else {
            div.scroll.log role="region" aria-label="Log" tabindex="0" {
                pre { @for line in &shown { (line.at.strftime("%H:%M:%S")) " " (kit::shown(&line.line)) "\n" } }
            }
            p {
                @if shown.len() < log.count { "The last " (shown.len()) " of " (kit::number(log.count as u64)) " lines. " }
                a href=(format!("/jobs/{}/log.txt", job.id)) download { "Download" }
            }
        }
    }
}

/// Args and output.
pub(super) fn carried(job: &JobRow) -> Markup {
    html! {
        h2 { "Args and output" }
        (kit::json("Args", &job.args, &format!("/jobs/{}/args.json", job.id)))
        @if let Some(output) = &job.output { (kit::json("Output", output, &format!("/jobs/{}/output.json", job.id))) }
    }
}

fn acts(visitor: &Visitor, job: &JobRow) -> Markup {
    let (id, path) = (job.id, |act: &str| format!("/jobs/{}/{act}", job.id));
    let may_operate = visitor.may_in(Scope::Operate, &job.queue);
    let is_queued = job.state == Stored::Queued;
    let is_live = !job.state.is_finished();
    html! {
            h2 { "What can be done" }
            div.acts {
                @if visitor.may_in(Scope::Enqueue, &job.queue) {
                    div.act {
                        a.button href=(format!("/enqueue?from={id}")) { "Enqueue again…" }
                        (kit::cli(&format!("backroom enqueue {} '…' --queue {}", kit::quoted(&job.kind), kit::quoted(&job.queue))))
                    }
                }
                @if may_operate {
                    @if is_queued && job.scheduled_at > visitor.now {
                        (kit::button(visitor, &path("retry"), "Run now", Some(&format!("backroom retry {id}"))))
                    }
                    @if job.state.is_finished() {
                        (kit::button(visitor, &path("retry"), "Retry", Some(&format!("backroom retry {id}"))))
                    }
                    @if is_live {
                        (kit::opened("Cancel", html! {
                            form method="post" action=(path("cancel")) {
                                (kit::key(visitor))
                                (super::bulk::inputs("cancel"))
                                button.danger type="submit" { "Cancel the job" }
                                (kit::cli(&format!("backroom cancel {id} --reason '…'")))
                            }
                        }))
                    }
                    @if is_queued {
                        (kit::opened("Priority", html! {
                            form method="post" action=(path("priority")) {
                                (kit::key(visitor))
                                (super::bulk::inputs("priority"))
                                button type="submit" { "Change the priority" }
                                (kit::cli(&format!("backroom amend {id} --priority N")))
                            }
                        }))
                        (kit::opened("Run at another time", html! {
                            form method="post" action=(path("time")) {
                                (kit::key(visitor))
                                label for="at" { "When: in 2h, or 2026-01-31 09:00 (UTC)" }
                                input #at name="at" required;
                                button type="submit" { "Change the time" }
                                (kit::cli(&format!("backroom amend {id} --delay 2h")))
                            }
                        }))
                        (kit::opened("Move to a queue", html! {
                            form method="post" action=(path("move")) {
                                (kit::key(visitor))
                                (super::bulk::inputs("move"))
                                button type="submit" { "Move the job" }
                                (kit::cli(&format!("backroom amend {id} --queue NAME")))
                            }
                        }))
                    }
                    @if job.state != Stored::Running {
                        (kit::opened("Delete", html! {
                            form method="post" action=(path("delete")) {
                                (kit::key(visitor))
                                p { "With its attempts and its log. This cannot be undone." }
                                button.danger type="submit" { "Delete the job" }
                                (kit::cli(&format!("backroom delete {id}")))
                            }
                        }))
                    }
                }
            }
    }
}

async fn args(State(state): State<AppState>, visitor: Visitor, Path(id): Path<String>) -> Answer {
    let job = read(&state, &visitor, &id).await?;
    Ok(file(&format!("{}-args.json", job.id), "application/json", job.args.as_str().to_owned()))
}

async fn output(State(state): State<AppState>, visitor: Visitor, Path(id): Path<String>) -> Answer {
    let job = read(&state, &visitor, &id).await?;
    let output = job.output.ok_or_else(|| Problem::new(Code::NotFound, "the job has no output"))?;
    Ok(file(&format!("{}-output.json", job.id), "application/json", output.as_str().to_owned()))
}

async fn log(State(state): State<AppState>, visitor: Visitor, Path(id): Path<String>) -> Answer {
    let (job, redacted) = read_with(&state, &visitor, &id).await?;
    let id = job.id;
    let (mut text, mut skip) = (String::new(), 0);
    loop {
        let lines = state.backroom.log(id, skip).await?;
        skip += lines.len();
        for line in &lines {
            text.push_str(&format!("{} {}\n", line.at, redacted.text(&line.line)));
        }
        if lines.is_empty() || skip >= backroom::core::bounds::JOB_LOG_LINES_MAX as usize {
            break;
        }
    }
    Ok(file(&format!("{id}-log.txt"), "text/plain; charset=utf-8", text))
}

async fn attempts(State(state): State<AppState>, visitor: Visitor, Path(id): Path<String>) -> Answer {
    let (job, redacted) = read_with(&state, &visitor, &id).await?;
    let id = job.id;
    let attempts = state.backroom.attempts(id).await?;
    let line = |attempt: &Attempt| {
        format!(
            "{} attempt {} {}: {}\n",
            attempt.ended_at,
            attempt.attempt,
            attempt.end.as_str(),
            redacted.text(&attempt.error)
        )
    };
    Ok(file(&format!("{id}-attempts.txt"), "text/plain; charset=utf-8", attempts.iter().map(line).collect()))
}

/// A file to download. Its name is made of an id, so that nothing a job carries can stand in a header.
fn file(name: &str, media_type: &'static str, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    let disposition = HeaderValue::from_str(&format!("attachment; filename=\"{name}\""));
    headers.insert(
        header::CONTENT_DISPOSITION,
        disposition.expect("invariant: an id and a word are plain text"),
    );
    response
}
