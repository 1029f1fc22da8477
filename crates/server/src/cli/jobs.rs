//! `backroom jobs`: list jobs.

use backroom::{JobId, JobRow, Timestamp};
use clap::Args;

use super::select::Select;
use crate::settings::{Need, Settings};
use crate::terminal::{
    Problem, now, out,
    table::{self, Column, cell, state_cell},
    words,
};
use crate::views::JobView;

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
    #[command(flatten)]
    select: Select,

    /// Most jobs to list, 1 to 1000
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    limit: usize,

    /// Go on below this job: the next page
    #[arg(long, value_name = "ID")]
    before: Option<JobId>,
}

pub(crate) async fn run(args: JobsArgs, settings: &Settings) -> Result<(), Problem> {
    // What is wrong with the filter is said before a store is opened.
    args.select.selection(now(), &[])?;
    let (page, now) = settings
        .with_target(Need::Read, async |target| {
            // Jobs bear the moments of the store's clock, which may be another than this machine's.
            let selection = args.select.selection(target.now(), &[])?;
            Ok((target.list(&selection, args.before, args.limit).await?, target.now()))
        })
        .await?;
    if settings.json {
        return out::json(&page, settings.terminal);
    }
    if page.jobs.is_empty() {
        out::line("no jobs")?;
    } else {
        show(&page.jobs, settings, now)?;
    }
    if let Some(next) = page.next {
        // On stderr, so that a table in a pipe holds nothing but jobs.
        out::note(format_args!("there may be more: add --before {next}"));
    }
    Ok(())
}

fn show(jobs: &[JobView], settings: &Settings, now: Timestamp) -> Result<(), Problem> {
    let mut rows = table::table(
        settings.style(),
        &[
            Column::Whole("ID"),
            Column::Text("KIND"),
            Column::Text("QUEUE"),
            Column::Whole("STATE"),
            Column::Number("TRIES"),
            Column::Text("WHEN"),
        ],
    );
    for JobView { job, shown } in jobs {
        rows.add_row(vec![
            cell(job.id.to_string()),
            cell(&job.kind),
            cell(&job.queue),
            state_cell(*shown),
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
