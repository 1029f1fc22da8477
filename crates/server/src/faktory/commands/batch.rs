//! `BATCH`: jobs under one id, and jobs at their end.
//!
//! A batch of a client is a batch of the library, and its `bid` is the id of that. A job is pushed to one by `bid` in its free data.
//! Committing a batch closes it. Clients open a committed batch to add to it. While a member runs, that changes nothing: a
//! running member may add, and the batch cannot end before it. Otherwise the batch is opened again, and ends after the next commit.

use backroom::{
    BatchHandle, BatchId, BatchState, BatchStatus, ChosenJob, Error, ErrorKind, Filter, Inserted, JobId,
    JobRow, RunKey, State, Timestamp,
};
use serde_json::{Map, Value};

use super::super::{
    Faktory,
    command::NewBatch,
    pushed::{bid_of, no_such_batch},
    reply::{Refusal, Reply},
};

/// Running members that are tried as the one that adds. Each may end just then.
const ADDERS_MAX: usize = 5;
/// Batches in a batch on one page, and most pages.
const NESTED_AT_ONCE: usize = 500;
const NESTED_PAGES_MAX: usize = 200;

/// Opens a batch. Answers with its bid.
pub(in super::super) async fn new(faktory: &Faktory, new: NewBatch) -> Result<Reply, Refusal> {
    let backroom = &faktory.state.backroom;
    let now = backroom.clock().now();
    let id = BatchId(faktory.state.ids.job(now).0);
    let parent = match new.parent_bid.as_deref().filter(|bid| !bid.is_empty()) {
        Some(bid) => Some(found(faktory, bid).await?),
        None => None,
    };
    let jid = || faktory.state.ids.job(now).to_string();
    let on_success = new.success.map(|job| job.end_job(jid(), now)).transpose()?;
    let on_finish = new.complete.map(|job| job.end_job(jid(), now)).transpose()?;
    let open = |by: Option<RunKey>| {
        let mut open = backroom.open_batch().chosen(id, now);
        if let Some(description) = &new.description {
            open = open.description(description);
        }
        if let Some(draft) = &on_success {
            open = open.on_success_draft(draft.clone());
        }
        if let Some(draft) = &on_finish {
            open = open.on_finish_draft(draft.clone());
        }
        if let Some(parent) = &parent {
            open = open.parent(parent.id);
        }
        if let Some(run) = by {
            open = open.by_run(run);
        }
        open.into_future()
    };
    let mut opened = open(None).await;
    if let (Err(error), Some(parent)) = (&opened, &parent)
        && error.kind() == ErrorKind::Invalid
    {
        for run in running_members(faktory, parent.id, ADDERS_MAX).await? {
            opened = open(Some(run)).await;
            if opened.is_ok() {
                break;
            }
        }
    }
    Ok(Reply::Bulk(opened?.id().to_string()))
}

/// Opens a batch that exists, so that jobs can be pushed to it. Answers with its bid.
pub(in super::super) async fn open(faktory: &Faktory, bid: &str) -> Result<Reply, Refusal> {
    let status = found(faktory, bid).await?;
    match status.state {
        BatchState::Open => {}
        BatchState::Cancelled => return Err(Refusal::new(format!("batch {bid} was cancelled"))),
        BatchState::Closed | BatchState::Ended => {
            if status.cancelled_at.is_some() {
                return Err(Refusal::new(format!("batch {bid} was cancelled")));
            }
            if running_members(faktory, status.id, 1).await?.is_empty() {
                handle(faktory, bid)?.reopen().await.map_err(|error| refused(error, bid))?;
            }
        }
    }
    Ok(Reply::Bulk(status.id.to_string()))
}

/// Closes a batch: its jobs at the end are enqueued once its members have ended.
pub(in super::super) async fn commit(faktory: &Faktory, bid: &str) -> Result<Reply, Refusal> {
    handle(faktory, bid)?.close().await.map_err(|error| refused(error, bid))?;
    Ok(Reply::Ok)
}

