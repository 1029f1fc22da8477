//! `backroom schedules backfill`: runs the occurrences of a range in the past.

use std::{io::IsTerminal as _, time::Duration};

use backroom::Timestamp;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{CHANGE, READ};
use crate::{
    bodies::schedule::{BACKFILL_MAX, BackfillBody},
    settings::Settings,
    target::Target,
    terminal::{
        Problem, now, out,
        parse::{MomentText, moment},
        words,
    },
    views::schedule::BackfillView,
};

/// How many occurrences need no `--confirm`.
const UNCONFIRMED_MAX: u64 = 1000;
/// How often the progress is read.
const READ_EVERY: Duration = Duration::from_millis(500);
/// How often a line says how far it is where no terminal shows a bar.
const LINE_EVERY: u32 = 20;

/// Run the occurrences of a range in the past, each once
///
/// They are counted first. More than 1,000 need --confirm with the number that was counted; more than 100,000 are refused. Processes that do
/// upkeep carry the backfill out, a bounded number at a time, also after a restart. The command shows how far it is; Ctrl-C
/// ends only the command.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom schedules backfill nightly --from 7d --until 1d --dry-run
  backroom schedules backfill nightly --from 2026-11-01T00:00:00Z --until 2026-11-08T00:00:00Z
  backroom schedules backfill nightly --from 90d --confirm 2160 --no-wait
  backroom schedules backfill nightly --stop

With --json: {\"total\", \"backfill\": {\"from\", \"until\", \"total\", \"done\", \"started_at\", \"ended_at\"}}.")]
pub(super) struct BackfillArgs {
    /// The schedule
    #[arg(value_name = "NAME")]
    name: String,

    /// No occurrence before this moment: 7d (ago), 2026-11-01T00:00:00Z
    #[arg(long, value_name = "MOMENT", value_parser = moment, required_unless_present = "stop")]
    from: Option<MomentText>,

    /// No occurrence after this moment [default: now]
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    until: Option<MomentText>,

    /// Only count them
    #[arg(long, conflicts_with = "stop")]
    dry_run: bool,

    /// Go ahead although it is more than 1,000: the number that was counted
    #[arg(long, value_name = "N")]
    confirm: Option<u64>,

    /// So many of its runs go on at once [default: 10]
    #[arg(long, value_name = "N")]
    at_once: Option<u32>,

    /// Do not wait for its end
    #[arg(long)]
    no_wait: bool,

    /// Stop the backfill that goes on; its runs that are going stay
    #[arg(long, conflicts_with_all = ["from", "until", "confirm", "at_once"])]
    stop: bool,
}

pub(super) async fn run(args: BackfillArgs, settings: &Settings) -> Result<(), Problem> {
    let name = &args.name;
    if args.stop {
        let schedule = settings.with_target(CHANGE, async |target| target.stop_backfill(name).await).await?;
        if settings.json {
            return out::json(&schedule, settings.terminal);
        }
        return out::line(format_args!("stopped the backfill of schedule {name}"));
    }
    // What is wrong is said before a store is opened.
    range(&args, now())?;
    let need = if args.dry_run { READ } else { CHANGE };
    settings.with_target(need, async |target| on_target(target, &args, settings).await).await
}

fn range(args: &BackfillArgs, at: Timestamp) -> Result<(Timestamp, Timestamp), Problem> {
    let from = args.from.unwrap_or(MomentText::Now).past(at);
    let from = from.map_err(|why| Problem::new("read --from", &why))?;
    let until = args.until.unwrap_or(MomentText::Now).past(at);
    let until = until.map_err(|why| Problem::new("read --until", &why))?;
    Ok((from, until))
}

async fn on_target(target: &Target, args: &BackfillArgs, settings: &Settings) -> Result<(), Problem> {
    let name = &args.name;
    // Through a server the first answer tells its time.
    target.schedule(name).await?;
    let (from, until) = range(args, target.now())?;
    let body = BackfillBody { from, until, dry_run: true, allow: None, at_once: args.at_once };
    let BackfillView { total, .. } = target.backfill(name, &body).await?;
    let counted = words::count(total, "occurrence");
    if args.dry_run {
        if settings.json {
            return out::json(&BackfillView { total, backfill: None }, settings.terminal);
        }
        return out::line(format_args!("would run {counted}; nothing was changed"));
    }
    if total > BACKFILL_MAX {
        let why = format!("{counted} are more than {}; split the range", words::thousands(BACKFILL_MAX));
        return Err(Problem::new(format_args!("backfill schedule {name:?}"), &why));
    }
    if total > UNCONFIRMED_MAX && args.confirm != Some(total) {
        let why = format!("{counted} are more than {}", words::thousands(UNCONFIRMED_MAX));
        return Err(Problem::new(format_args!("backfill schedule {name:?}"), &why)
            .hint(format!("add --confirm {total} to go ahead")));
    }
    // More may be due by now than were counted, never a multiple of them.
    let allow = Some(total.max(UNCONFIRMED_MAX));
    let begun = target.backfill(name, &BackfillBody { dry_run: false, allow, ..body }).await?;
    if args.no_wait {
        return answer(name, &begun, settings);
    }
    let ended = follow(target, name, begun).await?;
    answer(name, &ended, settings)
}

/// Shows how far it is until it has ended.
async fn follow(target: &Target, name: &str, begun: BackfillView) -> Result<BackfillView, Problem> {
    let bar = bar(begun.total);
    let mut reads = 0u32;
    loop {
        let schedule = target.schedule(name).await?.schedule;
        let Some(backfill) = schedule.backfill else { return Ok(begun) };
        bar.set_position(backfill.done);
        if bar.is_hidden() && reads % LINE_EVERY == LINE_EVERY - 1 {
            out::note(format_args!("… {} of {}", backfill.done, backfill.total));
        }
        if !backfill.is_running() {
            bar.finish_and_clear();
            return Ok(BackfillView { total: backfill.total, backfill: Some(backfill) });
        }
        if let Some(failing) = schedule.failing.filter(|_| backfill.done == 0 && reads > LINE_EVERY) {
            bar.finish_and_clear();
            let why = format!("the schedule fails: {}", failing.why);
            return Err(Problem::new(format_args!("backfill schedule {name:?}"), &why));
        }
        reads = reads.saturating_add(1);
        target.rest(READ_EVERY).await;
    }
}

fn bar(total: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len}, {eta} left");
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn answer(name: &str, view: &BackfillView, settings: &Settings) -> Result<(), Problem> {
    if settings.json {
        return out::json(view, settings.terminal);
    }
    let counted = words::count(view.total, "occurrence");
    match view.backfill {
        Some(backfill) if backfill.is_running() => {
            out::line(format_args!("the backfill of schedule {name} has begun: {counted}"))
        }
        Some(backfill) => out::line(format_args!(
            "the backfill of schedule {name} has ended: {} of {counted}",
            words::thousands(backfill.done)
        )),
        None => out::line(format_args!("nothing to backfill for schedule {name}")),
    }
}
