//! `backroom batch`: open batches, close them, see how far they are.

use std::time::Duration;

use backroom::{Action, BatchId, Json};
use clap::{Args, Subcommand};

use crate::settings::{Need, Settings};
use crate::target::{BatchStep, EndJob, NewBatch};
use crate::terminal::{
    Problem, out,
    table::{self, Column, cell},
    visible,
    words::{self, count},
};
use crate::views::{BatchView, Matched};

/// Open batches of jobs, close them, and see how far they are
///
/// A batch counts its members. When it is closed and all have finished, its end jobs are enqueued, each once. Members are
/// enqueued with `backroom enqueue --batch ID`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  id=$(backroom batch open --on-finish report)
  backroom enqueue thumbnail --lines @photos.jsonl --batch \"$id\"
  backroom batch close \"$id\"
  backroom batch show \"$id\"             its progress
  backroom batch retry \"$id\"            what failed runs again
  backroom batch                        the newest batches

With --json: {\"id\", \"parent\", \"description\", \"state\", \"total\", \"completed\", \"cancelled\", \"discarded\", \"left\", \"percent\",
\"per_second\", \"time_to_go_ms\", \"opened_at\", \"closed_at\", \"cancelled_at\", \"finished_at\", \"succeeded_at\"}; lists are {\"batches\": [...], \"next\"}."
)]
pub(crate) struct BatchArgs {
    #[command(subcommand)]
    command: Option<BatchCommand>,
}

/// What can be done with batches.
#[derive(Debug, Subcommand)]
enum BatchCommand {
    /// Open a batch; prints its id
    Open {
        /// For people
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// The batch that it is a member of
        #[arg(long, value_name = "ID")]
        parent: Option<BatchId>,
        /// Enqueue a job of this kind once all members have completed
        #[arg(long, value_name = "KIND")]
        on_success: Option<String>,
        /// The args of that job, as JSON
        #[arg(long, value_name = "JSON", requires = "on_success")]
        on_success_args: Option<String>,
        /// Enqueue a job of this kind once all members have finished, in whatever way
        #[arg(long, value_name = "KIND")]
        on_finish: Option<String>,
        /// The args of that job, as JSON
        #[arg(long, value_name = "JSON", requires = "on_finish")]
        on_finish_args: Option<String>,
        /// The queue of both
        #[arg(long, value_name = "NAME")]
        queue: Option<String>,
    },
    /// Show how far a batch is
    Show {
        /// The batch
        id: BatchId,
    },
    /// Close a batch: it ends when all members have finished
    Close {
        /// The batch
        id: BatchId,
    },
    /// Open a closed batch again
    Reopen {
        /// The batch
        id: BatchId,
    },
    /// Cancel a batch and all of its members that live
    Cancel {
        /// The batch
        id: BatchId,
        /// Why; shown with the jobs
        #[arg(long, value_name = "TEXT", default_value = "its batch was cancelled by hand")]
        reason: String,
    },
    /// Retry the members that were cancelled or discarded
    Retry {
        /// The batch
        id: BatchId,
    },
}

pub(crate) async fn run(args: BatchArgs, settings: &Settings) -> Result<(), Problem> {
    let Some(command) = args.command else { return list(settings).await };
    match command {
        BatchCommand::Open {
            description,
            parent,
            on_success,
            on_success_args,
            on_finish,
            on_finish_args,
            queue,
        } => {
            let new = NewBatch {
                description,
                parent,
                on_success: end_job(on_success, on_success_args, queue.as_deref())?,
                on_finish: end_job(on_finish, on_finish_args, queue.as_deref())?,
            };
            let opened =
                settings.with_target(Need::Create, async |target| target.open_batch(new).await).await?;
            if settings.json { out::json(&opened, settings.terminal) } else { out::line(opened.id) }
        }
        BatchCommand::Show { id } => {
            show(settings.with_target(Need::Read, async |target| target.batch(id).await).await?, settings)
        }
        BatchCommand::Close { id } => step(id, BatchStep::Close, settings).await,
        BatchCommand::Reopen { id } => step(id, BatchStep::Reopen, settings).await,
        BatchCommand::Cancel { id, reason } => {
            backroom::core::bounds::check_text("reason", &reason, backroom::core::bounds::MESSAGE_BYTES_MAX)?;
            act(id, &Action::Cancel { reason }, settings).await
        }
        BatchCommand::Retry { id } => act(id, &Action::Retry, settings).await,
    }
}

fn end_job(
    kind: Option<String>,
    args: Option<String>,
    queue: Option<&str>,
) -> Result<Option<EndJob>, Problem> {
    let Some(kind) = kind else { return Ok(None) };
    let args = match args {
        Some(text) => Json::parse(text).map_err(|error| Problem::new("read the args", &error))?,
        None => Json::null(),
    };
    Ok(Some(EndJob { kind, args, queue: queue.map(ToOwned::to_owned) }))
}

