//! `backroom delete`: take jobs out of the store.

use backroom::JobId;
use clap::Args;

use super::{Problem, several};
use crate::settings::Settings;

/// Delete jobs with their attempts and logs
///
/// There is no way back. A running job is refused: cancel it first. Finished jobs go by themselves after a while; see
/// `backroom queues retain`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom delete 01890a5d-ac96-774b-bcce-b302099a8057

With --json: {\"results\": [{\"id\", \"ok\", \"job\", \"error\"}]}.")]
pub(crate) struct DeleteArgs {
    /// The jobs
    #[arg(required = true, value_name = "ID")]
    ids: Vec<JobId>,
}

pub(crate) async fn run(args: DeleteArgs, settings: &Settings) -> Result<(), Problem> {
    several::each(
        &args.ids,
        settings,
        async |backroom, id| backroom.delete(id).await,
        |id, _| format!("deleted job {id}"),
    )
    .await
}
