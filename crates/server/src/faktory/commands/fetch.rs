//! `FETCH`: take a job.

use std::{sync::Arc, time::Duration};

use backroom::{
    ClaimOrder, ErrorKind, JobRow, LeaseId, QueueOrder, RemoteWorker, RunOutcome, Settled,
    core::{bounds::check_name, draft::SYSTEM_PREFIX},
};

use super::super::{
    Faktory, delivered, jid,
    reply::{Refusal, Reply},
    session::Session,
    watch::commit,
    workers::Stage,
};

/// How long a client waits for a job.
const WAIT: Duration = Duration::from_secs(2);
/// Most bytes of args in one claim; the claim takes one job, however large.
const BYTES_MAX: usize = 1;
/// How often a worker goes on under another name within one command.
const NAMES_MAX: u32 = 10;
/// Most queues of one command.
const QUEUES_MAX: usize = 100;

/// Takes a job from the first of the queues that has one, and waits a moment if none has.
pub(in super::super) async fn fetch(
    session: &mut Session,
    queues: Vec<String>,
    gone: impl Future<Output = ()>,
) -> Result<Reply, Refusal> {
    let queues = each_once(queues)?;
    let faktory = Arc::clone(&session.faktory);
    if let Some(queue) = queues.iter().find(|queue| faktory.is_secure(queue)) {
        return Err(for_tokens(queue));
    }
    let wid = session.wid_to_fetch();
    let running = faktory.runs().count_of(&wid);
    if !faktory.runs().has_place(&wid) {
        return Err(Refusal::new(format!(
            "worker {wid} has {running} jobs that it did not finish; finish some first"
        )));
    }
    let stage = {
        let mut workers = faktory.workers();
        workers.fetches(&wid, &queues, running);
        workers.get(&wid).map(|member| member.stage)
    };
    if stage.is_some_and(|stage| stage > Stage::Running) {
        // It asked to get no more.
        tokio::select! {
            () = faktory.state.backroom.clock().sleep(WAIT) => {}
            () = gone => {}
            () = faktory.state.stopping.cancelled() => {}
        }
        return Ok(Reply::Nil);
    }
    // What an earlier claim of this worker took goes back first.
    faktory.repeat_unanswered(Some(&wid)).await?;
    faktory.may_claim()?;
    let order = ClaimOrder {
        id: faktory.state.ids.lease(),
        is_repeated: false,
        queues: QueueOrder::strict(queues),
        limit: 1,
        bytes_max: BYTES_MAX,
        wait: WAIT,
    };
    let lease = order.id;
    let without_wait = ClaimOrder { is_repeated: true, wait: Duration::ZERO, ..order.clone() };
    let (jobs, is_gone) = tokio::select! {
        biased;
        jobs = claim(&faktory, &wid, order) => (jobs?, false),
        // Between two tries nothing is taken. One that was under way is found by the repeat.
        () = gone => (claim(&faktory, &wid, without_wait).await?, true),
        () = faktory.state.stopping.cancelled() => (claim(&faktory, &wid, without_wait).await?, false),
    };
    let Some(job) = jobs.into_iter().next() else { return Ok(Reply::Nil) };
    faktory.remember(&wid, &job, lease);
    let jid = jid::of(&job);
    if is_gone {
        give_back(&faktory, &jid, lease).await;
        return Ok(Reply::Nil);
    }
    session.in_delivery = Some((jid, lease));
    let attempts = if delivered::failures_of(&job) > 0 {
        match faktory.state.backroom.attempts(job.id).await {
            Ok(attempts) => attempts,
            Err(error) => {
                // The client gets an error instead of the job.
                session.undelivered().await;
                return Err(error.into());
            }
        }
    } else {
        Vec::new()
    };
    Ok(Reply::Bulk(delivered::json(&job, &attempts, faktory.state.backroom.clock().now())))
}

/// Why nothing but a push reaches a secure queue.
pub(super) fn for_tokens(queue: &str) -> Refusal {
    Refusal::new(format!("queue {queue:?} is for some tokens only, and a Faktory client has none"))
}

/// The queues, each where it is named first.
fn each_once(mut queues: Vec<String>) -> Result<Vec<String>, Refusal> {
    if queues.is_empty() {
        return Err(Refusal::new("must call fetch with at least one queue"));
    }
    // Before they are remembered: one that no claim accepts would spoil every later one.
    for queue in &queues {
        check_name("queue", queue).map_err(|invalid| Refusal::new(invalid.to_string()))?;
        if queue.starts_with(SYSTEM_PREFIX) {
            return Err(Refusal::new(format!("queue {queue:?} is one of Backroom itself")));
        }
    }
    let mut seen = std::collections::HashSet::new();
    queues.retain(|queue| seen.insert(queue.clone()));
    if queues.len() > QUEUES_MAX {
        return Err(Refusal::new(format!(
            "{} queues are too many; at most {QUEUES_MAX} are allowed",
            queues.len()
        )));
    }
    Ok(queues)
}

async fn claim(faktory: &Faktory, wid: &str, order: ClaimOrder) -> Result<Vec<Arc<JobRow>>, Refusal> {
    for _ in 0..NAMES_MAX {
        let Some(worker) = faktory.described(wid) else { break };
        match faktory.state.leases.claim(&worker, order.clone()).await {
            Ok(jobs) => return Ok(jobs),
            Err(error) if error.kind() == ErrorKind::Refused => renamed(faktory, wid, &worker),
            Err(error) => {
                if error.is_transient() {
                    faktory.claim_unanswered(wid, &order);
                }
                return Err(error.into());
            }
        }
    }
    // It was silent, and is forgotten. Its connections are being closed.
    Ok(Vec::new())
}

fn renamed(faktory: &Faktory, wid: &str, worker: &RemoteWorker) {
    faktory.lost(wid, &worker.name);
}

/// A job that was not delivered goes back to its place.
pub(in super::super) async fn give_back(faktory: &Faktory, jid: &str, lease: LeaseId) {
    let taken = faktory.runs().drain_one(jid, lease);
    let Some(run) = taken else { return };
    match faktory.state.leases.commit(None, vec![commit(&run, RunOutcome::Release)]).await {
        // Another transaction has locked the row.
        Ok(answers) if answers.contains(&Settled::Later) => faktory.give_back_unanswered(run.wid, run.key),
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(%error, jid, "a job that was not delivered was not given back; this is tried again");
            faktory.give_back_unanswered(run.wid, run.key);
        }
    }
}
