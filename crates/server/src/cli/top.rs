//! `backroom top`: the overview of the dashboard in the terminal.

use std::{fmt::Write as _, time::Duration};

use backroom::{DisplayState, Timestamp};
use clap::Args;

use super::top_attention;
use crate::{
    settings::{Need, Settings},
    target::Target,
    terminal::{
        Problem, out,
        parse::span,
        table::{self, Column, cell},
        visible, words,
    },
    views::{QueueList, StatsView, WorkerList, schedule::SchedulePage},
};

/// How far back attempts are counted.
const LAST: Duration = Duration::from_secs(600);
/// Rows of each table; what is beyond is counted.
const ROWS_MAX: usize = 15;
/// Lines of what needs attention.
const ATTENTION_MAX: usize = 10;
/// Schedules that are looked through for those that fail.
const SCHEDULES_MAX: usize = 1000;
/// Back to the first place of the screen, and everything behind it away.
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

/// Watch queues, workers and what was done, refreshed until Ctrl-C
///
/// What needs attention, queues with what waits and runs, the kinds of the last ten minutes, and the workers. Where stdout is no terminal, it is shown once.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom top
  backroom top --every 10s
  backroom top --once
  backroom --server https://jobs.example.com top

With --json: {\"attention\", \"queues\", \"kinds\", \"workers\"}, once.")]
pub(crate) struct TopArgs {
    /// How often it is refreshed
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = span)]
    every: Duration,

    /// Show it once
    #[arg(long)]
    once: bool,
}

pub(crate) async fn run(args: TopArgs, settings: &Settings) -> Result<(), Problem> {
    settings.with_target(Need::Read, async |target| watch(target, &args, settings).await).await
}

async fn watch(target: &Target, args: &TopArgs, settings: &Settings) -> Result<(), Problem> {
    loop {
        let seen = Seen::read(target).await?;
        if settings.json {
            return out::json(&seen.json(), settings.terminal);
        }
        let is_once = args.once || !settings.terminal;
        let text = seen.text(settings, target.now());
        out::as_it_is(&if is_once { text } else { format!("{CLEAR}{text}") })?;
        if is_once {
            return Ok(());
        }
        target.rest(args.every.max(Duration::from_millis(200))).await;
    }
}

/// What is shown at one moment.
pub(super) struct Seen {
    pub(super) queues: QueueList,
    pub(super) stats: StatsView,
    pub(super) workers: WorkerList,
    pub(super) schedules: SchedulePage,
    #[cfg(feature = "triggers")]
    pub(super) triggers: Vec<crate::views::trigger::TriggerView>,
}

