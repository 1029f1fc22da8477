//! `ACK` and `FAIL`: a job has ended.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use backroom::{Error, ErrorKind, Filter, JobId, JobRow, Json, RunOutcome, Settled, State};

use super::super::{
    command::Finished,
    failures, jid,
    reply::{Refusal, Reply},
    runs::{OF_WORKER_MAX, Run},
    session::Session,
    watch::commit,
};

/// How often an end is recorded again whose row another transaction has locked, and the wait between.
const AGAIN_MAX: u32 = 50;
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Pages of running jobs that are read for a jid that this process does not know.
const PAGES_MAX: usize = 10;
const PAGE: usize = 1000;

/// The job is done. A job that is unknown is no error: it is finished already, or runs elsewhere.
pub(in super::super) async fn ack(session: &Session, finished: Finished) -> Result<Reply, Refusal> {
    let settled = settle(session, &finished.jid, |_| RunOutcome::Succeed(Json::null())).await?;
    match settled {
        Some(Settled::Recorded(_)) => {
            session.faktory.processed.fetch_add(1, Ordering::Relaxed);
        }
        Some(Settled::Lost | Settled::NotYours | Settled::Later) | None => {
            tracing::debug!(
                jid = finished.jid,
                "a Faktory client finished a job that it does not have any more"
            );
        }
    }
    Ok(Reply::Ok)
}

/// The job has failed.
pub(in super::super) async fn fail(session: &Session, finished: Finished) -> Result<Reply, Refusal> {
    let chance = session.faktory.state.ids.chance();
    let settled = settle(session, &finished.jid, |run| failures::failed(run, &finished, chance)).await?;
    match settled {
        Some(Settled::Recorded(_)) => {
            session.faktory.processed.fetch_add(1, Ordering::Relaxed);
            session.faktory.failed.fetch_add(1, Ordering::Relaxed);
            Ok(Reply::Ok)
        }
        Some(Settled::Lost | Settled::NotYours | Settled::Later) | None => {
            Err(Refusal::new(format!("Job not found {}", finished.jid)))
        }
    }
}

/// Records the end of a run; none if there is no such run.
async fn settle(
    session: &Session,
    jid: &str,
    outcome: impl FnOnce(&Run) -> RunOutcome,
) -> Result<Option<Settled>, Refusal> {
    let faktory = &session.faktory;
    let Some(run) = find(session, jid).await? else { return Ok(None) };
    let commit = commit(&run, outcome(&run));
    for _ in 0..AGAIN_MAX {
        match faktory.state.leases.commit(None, vec![commit.clone()]).await {
            Ok(answers) => match answers.into_iter().next() {
                Some(Settled::Later) | None => {}
                settled @ Some(_) => return Ok(settled),
            },
            Err(error) => {
                faktory.runs().add(jid.to_owned(), run);
                return Err(error.into());
            }
        }
        faktory.state.backroom.clock().sleep(AGAIN_AFTER).await;
    }
    faktory.runs().add(jid.to_owned(), run);
    Err(Refusal::new("another transaction has locked the job; send the command again"))
}

/// The run of a jid: as it was fetched here, or as the store has it.
async fn find(session: &Session, jid: &str) -> Result<Option<Run>, Refusal> {
    let faktory = &session.faktory;
    let wid = session.wid().map(|wid| &**wid);
    let taken = faktory.runs().take(jid, wid);
    if taken.is_some() || jid.is_empty() {
        return Ok(taken);
    }
    let found = match jid::job_id(jid) {
        Some(id) => running(faktory.state.backroom.job(id).await)?.filter(|job| jid::of(job) == jid),
        None => None,
    };
    let found = match (found, wid) {
        (Some(job), _) => Some(job),
        (None, Some(wid)) => of_worker(session, wid, jid).await?,
        (None, None) => None,
    };
    let found = match found {
        Some(job) => Some(job),
        None => of_all(session, jid).await?,
    };
    let Some(job) = found.filter(|job| !faktory.is_secure(&job.queue)) else { return Ok(None) };
    let Some(lease) = job.lease_id else { return Ok(None) };
    let wid: Arc<str> = wid.unwrap_or_default().into();
    faktory.remember(&wid, &job, lease);
    Ok(faktory.runs().take(jid, Some(&wid)))
}

/// A job that runs; none if it does not.
fn running(job: Result<JobRow, Error>) -> Result<Option<JobRow>, Refusal> {
    match job {
        Ok(job) if job.state == State::Running => Ok(Some(job)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn of_worker(session: &Session, wid: &str, jid: &str) -> Result<Option<JobRow>, Refusal> {
    let faktory = &session.faktory;
    let Some(worker) = faktory.described(wid) else { return Ok(None) };
    let runs = faktory.state.leases.runs_of(&worker.name, OF_WORKER_MAX).await?;
    Ok(runs.into_iter().find(|job| jid::of(job) == jid))
}

/// Looks through what runs at all: clients without a name fetch over one connection, and may report over another.
async fn of_all(session: &Session, jid: &str) -> Result<Option<JobRow>, Refusal> {
    let filter = Filter { states: vec![State::Running], ..Filter::default() };
    let mut before: Option<JobId> = None;
    for _ in 0..PAGES_MAX {
        let page = session.faktory.state.backroom.list(filter.clone(), before, PAGE).await?;
        let of_clients =
            |job: &&JobRow| job.worker.as_deref().is_some_and(|name| name.starts_with("faktory/"));
        if let Some(job) = page.jobs.iter().filter(of_clients).find(|job| jid::of(job) == jid) {
            return Ok(Some(job.clone()));
        }
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    Ok(None)
}