/// How a batch stands. Batches in it are not counted among its jobs.
pub(in super::super) async fn status(faktory: &Faktory, bid: &str) -> Result<Reply, Refusal> {
    let status = found(faktory, bid).await?;
    let counts = status.counts;
    let (mut total, mut pending, mut failed) = (counts.total(), counts.live, counts.failed());
    for nested in nested(faktory, status.id).await? {
        total = total.saturating_sub(1);
        if nested.state != BatchState::Ended {
            pending = pending.saturating_sub(1);
        } else if nested.succeeded_at.is_none() {
            failed = failed.saturating_sub(1);
        }
    }
    let complete = end_state(faktory, status.finish_job).await?;
    // Clients expect the job of the success behind that of the end.
    let waits = status.finish_job.is_some() && complete != RAN;
    let success = if waits { PENDING } else { end_state(faktory, status.success_job).await? };
    let mut answer = Map::new();
    answer.insert("bid".into(), status.id.to_string().into());
    if let Some(parent) = status.parent {
        answer.insert("parent_bid".into(), parent.to_string().into());
    }
    if let Some(description) = status.description {
        answer.insert("description".into(), description.into());
    }
    answer.insert("created_at".into(), status.opened_at.to_string().into());
    answer.insert("total".into(), total.into());
    answer.insert("pending".into(), pending.into());
    answer.insert("failed".into(), failed.into());
    answer.insert("complete_st".into(), complete.into());
    answer.insert("success_st".into(), success.into());
    Ok(Reply::Bulk(Value::Object(answer).to_string()))
}

/// States of a job at the end of a batch, as clients read them.
const PENDING: &str = "";
const ENQUEUED: &str = "1";
const RAN: &str = "2";

async fn end_state(faktory: &Faktory, job: Option<JobId>) -> Result<&'static str, Refusal> {
    let Some(job) = job else { return Ok(PENDING) };
    match faktory.state.backroom.job(job).await {
        Ok(JobRow { state: State::Completed, .. }) => Ok(RAN),
        Ok(_) => Ok(ENQUEUED),
        // It was deleted after its retention.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(ENQUEUED),
        Err(error) => Err(error.into()),
    }
}

/// Enqueues jobs as members of one batch, all or none. After its commit they are added for a member that runs.
pub(super) async fn add(
    faktory: &Faktory,
    batch: BatchId,
    jobs: Vec<ChosenJob>,
    at: Timestamp,
    is_repeated: bool,
) -> Result<Vec<Inserted>, Error> {
    let backroom = &faktory.state.backroom;
    let mut answer = backroom.enqueue_chosen_linked(jobs.clone(), at, is_repeated).await;
    if answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Invalid) {
        for run in running_members(faktory, batch, ADDERS_MAX).await? {
            answer = backroom.enqueue_chosen_by(Some(run), jobs.clone(), at, true).await;
            if answer.is_ok() {
                break;
            }
        }
    }
    answer
}

/// Members of a batch that run now.
async fn running_members(faktory: &Faktory, batch: BatchId, most: usize) -> Result<Vec<RunKey>, Error> {
    let filter = Filter { states: vec![State::Running], batch: Some(batch), ..Filter::default() };
    let jobs = faktory.state.backroom.list(filter, None, most).await?.jobs;
    Ok(jobs.into_iter().filter_map(|job| job.lease_id.map(|lease| RunKey { job: job.id, lease })).collect())
}

async fn nested(faktory: &Faktory, parent: BatchId) -> Result<Vec<BatchStatus>, Error> {
    let (mut all, mut before) = (Vec::new(), None);
    for _ in 0..NESTED_PAGES_MAX {
        let page = faktory.state.backroom.batches(Some(parent), before, NESTED_AT_ONCE).await?;
        before = page.last().map(|batch| batch.id);
        let is_last = page.len() < NESTED_AT_ONCE;
        all.extend(page);
        if is_last {
            break;
        }
    }
    Ok(all)
}

fn handle(faktory: &Faktory, bid: &str) -> Result<BatchHandle, Refusal> {
    Ok(faktory.state.backroom.batch(bid_of(bid)?))
}

async fn found(faktory: &Faktory, bid: &str) -> Result<BatchStatus, Refusal> {
    handle(faktory, bid)?.status().await.map_err(|error| refused(error, bid))
}

fn refused(error: Error, bid: &str) -> Refusal {
    match error.kind() {
        ErrorKind::NotFound => no_such_batch(bid),
        _ => error.into(),
    }
}
