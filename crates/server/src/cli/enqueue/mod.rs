//! `backroom enqueue`: put a job in, or many.

mod lines;
mod options;
mod served;
mod source;
mod wait;

use std::path::PathBuf;

use backroom::{
    BatchId, Draft, JobRow, OnFailure, Timestamp,
    core::{dependency::Edge, draft::When},
    ids::Ids,
    sealed::{KeyFile, Keys},
};
use clap::Args;
use serde::Serialize;

use self::options::JobOptions;
pub(super) use self::source::Source;
use crate::settings::{Need, Settings};
use crate::target::{Target, Ties};
use crate::terminal::{Problem, now, out, unless_interrupted, words};
use crate::views::{Enqueued, Outcome};

/// Put a job in, or many
///
/// Once this answers, the job is on disk. A worker that handles the kind runs it when it is due; `backroom job ID`
/// shows what became of it. Where no living worker serves its queue or handles its kind, a warning on stderr says so.
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
  backroom enqueue report --wait | jq .total
  backroom enqueue pack --after ID                      runs once that job has completed
  backroom enqueue thumbnail --lines --batch ID < photos.ndjson
  backroom enqueue pay @pay.json --seal payroll --keys keys.json

With --json: {\"id\", \"outcome\", \"scheduled_at\", \"expires_at\"} where outcome is created, deduplicated or replaced; with --lines the four
counts
{\"created\", \"deduplicated\", \"replaced\", \"key_held\"}.")]
pub(crate) struct EnqueueArgs {
    /// Which handler runs it
    kind: String,

    /// The args: JSON, @FILE, or - for stdin; {} if left out
    #[arg(value_name = "ARGS", allow_negative_numbers = true)]
    args: Option<String>,

    /// Many jobs: one JSON value per line, from stdin or @FILE; the options hold for all
    #[arg(long)]
    lines: bool,

    /// With --lines: leave out the lines before this one, to go on where an earlier run stopped
    #[arg(long, value_name = "N", requires = "lines", default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..))]
    from_line: u64,

    /// Wait for the job's end: progress and log go to stderr, the output to stdout; exit code 1 if the job is discarded or cancelled.
    /// Ctrl-C ends the wait, and the job goes on
    #[arg(long, conflicts_with = "lines")]
    wait: bool,

    /// Seal the args with the key of this name, before anything leaves this process
    #[arg(long, value_name = "NAME", requires = "keys", conflicts_with = "lines", help_heading = "Secrets")]
    seal: Option<String>,

    /// The file with the keys for --seal
    #[arg(long, value_name = "FILE", requires = "seal", help_heading = "Secrets")]
    keys: Option<PathBuf>,

    #[command(flatten)]
    options: JobOptions,

    #[command(flatten)]
    ties: TiesArgs,
}

/// What ties jobs to others.
#[derive(Debug, Clone, Args)]
struct TiesArgs {
    /// Run it after this job has completed; may be given again. If that is cancelled or discarded, it is cancelled; ID:run runs it
    /// anyway, ID:wait waits for a retry
    #[arg(long, value_name = "ID[:POLICY]", value_parser = edge, help_heading = "Other jobs")]
    after: Vec<Edge>,

    /// As a member of this batch
    #[arg(long, value_name = "ID", help_heading = "Other jobs")]
    batch: Option<BatchId>,
}

impl From<TiesArgs> for Ties {
    fn from(args: TiesArgs) -> Self {
        Self { after: args.after, batch: args.batch }
    }
}

/// `ID` or `ID:run`.
fn edge(text: &str) -> Result<Edge, backroom::Invalid> {
    let (id, policy) = text.split_once(':').map_or((text, None), |(id, policy)| (id, Some(policy)));
    let on_failure = policy.map_or(Ok(OnFailure::default()), str::parse)?;
    Ok(Edge { predecessor: id.parse()?, on_failure })
}

