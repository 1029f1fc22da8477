//! What must hold for workflows, edges and batches: of each call when it takes effect, and of all jobs at the end.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use backroom::{
    Backroom, BatchId, BatchState, Error, Job as _, JobId, JobRow, LeaseId, OnFailure, Side, State,
    core::{
        batch::{Counts, EndJob},
        dependency::EdgeState,
        links::After,
    },
    store::{
        EdgesOfJob, JournalWrite, Signal, Signalled, Store, Wrote,
        layer::{Answer as Answers, Request},
    },
    workflow::{Answer, EntryState, Undo},
};

use super::{
    children,
    office::{Known, Office},
    program::Flow,
};

/// What is read of the store after a call, before the next one.
pub enum Doubt {
    /// Whether a run that wrote to a journal has the lease.
    Writer(JobId, LeaseId),
    /// Whether the cancel of a child was written with the journal of its workflow.
    Cancelled(JobId),
    /// Whether a job that was claimed had to wait.
    Claimed(JobId),
}

impl Office {
    /// A call took effect and was answered.
    pub fn hear<T: Answers>(&self, request: &Request, answer: &T) -> Vec<Doubt> {
        let answer: &dyn Any = answer;
        let mut doubts = Vec::new();
        match request {
            Request::WriteJournals { writes } => {
                let answers: &Vec<Wrote> = answer.downcast_ref().expect("one answer per write");
                for (write, _) in writes.iter().zip(answers).filter(|(_, answer)| **answer == Wrote::Done) {
                    self.started(write);
                    doubts.extend(write.cancels.iter().map(|cancel| Doubt::Cancelled(cancel.child)));
                    if self.wrote(write) {
                        doubts.push(Doubt::Writer(write.workflow, write.lease));
                    }
                }
            }
            Request::Signal { signals, .. } => {
                let answers: &Vec<Signalled> = answer.downcast_ref().expect("one answer per signal");
                let stored = signals.iter().zip(answers).filter(|(_, answer)| **answer == Signalled::Done);
                for (Signal { workflow, value, .. }, _) in stored {
                    self.known().sent.insert((*workflow, value.decode().unwrap_or_default()));
                }
            }
            Request::Claim { .. } => {
                let jobs: &Vec<JobRow> = answer.downcast_ref().expect("a claim answers with jobs");
                for job in jobs {
                    match job.links.as_ref().and_then(|links| links.after) {
                        Some(After::Released) => doubts.push(Doubt::Claimed(job.id)),
                        Some(After::Held) => {
                            self.wrong(format!("job {} was claimed while it is held", job.id))
                        }
                        None => {}
                    }
                }
            }
            _ => {}
        }
        doubts
    }

