//! Doing the same to several jobs: each alone, and every one is told about.

use backroom::{Backroom, Error, JobId, JobRow};
use serde::Serialize;

use super::view::JobView;
use crate::settings::Settings;
use crate::terminal::{Problem, now, out};

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
/// (none when it is gone). A job that fails does not keep the others from being done; the command fails then.
pub(super) async fn each(
    ids: &[JobId],
    settings: &Settings,
    act: impl AsyncFn(&Backroom, JobId) -> Result<(), Error>,
    said: impl Fn(JobId, Option<&JobRow>) -> String,
) -> Result<(), Problem> {
    settings
        .with_store(async |backroom| {
            let mut done = Vec::with_capacity(ids.len());
            for &id in ids {
                let acted = act(backroom, id).await;
                let job = backroom.store().job(id).await?;
                // People are told as it goes: with many ids they want to see it move.
                if !settings.json {
                    match &acted {
                        Ok(()) => out::line(said(id, job.as_ref()))?,
                        Err(error) => out::note(format_args!("error: {error}")),
                    }
                }
                done.push((id, acted, job));
            }
            if settings.json {
                let now = now();
                let results = done.iter().map(|(id, acted, job)| Acted {
                    id: *id,
                    ok: acted.is_ok(),
                    job: job.as_ref().map(|job| JobView::new(job, now)),
                    error: acted.as_ref().err().map(ToString::to_string),
                });
                out::json(&Answer { results: results.collect() }, settings.terminal)?;
            }
            let all = done.iter().all(|(_, acted, _)| acted.is_ok());
            if all { Ok(()) } else { Err(Problem::Told) }
        })
        .await
}
