//! `backroom tail`: follow jobs as they run.

use std::collections::HashSet;

use backroom::{
    Cursor, JobId, Timestamp,
    clock::{Clock as _, SystemClock},
};
use clap::Args;
use futures_util::{Stream, StreamExt as _, stream, stream::SelectAll};

use super::select::Select;
use crate::settings::{Need, Settings};
use crate::target::Target;
use crate::terminal::{Problem, now, out, visible};
use crate::views::{EventView, JobView, NewsView};

/// Most jobs that are followed at the same time.
const JOBS_MAX: usize = 100;
/// How often new jobs are searched for.
const SEARCH_EVERY: std::time::Duration = std::time::Duration::from_millis(500);

/// Follow jobs as they run: states, progress, log lines, failed attempts
///
/// With an ID, one job from its beginning to its end. Without, every job that matches and is not finished, and every one that is enqueued
/// from now on, at most 100 at the same time, until Ctrl-C.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom tail 01890a5d-ac96-774b-bcce-b302099a8057
  backroom tail --queue images
  backroom tail ID --json | jq -r 'select(.line) | .line'
  backroom tail ID --after 1.120.3.7.-

With --json: one object per event and line: {\"job\", \"cursor\", and one of \"state\" (the job), \"progress\", \"line\",
\"attempt\"}. Pass a cursor as --after to go on there.")]
pub(crate) struct TailArgs {
    /// The job; every job that matches if left out
    id: Option<JobId>,

    /// Go on behind the event with this cursor
    #[arg(long, value_name = "CURSOR", requires = "id")]
    after: Option<Cursor>,

    #[command(flatten)]
    select: Select,
}

pub(crate) async fn run(args: TailArgs, settings: &Settings) -> Result<(), Problem> {
    args.select.selection(now(), &[])?;
    settings
        .with_target(Need::Read, async |target| match args.id {
            Some(id) => one(target, id, args.after, settings).await,
            None => all(target, &args.select, settings).await,
        })
        .await
}

async fn one(target: &Target, id: JobId, after: Option<Cursor>, settings: &Settings) -> Result<(), Problem> {
    let mut events = target.follow(id, after);
    while let Some(event) = events.next(false).await? {
        show(&event, false, settings, target.now())?;
    }
    Ok(())
}

/// The events of one job, with its id; none after its end.
type Events<'a> = std::pin::Pin<Box<dyn Stream<Item = (JobId, Option<Result<EventView, Problem>>)> + 'a>>;

async fn all(target: &Target, select: &Select, settings: &Settings) -> Result<(), Problem> {
    let mut followed: SelectAll<Events<'_>> = SelectAll::new();
    let clock = SystemClock::default();
    let mut known = HashSet::new();
    let mut is_full = false;
    loop {
        // The newest first: of too many, the newest are followed.
        let page = target.list(&select.selection(target.now(), &[])?, None, JOBS_MAX).await?;
        let live = |view: &&JobView| !view.job.state.is_finished();
        // Jobs that ended between two searches are shown, too. Those that had ended before the first one are not.
        let is_first = known.is_empty() && followed.is_empty();
        let new: Vec<JobId> = page
            .jobs
            .iter()
            .filter(|view| !is_first || live(view))
            .map(|view| view.job.id)
            .filter(|id| !known.contains(id))
            .collect();
        known.extend(page.jobs.iter().map(|view| view.job.id));
        for id in new.into_iter().rev() {
            if followed.len() < JOBS_MAX {
                followed.push(events_of(target, id));
            } else if !is_full {
                is_full = true;
                out::note(format_args!("following {JOBS_MAX} jobs; others are left out until some end"));
            }
        }
        // Ids that are no longer on the page cannot come back: the page has the newest.
        if known.len() > 10 * JOBS_MAX {
            known = page.jobs.iter().map(|view| view.job.id).collect();
        }
        let search = clock.sleep(SEARCH_EVERY);
        tokio::pin!(search);
        loop {
            tokio::select! {
                () = &mut search => break,
                Some((_, event)) = followed.next(), if !followed.is_empty() => match event {
                    Some(Ok(event)) => show(&event, true, settings, target.now())?,
                    Some(Err(problem)) => return Err(problem),
                    None => is_full = false,
                },
            }
        }
    }
}

/// A job that is deleted or pruned in the meantime ends as one that finishes.
fn events_of(target: &Target, id: JobId) -> Events<'_> {
    let events = stream::unfold(target.follow(id, None), |mut following| async move {
        let event = following.next(true).await.transpose()?;
        Some((event, following))
    });
    let events = events.map(move |event| (id, Some(event)));
    Box::pin(events.chain(stream::once(std::future::ready((id, None)))))
}

/// Writes one event: a line for people, or an object.
fn show(event: &EventView, with_id: bool, settings: &Settings, now: Timestamp) -> Result<(), Problem> {
    if settings.json {
        return out::json(event, false);
    }
    let id = if with_id { format!("{}  ", event.job) } else { String::new() };
    let said = said(&event.news, now);
    said.lines().try_for_each(|line| out::line(format_args!("{id}{}", visible::line(line))))
}

/// What an event says in words.
pub(super) fn said(news: &NewsView, now: Timestamp) -> String {
    let time = |at: Timestamp| {
        at.to_zoned_datetime(jiff::tz::TimeZone::system()).strftime("%H:%M:%S%.3f").to_string()
    };
    match news {
        NewsView::State(view) => {
            let job = &view.job;
            let tries = if job.attempt > 0 { format!(", attempt {}", job.attempt) } else { String::new() };
            let reason = job.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("{}  {} is {}{tries}{reason}", time(now), job.kind, view.shown)
        }
        NewsView::Progress(progress) => {
            format!("{}  {}% {}", time(now), progress.percent, progress.message)
        }
        NewsView::Line(line) => format!("{}  | {}", time(line.at), line.line),
        NewsView::Attempt(attempt) => {
            format!(
                "{}  attempt {} {}: {}",
                time(attempt.ended_at),
                attempt.attempt,
                attempt.end,
                attempt.error
            )
        }
    }
}
