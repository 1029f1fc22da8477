//! A person retries a workflow that has failed or was cancelled: what failed for good runs again, and all else answers from the journal.
//!
//! Only a failure after which the code asked for nothing more is taken back. What the code did about any other failure was decided by it,
//! so that one stays. A workflow that has undone something cannot go on: its journal says that steps are done which no longer are.

use std::collections::HashMap;

use super::{Answer, Arrival, Arrived, Cause, Entry, EntryState, Journal, Opened, Phase, Run, Undo, Write};
use crate::{JobId, LeaseId, State, links::ChildEnd};

/// What a retry makes of a journal.
#[derive(Debug, Clone, PartialEq)]
pub enum Resumed {
    /// It goes on as it stands.
    AsItWas,
    /// It goes on forward. The journal is changed, and this is to be written first.
    Forward(Vec<Write>),
    /// It has undone something, so it ends again with this cause.
    Undone(Cause),
}

impl Run {
    /// Keys of failures after which the code asked for nothing more within their scope or around it. What runs beside that scope does not
    /// depend on them.
    pub(super) fn final_failures(&self) -> Vec<String> {
        let mut asked: HashMap<&str, u64> = HashMap::new();
        for ask in &self.asks {
            asked.insert(&ask.named.key, ask.after);
        }
        let is_followed = |key: &str, seq: u64| {
            let later_ask =
                asked.iter().any(|(other, after)| *other != key && *after >= seq && is_related(key, other));
            later_ask
                || self.journal.all().any(|other| {
                    !asked.contains_key(other.key.as_str())
                        && is_later(other, seq)
                        && is_related(key, &other.key)
                })
        };
        let failed = self.journal.answered().filter(|entry| failure(entry).is_some());
        failed
            .filter(|entry| entry.seq().is_some_and(|seq| !is_followed(&entry.key, seq)))
            .map(|entry| entry.key.clone())
            .collect()
    }
}

impl Journal {
    /// Decides what a run does whose journal says that the workflow undoes what it has done. `ended` is the run that ended the job last as
    /// failed or cancelled: if there is one that the journal does not know, a person has retried the job since.
    /// A child whose end has arrived as completed is not begun again.
    pub fn resume(&mut self, ended: Option<LeaseId>, arrivals: &[Arrival]) -> Resumed {
        let Phase::Undoing { cause } = &self.header.phase else { return Resumed::AsItWas };
        let Some(ended) = ended.filter(|ended| self.header.resumed != Some(*ended)) else {
            return Resumed::AsItWas;
        };
        if self.still_undoes() {
            return Resumed::AsItWas;
        }
        if let Some(refused) = self.undone() {
            return Resumed::Undone(match cause {
                Cause::Failed { .. } => Cause::Failed { error: refused },
                Cause::Cancelled { .. } => Cause::Cancelled { reason: refused },
            });
        }
        let end = match cause {
            Cause::Failed { .. } => State::Discarded,
            Cause::Cancelled { .. } => State::Cancelled,
        };
        let mut writes = Vec::new();
        for key in &self.header.failed {
            if let Some(entry) = self.entry(key)
                && let Some(error) = failure(entry)
            {
                writes.push(superseded(entry, error.to_owned()));
            }
        }
        let has_completed = |child: JobId| {
            arrivals.iter().any(|arrival| {
                matches!(&arrival.what, Arrived::Child { job, end: ChildEnd::Completed { .. }, .. } if *job == child)
            })
        };
        let cancelled = |entry: &&Entry| matches!(entry.state, EntryState::Open(Opened::Child { policy, job }) if policy.cancels(end) && !has_completed(job));
        let mut cancelled: Vec<_> = self.open().filter(cancelled).collect();
        cancelled.sort_by(|one, other| one.key.cmp(&other.key));
        writes.extend(
            cancelled.into_iter().map(|entry| superseded(entry, "it was cancelled with its workflow".into())),
        );
        writes.push(Write::Resume { ended });
        writes.iter().for_each(|write| self.apply(write, &mut super::Inbox::default()));
        Resumed::Forward(writes)
    }

    /// Whether something is left to undo. A workflow that undoes goes on with that first, however its last run ended.
    fn still_undoes(&self) -> bool {
        self.answered().any(|entry| matches!(entry.undo, Some(Undo::Due | Undo::Trying { .. })))
    }

    /// Why the workflow cannot go on after a retry: it has undone something, and nothing is left to undo. None if it can.
    pub fn undone(&self) -> Option<String> {
        if self.still_undoes() {
            return None;
        }
        let is_undone = |entry: &&Entry| matches!(entry.undo, Some(Undo::Done { .. } | Undo::Trying { .. }));
        let entry = self.answered().rev().find(is_undone)?;
        Some(format!(
            "the workflow has undone what it had done (step {:?}), so it cannot go on; enqueue another one",
            entry.key
        ))
    }
}

/// The error of an answer that is a failure.
fn failure(entry: &Entry) -> Option<&str> {
    match &entry.state {
        EntryState::Closed { answer: Answer::Failed { error }, .. } => Some(error),
        EntryState::Closed {
            answer: Answer::Child { end: ChildEnd::Cancelled { reason } | ChildEnd::Discarded { reason } },
            ..
        } => Some(reason),
        EntryState::Closed { .. }
        | EntryState::Open(_)
        | EntryState::Lost
        | EntryState::Superseded { .. } => None,
    }
}

/// Whether an entry of which this run has not asked may have been asked for after this answer.
fn is_later(entry: &Entry, seq: u64) -> bool {
    match &entry.state {
        EntryState::Closed { seq: its, .. } => *its > seq,
        EntryState::Open(_) => true,
        EntryState::Lost | EntryState::Superseded { .. } => false,
    }
}

/// Whether one of two keys lies within the scope of the other.
fn is_related(one: &str, other: &str) -> bool {
    let scope = |key: &str| key.rfind('/').map_or(0, |slash| slash + 1);
    let (one, other) = (&one[..scope(one)], &other[..scope(other)]);
    one.starts_with(other) || other.starts_with(one)
}

fn superseded(entry: &Entry, error: String) -> Write {
    Write::Entry(Entry { state: EntryState::Superseded { error }, ..entry.clone() })
}
