//! `backroom enqueue`: put a job in.

use clap::Args;

use super::Problem;
use crate::settings::Settings;

/// Put a job in, or many
#[derive(Debug, Args)]
pub(crate) struct EnqueueArgs {
    /// Which handler runs it
    kind: String,
}

pub(crate) async fn run(args: EnqueueArgs, settings: &Settings) -> Result<(), Problem> {
    let backroom = settings.open_or_create().await?;
    let job = backroom.enqueue_untyped(args.kind, backroom::Json::null()).await?;
    super::out::line(job.id())
}
