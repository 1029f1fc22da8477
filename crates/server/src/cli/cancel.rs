//! `backroom cancel`: ask jobs to stop.

use backroom::{Action, DisplayState, JobId, State};
use clap::Args;

use super::{
    matching::{self, Ask, Matching},
    several,
};
use crate::settings::Settings;
use crate::terminal::{Problem, unless_interrupted};

/// Ask jobs to stop
///
/// A queued job is cancelled at once. A running one is marked and its handler is asked to stop; it ends as cancelled unless it
/// succeeds first. Nothing happens to a job that is finished.
///
/// Jobs are named by id, or by filters that hold together; then all that match are cancelled, however many there are. Without
/// --state those are all that are not finished. Ctrl-C stops between two pages of jobs, and the same command goes on.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom cancel 01890a5d-ac96-774b-bcce-b302099a8057
  backroom cancel ID ID --reason 'the order was withdrawn'
  backroom cancel --state available,scheduled --kind send_mail --dry-run
  backroom cancel --state available,scheduled --kind send_mail --reason 'the campaign was called off'

With --json: {\"results\": [{\"id\", \"ok\", \"job\", \"error\"}]}; by filter {\"action\", \"dry_run\", \"matched\",
\"done\", \"unneeded\", \"moved\", \"refused\", \"refusal\", \"next\"}. Exit code 1 if a job was refused.")]
pub(crate) struct CancelArgs {
    /// The jobs
    #[arg(required_unless_present = "Select", conflicts_with = "Select", value_name = "ID")]
    ids: Vec<JobId>,

    #[command(flatten)]
    matching: Matching,

    /// Why; shown with the job
    #[arg(long, value_name = "TEXT", default_value = "cancelled by hand")]
    reason: String,
}

pub(crate) async fn run(args: CancelArgs, settings: &Settings) -> Result<(), Problem> {
    backroom::core::bounds::check_text("reason", &args.reason, backroom::core::bounds::MESSAGE_BYTES_MAX)?;
    if args.ids.is_empty() {
        let live = [
            DisplayState::Scheduled,
            DisplayState::Retrying,
            DisplayState::Available,
            DisplayState::Running,
            DisplayState::Waiting,
        ];
        let action = Action::Cancel { reason: args.reason };
        return matching::run(&args.matching, &live, action, Ask::Never, settings).await;
    }
    unless_interrupted(several::each(
        &args.ids,
        settings,
        &Action::Cancel { reason: args.reason },
        |id, view| match view.map(|view| view.job.state) {
            Some(State::Running) => format!("job {id} runs; its handler is asked to stop"),
            Some(State::Cancelled) => format!("cancelled job {id}"),
            Some(state @ (State::Completed | State::Discarded)) => {
                format!("nothing to cancel: job {id} is {state} already")
            }
            Some(state @ (State::Queued | State::Waiting)) => format!("job {id} is {state} again"),
            None => format!("job {id} is gone"),
        },
    ))
    .await
}
