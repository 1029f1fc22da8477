//! Schedules: to put, list, read, change and trigger.

use backroom::{
    Backroom, Json, Timestamp, TriggerOptions,
    schedule::{Origin, Schedule},
};
use hyper::Method;

use super::{Target, escaped};
use crate::{
    bodies::schedule::{BackfillBody, ScheduleBody, TriggerBody},
    schedules::own,
    terminal::Problem,
    views::schedule::{
        BackfillView, EntryPage, PutView, SchedulePage, ScheduleView, TriggeredView, WholeSchedule,
    },
};

fn path(name: &str, what: &str) -> String {
    format!("/v1/schedules/{}{what}", escaped(name))
}

/// A schedule that there is.
async fn known(backroom: &Backroom, name: &str) -> Result<WholeSchedule, Problem> {
    let info = backroom.schedules().get(name).await?;
    info.map(|info| WholeSchedule::of(backroom, info)).ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> Problem {
    Problem::new(format_args!("find schedule {name:?}"), &"there is none of this name")
        .hint("`backroom schedules` lists the schedules there are")
}

impl Target {
    /// Puts a schedule.
    pub(crate) async fn put_schedule(&self, schedule: &Schedule) -> Result<PutView, Problem> {
        match self {
            Self::Store(backroom) => {
                let outcome =
                    own::put(&backroom.schedules(), Origin::Api, schedule, |_| Ok(())).await?.into();
                Ok(PutView { outcome, schedule: known(backroom, &schedule.name).await?.schedule })
            }
            Self::Server(remote) => {
                remote.send(Method::PUT, &path(&schedule.name, ""), &ScheduleBody::new(schedule)).await
            }
        }
    }

    /// A page of schedules, by name.
    pub(crate) async fn schedules(&self, after: Option<&str>, limit: usize) -> Result<SchedulePage, Problem> {
        match self {
            Self::Store(backroom) => {
                let found = backroom.schedules().list(after, limit).await?;
                let next =
                    if found.len() == limit { found.last().map(|last| last.name.clone()) } else { None };
                let views = found.into_iter().map(|summary| ScheduleView::of(backroom, summary).0);
                Ok(SchedulePage { schedules: views.collect(), next })
            }
            Self::Server(remote) => {
                let after = after.map(|after| format!("&after={}", escaped(after))).unwrap_or_default();
                remote.get(&format!("/v1/schedules?limit={limit}{after}")).await
            }
        }
    }

    /// A schedule with its runs.
    pub(crate) async fn schedule(&self, name: &str) -> Result<WholeSchedule, Problem> {
        match self {
            Self::Store(backroom) => known(backroom, name).await,
            Self::Server(remote) => remote.find(&path(name, "")).await?.ok_or_else(|| unknown(name)),
        }
    }

    /// Pauses or resumes a schedule.
    pub(crate) async fn pause_schedule(&self, name: &str, pauses: bool) -> Result<ScheduleView, Problem> {
        match self {
            Self::Store(backroom) => {
                match pauses {
                    true => backroom.schedules().pause(name).await?,
                    false => backroom.schedules().resume(name).await?,
                }
                Ok(known(backroom, name).await?.schedule)
            }
            Self::Server(remote) => {
                let what = if pauses { "/pause" } else { "/resume" };
                remote.send(Method::POST, &path(name, what), &()).await
            }
        }
    }

    /// Starts a run now.
    pub(crate) async fn trigger_schedule(
        &self,
        name: &str,
        key: Option<&str>,
        args: Option<Json>,
    ) -> Result<TriggeredView, Problem> {
        match self {
            Self::Store(backroom) => {
                let mut options = TriggerOptions::default();
                (options.key, options.args) = (key.map(str::to_owned), args);
                Ok(TriggeredView { id: backroom.schedules().trigger(name, options).await? })
            }
            Self::Server(remote) => {
                let body = args.map(|args| TriggerBody { args: Some(args) });
                remote.send_once(&path(name, "/trigger"), key, &body).await
            }
        }
    }

    /// Counts the occurrences of a range, or runs them.
    pub(crate) async fn backfill(&self, name: &str, body: &BackfillBody) -> Result<BackfillView, Problem> {
        match self {
            Self::Store(backroom) => Ok(own::backfill(&backroom.schedules(), name, body).await?),
            Self::Server(remote) => remote.send(Method::POST, &path(name, "/backfill"), body).await,
        }
    }

    /// Stops a backfill.
    pub(crate) async fn stop_backfill(&self, name: &str) -> Result<ScheduleView, Problem> {
        match self {
            Self::Store(backroom) => {
                backroom.schedules().stop_backfill(name).await?;
                Ok(known(backroom, name).await?.schedule)
            }
            Self::Server(remote) => remote.send(Method::DELETE, &path(name, "/backfill"), &()).await,
        }
    }

    /// Deletes a schedule with its history.
    pub(crate) async fn delete_schedule(&self, name: &str) -> Result<(), Problem> {
        match self {
            Self::Store(backroom) => Ok(own::delete(&backroom.schedules(), name, |_| Ok(())).await?),
            Self::Server(remote) => remote.send(Method::DELETE, &path(name, ""), &()).await,
        }
    }

    /// A page of the history of a schedule, the newest first.
    pub(crate) async fn schedule_history(
        &self,
        name: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<EntryPage, Problem> {
        match self {
            Self::Store(backroom) => Ok(EntryPage::read(backroom, name, before, limit).await?),
            Self::Server(remote) => {
                let before = before.map(|before| format!("&before={before}")).unwrap_or_default();
                remote.get(&path(name, &format!("/history?limit={limit}{before}"))).await
            }
        }
    }

    /// What a stored schedule means, and when it fires.
    pub(crate) async fn preview_schedule(
        &self,
        name: &str,
        at: Option<Timestamp>,
        next: usize,
        previous: usize,
    ) -> Result<crate::views::preview::PreviewView, Problem> {
        match self {
            Self::Store(backroom) => {
                let definition = known(backroom, name).await?.schedule.definition.ok_or_else(|| {
                    Problem::new(format_args!("preview schedule {name:?}"), &"this version cannot read it")
                })?;
                let at = at.unwrap_or_else(|| backroom.clock().now());
                Ok(crate::views::preview::preview(&definition, at, next, previous)?)
            }
            Self::Server(remote) => {
                let at = at.map(|at| format!("&at={}", escaped(&at.to_string()))).unwrap_or_default();
                remote.get(&path(name, &format!("/preview?next={next}&previous={previous}{at}"))).await
            }
        }
    }
}
