//! `PUSH` and `PUSHB`: enqueue jobs.

use std::collections::BTreeMap;

use backroom::{Draft, Error, ErrorKind, Inserted, JobId, Timestamp};

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
    let draft = match pushed.draft(backroom.clock().now())? {
        Taken::Expired => return Ok(Reply::Ok),
        Taken::Job(draft) => draft,
    };
    let queue = draft.queue.clone();
    backroom.enqueue_draft(*draft).await?;
    faktory.removed().remove(&queue);
    Ok(Reply::Ok)
}

/// A job that passed every check, with its jid.
struct Checked {
    jid: String,
    id: JobId,
    draft: Draft,
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
            Ok(Some((id, draft))) => {
                bytes += draft.args.as_str().len();
                chunk.push(Checked { jid, id, draft });
            }
            Err(refusal) => drop(errors.insert(jid, refusal.said())),
        }
        if chunk.len() >= CHUNK_JOBS || bytes >= CHUNK_BYTES {
            enqueue(faktory, std::mem::take(&mut chunk), now, &mut errors).await;
            bytes = 0;
        }
    }
    enqueue(faktory, chunk, now, &mut errors).await;
    Ok(Reply::Bulk(serde_json::to_string(&errors).expect("invariant: texts are JSON")))
}

/// One bad job must not fail the transaction of the others, so each is checked alone.
fn check(faktory: &Faktory, pushed: Pushed, now: Timestamp) -> Result<Option<(JobId, Draft)>, Refusal> {
    let Taken::Job(draft) = pushed.draft(now)? else { return Ok(None) };
    let id = faktory.state.ids.job(now);
    let checked = draft.clone().check(id, now, faktory.state.backroom.json_bytes_max());
    checked.map_err(|invalid| Refusal::from(Error::from(invalid)))?;
    Ok(Some((id, *draft)))
}

async fn enqueue(
    faktory: &Faktory,
    chunk: Vec<Checked>,
    now: Timestamp,
    errors: &mut BTreeMap<String, String>,
) {
    if chunk.is_empty() {
        return;
    }
    let backroom = &faktory.state.backroom;
    let drafts: Vec<_> = chunk.iter().map(|checked| (checked.id, checked.draft.clone())).collect();
    let mut answers = backroom.enqueue_chosen(drafts.clone(), now, false).await;
    // It may be stored: the same ids are stored once.
    if answers.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unavailable) {
        answers = backroom.enqueue_chosen(drafts, now, true).await;
    }
    match answers {
        Ok(answers) => {
            for (Checked { jid, draft, .. }, answer) in chunk.into_iter().zip(answers) {
                match answer {
                    Inserted::Created => drop(faktory.removed().remove(&draft.queue)),
                    Inserted::KeyHeld(_) | Inserted::Duplicate(_) | Inserted::Replaced(_) => {
                        errors.insert(jid, Refusal::not_unique().said());
                    }
                }
            }
        }
        Err(error) => {
            let said = Refusal::from(error).said();
            errors.extend(chunk.into_iter().map(|checked| (checked.jid, said.clone())));
        }
    }
}
