//! `backroom jobs`: list jobs.

use backroom::{Backroom, Filter, JobId, JobRow, Page, Timestamp, core::bounds::check_name};
use clap::Args;

use super::{
    Problem, now, out,
    parse::{MomentText, StateWord, moment, state_word},
    table::{self, Column, cell, state_cell},
    view::{JobView, JobsView},
    words,
};
use crate::settings::Settings;

/// List jobs, the newest first
///
/// All filters hold together. `scheduled`, `retrying` and `available` are the three ways a queued job is shown: not
/// due and never tried, not due and tried before, due.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom jobs
  backroom jobs --state discarded --since 2d
  backroom jobs --state available,retrying --queue mail --limit 100
  backroom jobs --kind resize --tag nightly --since 2026-01-31 --until 2026-02-01
  backroom jobs --json | jq -r '.jobs[] | select(.attempt > 3) | .id'

With --json: {\"jobs\": [job, …], \"next\": ID or null}; pass next as --before for the next page.")]
pub(crate) struct JobsArgs {
    /// In one of these states, as stored or as shown
    #[arg(long, short, value_name = "STATE,…", value_delimiter = ',', value_parser = state_word)]
    state: Vec<StateWord>,

    /// Of this queue
    #[arg(long, short, value_name = "NAME")]
    queue: Option<String>,

    /// Of this kind
    #[arg(long, short, value_name = "KIND")]
    kind: Option<String>,

    /// With this tag
    #[arg(long, short, value_name = "WORD")]
    tag: Option<String>,

    /// Enqueued at or after this moment: 2h (ago), 2026-01-31, 2026-01-31T09:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<MomentText>,

    /// Enqueued before this moment
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<MomentText>,

    /// Most jobs to list, 1 to 1000
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    limit: usize,

    /// Go on below this job: the next page
    #[arg(long, value_name = "ID")]
    before: Option<JobId>,
}

/// Most jobs looked at for one page when the store cannot filter by how a job is shown; then the person is told where
/// to go on, rather than kept waiting.
const LOOKED_AT_MAX: usize = 20_000;
/// Jobs asked for at once then.
const LOOK_JOBS: usize = 1000;

pub(crate) async fn run(args: JobsArgs, settings: &Settings) -> Result<(), Problem> {
    let now = now();
    let filter = filter(&args, now)?;
    let page = settings.with_store(async |backroom| page(backroom, &args, filter, now).await).await?;
    if settings.json {
        let jobs = page.jobs.iter().map(|job| JobView::new(job, now)).collect();
        return out::json(&JobsView { jobs, next: page.next }, settings.terminal);
    }
    if page.jobs.is_empty() {
        out::line(if page.next.is_none() { "no jobs" } else { "no jobs so far" })?;
    } else {
        show(&page.jobs, settings, now)?;
    }
    if let Some(next) = page.next {
        // On stderr, so that a table in a pipe holds nothing but jobs.
        out::note(format_args!("there may be more: add --before {next}"));
    }
    Ok(())
}

fn filter(args: &JobsArgs, now: Timestamp) -> Result<Filter, Problem> {
    for (what, name) in [("queue", &args.queue), ("kind", &args.kind), ("tag", &args.tag)] {
        name.as_deref().map_or(Ok(()), |name| check_name(what, name))?;
    }
    let past = |moment: Option<MomentText>| {
        let at = moment.map(|moment| moment.past(now)).transpose();
        at.map_err(|why| Problem::new("read the time", &why))
    };
    let mut states: Vec<_> = args.state.iter().map(|word| word.stored()).collect();
    states.sort_unstable();
    states.dedup();
    Ok(Filter {
        states,
        queue: args.queue.clone(),
        kind: args.kind.clone(),
        tag: args.tag.clone(),
        created_from: past(args.since)?,
        created_before: past(args.until)?,
    })
}

/// Stores filter by stored states; how a queued job is shown depends on the time and is filtered here.
async fn page(backroom: &Backroom, args: &JobsArgs, filter: Filter, now: Timestamp) -> Result<Page, Problem> {
    let wanted =
        |job: &JobRow| args.state.is_empty() || args.state.iter().any(|word| word.means(job.shown(now)));
    let exact = args.state.iter().all(|word| word.is_stored());
    if exact || args.limit == 0 || args.limit > LOOK_JOBS {
        return Ok(backroom.list(filter, args.before, args.limit).await?);
    }
    let (mut jobs, mut below, mut looked_at) = (Vec::new(), args.before, 0);
    loop {
        let look = backroom.list(filter.clone(), below, LOOK_JOBS).await?;
        looked_at += look.jobs.len();
        for job in look.jobs {
            if wanted(&job) {
                let id = job.id;
                jobs.push(job);
                if jobs.len() == args.limit {
                    return Ok(Page { jobs, next: Some(id) });
                }
            }
        }
        below = look.next;
        if below.is_none() || looked_at >= LOOKED_AT_MAX {
            return Ok(Page { jobs, next: below });
        }
    }
}

fn show(jobs: &[JobRow], settings: &Settings, now: Timestamp) -> Result<(), Problem> {
    let mut rows = table::table(
        settings,
        &[
            Column::Whole("ID"),
            Column::Text("KIND"),
            Column::Text("QUEUE"),
            Column::Whole("STATE"),
            Column::Number("TRIES"),
            Column::Text("WHEN"),
        ],
    );
    for job in jobs {
        rows.add_row(vec![
            cell(job.id.to_string()),
            cell(&job.kind),
            cell(&job.queue),
            state_cell(job.shown(now)),
            cell(format!("{}/{}", job.attempt, job.max_attempts)),
            cell(when(job, now)),
        ]);
    }
    // Queue, then tries: what is least missed; `job ID` and --json have everything.
    table::narrow(&mut rows, &[2, 4]);
    table::show(&rows)
}

/// The moment that matters in the state a job is in.
fn when(job: &JobRow, now: Timestamp) -> String {
    use backroom::State;
    let at = match job.state {
        State::Queued => Some(job.scheduled_at),
        State::Running => job.started_at,
        State::Waiting => Some(job.created_at),
        State::Completed | State::Cancelled | State::Discarded => job.finished_at,
    };
    let said = words::from_now(at.unwrap_or(job.created_at), now);
    match &job.progress {
        Some(progress) if job.state == State::Running => format!("{}%, {said}", progress.percent),
        Some(_) | None => said,
    }
}
