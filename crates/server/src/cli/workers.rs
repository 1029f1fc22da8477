//! `backroom workers`: who runs jobs.

use clap::Args;

use crate::settings::{Need, Settings};
use crate::target::Target;
use crate::terminal::{
    Problem, out,
    table::{self, Column, cell},
    words,
};

/// List the workers that are alive
///
/// A worker is a program of yours that runs jobs through the library. One that was silent for longer than its lease
/// (half a minute if it did not choose another) counts as gone, and its jobs run elsewhere.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom workers
  backroom workers --json | jq '[.workers[].slots] | add'

With --json: {\"workers\": [{\"name\", \"host\", \"pid\", \"started_at\", \"beat_at\", \"lease_ms\", \"queues\",
X]}.")]
pub(crate) struct WorkersArgs {}

pub(crate) async fn run(_: WorkersArgs, settings: &Settings) -> Result<(), Problem> {
    let read = async |target: &Target| Ok((target.workers().await?, target.now()));
    let (list, now) = settings.with_target(Need::Read, read).await?;
    if settings.json {
        return out::json(&list, settings.terminal);
    }
    let workers = list.workers;
    if workers.is_empty() {
        return out::line("no worker is alive");
    }
    let mut rows = table::table(
        settings.style(),
        &[
            Column::Text("WORKER"),
            Column::Number("RUNNING"),
            Column::Number("SLOTS"),
            Column::Text("QUEUES"),
            Column::Text("KINDS"),
            Column::Text("SINCE"),
            Column::Text("BEAT"),
        ],
    );
    for worker in &workers {
        let queues: Vec<_> = worker.queues.iter().map(|(name, slots)| format!("{name}:{slots}")).collect();
        let mut running = worker.running.to_string();
        if worker.stuck > 0 {
            running += &format!(" ({} stuck)", worker.stuck);
        }
        let name = if worker.stopping { format!("{} (stopping)", worker.name) } else { worker.name.clone() };
        rows.add_row(vec![
            cell(name),
            cell(running),
            cell(worker.slots.to_string()),
            cell(queues.join(" ")),
            cell(if worker.details.any_kind { "any".into() } else { worker.kinds.join(" ") }),
            cell(words::from_now(worker.started_at, now)),
            cell(words::from_now(worker.beat_at, now)),
        ]);
    }
    // Kinds can be many and long; --json has them.
    table::narrow(&mut rows, &[4, 6]);
    table::show(&rows)
}
