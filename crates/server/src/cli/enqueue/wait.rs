//! `backroom enqueue --wait`: shows what becomes of the job, and writes its output.

use backroom::{Backroom, JobId, News, State};
use futures_util::StreamExt as _;

use crate::{
    cli::tail,
    settings::Settings,
    terminal::{Problem, out},
};

/// Follows the job to its end. What happens goes to stderr and the output to stdout, so that a program can read it. The job goes
/// on if this is interrupted.
pub(super) async fn run(backroom: &Backroom, id: JobId, settings: &Settings) -> Result<(), Problem> {
    let mut events = backroom.follow(id, None);
    while let Some(event) = events.next().await {
        let event = event?;
        let job = match &event.news {
            News::State(job) if job.state.is_finished() => job,
            news => {
                tail::said(news, backroom.clock().now()).lines().for_each(|line| out::note(line));
                continue;
            }
        };
        if job.state == State::Completed {
            // Jobs of a queue that stores no output have none.
            let Some(output) = &job.output else { return Ok(()) };
            return out::text(&(if settings.terminal { output.pretty() } else { output.to_string() } + "\n"));
        }
        let why = job.reason.as_deref().unwrap_or("no reason was given");
        out::note(format_args!("job {id} is {}: {why}", job.state));
        return Err(Problem::Reported);
    }
    Ok(())
}