async fn step(id: BatchId, step: BatchStep, settings: &Settings) -> Result<(), Problem> {
    show(
        settings.with_target(Need::Change, async |target| target.turn_batch(id, step).await).await?,
        settings,
    )
}

async fn act(id: BatchId, action: &Action, settings: &Settings) -> Result<(), Problem> {
    let matched =
        settings.with_target(Need::Change, async |target| target.act_on_batch(id, action).await).await?;
    write_matched(&matched, settings)
}

/// What became of jobs.
pub(super) fn write_matched(matched: &Matched, settings: &Settings) -> Result<(), Problem> {
    if settings.json {
        return out::json(matched, settings.terminal);
    }
    let Matched { matched, done, unneeded, moved, refused, refusal, .. } = matched;
    out::line(format_args!(
        "{done} of {}; {unneeded} needed nothing, {moved} changed meanwhile, {refused} {} refused",
        count(*matched, "job"),
        if *refused == 1 { "was" } else { "were" }
    ))?;
    match refusal {
        Some(why) => out::line(visible::line(why)),
        None => Ok(()),
    }
}

fn show(batch: BatchView, settings: &Settings) -> Result<(), Problem> {
    if settings.json {
        return out::json(&batch, settings.terminal);
    }
    out::line(format_args!("batch {} is {}", batch.id, batch.state.as_str()))?;
    if let Some(description) = &batch.description {
        out::line(visible::line(description))?;
    }
    out::line(bar(&batch))?;
    match pace(&batch) {
        Some(pace) => out::line(pace),
        None => Ok(()),
    }
}

/// How fast it goes: `12.3 members a second, 4m 10s to go`
fn pace(batch: &BatchView) -> Option<String> {
    let rate = batch.per_second.filter(|_| batch.left > 0)?;
    let digits = if rate < 10.0 { 2 } else { 0 };
    let to_go = match batch.time_to_go_ms {
        Some(ms) => format!("{} to go", words::span(Duration::from_millis(ms))),
        None => "nothing has finished".into(),
    };
    Some(format!("{rate:.digits$} members a second since it was opened, {to_go}"))
}

/// How far a batch is: `[#########---------------------]  30 % · 3 of 10 finished (1 failed)`
pub(super) fn bar(batch: &BatchView) -> String {
    const WIDTH: usize = 30;
    let done = WIDTH * usize::from(batch.percent) / 100;
    let failed = batch.cancelled + batch.discarded;
    let of_failed = if failed == 0 { String::new() } else { format!(" ({failed} failed)") };
    format!(
        "[{}{}] {:>3} % · {} of {} finished{of_failed}",
        "#".repeat(done),
        "-".repeat(WIDTH - done),
        batch.percent,
        batch.total - batch.left,
        batch.total
    )
}

async fn list(settings: &Settings) -> Result<(), Problem> {
    let page = settings.with_target(Need::Read, async |target| target.batches().await).await?;
    if settings.json {
        return out::json(&page, settings.terminal);
    }
    if page.batches.is_empty() {
        return out::line("no batches");
    }
    let columns = [
        Column::Whole("BATCH"),
        Column::Text("STATE"),
        Column::Text("PROGRESS"),
        Column::Text("DESCRIPTION"),
    ];
    let mut shown = table::table(settings.style(), &columns);
    for batch in &page.batches {
        let description = batch.description.as_deref().unwrap_or_default();
        shown.add_row(vec![
            cell(batch.id.to_string()),
            cell(batch.state.as_str()),
            cell(bar(batch)),
            cell(visible::line(description)),
        ]);
    }
    table::show(&shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_full_exactly_if_no_member_is_left() {
        let batch: BatchView = serde_json::from_value(serde_json::json!({
            "id": "01890a5d-ac96-774b-bcce-b302099a8057", "parent": null, "description": null, "state": "closed",
            "total": 10, "completed": 2, "cancelled": 0, "discarded": 1, "left": 7, "percent": 30,
            "opened_at": "2026-01-31T09:00:00Z", "closed_at": null, "cancelled_at": null, "finished_at": null,
            "succeeded_at": null
        }))
        .expect("a batch");
        assert_eq!(bar(&batch), "[#########---------------------]  30 % · 3 of 10 finished (1 failed)");
        let full = BatchView { percent: 100, left: 0, completed: 9, ..batch };
        let going = BatchView { per_second: Some(0.5), time_to_go_ms: Some(14_000), ..full.clone() };
        assert_eq!(pace(&going), None, "no member is left");
        let going = BatchView { left: 7, ..going };
        assert_eq!(pace(&going).as_deref(), Some("0.50 members a second since it was opened, 14s to go"));
        assert!(bar(&full).starts_with("[##############################] 100 %"), "{}", bar(&full));
    }
}
