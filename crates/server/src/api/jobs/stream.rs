//! The events of one job as server-sent events.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::HeaderMap,
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use backroom::{Cursor, JobEvent, News, Redacted};
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use utoipa::IntoParams;

use super::find;
use crate::{
    api::{
        caller::{Caller, Scope},
        codes::Code,
        extract::{Path, Query},
        problem::{Problem, Problems},
    },
    serve::AppState,
    views::NewsView,
};

/// How often an idle stream sends a comment, so that proxies do not take it for dead and a client that has gone is noticed. They wait
/// for a minute or longer.
const SIGN_OF_LIFE: Duration = Duration::from_secs(45);

/// From where.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AfterQuery {
    /// Begin after the event of this id. The header `Last-Event-ID` is stronger.
    after: Option<String>,
}

/// Follow a job
///
/// Server-sent events: `state` (the job, at each change; a finished job comes last, and the stream ends), `progress`, `line` (what its
/// handler logged) and `attempt` (one that ended without success). Each log line and each attempt comes once and in order, also for a reader
/// that is cut off and continues with `Last-Event-ID`. A `problem` ends the stream. The setting `limits.stream_time` ends it, too.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/events",
    operation_id = "follow_job",
    tag = "jobs",
    params(
        ("id" = String, Path, description = "The job.", format = "uuid"),
        AfterQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that the reader has.")
    ),
    responses((status = 200, description = "The events; the data of each is JSON.", body = serde_json::Value, content_type = "text/event-stream"), Problems)
)]
pub(super) async fn events(
    State(state): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<AfterQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let last = headers.get("last-event-id").map(|id| id.to_str().unwrap_or("?").to_owned());
    let after: Option<Cursor> = last.or(query.after).map(|text| text.parse()).transpose().map_err(|_| {
        let why = "the id of the last event is none that a server gave out; leave it out to begin from the beginning";
        Problem::new(Code::Malformed, why)
    })?;
    let job = find(&state, &caller, Scope::Read, &id).await?;
    let (stopping, instance) = (state.stopping.clone(), format!("/v1/jobs/{}/events", job.id));
    let (clock, most) = (Arc::clone(state.backroom.clock()), state.settings.now().limits.stream_time);
    let follow = state.backroom.follow(job.id, after);
    let redacted = state.backroom.redacted(job).1;
    let events = stream::unfold(Some((follow, state, redacted)), move |following| {
        let (instance, caller) = (instance.clone(), caller.clone());
        async move {
            let (mut follow, state, redacted) = following?;
            match follow.next().await? {
                // It was moved out of the queues that the reader may see.
                Ok(JobEvent { news: News::State(job), .. }) if !caller.sees(&job.queue) => {
                    let why = format!("there is no job {} any more that this token reaches", job.id);
                    let document = Problem::new(Code::NotFound, why).document(&instance);
                    Some((Ok(Event::default().event("problem").data(one_line(&document))), None))
                }
                Ok(event) => {
                    let written = written(event, &state, &redacted);
                    Some((Ok::<_, Infallible>(written), Some((follow, state, redacted))))
                }
                Err(error) => {
                    let document = Problem::from(error).document(&instance);
                    let event = Event::default().event("problem").data(one_line(&document));
                    Some((Ok(event), None))
                }
            }
        }
    });
    // A server that stops ends its streams: readers continue elsewhere. So does a stream that has lasted long: its token may have
    // been revoked since.
    let over = async move {
        tokio::select! {
            () = stopping.cancelled() => {}
            () = clock.sleep(most) => {}
        }
    };
    let events = events.take_until(over);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE)).into_response())
}

fn written(event: JobEvent, state: &AppState, redacted: &Redacted) -> Event {
    let view = NewsView::of(&state.backroom, redacted, event.news);
    // The library may learn of further events; this server then needs a name for them.
    let (name, data) = view.as_ref().map_or(("other", Ok(b"null".to_vec())), NewsView::event);
    let data = one_line(&data.expect("invariant: rows are JSON"));
    Event::default().id(event.cursor.to_string()).event(name).data(data)
}

/// Args are stored as they were written. A line break in JSON stands between values only, so a space means the same.
fn one_line(json: &[u8]) -> String {
    String::from_utf8_lossy(json).replace(['\r', '\n'], " ")
}
