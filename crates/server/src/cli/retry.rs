//! `backroom retry`: run jobs now, or once more.

use backroom::JobId;
use clap::Args;

use super::{Problem, now, several};
use crate::settings::Settings;

/// Run jobs now, or once more
///
/// A queued job that waits for its time becomes due now. A finished one gets one more attempt. Refused while a job
/// runs, and when another live job holds its unique key.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom retry 01890a5d-ac96-774b-bcce-b302099a8057
  backroom jobs --state discarded --json | jq -r '.jobs[].id' | xargs backroom retry

With --json: {\"results\": [{\"id\", \"ok\", \"job\", \"error\"}]}.")]
pub(crate) struct RetryArgs {
    /// The jobs
    #[arg(required = true, value_name = "ID")]
    ids: Vec<JobId>,
}

pub(crate) async fn run(args: RetryArgs, settings: &Settings) -> Result<(), Problem> {
    several::each(
        &args.ids,
        settings,
        async |backroom, id| backroom.retry(id).await,
        |id, job| match job {
            Some(job) => format!("job {id} is {}", job.shown(now())),
            None => format!("job {id} is gone"),
        },
    )
    .await
}
