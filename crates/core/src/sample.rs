//! What was done over time, in a bounded number of rows: a sample for each minute of two hours and for each quarter of an hour of eight
//! days. Any process may write a sample; two processes that write the same one write the same numbers.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    Timestamp,
    bounds::{earlier, later},
    stats::{Histogram, StatsRow},
};

/// Most queues that one sample counts apart: those with the most due jobs.
pub const SAMPLE_QUEUES_MAX: usize = 50;
/// How long after the end of its span a sample is written: workers write their counts every ten seconds.
const SETTLED: Duration = Duration::from_secs(15);
/// A sample is written once more so long after its end, because a worker may have been late.
const FINAL: Duration = Duration::from_secs(300);

/// How long the span of a sample is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grain {
    /// A minute.
    Minute,
    /// A quarter of an hour.
    Quarter,
}

impl Grain {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Minute, Self::Quarter];

    /// Its name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Quarter => "quarter",
        }
    }

    /// How long its span is.
    pub const fn span(self) -> Duration {
        match self {
            Self::Minute => Duration::from_secs(60),
            Self::Quarter => Duration::from_secs(900),
        }
    }

    /// How long its samples are retained.
    pub const fn retention(self) -> Duration {
        match self {
            Self::Minute => Duration::from_secs(2 * 3600),
            Self::Quarter => Duration::from_secs(8 * 24 * 3600),
        }
    }

    /// How many spans that have ended are looked at for samples that are due.
    const fn looked_at(self) -> u32 {
        match self {
            Self::Minute => 10,
            Self::Quarter => 4,
        }
    }

    /// The beginning of the span in which `at` lies.
    pub fn begin_of(self, at: Timestamp) -> Timestamp {
        let secs = i64::try_from(self.span().as_secs()).unwrap_or(60);
        Timestamp::from_second(at.as_second().div_euclid(secs) * secs).unwrap_or(at)
    }

    /// The beginnings of the spans whose samples are due at `now`, the oldest first: they are missing among `present`, or were written
    /// before the last counts can have come.
    pub fn due(self, present: &[Sample], now: Timestamp) -> Vec<Timestamp> {
        let this = self.begin_of(now);
        let begins = (1..=self.looked_at()).rev().map(|back| earlier(this, self.span() * back));
        begins
            .filter(|at| {
                let end = later(*at, self.span());
                let found = present.iter().find(|sample| sample.grain == self && sample.at == *at);
                match found {
                    None => later(end, SETTLED) <= now,
                    Some(sample) => sample.written_at < later(end, FINAL) && later(end, FINAL) <= now,
                }
            })
            .collect()
    }
}

/// What was done within one span, and how much waited at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// How long the span is.
    pub grain: Grain,
    /// When the span began.
    pub at: Timestamp,
    /// When the sample was written last.
    pub written_at: Timestamp,
    /// Attempts that succeeded.
    pub done: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Jobs that were given up.
    pub discarded: u64,
    /// From the moment a job was due until its handler began.
    pub pickup: Histogram,
    /// How long handlers ran.
    pub run: Histogram,
    /// How much waited and ran.
    pub depth: Depth,
}

/// How much waits and runs at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Depth {
    /// Jobs that are due, of all queues.
    pub ready: u64,
    /// Jobs that run, of all queues.
    pub running: u64,
    /// Workers that live.
    pub workers: u64,
    /// Their slots.
    pub slots: u64,
    /// The queues with the most due jobs, by name; at most [`SAMPLE_QUEUES_MAX`].
    pub queues: Vec<QueueDepth>,
}

/// How much waits in one queue at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueDepth {
    /// The queue.
    pub queue: String,
    /// Jobs that are due.
    pub ready: u64,
    /// Jobs that run.
    pub running: u64,
    /// For how long the oldest of the due jobs is due, in seconds.
    pub oldest_secs: u64,
}

impl Depth {
    /// The same with the queues that have the most due jobs, by name.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.queues
            .sort_by(|one, other| other.ready.cmp(&one.ready).then_with(|| one.queue.cmp(&other.queue)));
        self.queues.truncate(SAMPLE_QUEUES_MAX);
        self.queues.sort_by(|one, other| one.queue.cmp(&other.queue));
        self
    }
}

impl Sample {
    fn empty(grain: Grain, at: Timestamp, now: Timestamp) -> Self {
        Self {
            grain,
            at,
            written_at: now,
            done: 0,
            failed: 0,
            discarded: 0,
            pickup: Histogram::default(),
            run: Histogram::default(),
            depth: Depth::default(),
        }
    }

    /// The sample of a minute, from what all workers counted. Rows of other minutes are passed over.
    pub fn of_minute(at: Timestamp, rows: &[StatsRow], depth: Depth, now: Timestamp) -> Self {
        let mut sample = Self { depth, ..Self::empty(Grain::Minute, at, now) };
        for kind in rows.iter().filter(|row| row.minute == at).flat_map(|row| &row.kinds) {
            sample.done = sample.done.saturating_add(kind.done);
            sample.failed = sample.failed.saturating_add(kind.failed);
            sample.discarded = sample.discarded.saturating_add(kind.discarded);
            sample.pickup.add(&kind.pickup);
            sample.run.add(&kind.run);
        }
        sample
    }

