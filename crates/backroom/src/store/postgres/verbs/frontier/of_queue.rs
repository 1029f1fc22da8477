//! What is known of one queue: the places that claims reached in each priority, and when a claim walks all again.

use std::{collections::VecDeque, time::Duration};

use backroom_core::{JobRow, Timestamp, bounds::earlier};
use uuid::Uuid;

use super::Walk;

/// From this span on, a walk of all is slow enough to be avoided.
pub(super) const SLOW: Duration = Duration::from_millis(4);
/// The pause between two such walks: so many times as long as one takes, up to the longest.
pub(super) const RESTS: u32 = 9;
const REST_LONGEST: Duration = Duration::from_secs(5);
/// A place is used once so much time has passed, or so many jobs were claimed behind it. By then jobs that were enqueued at
/// about the same time are committed, in whatever order.
pub(super) const LAG: Duration = Duration::from_secs(1);
const LAG_ROWS: usize = 2000;
/// A claim that finds more jobs than this spends its time on them, and says little about the walk.
const FEW: usize = 100;
/// What such a claim may spend per job: about twice what it needs. What it takes beyond that, it takes for the walk.
pub(super) const PER_JOB: Duration = Duration::from_micros(20);
/// A claim that found nothing more has seen all that was due, except for what was about to be committed.
const SEEN_BEFORE: Duration = Duration::from_secs(2);
pub(super) const PRIORITIES: usize = 10;

/// The order of claims within a queue and priority.
pub(super) type Place = (Timestamp, Uuid);

#[derive(Debug, Default)]
pub(super) struct OfQueue {
    reached: [Reached; PRIORITIES],
    /// When the last walk of all ended.
    walked_at: Duration,
    /// How long the last walk took that can be judged.
    took: Option<Duration>,
    /// How often a job had been stored behind the present when that walk began.
    put_behind: u64,
}

/// Places that were reached, the oldest first; the first is used.
#[derive(Debug, Default)]
struct Reached {
    used: Option<Place>,
    /// The place, since when it is known, and how many jobs were claimed up to it since the one before.
    next: VecDeque<(Place, Duration, usize)>,
}

impl Reached {
    fn come_to(&mut self, place: Place, now: Duration) {
        match self.next.back_mut() {
            Some((last, since, rows)) if *rows < LAG_ROWS && now.saturating_sub(*since) < LAG => {
                *last = (*last).max(place);
                *rows += 1;
            }
            _ => self.next.push_back((place, now, 1)),
        }
        // The newest two generations are too young.
        while self.next.len() > 2 {
            self.used = self.used.max(self.next.pop_front().map(|(place, ..)| place));
        }
    }

    fn seen_up_to(&mut self, place: Place) {
        self.used = self.used.max(Some(place));
    }

    fn go_back_to(&mut self, place: Place) {
        if self.used.is_some_and(|used| used > place) {
            *self = Self { used: Some(place), next: VecDeque::new() };
        }
    }
}

impl OfQueue {
    /// The place behind which a claim of this priority begins.
    pub(super) fn used(&self, priority: usize) -> Option<Place> {
        self.reached[priority].used
    }

    /// When the next walk of all is due; none while every claim walks all.
    fn walks_all_at(&self) -> Option<Duration> {
        let took = self.took.filter(|took| *took > SLOW)?;
        Some(self.walked_at.saturating_add(took.saturating_mul(RESTS).min(REST_LONGEST)))
    }

    pub(super) fn walks_all(&self, put_behind: u64, now: Duration) -> bool {
        self.put_behind < put_behind || self.walks_all_at().is_none_or(|at| at <= now)
    }

    /// How long until the next walk of all; none while every claim walks all.
    pub(super) fn walks_all_in(&self, put_behind: u64, now: Duration) -> Option<Duration> {
        let at = self.walks_all_at()?;
        let is_behind = self.put_behind < put_behind;
        Some(if is_behind { Duration::ZERO } else { at.saturating_sub(now) })
    }

    /// Learns from a claim, in which this queue has a place.
    pub(super) fn learn(
        &mut self,
        walk: &Walk<'_>,
        (index, queue): (usize, &str),
        time: Timestamp,
        now: Duration,
    ) {
        let is_exhausted = walk.exhausted.contains(&queue);
        let found = || walk.found.iter().filter(|job| job.queue == queue);
        if walk.begin.is_all[index] {
            // What else lies behind the place that was used lies behind the last one found, too.
            let mut last: [Option<Place>; PRIORITIES] = [None; PRIORITIES];
            for job in found() {
                let last = &mut last[priority(job)];
                *last = (*last).max(Some((job.scheduled_at, job.id.0)));
            }
            let deepest = last.iter().rposition(Option::is_some);
            // The claim may have reached its limit before this queue: then it walked nothing of it.
            if is_exhausted || deepest.is_some() {
                self.walked_all(walk, now);
            }
            for (priority, reached) in self.reached.iter_mut().enumerate() {
                if let Some(place) = last[priority] {
                    reached.go_back_to(place);
                } else if !is_exhausted && deepest.is_some_and(|deepest| priority > deepest) {
                    // The walk ended before it came here.
                    *reached = Reached::default();
                }
            }
        }
        for job in found() {
            self.reached[priority(job)].come_to((job.scheduled_at, job.id.0), now);
        }
        if is_exhausted {
            let seen = (earlier(time, SEEN_BEFORE), Uuid::nil());
            self.reached.iter_mut().for_each(|reached| reached.seen_up_to(seen));
        }
    }

    fn walked_all(&mut self, walk: &Walk<'_>, now: Duration) {
        self.walked_at = now;
        self.put_behind = self.put_behind.max(walk.begin.put_behind);
        let jobs = u32::try_from(walk.found.len()).unwrap_or(u32::MAX);
        if walk.found.len() <= FEW {
            self.took = Some(walk.took);
        } else {
            let took = walk.took.saturating_sub(PER_JOB.saturating_mul(jobs));
            self.took = if took > SLOW { Some(took) } else { self.took };
        }
    }
}

fn priority(job: &JobRow) -> usize {
    usize::from(job.priority).min(PRIORITIES - 1)
}
