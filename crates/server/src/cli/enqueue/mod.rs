//! `backroom enqueue`: put a job in, or many.

mod lines;
mod options;
mod source;

use backroom::{Backroom, Draft, JobId, core::unique::OnConflict};
use clap::Args;
use serde::Serialize;

use self::{options::JobOptions, source::Source};
use super::{Problem, out};
use crate::settings::Settings;

/// Put a job in, or many
///
/// Once this answers, the job is on disk. A worker that handles the kind runs it when it is due; `backroom job ID`
/// shows what became of it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom enqueue send_mail '{\"to\":\"ada@example.org\"}'
  backroom enqueue resize @photo.json --queue images --priority 2
  date | jq -R '{now: .}' | backroom enqueue report -
  backroom enqueue remind --delay 2h30m --expires-in 1d
  backroom enqueue report --at '2030-01-31 09:00' --tag nightly --meta asked_by=ada
  backroom enqueue sync --retry-exponential 5s --retry-cap 10m --max-attempts 8
  backroom enqueue index '{\"shop\":7}' --unique-fields shop --delay 30s --on-conflict replace
  backroom enqueue resize --lines < jobs.ndjson

With --json: {\"id\", \"outcome\"} where outcome is created, kept or replaced; with --lines the four counts
{\"created\", \"kept\", \"replaced\", \"key_held\"}.")]
pub(crate) struct EnqueueArgs {
    /// Which handler runs it
    kind: String,

    /// The args: JSON, @FILE, or - for stdin; {} if left out
    #[arg(value_name = "ARGS", allow_negative_numbers = true)]
    args: Option<String>,

    /// Many jobs: one JSON value per line, from stdin or @FILE; the options hold for all
    #[arg(long)]
    lines: bool,

    #[command(flatten)]
    options: JobOptions,
}

/// The args of a job that is given none: what a handler with no fields decodes from.
const ARGS_DEFAULT: &str = "{}";

pub(crate) async fn run(args: EnqueueArgs, settings: &Settings) -> Result<(), Problem> {
    // Everything is read and looked at before a store comes into being.
    let source = Source::of(args.args.as_deref(), args.lines)?;
    let draft = args.options.draft(&args.kind)?;
    if args.lines {
        let lines = source.lines()?;
        return lines::run(draft, lines, settings).await;
    }
    let text = source.whole()?;
    let draft = Draft { args: source.parse(text)?, ..draft };
    check(&draft)?;
    super::unless_interrupted(
        settings.with_new_store(async |backroom| enqueue(backroom, draft, settings).await),
    )
    .await
}

/// The library checks it again; here it keeps a mistake from creating a store.
fn check(draft: &Draft) -> Result<(), Problem> {
    let id = JobId(Default::default());
    draft.clone().check(id, super::now(), backroom::core::bounds::JSON_BYTES_MAX)?;
    Ok(())
}

async fn enqueue(backroom: &Backroom, draft: Draft, settings: &Settings) -> Result<(), Problem> {
    let on_conflict = draft.unique.as_ref().map(|rule| rule.on_conflict);
    let kind = draft.kind.clone();
    let job = backroom.enqueue_draft(draft).await?;
    let outcome = match (job.is_new(), on_conflict) {
        (true, _) => Outcome::Created,
        (false, Some(OnConflict::Replace)) => Outcome::Replaced,
        (false, Some(OnConflict::Keep | OnConflict::Reject) | None) => Outcome::Kept,
    };
    if settings.json {
        return out::json(&Answer { id: job.id(), outcome }, settings.terminal);
    }
    let id = job.id();
    match outcome {
        Outcome::Created => out::line(format_args!("enqueued {} {id}", kind)),
        Outcome::Kept => out::line(format_args!("nothing enqueued: job {id} holds the unique key and stays")),
        Outcome::Replaced => {
            out::line(format_args!("job {id} holds the unique key and took over the new args"))
        }
    }
}

#[derive(Serialize)]
struct Answer {
    id: JobId,
    outcome: Outcome,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Created,
    Kept,
    Replaced,
}