impl Seen {
    async fn read(target: &Target) -> Result<Self, Problem> {
        Ok(Self {
            queues: target.queues().await?,
            stats: target.stats(LAST).await?,
            workers: target.workers().await?,
            schedules: target.schedules(None, SCHEDULES_MAX).await?,
            #[cfg(feature = "triggers")]
            triggers: target.triggers().await?,
        })
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "attention": top_attention::lines(self), "queues": self.queues.queues, "kinds": self.stats.kinds, "workers": self.workers.workers,
        })
    }

    /// Made of tables, whose cells hold nothing that a terminal obeys.
    fn text(&self, settings: &Settings, now: Timestamp) -> String {
        let Self { queues, stats, workers, .. } = self;
        let all = |state| queues.queues.iter().map(|queue| queue.counts.get(state)).sum::<u64>();
        let (busy, slots) = workers
            .workers
            .iter()
            .fold((0, 0), |(busy, slots), worker| (busy + worker.running, slots + worker.slots));
        let mut text = format!(
            "{} available, {} running, {} scheduled, {} retrying, {} discarded; {}, {busy}/{slots} slots busy\n\n",
            words::thousands(all(DisplayState::Available)),
            words::thousands(all(DisplayState::Running)),
            words::thousands(all(DisplayState::Scheduled)),
            words::thousands(all(DisplayState::Retrying)),
            words::thousands(all(DisplayState::Discarded)),
            words::count(workers.workers.len() as u64, "worker"),
        );
        let attention = top_attention::lines(self);
        if !attention.is_empty() {
            text.push_str("needs attention\n");
            for line in attention.iter().take(ATTENTION_MAX) {
                let _ = writeln!(text, "  {}", visible::line(line));
            }
            if attention.len() > ATTENTION_MAX {
                let _ = writeln!(text, "  and {} more", attention.len() - ATTENTION_MAX);
            }
            text.push('\n');
        }
        let tables = [
            (self.queue_rows(settings), queues.queues.len()),
            (self.kind_rows(settings), stats.kinds.len()),
            (self.worker_rows(settings, now), workers.workers.len()),
        ];
        for (rows, number) in tables {
            text.push_str(&rows.trim_fmt());
            text.push('\n');
            if number > ROWS_MAX {
                let _ = writeln!(text, "and {} more", number - ROWS_MAX);
            }
            text.push('\n');
        }
        text
    }

    fn queue_rows(&self, settings: &Settings) -> comfy_table::Table {
        let columns = [
            Column::Text("QUEUE"),
            Column::Number("AVAILABLE"),
            Column::Number("RUNNING"),
            Column::Number("SCHEDULED"),
            Column::Number("RETRYING"),
            Column::Number("DISCARDED"),
            Column::Whole("STATE"),
        ];
        let mut rows = table::table(settings.style(), &columns);
        // Those in which most waits, first.
        let mut queues: Vec<_> = self.queues.queues.iter().collect();
        queues.sort_by_key(|queue| std::cmp::Reverse(queue.counts.get(DisplayState::Available)));
        for queue in queues.into_iter().take(ROWS_MAX) {
            let number = |state| cell(words::thousands(queue.counts.get(state)));
            rows.add_row(vec![
                cell(&queue.name),
                number(DisplayState::Available),
                number(DisplayState::Running),
                number(DisplayState::Scheduled),
                number(DisplayState::Retrying),
                number(DisplayState::Discarded),
                cell(if queue.paused_at.is_some() { "paused" } else { "open" }),
            ]);
        }
        rows
    }

    fn kind_rows(&self, settings: &Settings) -> comfy_table::Table {
        let columns = [
            Column::Text("KIND, LAST 10 MINUTES"),
            Column::Number("DONE"),
            Column::Number("FAILED"),
            Column::Number("DISCARDED"),
            Column::Number("PICKUP p99"),
            Column::Number("RUN p99"),
        ];
        let mut rows = table::table(settings.style(), &columns);
        for kind in self.stats.kinds.iter().take(ROWS_MAX) {
            let figure = |span: Option<Duration>| cell(span.map_or_else(|| "-".into(), words::span));
            rows.add_row(vec![
                cell(&kind.kind),
                cell(words::thousands(kind.done)),
                cell(words::thousands(kind.failed)),
                cell(words::thousands(kind.discarded)),
                figure(kind.pickup.p99()),
                figure(kind.run.p99()),
            ]);
        }
        rows
    }

    fn worker_rows(&self, settings: &Settings, now: Timestamp) -> comfy_table::Table {
        let columns = [
            Column::Text("WORKER"),
            Column::Number("SLOTS"),
            Column::Whole("HEARTBEAT"),
            Column::Text("CONDITION"),
        ];
        let mut rows = table::table(settings.style(), &columns);
        for worker in self.workers.workers.iter().take(ROWS_MAX) {
            let blocked = worker.details.blocked.as_ref().filter(|blocked| blocked.now);
            let condition = match (&worker.trouble, blocked) {
                (Some(trouble), _) => visible::line(trouble).into_owned(),
                (None, Some(blocked)) => blocked.to_string(),
                (None, None) if worker.stopping => "stopping".into(),
                (None, None) => "well".into(),
            };
            rows.add_row(vec![
                cell(&worker.name),
                cell(format!("{}/{}", worker.running, worker.slots)),
                cell(words::from_now(worker.beat_at, now)),
                cell(condition),
            ]);
        }
        rows
    }
}
