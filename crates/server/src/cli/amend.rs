//! `backroom amend`: change a job that waits for its turn.

use std::time::Duration;

use backroom::JobId;
use clap::Args;

use super::enqueue::Source;
use crate::settings::{Need, Settings};
use crate::terminal::{
    Problem, out,
    parse::{MomentText, moment, span},
    words,
};
use crate::{bodies::Amendment, target::Target};

/// Change a queued job: when it runs, its priority, its args, its queue
///
/// What is not named stays, and so do its attempts. Refused while the job runs or waits, and once it is finished. The kind
/// cannot change: cancel the job and enqueue another.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom amend 01890a5d-ac96-774b-bcce-b302099a8057 --delay 2h
  backroom amend ID --at '2030-01-31 09:00 [Europe/Berlin]' --priority 1
  backroom amend ID --args '{\"to\":\"ada@example.org\"}'

With --json: the job's fields, then shown.")]
pub(crate) struct AmendArgs {
    /// The job
    id: JobId,

    /// Run it this much later than now: 10m, 2h30m
    #[arg(long, value_name = "SPAN", value_parser = span, conflicts_with = "at", required_unless_present_any = ["at", "priority", "args", "queue"])]
    delay: Option<Duration>,

    /// Run it at this moment: 2026-01-31T09:00:00Z, or '2026-01-31 09:00' in local time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<MomentText>,

    /// 0 (served first) to 9 (last)
    #[arg(long, short, value_name = "0-9")]
    priority: Option<u8>,

    /// Other args: JSON, @FILE, or - for stdin
    #[arg(long, value_name = "ARGS", allow_negative_numbers = true)]
    args: Option<String>,

    /// Wait in this queue
    #[arg(long, short, value_name = "NAME")]
    queue: Option<String>,
}

pub(crate) async fn run(args: AmendArgs, settings: &Settings) -> Result<(), Problem> {
    settings.with_target(Need::Change, async |target| amend(target, args, settings).await).await
}

async fn amend(target: &Target, args: AmendArgs, settings: &Settings) -> Result<(), Problem> {
    // The moments of jobs are those of the store's clock.
    let now = target.now();
    let scheduled_at = args.at.map(|at| at.ahead(now)).transpose();
    let mut changes = Amendment {
        delay_ms: args.delay.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
        scheduled_at: scheduled_at.map_err(|why| Problem::new("read the time", &why))?,
        priority: args.priority,
        args: None,
        queue: args.queue,
    };
    if let Some(text) = &args.args {
        let source = Source::of(Some(text), false)?;
        changes.args = Some(source.parse(source.whole()?)?);
    }
    let view = target.amend(args.id, &changes).await?;
    if settings.json {
        return out::json(&view, settings.terminal);
    }
    let job = view.job;
    let due = words::moment_in_full(job.scheduled_at, now);
    out::line(format_args!(
        "changed job {}: queue {}, priority {}, due {due}",
        job.id, job.queue, job.priority
    ))
}
