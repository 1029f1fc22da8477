//! `backroom schedules pause`, `resume` and `delete`.

use clap::Args;

use super::CHANGE;
use crate::{
    settings::Settings,
    terminal::{Problem, out},
    views::schedule::Status,
};

/// Stop a schedule from firing; runs that are going are not stopped
#[derive(Debug, Args)]
pub(super) struct PauseArgs {
    /// The schedule
    #[arg(value_name = "NAME")]
    name: String,
}

/// Let a paused schedule fire again; what it would have started meanwhile is skipped
#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    /// The schedule
    #[arg(value_name = "NAME")]
    name: String,
}

/// Delete a schedule with its history; its jobs stay
#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// The schedule
    #[arg(value_name = "NAME")]
    name: String,
}

pub(super) async fn pause(args: PauseArgs, settings: &Settings) -> Result<(), Problem> {
    set(&args.name, true, settings).await
}

pub(super) async fn resume(args: ResumeArgs, settings: &Settings) -> Result<(), Problem> {
    set(&args.name, false, settings).await
}

async fn set(name: &str, pauses: bool, settings: &Settings) -> Result<(), Problem> {
    let schedule =
        settings.with_target(CHANGE, async |target| target.pause_schedule(name, pauses).await).await?;
    if settings.json {
        return out::json(&schedule, settings.terminal);
    }
    match (pauses, schedule.status) {
        (true, _) => out::line(format_args!("paused schedule {name}")),
        (false, Status::Paused) => {
            out::line(format_args!("resumed schedule {name}, but its definition says that it is paused"))
        }
        (false, _) => out::line(format_args!("resumed schedule {name}")),
    }
}

pub(super) async fn delete(args: DeleteArgs, settings: &Settings) -> Result<(), Problem> {
    let name = &args.name;
    settings.with_target(CHANGE, async |target| target.delete_schedule(name).await).await?;
    if settings.json {
        return out::json(&serde_json::json!({"deleted": name}), settings.terminal);
    }
    out::line(format_args!("deleted schedule {name}; its jobs stay"))
}
