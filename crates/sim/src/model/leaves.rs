//! Judging what went from the store.

use std::collections::BTreeSet;

use backroom::{
    JobId, State, Timestamp,
    core::unique::UniqueWhile,
    store::{Deleted, Prune},
};

use super::{Model, Place, Row};

impl Model {
    pub(crate) fn pruned(
        &mut self,
        place: &Place,
        prune: &Prune,
        gone: u64,
        left: &BTreeSet<JobId>,
        now: Timestamp,
    ) {
        let went: Vec<JobId> = self.rows().map(|(id, _, _)| id).filter(|id| !left.contains(id)).collect();
        if went.len() as u64 != gone {
            self.wrong(format!("prune answered {gone} and took {}", went.len()));
        }
        for id in went {
            self.saw(place, &format!("prune {}", Self::short(id)));
            let newer = self.newer(prune, id);
            let may_go = self.row(id).is_some_and(|row| may_go(row, prune, newer, now));
            if !may_go {
                self.wrong(format!("job {id} was pruned by {prune:?} and should have stayed"));
            }
            self.goes(id);
        }
    }

    /// How many jobs of the same queue and state finished after this one.
    fn newer(&self, prune: &Prune, id: JobId) -> u64 {
        let finished_at = self.row(id).and_then(|row| row.finished_at);
        let same = |row: &Row| row.queue == prune.queue && row.state == prune.state;
        let newer =
            self.rows().filter(|(other, _, row)| same(row) && (row.finished_at, *other) > (finished_at, id));
        newer.count() as u64
    }

    pub(crate) fn deleted(&mut self, place: &Place, id: JobId, answer: Deleted) {
        self.saw(place, &format!("delete {}: {answer:?}", Self::short(id)));
        let state = self.row(id).map(|row| row.state);
        let right = match answer {
            Deleted::NotFound => state.is_none(),
            Deleted::Running => state == Some(State::Running),
            // No client of the simulator makes a guarded delete.
            Deleted::Moved | Deleted::RowLocked => false,
            Deleted::Yes => state.is_some_and(|state| state != State::Running),
        };
        let asked = self.jobs.get(&id).is_some_and(|known| known.asked_delete);
        if !right || (answer == Deleted::Yes && !asked) {
            self.wrong(format!("the delete of job {id} ({state:?}, asked for: {asked}) answered {answer:?}"));
        }
        if answer == Deleted::Yes {
            self.goes(id);
        }
    }

    fn goes(&mut self, id: JobId) {
        self.tally.gone += 1;
        if let Some(known) = self.jobs.get_mut(&id) {
            known.row = None;
        }
    }
}

fn may_go(row: &Row, prune: &Prune, newer: u64, now: Timestamp) -> bool {
    let in_window = matches!(row.hold, Some(UniqueWhile::Until(until)) if until > now) && row.held;
    let old = row.finished_at.zip(prune.finished_before).is_some_and(|(at, before)| at < before);
    let many = prune.beyond.is_some_and(|beyond| newer >= beyond);
    row.state.is_finished()
        && row.queue == prune.queue
        && row.state == prune.state
        && !in_window
        && (old || many)
}
