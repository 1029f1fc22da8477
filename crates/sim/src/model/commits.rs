//! Judging the changes that a store accepted: the rules of a job's life, written down a second time.

use backroom::{
    JobId, LeaseId, State,
    core::{Change, unique::UniqueWhile},
    store::Committed,
};

use super::{Model, Place, Row, Said};

impl Model {
    pub(crate) fn committed(&mut self, place: &Place, changes: &[Change], answers: &[Committed]) {
        if changes.len() != answers.len() {
            self.wrong(format!("a commit of {} changes gave {} answers", changes.len(), answers.len()));
        }
        for (change, answer) in changes.iter().zip(answers) {
            let (id, state) = (Self::short(change.id), change.state);
            self.saw(place, &format!("commit {id} -> {state} ({} used): {answer:?}", change.attempt));
            match answer {
                Committed::Done => self.accepted(place, change),
                Committed::Stale => {
                    self.tally.stale += 1;
                    self.refused(change);
                }
                Committed::KeyHeld(holder) => {
                    let key = self.row(change.id).and_then(|row| row.key.clone());
                    let held = self.row(*holder).is_some_and(|row| row.held && row.key == key);
                    if !held || !change.unique_held {
                        self.wrong(format!("a change of job {} was refused for a key not held", change.id));
                    }
                }
                Committed::RowLocked => {
                    self.wrong(format!(
                        "a change of job {} waits for a transaction that does not exist",
                        change.id
                    ));
                }
            }
        }
    }

    /// A change was refused as stale. If it was not, a worker would report in vain for ever.
    fn refused(&mut self, change: &Change) {
        let fits = self.row(change.id).is_some_and(|row| {
            row.revision == change.revision_before && change.lease.is_none_or(|lease| row.runs_under(lease))
        });
        if fits {
            self.wrong(format!("a change of job {} was refused although nothing had changed", change.id));
        }
    }

    fn accepted(&mut self, place: &Place, change: &Change) {
        let id = change.id;
        let Some(row) = self.row(id).cloned() else {
            return self.wrong(format!("a change of job {id}, which is not stored, was accepted"));
        };
        let after = after(&row, change);
        if row.revision == after.revision && same_but_renewed(&row, &after) {
            // The same call again, because its answer was lost.
            return;
        }
        let mut wrong = self.judge(place, change, &row);
        if row.revision != change.revision_before {
            wrong.push(format!("it was decided on revision {}", change.revision_before));
        }
        if let Some(lease) = change.lease {
            if !row.runs_under(lease) {
                wrong.push(format!("it reports for the stale lease {lease}"));
            }
            if let Some(known) = self.jobs.get_mut(&id)
                && !known.ended.insert(lease)
            {
                wrong.push(format!("it is the second outcome of lease {lease}"));
            }
        }
        for what in wrong {
            let to = change.state;
            self.wrong(format!("job {id} went from {} to {to} and {what}: {row:?} {change:?}", row.state));
        }
        self.count(&row, change);
        self.informs_of_change(&row, change);
        if let Some(known) = self.jobs.get_mut(&id) {
            known.row = Some(after);
        }
    }

    fn count(&mut self, row: &Row, change: &Change) {
        match (row.state, change.state, change.lease) {
            (State::Running, State::Completed, Some(_)) => self.tally.completed += 1,
            (State::Running, _, Some(_)) => self.tally.unsuccessful += 1,
            (State::Running, State::Queued | State::Discarded | State::Cancelled, None) => {
                self.tally.rescued += 1;
            }
            _ => {}
        }
    }

