//! `backroom trigger`: starts a run of a schedule now.

use backroom::Json;
use clap::Args;

use super::CHANGE;
use crate::{
    settings::Settings,
    terminal::{Problem, out},
};

/// Start a run of a schedule now, also while it is paused or a run is going
///
/// For outside timers: with --key, a second trigger with the same key starts nothing and answers the job of the first. Keys are remembered
/// for at least 24 hours.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom trigger nightly
  backroom trigger nightly --key nightly-2026-11-27
  backroom trigger nightly --args '{\"day\": \"2026-11-20\"}'
  backroom --server https://jobs.example.org trigger nightly --key nightly-2026-11-27

With --json: {\"id\": the job}.")]
pub(crate) struct TriggerArgs {
    /// The schedule
    #[arg(value_name = "NAME")]
    name: String,

    /// Names what is triggered, such as the occurrence of the outside timer
    #[arg(long, short, value_name = "KEY")]
    key: Option<String>,

    /// The args of this run instead of those of the schedule, a template as well
    #[arg(long, short, value_name = "JSON")]
    args: Option<String>,
}

pub(crate) async fn run(args: TriggerArgs, settings: &Settings) -> Result<(), Problem> {
    let json = args.args.map(Json::parse).transpose()?;
    let key = args.key.as_deref();
    let triggered = settings
        .with_target(CHANGE, async |target| target.trigger_schedule(&args.name, key, json).await)
        .await?;
    if settings.json {
        return out::json(&triggered, settings.terminal);
    }
    out::line(triggered.id)
}
