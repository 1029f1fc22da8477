//! `backroom schedules`: what the clock starts.

mod options;
mod preview;

use clap::{Args, Subcommand};

use crate::{settings::Settings, terminal::Problem};

/// Preview what an expression means and when it fires
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "\
Examples:
  backroom schedules preview '0 2 * * *' --zone Europe/Oslo"
)]
pub(crate) struct SchedulesArgs {
    #[command(subcommand)]
    command: SchedulesCommand,
}

/// What can be done with schedules.
#[derive(Debug, Subcommand)]
enum SchedulesCommand {
    Preview(preview::PreviewArgs),
}

impl SchedulesArgs {
    /// Whether a store is used.
    pub(crate) fn needs_a_store(&self) -> bool {
        !matches!(self.command, SchedulesCommand::Preview(_))
    }
}

pub(crate) async fn run(args: SchedulesArgs, settings: &Settings) -> Result<(), Problem> {
    match args.command {
        SchedulesCommand::Preview(args) => preview::run(args, settings).await,
    }
}