    /// Reads what a call left open.
    pub async fn resolve(&self, store: &Arc<dyn Store>, doubts: Vec<Doubt>) -> Result<(), Error> {
        for doubt in doubts {
            match doubt {
                Doubt::Writer(id, lease) => {
                    let job = store.job(id).await?;
                    let is_its = |job: &JobRow| job.state == State::Running && job.lease_id == Some(lease);
                    if !job.as_ref().is_some_and(is_its) {
                        self.wrong(format!("a run without the lease {lease} wrote to a journal: {job:?}"));
                    }
                }
                Doubt::Cancelled(child) => {
                    let job = store.job(child).await?;
                    let was = |job: &JobRow| job.state.is_finished() || job.cancel_requested_at.is_some();
                    if !job.as_ref().is_some_and(was) {
                        self.wrong(format!("a journal was written without the cancel of a child: {job:?}"));
                    }
                }
                Doubt::Claimed(job) => {
                    let of = EdgesOfJob { job, side: Side::Predecessors, only_open: true };
                    let open = store.edges(of, None, 10).await?;
                    if !open.is_empty() {
                        self.wrong(format!("job {job} was claimed before others had ended: {open:?}"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Notes what a write has recorded. Answers whether any answer is new.
    fn wrote(&self, write: &JournalWrite) -> bool {
        let mut wrong = Vec::new();
        let mut is_new = false;
        {
            let Known { answers, taken, sent, undone, .. } = &mut *self.known();
            for entry in &write.entries {
                let key = (write.workflow, write.header.generation, entry.key.clone());
                let known = answers.get(&key);
                match &entry.state {
                    // A retry takes failures back, and nothing else.
                    EntryState::Superseded { .. } => match known {
                        Some(Answer::Failed { .. } | Answer::Child { .. }) | None => _ = answers.remove(&key),
                        Some(_) => wrong.push(format!("entry {key:?} lost its answer: {known:?}")),
                    },
                    EntryState::Open(_) | EntryState::Lost => {
                        if known.is_some() {
                            wrong.push(format!("entry {key:?} had an answer and lost it: {entry:?}"));
                        }
                    }
                    EntryState::Closed { answer, .. } => {
                        if known.is_some_and(|known| known != answer) {
                            wrong.push(format!("entry {key:?} has two answers: {known:?} and {answer:?}"));
                        }
                        if let (None, Answer::Signal { value }) = (known, answer) {
                            let signal = (write.workflow, value.decode().unwrap_or_default());
                            if !sent.contains(&signal) || !taken.insert(signal) {
                                wrong.push(format!("signal {signal:?} was taken twice, or was not sent"));
                            }
                        }
                        is_new |= known.is_none();
                        answers.entry(key).or_insert_with(|| answer.clone());
                    }
                }
                if let Some(Undo::Done { .. }) = entry.undo {
                    let of_flow = undone.entry(write.workflow).or_default();
                    if !of_flow.contains(&entry.key) {
                        of_flow.push(entry.key.clone());
                    }
                }
            }
        }
        wrong.into_iter().for_each(|what| self.wrong(what));
        self.resumed(write);
        is_new
    }

    fn wrong(&self, what: String) {
        self.model().wrong(what);
    }
}

/// Whether a job that lives waits for ever, and rightly so: an edge tells it to wait until a predecessor is retried.
pub async fn waits_for_ever(client: &Backroom, live: &[JobRow]) -> Result<BTreeSet<JobId>, Error> {
    let mut stuck = BTreeSet::new();
    loop {
        let before = stuck.len();
        for job in live.iter().filter(|job| job.state == State::Waiting) {
            for edge in client.neighbours(job.id, Side::Predecessors, None, 100).await? {
                let state = edge.found.as_ref().map(|found| found.state);
                let has_failed = matches!(state, Some(State::Cancelled | State::Discarded));
                let waits = edge.on_failure == OnFailure::Wait && has_failed;
                if edge.edge == EdgeState::Open && (waits || stuck.contains(&edge.job)) {
                    stuck.insert(job.id);
                }
            }
        }
        if stuck.len() == before {
            return Ok(stuck);
        }
    }
}

/// Judges all jobs once everything has come to its end.
pub async fn account(office: &Office, client: &Backroom, rows: &[JobRow]) -> Result<(), Error> {
    for row in rows {
        if row.kind == Flow::KIND {
            workflow(office, client, row).await?;
        }
        edges(office, client, row).await?;
    }
    children::account(office, client, rows).await?;
    batches(office, client, rows).await
}

/// Compensations ran for what was done and for nothing else, in reverse.
async fn workflow(office: &Office, client: &Backroom, row: &JobRow) -> Result<(), Error> {
    let journal = client.journal(row.id).await?;
    let entries = journal.map(|journal| journal.entries).unwrap_or_default();
    let (undone, undoes) = {
        let known = office.known();
        let of = |id| known.undoes.get(id).cloned().unwrap_or_default();
        (known.undone.get(&row.id).cloned().unwrap_or_default(), of(&row.id))
    };
    let reason = row.reason.as_deref().unwrap_or_default();
    // Its attempts or its processes failed: it did not fail by itself, and an operator may retry it.
    let was_given_up = reason.starts_with("poison") || reason.starts_with("gave up");
    let mut compensated: Vec<_> = entries.iter().filter(|entry| entry.undo.is_some()).collect();
    compensated.sort_by_key(|entry| entry.seq());
    let expected: Vec<_> = match row.state {
        State::Completed => Vec::new(),
        _ if was_given_up => return Ok(()),
        _ => compensated.iter().rev().map(|entry| entry.key.clone()).collect(),
    };
    if undone != expected {
        let what = format!("workflow {} undid {undone:?} and not {expected:?}: {row:?}", row.id);
        office.wrong(what);
    }
    let values: BTreeSet<u64> = compensated
        .iter()
        .filter_map(|entry| match &entry.state {
            EntryState::Closed { answer: Answer::Value { value }, .. } => value.decode().ok(),
            _ => None,
        })
        .collect();
    if undoes.iter().any(|value| !values.contains(value)) || (expected.is_empty() && !undoes.is_empty()) {
        office.wrong(format!("workflow {} undid {undoes:?}, and has done {values:?}: {row:?}", row.id));
    }
    let mut model = office.model();
    model.tally.flows += 1;
    model.tally.undone += undone.len() as u64;
    Ok(())
}

/// A job that ran after others did so as its edges say.
async fn edges(office: &Office, client: &Backroom, row: &JobRow) -> Result<(), Error> {
    if row.links.as_ref().is_none_or(|links| links.after.is_none()) {
        return Ok(());
    }
    for edge in client.neighbours(row.id, Side::Predecessors, None, 100).await? {
        let is_settled = edge.edge != EdgeState::Open;
        let completed = edge.found.as_ref().is_some_and(|found| found.state == State::Completed);
        if completed && !is_settled {
            office.wrong(format!("job {} still waits for one that has completed: {edge:?}", row.id));
        }
        if row.state == State::Completed && !is_settled {
            office.wrong(format!("job {} completed and still waits: {edge:?}", row.id));
        }
    }
    Ok(())
}

/// Each batch counts its members, and has each end job once.
async fn batches(office: &Office, client: &Backroom, rows: &[JobRow]) -> Result<(), Error> {
    let mut members: BTreeMap<BatchId, Counts> = BTreeMap::new();
    let mut ends: BTreeMap<(BatchId, bool), u64> = BTreeMap::new();
    for row in rows {
        let Some(links) = &row.links else { continue };
        if let Some(batch) = links.batch {
            let counts = members.entry(batch).or_default();
            match row.state {
                State::Completed => counts.completed += 1,
                State::Cancelled => counts.cancelled += 1,
                State::Discarded => counts.discarded += 1,
                State::Queued | State::Running | State::Waiting => counts.live += 1,
            }
        }
        if let Some(end) = links.ends {
            *ends.entry((end.batch, end.which == EndJob::Success)).or_default() += 1;
        }
    }
    for batch in client.batches(None, None, 500).await? {
        let (id, counts) = (batch.id, members.get(&batch.id).copied().unwrap_or_default());
        if batch.counts != counts {
            office.wrong(format!("batch {id} counts {:?}, and its members are {counts:?}", batch.counts));
        }
        let count = |success| ends.get(&(id, success)).copied().unwrap_or_default();
        let all_completed = counts.cancelled + counts.discarded == 0;
        let is_right = batch.state == BatchState::Ended
            && count(false) == 1
            && count(true) == u64::from(batch.succeeded_at.is_some())
            && (!all_completed || batch.succeeded_at.is_some());
        if !is_right {
            office.wrong(format!("batch {batch:?} has {} and {} end jobs", count(false), count(true)));
        }
        office.model().tally.batches += 1;
    }
    Ok(())
}
