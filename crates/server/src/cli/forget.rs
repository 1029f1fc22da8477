//! `backroom forget`: delete all that is stored about one subject.

use clap::Args;

use crate::settings::{Need, Settings};
use crate::terminal::{Problem, out};

/// Delete all that is stored about a subject: every job with its tag, and what follows from these jobs
///
/// Args, outputs, attempts, logs, journals, messages in reply queues, callbacks, and descriptions and end jobs of batches. There is no way back. A running job is asked to stop and stays until
/// it has ended: then forget again. Backups still have what they have, unless it was sealed and the key is destroyed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom forget --yes customer-7

With --json: {\"jobs\", \"attempts\", \"lines\", \"messages\", \"callbacks\", \"batches\", \"left\"}. Exit code 1 if a job is left.")]
pub(crate) struct ForgetArgs {
    /// The tag of the subject's jobs
    tag: String,

    /// Yes, delete; without it nothing is done
    #[arg(long, short, required = true)]
    yes: bool,
}

pub(crate) async fn run(args: ForgetArgs, settings: &Settings) -> Result<(), Problem> {
    let forgotten = settings.with_target(Need::Change, async |target| target.forget(&args.tag).await).await?;
    if settings.json {
        out::json(&forgotten, settings.terminal)?;
    } else {
        out::line(format_args!(
            "deleted {} jobs, {} attempts, {} log lines, {} messages, {} callbacks and the texts of {} batches",
            forgotten.jobs,
            forgotten.attempts,
            forgotten.lines,
            forgotten.messages,
            forgotten.callbacks,
            forgotten.batches
        ))?;
    }
    if forgotten.left > 0 {
        out::note(format_args!(
            "{} jobs run; they were asked to stop. Run the command again when they have ended",
            forgotten.left
        ));
        return Err(Problem::Reported);
    }
    Ok(())
}
