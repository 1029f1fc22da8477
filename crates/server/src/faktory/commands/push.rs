//! `PUSH` and `PUSHB`: enqueue jobs.

use std::collections::BTreeMap;

use backroom::{BatchId, ChosenJob, Draft, ErrorKind, Inserted, Timestamp};

use super::super::{
    Faktory,
    pushed::{Pushed, Taken},
    reply::{Refusal, Reply},
};

/// Most jobs in one transaction, and most bytes of their args.
const CHUNK_JOBS: usize = 1000;
const CHUNK_BYTES: usize = 4 << 20;

/// Enqueues one job.
pub(in super::super) async fn one(faktory: &Faktory, pushed: Pushed) -> Result<Reply, Refusal> {
    let backroom = &faktory.state.backroom;
    let now = backroom.clock().now();
    let (draft, batch) = match pushed.draft(now)? {
        Taken::Expired => return Ok(Reply::Ok),
        Taken::Job(draft, batch) => (draft, batch),
    };
    let queue = draft.queue.clone();
    match batch {
        None => drop(backroom.enqueue_draft(*draft).await?),
        Some(batch) => {
            let id = faktory.state.ids.job(now);
            let job = ChosenJob { id, draft: *draft, after: Vec::new(), batch: Some(batch) };
            for answer in super::batch::add(faktory, batch, vec![job], now, false).await? {
                is_stored(answer)?;
            }
        }
    }
    faktory.removed().remove(&queue);
    Ok(Reply::Ok)
}

/// A job that passed every check, with its jid.
struct Checked {
    jid: String,
    job: ChosenJob,
}

/// Refuses a job whose unique content another one has.
fn is_stored(answer: Inserted) -> Result<(), Refusal> {
    match answer {
        Inserted::Created => Ok(()),
        Inserted::KeyHeld(_) | Inserted::Duplicate(_) | Inserted::Replaced(_) => Err(Refusal::not_unique()),
    }
}

/// Enqueues many jobs. Each is taken or refused by itself; the answer has the errors by jid.
pub(in super::super) async fn many(faktory: &Faktory, pushed: Vec<Pushed>) -> Result<Reply, Refusal> {
    let most = faktory.state.settings.now().limits.batch_jobs;
    if pushed.len() as u64 > most {
        let why = format!("{} jobs are too many for one PUSHB; at most {most} are allowed", pushed.len());
        return Err(Refusal::new(why));
    }
    let now = faktory.state.backroom.clock().now();
    let (mut errors, mut chunk, mut bytes) = (BTreeMap::new(), Vec::new(), 0);
    for pushed in pushed {
        let jid = pushed.jid.clone();
        match check(faktory, pushed, now) {
            Ok(None) => {}
            Ok(Some(job)) => {
                bytes += job.draft.args.as_str().len();
                chunk.push(Checked { jid, job });
            }
            Err(refusal) => drop(errors.insert(jid, refusal.said())),
        }
        if chunk.len() >= CHUNK_JOBS || bytes >= CHUNK_BYTES {
            enqueue_each_batch(faktory, std::mem::take(&mut chunk), now, &mut errors).await;
            bytes = 0;
        }
    }
    enqueue_each_batch(faktory, chunk, now, &mut errors).await;
    Ok(Reply::Bulk(serde_json::to_string(&errors).expect("invariant: texts are JSON")))
}

/// One bad job must not fail the transaction of the others, so each is checked alone.
fn check(faktory: &Faktory, pushed: Pushed, now: Timestamp) -> Result<Option<ChosenJob>, Refusal> {
    let Taken::Job(draft, batch) = pushed.draft(now)? else { return Ok(None) };
    let id = faktory.state.ids.job(now);
    faktory.state.backroom.check_draft(id, Draft::clone(&draft), now)?;
    Ok(Some(ChosenJob { id, draft: *draft, after: Vec::new(), batch }))
}

/// A batch that takes no jobs must not fail those of others, so each has a transaction of its own.
async fn enqueue_each_batch(
    faktory: &Faktory,
    chunk: Vec<Checked>,
    now: Timestamp,
    errors: &mut BTreeMap<String, String>,
) {
    let mut of_batch: BTreeMap<Option<BatchId>, Vec<Checked>> = BTreeMap::new();
    for checked in chunk {
        of_batch.entry(checked.job.batch).or_default().push(checked);
    }
    for (batch, chunk) in of_batch {
        enqueue(faktory, batch, chunk, now, errors).await;
    }
}

async fn enqueue(
    faktory: &Faktory,
    batch: Option<BatchId>,
    chunk: Vec<Checked>,
    now: Timestamp,
    errors: &mut BTreeMap<String, String>,
) {
    let jobs: Vec<_> = chunk.iter().map(|checked| checked.job.clone()).collect();
    let call = async |jobs, is_repeated| match batch {
        None => faktory.state.backroom.enqueue_chosen_linked(jobs, now, is_repeated).await,
        Some(batch) => super::batch::add(faktory, batch, jobs, now, is_repeated).await,
    };
    let mut answers = call(jobs.clone(), false).await;
    // It may be stored: the same ids are stored once.
    if answers.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unavailable) {
        answers = call(jobs, true).await;
    }
    match answers {
        Ok(answers) => {
            for (Checked { jid, job }, answer) in chunk.into_iter().zip(answers) {
                match is_stored(answer) {
                    Ok(()) => drop(faktory.removed().remove(&job.draft.queue)),
                    Err(refusal) => drop(errors.insert(jid, refusal.said())),
                }
            }
        }
        Err(error) => {
            let said = Refusal::from(error).said();
            errors.extend(chunk.into_iter().map(|checked| (checked.jid, said.clone())));
        }
    }
}
