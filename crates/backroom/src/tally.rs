//! Counts ended attempts by kind and minute, for `backroom stats`.
//!
//! Counts stay in memory until the worker writes them, one row for each minute that changed. A row is always written whole, so
//! that writing it twice does no harm. A process that dies loses its last counts and nothing else.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use backroom_core::{
    State, Timestamp,
    stats::{KINDS_MAX, KindStats, OTHER_KINDS, StatsRow, minute_of},
};

use crate::{Ended, Ending};

/// Most minutes that wait for the store; while it is away for longer, the oldest are forgotten.
const MINUTES_MAX: usize = 60;

/// What one worker counted and may still have to write.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    minutes: Mutex<BTreeMap<Timestamp, Minute>>,
    /// The worker's name when it first wrote. A worker that takes a new name goes on writing under the first one: otherwise
    /// the minute of the change would be counted twice.
    counted_as: OnceLock<String>,
}

#[derive(Debug, Default)]
struct Minute {
    kinds: HashMap<String, KindStats>,
    /// Counted since the last write.
    changed: bool,
}

impl Tally {
    /// Counts one end. Snoozes, releases, cancels and expiries are neither done nor failed.
    pub(crate) fn count(&self, end: &Ended<'_>) {
        let (is_done, is_failure) = (end.ending == Ending::Succeeded, end.ending.is_failure());
        if !is_done && !is_failure {
            return;
        }
        let mut minutes = self.minutes();
        let minute = minutes.entry(minute_of(end.ended_at)).or_default();
        minute.changed = true;
        let of_kind = minute.of_kind(end.kind);
        of_kind.done += u64::from(is_done);
        of_kind.failed += u64::from(is_failure);
        of_kind.discarded += u64::from(end.state == State::Discarded);
        end.waited.into_iter().for_each(|span| of_kind.pickup.count(span));
        end.ran.into_iter().for_each(|span| of_kind.run.count(span));
        if minutes.len() > MINUTES_MAX {
            minutes.pop_first();
        }
    }

    /// The rows that changed since they were taken last.
    pub(crate) fn take_changed(&self, worker: &str) -> Vec<StatsRow> {
        let mut minutes = self.minutes();
        if minutes.values().all(|minute| !minute.changed) {
            return Vec::new();
        }
        let worker = self.counted_as.get_or_init(|| worker.into());
        let row = |(at, minute): (&Timestamp, &mut Minute)| {
            minute.changed = false;
            let mut kinds: Vec<_> = minute.kinds.values().cloned().collect();
            kinds.sort_unstable_by(|one, other| one.kind.cmp(&other.kind));
            StatsRow { minute: *at, worker: worker.clone(), kinds }
        };
        minutes.iter_mut().filter(|(_, minute)| minute.changed).map(row).collect()
    }

    /// A row was not written: it is due again.
    pub(crate) fn put_back(&self, minute: Timestamp) {
        if let Some(minute) = self.minutes().get_mut(&minute) {
            minute.changed = true;
        }
    }

    /// Forgets written minutes that are over.
    pub(crate) fn forget(&self, now: Timestamp) {
        let this = minute_of(now);
        self.minutes().retain(|at, minute| minute.changed || *at >= this);
    }

    fn minutes(&self) -> MutexGuard<'_, BTreeMap<Timestamp, Minute>> {
        self.minutes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Minute {
    fn of_kind(&mut self, kind: &str) -> &mut KindStats {
        let kind =
            if self.kinds.contains_key(kind) || self.kinds.len() < KINDS_MAX { kind } else { OTHER_KINDS };
        // Looked up first: almost always it is there, and a new name costs an allocation.
        if !self.kinds.contains_key(kind) {
            self.kinds.insert(kind.into(), KindStats::of(kind));
        }
        self.kinds.get_mut(kind).expect("invariant: inserted above")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(6000 + secs).expect("a moment")
    }

    fn end(kind: &str, ending: Ending, ended_at: Timestamp) -> Ended<'_> {
        Ended {
            id: backroom_core::JobId(uuid::Uuid::nil()),
            kind,
            queue: "default",
            attempt: 1,
            max_attempts: 20,
            worker: None,
            ending,
            state: State::Completed,
            retry_in: None,
            error: None,
            waited: Some(Duration::from_millis(1)),
            ran: Some(Duration::from_millis(2)),
            ended_at,
            job: crate::ended::Unshown(None),
        }
    }

    #[test]
    fn kinds_beyond_the_bound_are_counted_together() {
        let tally = Tally::default();
        for kind in 0..KINDS_MAX + 5 {
            tally.count(&end(&format!("kind-{kind}"), Ending::Succeeded, at(0)));
        }
        let row = tally.take_changed("w").remove(0);
        assert_eq!(row.kinds.len(), KINDS_MAX + 1);
        assert_eq!(row.kinds.iter().find(|kind| kind.kind == OTHER_KINDS).map(|kind| kind.done), Some(5));
    }

    #[test]
    fn a_row_that_was_not_written_is_due_again_and_a_written_minute_is_forgotten_when_it_is_over() {
        let tally = Tally::default();
        tally.count(&end("mail", Ending::Succeeded, at(0)));
        let rows = tally.take_changed("w");
        assert!(tally.take_changed("w").is_empty());
        tally.put_back(rows[0].minute);
        tally.forget(at(600));
        assert_eq!(tally.take_changed("w"), rows);
        tally.forget(at(600));
        tally.put_back(rows[0].minute);
        assert!(tally.take_changed("w").is_empty());
    }

    #[test]
    fn a_worker_with_a_new_name_writes_to_the_same_rows() {
        let tally = Tally::default();
        assert!(tally.take_changed("taken").is_empty());
        tally.count(&end("mail", Ending::Succeeded, at(0)));
        assert_eq!(tally.take_changed("w")[0].worker, "w");
        tally.count(&end("mail", Ending::Succeeded, at(0)));
        let rows = tally.take_changed("w~1");
        assert_eq!(
            (rows[0].worker.as_str(), rows[0].kinds[0].done),
            ("w", 2),
            "in the place of the row before"
        );
    }

    #[test]
    fn snoozes_and_cancels_are_not_counted() {
        let tally = Tally::default();
        for ending in [Ending::Snoozed, Ending::Cancelled, Ending::Released, Ending::Expired] {
            tally.count(&end("mail", ending, at(0)));
        }
        assert!(tally.take_changed("w").is_empty());
    }
}
