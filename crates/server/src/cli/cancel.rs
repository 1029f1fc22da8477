//! `backroom cancel`: ask jobs to stop.

use backroom::{JobId, State};
use clap::Args;

use super::{Problem, several};
use crate::settings::Settings;

/// Ask jobs to stop
///
/// A queued job is cancelled at once. A running one is marked and its handler told; it ends as cancelled unless it
/// succeeds first. Nothing happens to a job that is finished.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom cancel 01890a5d-ac96-774b-bcce-b302099a8057
  backroom cancel ID ID --reason 'the order was withdrawn'
  backroom jobs --state available --kind send_mail --json | jq -r '.jobs[].id' | xargs backroom cancel

With --json: {\"results\": [{\"id\", \"ok\", \"job\", \"error\"}]}.")]
pub(crate) struct CancelArgs {
    /// The jobs
    #[arg(required = true, value_name = "ID")]
    ids: Vec<JobId>,

    /// Why; shown with the job
    #[arg(long, value_name = "TEXT", default_value = "cancelled by hand")]
    reason: String,
}

pub(crate) async fn run(args: CancelArgs, settings: &Settings) -> Result<(), Problem> {
    backroom::core::bounds::check_text("reason", &args.reason, backroom::core::bounds::MESSAGE_BYTES_MAX)?;
    several::each(
        &args.ids,
        settings,
        async |backroom, id| backroom.cancel_because(id, &args.reason).await,
        |id, job| match job.map(|job| job.state) {
            Some(State::Running) => format!("job {id} runs; its handler is told to stop"),
            Some(State::Cancelled) => format!("cancelled job {id}"),
            Some(state @ (State::Completed | State::Discarded)) => {
                format!("nothing to cancel: job {id} is {state} already")
            }
            Some(state @ (State::Queued | State::Waiting)) => format!("job {id} is {state} again"),
            None => format!("job {id} is gone"),
        },
    )
    .await
}