    /// What is wrong with this step of a job's life.
    fn judge(&self, place: &Place, change: &Change, row: &Row) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut must = |right: bool, what: &str| {
            if !right {
                wrong.push(what.to_owned());
            }
        };
        let (id, known) = (change.id, self.jobs.get(&change.id));
        let asked_cancel = known.is_some_and(|known| known.asked_cancel);
        let asked_retry = known.is_some_and(|known| known.asked_retry);
        let finishes = change.state.is_finished();
        must(finishes == change.finished_at.is_some(), "is finished exactly if it has an end");
        must(change.output.is_some() == (change.state == State::Completed), "has an output it may not have");
        must(change.lease_until.is_some() == (change.state == State::Running), "has a lease it may not have");
        match (row.state, change.state, change.lease) {
            (State::Running, _, Some(lease)) => self.judge_end(id, lease, change, row, &mut must),
            (State::Running, State::Running, None) => {
                must(!row.cancel_asked && asked_cancel, "no caller asked for it to stop");
                must(change.attempt == row.attempt, "its budget changed");
            }
            (State::Running, State::Queued | State::Discarded | State::Cancelled, None) => {
                self.judge_rescue(change, row, &mut must);
            }
            (State::Queued, State::Cancelled, None) => {
                let expired = row.expires_at.is_some_and(|at| at <= place.machine_latest);
                must(asked_cancel || expired, "no caller asked for that and it had not expired");
            }
            (State::Queued, State::Queued, None) => {
                must(asked_retry, "no caller asked for haste");
                must(change.scheduled_at <= row.scheduled_at, "haste postponed it");
                must(change.attempt == row.attempt, "its budget changed");
            }
            (State::Completed | State::Cancelled | State::Discarded, State::Queued, None) => {
                must(asked_retry, "finished jobs stay finished unless a caller asks");
                must(change.attempt == row.attempt, "its budget changed");
                must(change.max_attempts == row.max_attempts.max(row.attempt + 1), "it got a wrong budget");
                must(change.crashes == 0 && change.suspicion.is_none(), "its crashes were not forgotten");
            }
            _ => must(false, "that cannot happen"),
        }
        wrong
    }

    /// The end of a run, beside what its handler said.
    fn judge_end(
        &self,
        id: JobId,
        lease: LeaseId,
        change: &Change,
        row: &Row,
        must: &mut impl FnMut(bool, &str),
    ) {
        let run = self.runs.get(&(id, lease));
        let said = run.and_then(|run| run.said.as_ref());
        let stopping = row.worker.as_ref().is_some_and(|worker| self.stopping.contains(machine_of(worker)));
        // A handler that ran out of time was dropped and says nothing.
        let failed = matches!(said, Some(Said::Failed | Said::Panicked)) || (said.is_none() && row.limited);
        let charged = change.attempt == row.attempt;
        let given_back = change.attempt + 1 == row.attempt;
        must(charged || given_back, "its budget is wrong");
        must((change.crashes, change.suspicion) == (row.crashes, row.suspicion), "its crashes changed");
        match change.state {
            State::Completed => {
                let same =
                    matches!(said, Some(Said::Succeeded(output)) if Some(output) == change.output.as_ref());
                must(same, "its handler did not return that");
                must(charged, "its attempt was given back");
            }
            State::Queued if charged => {
                must(failed, "its handler did not fail");
                must(row.attempt < row.max_attempts, "its budget was spent");
                must(!row.cancel_asked, "it was to be cancelled");
            }
            State::Queued => {
                // What a worker holds and has not begun it may give back at any time.
                let unbegun = run.is_none();
                must(said == Some(&Said::Snoozed) || stopping || unbegun, "it was not given back");
                must(!row.cancel_asked, "it was to be cancelled");
            }
            State::Discarded => {
                let spent = failed && row.attempt >= row.max_attempts;
                must(said == Some(&Said::Discarded) || spent, "it was given up too early");
            }
            State::Cancelled => {
                must(said == Some(&Said::Cancelled) || row.cancel_asked, "it was not cancelled");
            }
            State::Running | State::Waiting => must(false, "a run's end leads elsewhere"),
        }
    }

    fn judge_rescue(&self, change: &Change, row: &Row, must: &mut impl FnMut(bool, &str)) {
        let is_dead = row.worker.as_ref().is_some_and(|worker| self.dead.contains(worker));
        must(is_dead, "its worker is not dead");
        must(change.crashes <= row.crashes + 1, "one death was counted more than once");
        must(change.suspicion.is_some() == (change.crashes > 0), "crashes without evidence");
        let poison = change.suspicion.is_some_and(|suspicion| suspicion.is_poison(change.crashes));
        match change.state {
            State::Cancelled => must(row.cancel_asked, "it was not cancelled"),
            State::Discarded => must(poison, "it was given up too early"),
            State::Queued => {
                must(!poison, "it is poison");
                must(change.attempt + 1 == row.attempt, "a crash was charged as an attempt");
                // A claim may reach beyond the present of a clock that was set back; such a job is due at the rescue's present.
                let decided_at = change.attempt_ended().map(|attempt| attempt.ended_at);
                let is_present = decided_at.is_none_or(|at| change.scheduled_at >= at);
                must(change.scheduled_at >= row.scheduled_at || is_present, "a crash brought it forward");
            }
            State::Running | State::Waiting | State::Completed => must(false, "a rescue leads elsewhere"),
        }
    }
}

/// The machine of a worker: a worker that was declared dead goes on under its first name and a random part.
pub fn machine_of(worker: &str) -> &str {
    worker.split('~').next().unwrap_or(worker)
}

/// The row once the change is written.
fn after(row: &Row, change: &Change) -> Row {
    let frees = match row.hold {
        Some(
            UniqueWhile::Live | UniqueWhile::Queued | UniqueWhile::LiveUntil(_) | UniqueWhile::QueuedUntil(_),
        ) => change.state.is_finished(),
        Some(UniqueWhile::Until(_)) | None => false,
    };
    let takes = row.state.is_finished() && !change.state.is_finished() && row.hold == Some(UniqueWhile::Live);
    Row {
        state: change.state,
        attempt: change.attempt,
        max_attempts: change.max_attempts,
        crashes: change.crashes,
        suspicion: change.suspicion,
        scheduled_at: change.scheduled_at,
        expires_at: change.expires_at,
        held: (row.held && !frees) || takes,
        lease_until: change.lease_until,
        output: change.output.clone(),
        cancel_asked: change.cancel_requested_at.is_some(),
        finished_at: change.finished_at,
        revision: change.revision_before + 1,
        ..row.clone()
    }
}

/// Whether the rows are the same but for the end of the lease, which moves without a revision.
fn same_but_renewed(row: &Row, after: &Row) -> bool {
    let mut after = after.clone();
    after.lease_until = after.lease_until.and(row.lease_until);
    after == *row
}
