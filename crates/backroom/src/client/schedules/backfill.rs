//! Running the occurrences of a range after the fact.

use backroom_core::{
    Timestamp,
    bounds::{earlier, whole_micros},
    schedule::{Timetable, state::Backfill},
};

use super::Schedules;
use crate::{Error, ErrorKind};

/// Occurrences that a backfill may have unless its caller allows more.
const ALLOWED: u64 = 1000;
/// Occurrences are counted up to this number.
const COUNTED_MAX: u64 = 1_000_000;
/// Runs of a backfill that go on at once, unless its caller says otherwise.
const AT_ONCE: u32 = 10;
/// Most runs of a backfill that may go on at once.
const AT_ONCE_MAX: u32 = 1000;

/// How a range is backfilled.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct BackfillOptions {
    /// A range with more occurrences is refused. Default 1,000, at most a million.
    pub allow: u64,
    /// So many of its runs go on at once. Default 10, at most 1,000.
    pub at_once: u32,
}

impl Default for BackfillOptions {
    fn default() -> Self {
        Self { allow: ALLOWED, at_once: AT_ONCE }
    }
}

impl BackfillOptions {
    /// Allows a range with so many occurrences.
    #[must_use]
    pub fn allow(mut self, occurrences: u64) -> Self {
        self.allow = occurrences;
        self
    }

    /// Lets so many of its runs go on at once.
    #[must_use]
    pub fn at_once(mut self, runs: u32) -> Self {
        self.at_once = runs;
        self
    }
}

impl Schedules {
    /// How many occurrences a schedule has from one moment to another, both included; a million stands for that many and more.
    pub async fn count(&self, name: &str, from: Timestamp, until: Timestamp) -> Result<u64, Error> {
        let timetable = self.row(name).await?.schedule()?.timetable()?;
        count(timetable, from, until).await
    }

    /// Runs the occurrences of a range in the past, both ends included, oldest first. Those that ran already do not run again, as far
    /// as the history goes back. The workers that do the upkeep carry it out, a bounded number at a time, also after a restart of
    /// every process; [`get`](Self::get) shows how far it is. It runs beside the occurrences of the timetable, whatever the policy
    /// for overlaps is, and also while the schedule is paused.
    ///
    /// The range is counted first, and refused if it has more occurrences than the options allow. Fails as
    /// [`Refused`](ErrorKind::Refused) while another backfill of the schedule goes on.
    pub async fn backfill(
        &self,
        name: &str,
        (from, until): (Timestamp, Timestamp),
        options: BackfillOptions,
    ) -> Result<Backfill, Error> {
        let invalid =
            |why: String| Error::new(ErrorKind::Invalid, format!("backfill schedule {name:?}: {why}"));
        if options.at_once == 0 || options.at_once > AT_ONCE_MAX {
            return Err(invalid(format!("{} runs at once; use 1 to {AT_ONCE_MAX}", options.at_once)));
        }
        if from > until {
            return Err(invalid(format!("its end {until} is before its begin {from}")));
        }
        let now = self.backroom.engine().clock.now();
        if until > now {
            return Err(invalid(format!("its end {until} lies in the future; it is {now}")));
        }
        let (from, until) = (whole_micros(from), whole_micros(until));
        let total = self.count(name, from, until).await?;
        if total > options.allow.min(COUNTED_MAX - 1) {
            let or_more = if total == COUNTED_MAX { " or more" } else { "" };
            return Err(invalid(format!(
                "the range has {total}{or_more} occurrences, and {} are allowed; allow more, or choose a shorter range",
                options.allow.min(COUNTED_MAX - 1)
            )));
        }
        self.repeated(name, move |now| Box::pin(async move {
            let row = self.row(name).await?;
            let mut state = row.state()?;
            if let Some(other) = state.backfill.filter(Backfill::is_running) {
                let why = format!(
                    "backfill schedule {name:?}: another backfill, from {} to {}, has done {} of {}; stop it, or wait for its end",
                    other.from, other.until, other.done, other.total
                );
                return Err(Error::new(ErrorKind::Refused, why));
            }
            let backfill = Backfill {
                from,
                until,
                total,
                done: 0,
                decided_until: earlier(from, std::time::Duration::from_micros(1)),
                at_once: options.at_once,
                started_at: now,
                ended_at: None,
            };
            state.backfill = Some(backfill);
            let moving = self.move_of(&row, &state, Some(now))?;
            self.moved(moving).await.map(|done| done.map(|()| Ok(backfill)))
        }))
        .await
    }

    /// Stops a backfill. Its runs that are going stay. Does nothing if none goes on.
    pub async fn stop_backfill(&self, name: &str) -> Result<(), Error> {
        self.change(name, |_, state, now| {
            let mut state = state.clone();
            if let Some(backfill) = state.backfill.as_mut().filter(|backfill| backfill.is_running()) {
                backfill.ended_at = Some(now);
            }
            Ok(state)
        })
        .await
    }
}

async fn count(timetable: Timetable, from: Timestamp, until: Timestamp) -> Result<u64, Error> {
    // A million of them take a second.
    let counting = tokio::task::spawn_blocking(move || {
        let before = earlier(whole_micros(from), std::time::Duration::from_micros(1));
        let all = std::iter::successors(timetable.next_after(before), |at| timetable.next_after(*at));
        let all = all.take_while(|at| *at <= until).take(usize::try_from(COUNTED_MAX).unwrap_or(usize::MAX));
        all.count() as u64
    });
    counting.await.map_err(|error| Error::new(ErrorKind::Internal, "count occurrences").caused_by(error))
}
