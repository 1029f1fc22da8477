//! `backroom delete`: take jobs out of the store.

use backroom::{Action, JobId};
use clap::Args;

use super::{
    matching::{self, Ask, Matching},
    several,
};
use crate::settings::Settings;
use crate::terminal::{Problem, unless_interrupted};

/// Delete jobs with their attempts and logs
///
/// There is no way back. A running job is refused: cancel it first. Finished jobs go by themselves after a while; see
/// `backroom queues retain`.
///
/// Jobs are named by id, or by filters that hold together; then all that match are deleted, however many there are, after
/// a question on the terminal or with --yes. A job that is retried or changed meanwhile stays, unless it still matches.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom delete 01890a5d-ac96-774b-bcce-b302099a8057
  backroom delete --state cancelled --queue mail --until 30d --dry-run
  backroom delete --state cancelled --queue mail --until 30d --yes

With --json: {\"results\": [{\"id\", \"ok\", \"job\", \"error\"}]}; by filter {\"action\", \"dry_run\", \"matched\",
\"done\", \"unneeded\", \"moved\", \"refused\", \"refusal\", \"next\"}. Exit code 1 if a job was refused.")]
pub(crate) struct DeleteArgs {
    /// The jobs
    #[arg(required_unless_present = "Select", conflicts_with = "Select", value_name = "ID")]
    ids: Vec<JobId>,

    #[command(flatten)]
    matching: Matching,

    /// Do not ask before deleting what matches
    #[arg(long, short)]
    yes: bool,
}

pub(crate) async fn run(args: DeleteArgs, settings: &Settings) -> Result<(), Problem> {
    if args.ids.is_empty() {
        let ask = if args.yes { Ask::Never } else { Ask::First };
        return matching::run(&args.matching, &[], Action::Delete, ask, settings).await;
    }
    unless_interrupted(several::each(&args.ids, settings, &Action::Delete, |id, _| {
        format!("deleted job {id}")
    }))
    .await
}