    /// The sample of a quarter of an hour, from those of its minutes. What waited is the most that waited in one of them.
    pub fn of_quarter(at: Timestamp, minutes: &[Self], now: Timestamp) -> Self {
        let mut sample = Self::empty(Grain::Quarter, at, now);
        let mut queues: BTreeMap<&str, QueueDepth> = BTreeMap::new();
        let is_within =
            |minute: &&Self| minute.grain == Grain::Minute && Grain::Quarter.begin_of(minute.at) == at;
        for minute in minutes.iter().filter(is_within) {
            sample.done = sample.done.saturating_add(minute.done);
            sample.failed = sample.failed.saturating_add(minute.failed);
            sample.discarded = sample.discarded.saturating_add(minute.discarded);
            sample.pickup.add(&minute.pickup);
            sample.run.add(&minute.run);
            let (most, here) = (&mut sample.depth, &minute.depth);
            most.ready = most.ready.max(here.ready);
            most.running = most.running.max(here.running);
            most.workers = most.workers.max(here.workers);
            most.slots = most.slots.max(here.slots);
            for queue in &here.queues {
                let most = queues.entry(&queue.queue).or_insert_with(|| queue.clone());
                most.ready = most.ready.max(queue.ready);
                most.running = most.running.max(queue.running);
                most.oldest_secs = most.oldest_secs.max(queue.oldest_secs);
            }
        }
        sample.depth.queues = queues.into_values().collect();
        sample.depth = sample.depth.bounded();
        sample
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::KindStats;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_second(9_000_000 + secs).expect("a moment")
    }

    fn row(minute: Timestamp, worker: &str, done: u64) -> StatsRow {
        let mut kind = KindStats { done, failed: 1, ..KindStats::of("mail") };
        kind.pickup.count(Duration::from_millis(5));
        StatsRow { minute, worker: worker.into(), kinds: vec![kind] }
    }

    #[test]
    fn a_minute_adds_up_what_all_workers_counted_in_it() {
        let rows = [row(at(0), "a", 3), row(at(0), "b", 4), row(at(60), "a", 100)];
        let sample = Sample::of_minute(at(0), &rows, Depth::default(), at(80));
        assert_eq!((sample.done, sample.failed), (7, 2));
        assert_eq!(sample.pickup.spans().map(|(_, count)| count).sum::<u64>(), 2);
    }

    #[test]
    fn a_quarter_adds_up_its_minutes_and_shows_the_most_that_waited() {
        let depth = |ready| Depth {
            ready,
            queues: vec![QueueDepth { queue: "mail".into(), ready, running: 1, oldest_secs: ready }],
            ..Depth::default()
        };
        let minute = |secs, done, ready| {
            Sample::of_minute(at(secs), &[row(at(secs), "a", done)], depth(ready), at(secs))
        };
        let minutes = [minute(0, 1, 5), minute(60, 2, 9), minute(840, 4, 2), minute(900, 100, 100)];
        let quarter = Sample::of_quarter(at(0), &minutes, at(1000));
        assert_eq!((quarter.done, quarter.depth.ready, quarter.depth.queues[0].ready), (7, 9, 9));
    }

    #[test]
    fn a_sample_is_due_once_its_counts_can_be_there_and_once_more_for_those_that_were_late() {
        let written = |minute: Timestamp, now| Sample::of_minute(minute, &[], Depth::default(), now);
        let due = |present: &[Sample], now| Grain::Minute.due(present, now);
        assert_eq!(due(&[], at(600)).len(), 9, "the last minute is not settled yet");
        assert_eq!(due(&[], at(615)).len(), 10);
        let present: Vec<_> = (0..10).map(|back| written(at(540 - 60 * back), at(615 - 60 * back))).collect();
        assert_eq!(
            due(&present, at(615)),
            (0..6)
                .map(|minute| at(60 * minute))
                .filter(|minute| later(*minute, Duration::from_secs(360)) <= at(615))
                .collect::<Vec<_>>()
        );
        let last: Vec<_> =
            present.iter().map(|sample| Sample { written_at: at(616), ..sample.clone() }).collect();
        assert_eq!(due(&last, at(617)), []);
    }

    #[test]
    fn a_sample_counts_a_bounded_number_of_queues_apart() {
        let queue = |number: u64| QueueDepth {
            queue: format!("q{number:03}"),
            ready: number,
            running: 0,
            oldest_secs: 0,
        };
        let depth = Depth { queues: (0..80).map(queue).collect(), ..Depth::default() }.bounded();
        assert_eq!(depth.queues.len(), SAMPLE_QUEUES_MAX);
        assert_eq!((depth.queues[0].ready, depth.queues[49].ready), (30, 79));
    }
}
