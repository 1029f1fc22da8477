//! `backroom schedules history`: what became of the occurrences of a schedule.

use backroom::Timestamp;
use clap::Args;

use super::READ;
use crate::{
    settings::Settings,
    terminal::{
        Problem, out,
        table::{self, Column, cell},
        words,
    },
    views::schedule::EntryView,
};

/// List what became of the occurrences of a schedule: runs, and why others did not run
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom schedules history nightly
  backroom schedules history nightly --json | jq '.entries[] | select(.job == null) | {first, count, words}'

With --json: {\"entries\": [{\"seq\", \"what\", \"words\", \"first\", \"last\", \"count\", \"at\", \"job\", \"key\", \"end\"}], \"next\"}.")]
pub(super) struct HistoryArgs {
    /// The schedule
    #[arg(value_name = "NAME")]
    name: String,

    /// At most this many entries, 1 to 1000
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,

    /// Those below this number: the next page
    #[arg(long, value_name = "SEQ")]
    before: Option<u64>,
}

pub(super) async fn run(args: HistoryArgs, settings: &Settings) -> Result<(), Problem> {
    let (page, now) = settings
        .with_target(READ, async |target| {
            let page = target.schedule_history(&args.name, args.before, args.limit.into()).await?;
            Ok((page, target.now()))
        })
        .await?;
    if settings.json {
        return out::json(&page, settings.terminal);
    }
    if page.entries.is_empty() {
        return out::line("nothing has happened yet");
    }
    show(&page.entries, settings, now)?;
    if let Some(next) = page.next {
        out::note(format_args!("there are more; --before {next} shows the next page"));
    }
    Ok(())
}

/// Entries as a table.
pub(super) fn show(entries: &[EntryView], settings: &Settings, now: Timestamp) -> Result<(), Problem> {
    let columns = [
        Column::Whole("OCCURRENCE"),
        Column::Number("COUNT"),
        Column::Text("WHAT"),
        Column::Text("END"),
        Column::Text("WHEN"),
        Column::Whole("JOB"),
    ];
    let mut rows = table::table(settings.style(), &columns);
    for entry in entries {
        let end = match (&entry.job, &entry.end) {
            (None, _) => String::new(),
            (Some(_), None) => "going".into(),
            (Some(_), Some(end)) => match &end.reason {
                Some(reason) => format!("{}: {reason}", end.became.as_str()),
                None => end.became.as_str().into(),
            },
        };
        rows.add_row(vec![
            cell(entry.first.to_string()),
            cell(words::thousands(entry.count)),
            cell(entry.what.as_str()),
            cell(end),
            cell(words::from_now(entry.at, now)),
            cell(entry.job.map(|job| job.to_string()).unwrap_or_default()),
        ]);
    }
    table::narrow(&mut rows, &[4, 1]);
    table::show(&rows)
}
