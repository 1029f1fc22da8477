//! Doing the same to several jobs: each alone, with a line about every one.

use backroom::{Action, JobId};
use serde::Serialize;

use crate::settings::{Need, Settings};
use crate::terminal::{Problem, out};
use crate::views::JobView;

/// What became of one job.
#[derive(Serialize)]
struct Acted<'a> {
    id: JobId,
    ok: bool,
    /// As it is now; none when it is gone or was not found.
    job: Option<&'a JobView>,
    error: Option<String>,
}

#[derive(Serialize)]
struct Answer<'a> {
    results: Vec<Acted<'a>>,
}

/// Does `action` to every job and says what came of each: `said` words it for people, from the job as it is afterwards
/// (none when it is gone). A job that fails does not keep the others from being done; the command fails then.
pub(super) async fn each(
    ids: &[JobId],
    settings: &Settings,
    action: &Action,
    said: impl Fn(JobId, Option<&JobView>) -> String,
) -> Result<(), Problem> {
    settings
        .with_target(Need::Change, async |target| {
            let mut done = Vec::with_capacity(ids.len());
            // A reader that has gone must not leave the other jobs as they are.
            let mut written = Ok(());
            for &id in ids {
                let acted = target.act(id, action).await;
                let (acted, job) = match target.find(id).await {
                    Ok(job) => (acted, job),
                    Err(problem) => (acted.and(Err(problem)), None),
                };
                // A line for each at once: with many ids people want to see progress.
                match &acted {
                    Ok(()) if !settings.json && written.is_ok() => {
                        written = out::line(said(id, job.as_ref()));
                    }
                    Err(problem) if !settings.json => out::problem(problem),
                    Ok(()) | Err(_) => {}
                }
                done.push((id, acted, job));
            }
            if settings.json {
                let results = done.iter().map(|(id, acted, job)| Acted {
                    id: *id,
                    ok: acted.is_ok(),
                    job: job.as_ref(),
                    error: acted.as_ref().err().map(Problem::said),
                });
                written = out::json(&Answer { results: results.collect() }, settings.terminal);
            }
            let all = done.iter().all(|(_, acted, _)| acted.is_ok());
            if all { written } else { Err(Problem::Reported) }
        })
        .await
}
