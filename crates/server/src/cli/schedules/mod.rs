//! `backroom schedules` and `backroom trigger`: what the clock starts.

mod act;
mod backfill;
mod history;
mod list;
mod options;
mod preview;
mod put;
mod show;
pub(crate) mod trigger;

use clap::{Args, Subcommand};

use crate::{
    settings::{Need, Settings},
    terminal::Problem,
};

/// List schedules; put, show, preview, pause, resume, trigger, backfill and delete them
///
/// A schedule starts jobs by the clock. It lies in the store, and every process that does upkeep (a worker, or `backroom serve`) runs it.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  backroom schedules
  backroom schedules preview '0 2 * * *' --zone Europe/Oslo
  backroom schedules put nightly --when '0 2 * * *' --zone Europe/Oslo --kind report
  backroom schedules show nightly
  backroom schedules pause nightly
  backroom trigger nightly --key 2026-11-27
  backroom schedules backfill nightly --from 7d --until 1d --dry-run
  backroom schedules --json | jq '.schedules[] | select(.failing) | .name'

With --json: {\"schedules\": [{\"name\", \"origin\", \"status\", \"description\", \"next\", \"failing\", \"overdue_since\", \"counters\",
… \"definition\"}], \"next\"}."
)]
pub(crate) struct SchedulesArgs {
    #[command(subcommand)]
    command: Option<SchedulesCommand>,

    #[command(flatten)]
    list: list::ListArgs,
}

/// What can be done with schedules.
#[derive(Debug, Subcommand)]
enum SchedulesCommand {
    /// List schedules: the same as without a command
    List(list::ListArgs),
    Put(Box<put::PutArgs>),
    Show(show::ShowArgs),
    Preview(preview::PreviewArgs),
    History(history::HistoryArgs),
    Pause(act::PauseArgs),
    Resume(act::ResumeArgs),
    Trigger(trigger::TriggerArgs),
    Backfill(backfill::BackfillArgs),
    Delete(act::DeleteArgs),
}

impl SchedulesArgs {
    /// Whether a store is used.
    pub(crate) fn needs_a_store(&self) -> bool {
        !matches!(&self.command, Some(SchedulesCommand::Preview(args)) if !args.needs_a_store())
    }
}

pub(crate) async fn run(args: SchedulesArgs, settings: &Settings) -> Result<(), Problem> {
    let Some(command) = args.command else { return list::run(args.list, settings).await };
    match command {
        SchedulesCommand::List(args) => list::run(args, settings).await,
        SchedulesCommand::Put(args) => put::run(*args, settings).await,
        SchedulesCommand::Show(args) => show::run(args, settings).await,
        SchedulesCommand::Preview(args) => preview::run(args, settings).await,
        SchedulesCommand::History(args) => history::run(args, settings).await,
        SchedulesCommand::Pause(args) => act::pause(args, settings).await,
        SchedulesCommand::Resume(args) => act::resume(args, settings).await,
        SchedulesCommand::Trigger(args) => trigger::run(args, settings).await,
        SchedulesCommand::Backfill(args) => backfill::run(args, settings).await,
        SchedulesCommand::Delete(args) => act::delete(args, settings).await,
    }
}

/// A command that reads needs a store that is there; one that changes schedules may be the first to use it.
const READ: Need = Need::Read;
const CHANGE: Need = Need::Change;
