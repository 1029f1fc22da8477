//! What happens to jobs that are followed.

use backroom::{Attempt, Backroom, Cursor, JobEvent, JobId, LogLine, News, Progress, Redacted};
use serde::Serialize;

use super::JobView;

/// One event of a job: `{"job", "cursor", …}` and the news under its name.
#[derive(Debug, Serialize)]
pub(crate) struct EventView {
    pub(crate) job: JobId,
    /// The place behind the event: what `after` takes.
    #[serde(serialize_with = "text")]
    pub(crate) cursor: Cursor,
    #[serde(flatten)]
    pub(crate) news: NewsView,
}

impl EventView {
    /// None for an event that only a newer library knows.
    pub(crate) fn of(backroom: &Backroom, redacted: &Redacted, job: JobId, event: JobEvent) -> Option<Self> {
        Some(Self { job, cursor: event.cursor, news: NewsView::of(backroom, redacted, event.news)? })
    }
}

fn text<S: serde::Serializer>(cursor: &Cursor, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(cursor)
}

/// What is new.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NewsView {
    /// The job as it is now.
    State(Box<JobView>),
    /// How far its handler is.
    Progress(Progress),
    /// What its handler logged.
    Line(LogLine),
    /// An attempt ended without success.
    Attempt(Attempt),
}

impl NewsView {
    /// As readers see it; `redacted` is of the job. None for news that only a newer library knows.
    pub(crate) fn of(backroom: &Backroom, redacted: &Redacted, news: News) -> Option<Self> {
        match news {
            News::State(job) => Some(Self::State(Box::new(JobView::of(backroom, *job)))),
            News::Progress(Progress { percent, message }) => {
                Some(Self::Progress(Progress { percent, message: redacted.text(&message) }))
            }
            News::Line(line) => Some(Self::Line(redacted.line(line))),
            News::Attempt(attempt) => Some(Self::Attempt(redacted.attempt(attempt))),
            _ => None,
        }
    }

    /// The name of an event of the stream, and its data.
    pub(crate) fn event(&self) -> (&'static str, serde_json::Result<Vec<u8>>) {
        match self {
            Self::State(job) => ("state", serde_json::to_vec(job)),
            Self::Progress(progress) => ("progress", serde_json::to_vec(progress)),
            Self::Line(line) => ("line", serde_json::to_vec(line)),
            Self::Attempt(attempt) => ("attempt", serde_json::to_vec(attempt)),
        }
    }
}
