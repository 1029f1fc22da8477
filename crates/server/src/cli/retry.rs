//! `backroom retry`: run jobs now, or once more.

use backroom::{Action, JobId};
use clap::Args;

use super::{
    matching::{self, Ask, Matching},
    several,
};
use crate::settings::Settings;
use crate::terminal::{Problem, unless_interrupted};

/// Run jobs now, or once more
///
/// A queued job that waits for its time becomes due now. A finished one gets one more attempt. Refused while a job
/// runs, and when another live job holds its unique key.
///
/// Jobs are named by id, or by filters that hold together; then all that match are retried, however many there are. Ctrl-C
/// stops between two pages of jobs, and the same command goes on from there.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom retry 01890a5d-ac96-774b-bcce-b302099a8057
  backroom retry --state discarded --kind send_mail --since 2d --dry-run
  backroom retry --state discarded --kind send_mail --since 2d

With --json: {\"results\": [{\"id\", \"ok\", \"job\", \"error\"}]}; by filter {\"action\", \"dry_run\", \"matched\",
\"done\", \"unneeded\", \"moved\", \"refused\", \"refusal\", \"next\"}. Exit code 1 if a job was refused.")]
pub(crate) struct RetryArgs {
    /// The jobs
    #[arg(required_unless_present = "Select", conflicts_with = "Select", value_name = "ID")]
    ids: Vec<JobId>,

    #[command(flatten)]
    matching: Matching,
}

pub(crate) async fn run(args: RetryArgs, settings: &Settings) -> Result<(), Problem> {
    if args.ids.is_empty() {
        return matching::run(&args.matching, &[], Action::Retry, Ask::Never, settings).await;
    }
    unless_interrupted(several::each(&args.ids, settings, &Action::Retry, |id, view| match view {
        Some(view) => format!("job {id} is {}", view.shown),
        None => format!("job {id} is gone"),
    }))
    .await
}
