//! `backroom signal`: send a signal to a workflow.

use backroom::{JobId, Json};
use clap::Args;

use super::enqueue::Source;
use crate::settings::{Need, Settings};
use crate::terminal::{Problem, out};
use crate::views::SignalSent;

/// Send a signal to a workflow
///
/// It is durable once this returns, and may come before the workflow waits for it. Signals of one name are taken in the order in which
/// they came, each once.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom signal 01890a5d-ac96-774b-bcce-b302099a8057 shipped
  backroom signal ID approved '{\"by\":\"ada\"}'
  backroom signal ID approved @approval.json

With --json: {\"workflow\", \"name\"}.")]
pub(crate) struct SignalArgs {
    /// The job of the workflow
    id: JobId,

    /// The name of the signal
    name: String,

    /// What it carries: JSON, @FILE, or - for stdin; null if it is left out
    #[arg(allow_negative_numbers = true)]
    value: Option<String>,
}

pub(crate) async fn run(args: SignalArgs, settings: &Settings) -> Result<(), Problem> {
    let value = match &args.value {
        None => Json::null(),
        Some(text) => {
            let source = Source::of(Some(text), false)?;
            source.parse(source.whole()?)?
        }
    };
    settings
        .with_target(Need::Change, async |target| target.signal(args.id, &args.name, &value).await)
        .await?;
    if settings.json {
        return out::json(&SignalSent { workflow: args.id, name: args.name }, settings.terminal);
    }
    out::line(format_args!("sent the signal {:?} to job {}", args.name, args.id))
}
