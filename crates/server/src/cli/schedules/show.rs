//! `backroom schedules show`: everything about one schedule.

use clap::Args;

use super::{READ, history, preview};
use crate::{
    schedules::short,
    settings::Settings,
    terminal::{
        Problem, out,
        table::{self, Column, cell},
        words,
    },
    views::schedule::{ScheduleView, WholeSchedule},
};

/// Show a schedule: its policies, why it fails, its last runs and its next occurrences
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom schedules show nightly
  backroom schedules show nightly --json | jq '.schedule.counters'

With --json: {\"schedule\", \"going\": [runs], \"last\": [runs], \"next\": [occurrences]}.")]
pub(super) struct ShowArgs {
    /// The schedule
    #[arg(value_name = "NAME")]
    name: String,
}

pub(super) async fn run(args: ShowArgs, settings: &Settings) -> Result<(), Problem> {
    let (whole, now) = settings
        .with_target(READ, async |target| Ok((target.schedule(&args.name).await?, target.now())))
        .await?;
    if settings.json {
        return out::json(&whole, settings.terminal);
    }
    let WholeSchedule { schedule, going, last, next } = whole;
    out::text(&page(&schedule, now))?;
    if !going.is_empty() {
        out::line(format_args!("\n{} going:", words::count(going.len() as u64, "run")))?;
        history::show(&going, settings, now)?;
    }
    if !last.is_empty() {
        out::line("\nlast runs:")?;
        history::show(&last, settings, now)?;
    }
    if next.is_empty() {
        return Ok(());
    }
    out::line("\nnext occurrences:")?;
    let columns =
        [Column::Whole("LOCAL"), Column::Whole("UTC"), Column::Text("WHEN"), Column::Text("CLOCKS")];
    let mut rows = table::table(settings.style(), &columns);
    for occurrence in &next {
        rows.add_row(vec![
            cell(occurrence.local.replace('T', " ")),
            cell(occurrence.at.to_string()),
            cell(words::from_now(occurrence.at, now)),
            cell(preview::clocks(occurrence)),
        ]);
    }
    table::show(&rows)
}

fn page(schedule: &ScheduleView, now: backroom::Timestamp) -> String {
    let mut lines: Vec<(&str, String)> = vec![
        ("schedule", schedule.name.clone()),
        ("status", schedule.condition()),
        ("when", schedule.description.clone().unwrap_or_else(|| "this version cannot read it".into())),
        ("from", format!("{}, put {}", schedule.origin.as_str(), words::from_now(schedule.changed_at, now))),
    ];
    if let Some(definition) = &schedule.definition {
        let policies = definition.policies;
        lines.push(("job", format!("{} in queue {}", definition.job.kind, definition.job.queue)));
        lines.push(("args", definition.job.args.as_str().to_owned()));
        lines.push(("overlap", short::overlap_text(policies.overlap)));
        lines.push(("catch up", short::catch_up_text(policies.catch_up)));
        if let Some(deadman) = policies.deadman {
            lines.push(("deadman", format!("a success is expected within {}", words::span(deadman))));
        }
        if let Some(notify) = &definition.notify {
            lines.push(("notify", backroom::without_password(notify)));
        }
    }
    if let Some(pause) = schedule.paused {
        use backroom::schedule::state::PausedBy;
        let by = match pause.by {
            PausedBy::Operator => "by an operator".to_owned(),
            PausedBy::Failure(nominal) => format!("by its policy, because the run of {nominal} failed"),
        };
        lines.push(("paused", format!("{by}, {}", words::from_now(pause.at, now))));
    }
    if let Some(failing) = &schedule.failing {
        lines.push(("failing", format!("since {}: {}", words::moment(failing.since, now), failing.why)));
    }
    if let Some(since) = schedule.overdue_since {
        lines.push(("overdue", format!("since {}", words::moment(since, now))));
    }
    if let Some(success) = schedule.last_success {
        lines.push(("success", format!("{}, of {}", words::from_now(success.at, now), success.nominal)));
    }
    let counters = schedule.counters;
    let counted = [
        (counters.fired, "fired"),
        (counters.skipped, "skipped"),
        (counters.missed, "missed"),
        (counters.buffered, "waited"),
        (counters.triggered, "triggered"),
        (counters.backfilled, "backfilled"),
    ];
    let counted = counted.map(|(count, word)| format!("{} {word}", words::thousands(count)));
    lines.push(("counts", counted.join(", ")));
    if let Some(backfill) = schedule.backfill {
        let state = if backfill.is_running() { "goes on" } else { "has ended" };
        let range = format!("{} to {}", backfill.from, backfill.until);
        lines.push(("backfill", format!("{range} {state}: {} of {}", backfill.done, backfill.total)));
    }
    lines.iter().map(|(name, value)| format!("{name:<10}{value}\n")).collect()
}
