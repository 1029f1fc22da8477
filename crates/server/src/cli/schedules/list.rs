//! `backroom schedules`: the schedules there are.

use clap::Args;

use super::READ;
use crate::{
    settings::Settings,
    terminal::{
        Problem, out,
        table::{self, Column, cell},
        words,
    },
    views::schedule::SchedulePage,
};

/// Which page.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// At most this many, 1 to 1000
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,

    /// Those after this name: the next page
    #[arg(long, value_name = "NAME")]
    after: Option<String>,
}

pub(super) async fn run(args: ListArgs, settings: &Settings) -> Result<(), Problem> {
    let (page, now) = settings
        .with_target(READ, async |target| {
            Ok((target.schedules(args.after.as_deref(), args.limit.into()).await?, target.now()))
        })
        .await?;
    if settings.json {
        return out::json(&page, settings.terminal);
    }
    let SchedulePage { schedules, next } = page;
    if schedules.is_empty() {
        return out::line("no schedules");
    }
    let mut rows = table::table(
        settings.style(),
        &[
            Column::Text("NAME"),
            Column::Text("STATUS"),
            Column::Text("NEXT"),
            Column::Text("LAST SUCCESS"),
            Column::Number("FIRED"),
            Column::Number("SKIPPED"),
            Column::Number("MISSED"),
            Column::Text("FROM"),
            Column::Text("WHEN"),
        ],
    );
    for schedule in &schedules {
        let counters = schedule.counters;
        rows.add_row(vec![
            cell(&schedule.name),
            cell(schedule.condition()),
            cell(schedule.next.as_ref().map(|next| words::from_now(next.at, now)).unwrap_or_default()),
            cell(schedule.last_success.map(|success| words::from_now(success.at, now)).unwrap_or_default()),
            cell(words::thousands(counters.fired)),
            cell(words::thousands(counters.skipped)),
            cell(words::thousands(counters.missed)),
            cell(schedule.origin.as_str()),
            cell(schedule.description.clone().unwrap_or_default()),
        ]);
    }
    table::narrow(&mut rows, &[7, 5, 6, 4, 3]);
    table::show(&rows)?;
    if let Some(next) = next {
        out::note(format_args!("there are more; --after {next:?} shows the next page"));
    }
    Ok(())
}
