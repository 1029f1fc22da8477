//! `backroom schedules put`: creates a schedule, or replaces its definition.

use std::path::PathBuf;

use backroom::{core::bounds::JSON_BYTES_MAX, schedule::Schedule};
use clap::Args;

use super::options::PutOptions;
use crate::{
    bodies::schedule::ScheduleBody,
    settings::{Need, Settings},
    terminal::{Problem, now, out, words},
    views::schedule::{PutOutcome, PutView},
};

/// Create a schedule, or replace its definition
///
/// Its counters, its history and an operator's pause stay. To put the same again changes nothing. A schedule of a server's settings is
/// changed there.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom schedules put nightly --when '0 2 * * *' --zone Europe/Oslo --kind report --args '{\"day\": \"{{nominal | date}}\"}'
  backroom schedules put sync --when 'every 15m' --except '* * * * sun' --kind sync --overlap buffer_one --deadman 1h
  backroom schedules show nightly --json | jq .schedule.definition > nightly.json
  backroom schedules put nightly --file nightly.json

With --json: {\"outcome\": \"created\", \"changed\" or \"unchanged\", \"schedule\"}.")]
pub(super) struct PutArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,

    /// Read the definition from this file, as JSON
    #[arg(long, value_name = "FILE", conflicts_with_all = ["when", "kind"])]
    file: Option<PathBuf>,

    #[command(flatten)]
    options: PutOptions,
}

/// Largest file of a definition, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

pub(super) async fn run(args: PutArgs, settings: &Settings) -> Result<(), Problem> {
    let schedule = match &args.file {
        Some(path) => of_file(&args.name, path)?,
        None => args.options.form()?.schedule(&args.name)?,
    };
    // What is wrong is said before a store is created.
    schedule.check(now(), JSON_BYTES_MAX)?;
    let put = settings.with_target(Need::Create, async |target| target.put_schedule(&schedule).await).await?;
    if settings.json {
        return out::json(&put, settings.terminal);
    }
    let PutView { outcome, schedule } = put;
    let said = match outcome {
        PutOutcome::Created => "put schedule",
        PutOutcome::Changed => "changed schedule",
        PutOutcome::Unchanged => "unchanged: schedule",
    };
    out::line(format_args!("{said} {}: {}", schedule.name, schedule.description.unwrap_or_default()))?;
    match schedule.next {
        Some(next) => out::line(format_args!(
            "next {} ({})",
            next.local.replace('T', " "),
            words::from_now(next.at, now())
        )),
        None => out::line("it does not fire while it is paused"),
    }
}

fn of_file(name: &str, path: &std::path::Path) -> Result<Schedule, Problem> {
    let doing = format!("read {}", path.display());
    let length = std::fs::metadata(path).map_err(|error| Problem::new(&doing, &error))?.len();
    if length > FILE_BYTES_MAX {
        return Err(Problem::new(
            &doing,
            &format_args!("it has {length} bytes; at most {FILE_BYTES_MAX} are read"),
        ));
    }
    let text = std::fs::read(path).map_err(|error| Problem::new(&doing, &error))?;
    let body: ScheduleBody = serde_json::from_slice(&text).map_err(|error| Problem::new(&doing, &error))?;
    Ok(body.schedule(name)?)
}
