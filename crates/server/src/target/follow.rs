//! Jobs event by event. Through a server the reader continues where it was cut off.

use std::time::Duration;

use backroom::{Backroom, Cursor, ErrorKind, Follow, JobId, Redacted, clock::Clock as _};
use futures_util::StreamExt as _;
use hyper::StatusCode;
use serde::de::DeserializeOwned;

use super::Target;
use crate::{
    remote::{Event, Events, Opened, Remote},
    terminal::{Problem, out},
    views::{EventView, NewsView},
};

/// Pauses before a server that does not answer is asked again. After the last one it is given up.
const PAUSES: [Duration; 12] = {
    let ms = Duration::from_millis;
    [
        ms(0),
        ms(200),
        ms(500),
        ms(1000),
        ms(2000),
        ms(5000),
        ms(5000),
        ms(10_000),
        ms(10_000),
        ms(30_000),
        ms(30_000),
        ms(30_000),
    ]
};

/// The events of one job.
pub(crate) enum Following<'a> {
    Store { backroom: &'a Backroom, job: JobId, redacted: Option<Redacted>, follow: Follow },
    Server { remote: &'a Remote, job: JobId, last: Option<String>, events: Option<Events<'a>>, is_over: bool },
}

impl Target {
    /// The events of one job, after those up to `after`.
    pub(crate) fn follow(&self, job: JobId, after: Option<Cursor>) -> Following<'_> {
        match self {
            Self::Store(backroom) => {
                Following::Store { backroom, job, redacted: None, follow: backroom.follow(job, after) }
            }
            Self::Server(remote) => {
                let last = after.map(|cursor| cursor.to_string());
                Following::Server { remote, job, last, events: None, is_over: false }
            }
        }
    }
}

impl Following<'_> {
    /// The next event; none after the end of the job. `Ok(None)` also if the job is gone and `may_be_gone`.
    pub(crate) async fn next(&mut self, may_be_gone: bool) -> Result<Option<EventView>, Problem> {
        match self {
            Self::Store { backroom, job, redacted, follow } => loop {
                match follow.next().await {
                    None => return Ok(None),
                    Some(Ok(event)) => {
                        // The library may learn of further events; this program then has no words for them.
                        if redacted.is_none() {
                            let row = backroom.store().job(*job).await?;
                            *redacted = row.map(|row| backroom.redacted(row).1);
                        }
                        let nothing = Redacted::default();
                        let hidden = redacted.as_ref().unwrap_or(&nothing);
                        if let Some(view) = EventView::of(backroom, hidden, *job, event) {
                            return Ok(Some(view));
                        }
                    }
                    Some(Err(error)) if may_be_gone && error.kind() == ErrorKind::NotFound => {
                        return Ok(None);
                    }
                    Some(Err(error)) => return Err(error.into()),
                }
            },
            Self::Server { is_over: true, .. } => Ok(None),
            Self::Server { remote, job, last, events, is_over } => {
                let event = next_event(remote, *job, last, events, may_be_gone).await?;
                let Some(event) = event.filter(|event| !(may_be_gone && is_gone(event))) else {
                    *is_over = true;
                    return Ok(None);
                };
                let view = view(*job, event)?;
                *is_over = matches!(&view.news, NewsView::State(view) if view.job.state.is_finished());
                Ok(Some(view))
            }
        }
    }
}

/// The next event of the server, which is asked again as often as the stream is cut. None if the job is gone.
async fn next_event<'a>(
    remote: &'a Remote,
    job: JobId,
    last: &mut Option<String>,
    events: &mut Option<Events<'a>>,
    may_be_gone: bool,
) -> Result<Option<Event>, Problem> {
    let mut pauses = PAUSES.iter();
    let clock = backroom::clock::SystemClock::default();
    loop {
        let cut = match events {
            Some(stream) => match stream.next().await {
                Ok(Some(event)) => {
                    *last = Some(event.id.clone());
                    return Ok(Some(event));
                }
                // A server that stops ends its streams before the end of the job.
                Ok(None) => None,
                Err(problem) => Some(problem),
            },
            None => match remote.events(&format!("/v1/jobs/{job}/events"), last.as_deref()).await {
                Ok(Opened::Stream(stream)) => {
                    *events = Some(stream);
                    continue;
                }
                Ok(Opened::Refused(StatusCode::NOT_FOUND, _)) if may_be_gone => return Ok(None),
                Ok(Opened::Refused(status, problem)) if status.is_server_error() => Some(problem),
                Ok(Opened::Refused(_, problem)) => return Err(problem),
                Err(problem) => Some(problem),
            },
        };
        *events = None;
        let Some(pause) = pauses.next() else {
            let ended =
                || Problem::new(format_args!("follow job {job}"), &"the server ends each stream at once");
            return Err(cut.unwrap_or_else(ended));
        };
        if pause.as_millis() == 1000 {
            out::note("the server does not answer; trying again");
        }
        clock.sleep(*pause).await;
    }
}

/// Whether the server says that the job was deleted while it was followed.
fn is_gone(event: &Event) -> bool {
    let code =
        || serde_json::from_str::<serde_json::Value>(&event.data).ok()?["code"].as_str().map(str::to_owned);
    event.name == "problem" && code().as_deref() == Some("not-found")
}

fn view(job: JobId, event: Event) -> Result<EventView, Problem> {
    let news = match event.name.as_str() {
        "state" => NewsView::State(Box::new(read(&event)?)),
        "progress" => NewsView::Progress(read(&event)?),
        "line" => NewsView::Line(read(&event)?),
        "attempt" => NewsView::Attempt(read(&event)?),
        "problem" => {
            let document: serde_json::Value = read(&event)?;
            let detail = document["detail"].as_str().unwrap_or("the server ended the stream");
            return Err(Problem::Failed {
                message: detail.trim_start_matches("failed to ").into(),
                hint: None,
            });
        }
        other => {
            let why = format!("the server sends the unknown event {other:?}");
            return Err(Problem::new("follow a job", &why).hint("is this program older than the server?"));
        }
    };
    let cursor = event.id.parse().map_err(|error| Problem::new("read the id of an event", &error))?;
    Ok(EventView { job, cursor, news })
}

fn read<T: DeserializeOwned>(event: &Event) -> Result<T, Problem> {
    serde_json::from_str(&event.data)
        .map_err(|error| Problem::new(format_args!("read the event {:?}", event.name), &error))
}