pub(crate) async fn run(args: EnqueueArgs, settings: &Settings) -> Result<(), Problem> {
    // Everything is read and looked at before a store comes into being.
    let source = Source::of(args.args.as_deref(), args.lines)?;
    let draft = args.options.clone().draft(&args.kind, now())?;
    if args.lines {
        let lines = source.lines()?;
        let template_at = |now| args.options.draft(&args.kind, now);
        return lines::run(draft, template_at, lines, args.from_line, &args.ties.clone().into(), settings)
            .await;
    }
    let text = source.whole()?;
    let draft = Draft { args: source.parse(text)?, ..draft };
    options::check(&draft)?;
    unless_interrupted(settings.with_target(Need::Create, async |target| {
        // The store's clock decides when the job is due, which may be another than this machine's.
        let options = args.options.draft(&args.kind, target.now())?;
        let draft = Draft { args: draft.args, ..options };
        let draft = match (args.seal, args.keys) {
            (Some(name), Some(file)) => {
                let keys = Keys::load(KeyFile(file)).await?;
                keys.seal_draft(draft, &name, &Ids::from_entropy(), target.now())?
            }
            (None, _) | (_, None) => draft,
        };
        enqueue(target, draft, &args.ties.clone().into(), args.wait, settings).await
    }))
    .await
}

async fn enqueue(
    target: &Target,
    draft: Draft,
    ties: &Ties,
    waits: bool,
    settings: &Settings,
) -> Result<(), Problem> {
    let (kind, queue) = (draft.kind.clone(), draft.queue.clone());
    let is_timed = draft.start != When::Now || draft.expiry.is_some();
    let enqueued = target.enqueue(draft, ties).await?;
    let Enqueued { id, outcome } = enqueued;
    if waits {
        // The answer is the output.
        out::note(format_args!("{} {kind} {id}", words_of(outcome)));
        served::warn(target, &queue, &kind).await;
        return wait::run(target, id, settings).await;
    }
    // It is stored: what cannot be read about it now is no failure of the command, which would be repeated.
    let row = target.find(id).await.unwrap_or_else(|problem| {
        tracing::warn!(error = problem.said(), "the job is stored, but it could not be read afterwards");
        None
    });
    let row = row.map(|view| view.job);
    // A worker may have run it already, and its queue may keep nothing.
    let times = row.as_ref().map(|row| times(row, target.now())).filter(|_| is_timed).unwrap_or_default();
    if settings.json {
        let scheduled_at = row.as_ref().map(|row| row.scheduled_at);
        let expires_at = row.as_ref().and_then(|row| row.expires_at);
        out::json(&Answer { enqueued, scheduled_at, expires_at }, settings.terminal)?;
    } else {
        match outcome {
            Outcome::KeyHeld => {
                let why = format!("job {id} holds the unique key");
                return Err(
                    Problem::new("enqueue", &why).hint("`backroom job ID` shows the job that holds the key")
                );
            }
            Outcome::Created => out::line(format_args!("enqueued {kind} {id}{times}"))?,
            Outcome::Deduplicated => {
                out::line(format_args!("nothing enqueued: job {id} holds the unique key and stays{times}"))?;
            }
            Outcome::Replaced => {
                out::line(format_args!("job {id} holds the unique key and took over the new args{times}"))?;
            }
        }
    }
    served::warn(target, &queue, &kind).await;
    Ok(())
}

/// When it runs and until when it may begin: the moment that was understood, which a person can compare with what was meant.
fn times(row: &JobRow, now: Timestamp) -> String {
    let expires = row.expires_at.map(|at| format!(", expires {}", words::moment_in_full(at, now)));
    format!(", due {}{}", words::moment_in_full(row.scheduled_at, now), expires.unwrap_or_default())
}

#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    enqueued: Enqueued,
    scheduled_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
}

/// What is waited for.
fn words_of(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Created => "enqueued",
        Outcome::Deduplicated | Outcome::KeyHeld => "waiting for the job that holds the unique key:",
        Outcome::Replaced => "waiting for the job that took over the new args:",
    }
}
