//! `MUTATE`: change jobs that start later, wait after a failure, or were given up.

use std::time::Duration;

use backroom::{DisplayState, Error, ErrorKind, JobRow};
use futures_util::{StreamExt as _, stream};

use super::super::{
    Faktory,
    command::{Act, Filter, Mutation, Target},
    delivered, glob, jid,
    reply::{Refusal, Reply},
};

/// Jobs on one page.
const PAGE: usize = 500;
/// Jobs that are changed at once: the store writes them together.
const AT_ONCE: usize = 64;

/// Changes the jobs that the filter finds.
pub(in super::super) async fn mutate(faktory: &Faktory, mutation: &Mutation) -> Result<Reply, Refusal> {
    let backroom = &faktory.state.backroom;
    let shown = match mutation.target {
        Target::Scheduled => DisplayState::Scheduled,
        Target::Retries => DisplayState::Retrying,
        Target::Dead => DisplayState::Discarded,
    };
    let (act, filter) = match mutation.cmd {
        Act::Clear => (Act::Discard, None),
        act => (act, mutation.filter.as_ref()),
    };
    let mut wanted = backroom::Filter::shown(&[shown], backroom.clock().now());
    // The other conditions do not count beside jids.
    wanted.kind = filter.filter(|filter| filter.jids.is_none()).and_then(|filter| filter.jobtype.clone());
    let time = faktory.state.settings.now().limits.request_time;
    let until = faktory.now().saturating_add(time);
    let (mut before, mut changed) = (None, 0_usize);
    loop {
        let page = backroom.list(wanted.clone(), before, PAGE).await?;
        let mut jobs = Vec::new();
        for job in page.jobs {
            if !faktory.is_secure(&job.queue) && fits(faktory, &job, filter).await? {
                jobs.push(job);
            }
        }
        let acts = stream::iter(jobs).map(|job| apply(faktory, act, job)).buffer_unordered(AT_ONCE);
        let results: Vec<Result<bool, Error>> = acts.collect().await;
        for result in results {
            changed += usize::from(result?);
        }
        before = page.next;
        if before.is_none() {
            return Ok(Reply::Ok);
        }
        if faktory.now() >= until || faktory.state.stopping.is_cancelled() {
            return Err(stopped(changed, time));
        }
    }
}

fn stopped(changed: usize, time: Duration) -> Refusal {
    Refusal::new(format!(
        "MUTATE stopped after {time:?}; {changed} jobs are changed; send it again for the others"
    ))
}

async fn fits(faktory: &Faktory, job: &JobRow, filter: Option<&Filter>) -> Result<bool, Refusal> {
    let Some(Filter { jids, regexp, jobtype: _ }) = filter else { return Ok(true) };
    if let Some(jids) = jids {
        return Ok(jids.contains(&jid::of(job)));
    }
    let Some(pattern) = regexp.as_ref().filter(|pattern| !pattern.is_empty()) else { return Ok(true) };
    let backroom = &faktory.state.backroom;
    let attempts =
        if delivered::failures_of(job) > 0 { backroom.attempts(job.id).await? } else { Vec::new() };
    Ok(glob::fits(pattern, &delivered::json(job, &attempts, backroom.clock().now())))
}

/// Changes one job. One that moved on meanwhile, and is no longer where it was found, stays as it is.
async fn apply(faktory: &Faktory, act: Act, job: JobRow) -> Result<bool, Error> {
    let backroom = &faktory.state.backroom;
    let done = match act {
        Act::Clear | Act::Discard => backroom.delete(job.id).await,
        Act::Kill => backroom.give_up(job.id, "killed by a Faktory client").await,
        Act::Requeue => backroom.retry(job.id).await,
    };
    match done {
        Ok(()) => Ok(true),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::Refused | ErrorKind::NotFound | ErrorKind::KeyHeld { .. }
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
