//! `backroom reassign`: another queue or another priority for many jobs.

use backroom::{Action, core::bounds::check_name};
use clap::Args;

use super::matching::{self, Ask, Matching};
use crate::settings::Settings;
use crate::terminal::{Problem, unless_interrupted};

/// Move many queued jobs to another queue, or change their priority
///
/// All that match the filters are changed, however many there are; the filters hold together. Jobs that are not queued are refused. Ctrl-C stops
/// between two pages of jobs, and the same command goes on from there. `backroom amend` changes one job.
#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("change").required(true),
    after_help = "\
Examples:
  backroom reassign --to-queue slow --state queued --kind resize --dry-run
  backroom reassign --to-queue slow --state queued --kind resize
  backroom reassign --to-priority 9 --state queued --tag newsletter

With --json: {\"action\", \"dry_run\", \"matched\", \"done\", \"unneeded\", \"moved\", \"refused\", \"refusal\", \"next\"}. Exit code 1 if
a job was refused."
)]
pub(crate) struct ReassignArgs {
    /// Wait in this queue
    #[arg(long, value_name = "NAME", group = "change")]
    to_queue: Option<String>,

    /// 0 (served first) to 9 (last)
    #[arg(long, value_name = "0-9", value_parser = clap::value_parser!(u8).range(0..=9), group = "change")]
    to_priority: Option<u8>,

    #[command(flatten)]
    matching: Matching,
}

pub(crate) async fn run(args: ReassignArgs, settings: &Settings) -> Result<(), Problem> {
    let action = match (args.to_queue, args.to_priority) {
        (Some(queue), _) => {
            check_name("queue", &queue)?;
            Action::Move { queue }
        }
        (None, Some(priority)) => Action::Prioritize { priority },
        (None, None) => {
            return Err(Problem::new("reassign jobs", &"neither a queue nor a priority is named"));
        }
    };
    unless_interrupted(matching::run(&args.matching, &[], action, Ask::Never, settings)).await
}
