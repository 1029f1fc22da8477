//! `backroom enqueue --wait`: shows what becomes of the job, and writes its output.

use backroom::{Backroom, JobId, JobRow, State};
use futures_util::StreamExt as _;

use crate::{
    cli::tail,
    settings::Settings,
    target::Target,
    terminal::{Problem, out},
    views::NewsView,
};

/// Follows the job to its end. What happens goes to stderr and the output to stdout, so that a program can read it. The job goes
/// on if this is interrupted.
pub(super) async fn run(target: &Target, id: JobId, settings: &Settings) -> Result<(), Problem> {
    let job = match target {
        Target::Store(backroom) => followed(backroom, id).await?,
        Target::Server(_) => Some(target.ended(id).await?.job),
    };
    // A job that was deleted while it was followed has no end to show.
    let Some(job) = job else { return Ok(()) };
    if job.state == State::Completed {
        // Jobs of a queue that stores no output have none.
        let Some(output) = &job.output else { return Ok(()) };
        return out::text(&(if settings.terminal { output.pretty() } else { output.to_string() } + "\n"));
    }
    let why = job.reason.as_deref().unwrap_or("no reason was given");
    out::note(format_args!("job {id} is {}: {why}", job.state));
    Err(Problem::Reported)
}

/// Shows what happens to a job until its end, and answers it as it is then.
async fn followed(backroom: &Backroom, id: JobId) -> Result<Option<JobRow>, Problem> {
    let mut events = backroom.follow(id, None);
    let redacted = backroom.redacted(backroom.job(id).await?).1;
    while let Some(event) = events.next().await {
        let now = backroom.clock().now();
        match NewsView::of(backroom, &redacted, event?.news) {
            Some(NewsView::State(view)) if view.job.state.is_finished() => return Ok(Some(view.job)),
            Some(news) => tail::said(&news, now).lines().for_each(out::note),
            None => {}
        }
    }
    Ok(None)
}
