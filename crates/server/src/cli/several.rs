//! Doing the same to several jobs: each alone, with a line about every one.

use backroom::{Backroom, Error, JobId, JobRow, Timestamp};
use serde::Serialize;

use super::view::JobView;
use crate::settings::Settings;
use crate::terminal::{Problem, out};

/// What became of one job.
#[derive(Serialize)]
struct Acted<'a> {
    id: JobId,
    ok: bool,
    /// As it is now; none when it is gone or was not found.
    job: Option<JobView<'a>>,
    error: Option<String>,
}

#[derive(Serialize)]
struct Answer<'a> {
    results: Vec<Acted<'a>>,
}

/// Does `act` to every job and says what came of each: `said` words it for people, from the job as it is afterwards
/// (none when it is gone) and the time of the store. A job that fails does not keep the others from being done; the command fails then.
pub(super) async fn each(
    ids: &[JobId],
    settings: &Settings,
    act: impl AsyncFn(&Backroom, JobId) -> Result<(), Error>,
    said: impl Fn(JobId, Option<&JobRow>, Timestamp) -> String,
) -> Result<(), Problem> {
    settings
        .with_store(async |backroom| {
            let mut done = Vec::with_capacity(ids.len());
            // A reader that has gone must not leave the other jobs as they are.
            let mut written = Ok(());
            for &id in ids {
                let acted = act(backroom, id).await;
                let (acted, job) = match backroom.store().job(id).await {
                    Ok(job) => (acted, job),
                    Err(error) => (acted.and(Err(error)), None),
                };
                // A line for each at once: with many ids people want to see progress.
                match &acted {
                    Ok(()) if !settings.json && written.is_ok() => {
                        written = out::line(said(id, job.as_ref(), backroom.clock().now()));
                    }
                    Err(error) if !settings.json => out::note(format_args!("error: {error}")),
                    Ok(()) | Err(_) => {}
                }
                done.push((id, acted, job));
            }
            if settings.json {
                let now = backroom.clock().now();
                let results = done.iter().map(|(id, acted, job)| Acted {
                    id: *id,
                    ok: acted.is_ok(),
                    job: job.as_ref().map(|job| JobView::new(job, now)),
                    error: acted.as_ref().err().map(ToString::to_string),
                });
                written = out::json(&Answer { results: results.collect() }, settings.terminal);
            }
            let all = done.iter().all(|(_, acted, _)| acted.is_ok());
            if all { written } else { Err(Problem::Reported) }
        })
        .await
}
