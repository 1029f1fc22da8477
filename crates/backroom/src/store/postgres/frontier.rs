//! How far the queues are claimed: where the next claim begins to look.
//!
//! Each job that is claimed leaves a dead entry in the index that claims walk. Vacuum takes them away, but not while any
//! transaction of the database is open that could still see them: then every claim walks all of them again, and a claim that
//! should take half a millisecond takes a hundred. So a process remembers for each queue and priority where its claims
//! have come to, and begins there.
//!
//! A job may come to lie behind that place: enqueued by a machine whose clock is behind, committed late, put back when its worker
//! died. So nothing is left out as long as the server counts few dead rows, or a walk of all is quick all the same: then every
//! claim walks all. Otherwise the place that is used lies behind the one that was reached, and every so often a claim walks
//! all: these walks take about a tenth of the time, and a job behind the place waits for the next one, a second or so. A process
//! that puts a job behind the present notifies the others, and the next claim of each walks all.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use backroom_core::{JobRow, Timestamp, bounds::earlier};
use uuid::Uuid;

/// Dead rows from which on walks are worth to be spared. Fewer come and go between two vacuums.
const DEAD_ROWS: i64 = 20_000;
/// A walk of all that takes longer than this is worth to be spared.
const SLOW: Duration = Duration::from_millis(4);
/// The pause between two such walks: so many times as long as one takes, up to the longest.
const RESTS: u32 = 9;
const REST_LONGEST: Duration = Duration::from_secs(5);
/// A place is used once so much time has passed or so many jobs were claimed behind it: by then jobs that were enqueued at about
/// the same time are committed, in whatever order.
const LAG: Duration = Duration::from_secs(1);
const LAG_ROWS: usize = 2000;
/// Where a claim found nothing more, all that was due is seen but for what was about to be committed.
const SEEN_BEFORE: Duration = Duration::from_secs(2);
/// Queues that are remembered, over all sets of kinds. Beyond it all are forgotten, and walked again.
const QUEUES_MAX: usize = 10_000;
const PRIORITIES: usize = 10;

/// The order of claims within a queue and priority.
type Place = (Timestamp, Uuid);

/// Whether a job that is stored now, and due at a moment, may lie behind the places that claims use.
pub(super) fn is_behind(due_at: Timestamp, now: Timestamp) -> bool {
    due_at < earlier(now, LAG)
}

/// The places of one process.
#[derive(Debug, Default)]
pub(super) struct Frontiers {
    known: Mutex<Known>,
    /// A job was put behind the present.
    is_behind: AtomicBool,
    /// The server counts many dead rows.
    is_littered: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    /// By the kinds that are asked for: jobs of others stay behind, and are nobody's business here.
    of_kinds: HashMap<Arc<Vec<String>>, OfKinds>,
    queues: usize,
}

#[derive(Debug, Default)]
struct OfKinds {
    queues: HashMap<String, [Reached; PRIORITIES]>,
    /// The last walk of all: when it ended and how long it took.
    walked: Option<(Duration, Duration)>,
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

/// Where a claim of several queues begins, by queue and priority: moments and ids, the queues one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Begin {
    pub(super) at: Vec<Timestamp>,
    pub(super) ids: Vec<Uuid>,
    /// Whether that is before all jobs.
    pub(super) is_all: bool,
}

impl Begin {
    fn all(queues: usize) -> Self {
        Self {
            at: vec![Timestamp::MIN; queues * PRIORITIES],
            ids: vec![Uuid::nil(); queues * PRIORITIES],
            is_all: true,
        }
    }
}

/// What a claim found.
pub(super) struct Walk<'a> {
    pub(super) kinds: &'a Arc<Vec<String>>,
    pub(super) queues: &'a [&'a str],
    pub(super) begin: &'a Begin,
    pub(super) found: &'a [JobRow],
    /// The queues that have nothing more: their walk was not ended by a limit.
    pub(super) exhausted: &'a [&'a str],
    pub(super) took: Duration,
}

impl Frontiers {
    /// Where a claim of these queues begins.
    pub(super) fn begin(&self, kinds: &Arc<Vec<String>>, queues: &[&str], now: Duration) -> Begin {
        let known = self.known();
        let Some(of_kinds) = known.of_kinds.get(kinds) else { return Begin::all(queues.len()) };
        let is_behind = self.is_behind.swap(false, Ordering::SeqCst);
        if is_behind
            || !self.is_littered.load(Ordering::Relaxed)
            || of_kinds.walks_all_at().is_none_or(|at| at <= now)
        {
            return Begin::all(queues.len());
        }
        of_kinds.begin(queues)
    }

    /// Where a look for what is due next begins, and when the next walk of all is due if it leaves out something.
    pub(super) fn look(
        &self,
        kinds: &Arc<Vec<String>>,
        queues: &[&str],
        now: Duration,
    ) -> (Begin, Option<Duration>) {
        let known = self.known();
        let of_kinds = known.of_kinds.get(kinds).filter(|_| self.is_littered.load(Ordering::Relaxed));
        let Some(of_kinds) = of_kinds else { return (Begin::all(queues.len()), None) };
        if self.is_behind.load(Ordering::SeqCst) {
            return (of_kinds.begin(queues), Some(Duration::ZERO));
        }
        match of_kinds.walks_all_at() {
            Some(at) => (of_kinds.begin(queues), Some(at.saturating_sub(now))),
            None => (Begin::all(queues.len()), None),
        }
    }

    /// Learns from a claim made at `time` by the store's clock that ended at `now` by this process's.
    pub(super) fn walked(&self, walk: &Walk<'_>, time: Timestamp, now: Duration) {
        let mut known = self.known();
        if known.queues >= QUEUES_MAX {
            *known = Known::default();
        }
        let of_kinds = known.of_kinds.entry(Arc::clone(walk.kinds)).or_default();
        let before = of_kinds.queues.len();
        if walk.begin.is_all {
            of_kinds.walked = Some((now, walk.took));
        }
        of_kinds.learn(walk, time, now);
        let added = of_kinds.queues.len() - before;
        known.queues += added;
    }

    /// The server counts so many dead rows among the live jobs.
    pub(super) fn counted(&self, dead_rows: i64) {
        self.is_littered.store(dead_rows >= DEAD_ROWS, Ordering::Relaxed);
    }

    /// A job was put where claims may have passed already.
    pub(super) fn put_behind(&self) {
        self.is_behind.store(true, Ordering::SeqCst);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Whole after every statement; a panic elsewhere does not damage it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OfKinds {
    /// When the next walk of all is due; none while every claim makes it.
    fn walks_all_at(&self) -> Option<Duration> {
        let (at, took) = self.walked?;
        (took > SLOW).then(|| at.saturating_add(took.saturating_mul(RESTS).min(REST_LONGEST)))
    }

    fn begin(&self, queues: &[&str]) -> Begin {
        let mut begin = Begin { at: Vec::new(), ids: Vec::new(), is_all: false };
        for queue in queues {
            let reached = self.queues.get(*queue);
            for priority in 0..PRIORITIES {
                let place = reached.and_then(|reached| reached[priority].used);
                begin.at.push(place.map_or(Timestamp::MIN, |(at, _)| at));
                begin.ids.push(place.map_or(Uuid::nil(), |(_, id)| id));
            }
        }
        begin
    }

    fn learn(&mut self, walk: &Walk<'_>, time: Timestamp, now: Duration) {
        for queue in walk.queues {
            if !self.queues.contains_key(*queue) {
                self.queues.insert((*queue).to_owned(), Default::default());
            }
        }
        if walk.begin.is_all {
            // What else lies behind the place that was used lies behind the last one found, too.
            let mut last: HashMap<(&str, usize), Place> = HashMap::new();
            for job in walk.found {
                let place = last.entry((&job.queue, priority(job))).or_insert((job.scheduled_at, job.id.0));
                *place = (*place).max((job.scheduled_at, job.id.0));
            }
            for ((queue, priority), place) in last {
                if let Some(reached) = self.queues.get_mut(queue) {
                    reached[priority].go_back_to(place);
                }
            }
        }
        for job in walk.found {
            if let Some(reached) = self.queues.get_mut(&job.queue) {
                reached[priority(job)].come_to((job.scheduled_at, job.id.0), now);
            }
        }
        let seen = (earlier(time, SEEN_BEFORE), Uuid::nil());
        for queue in walk.exhausted {
            let reached = self.queues.get_mut(*queue).into_iter().flatten();
            reached.for_each(|reached| reached.seen_up_to(seen));
        }
    }
}

fn priority(job: &JobRow) -> usize {
    usize::from(job.priority).min(PRIORITIES - 1)
}

#[cfg(test)]
mod tests {
    use backroom_core::{Draft, JobId, Json, bounds::later};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Timestamp {
        later(Timestamp::UNIX_EPOCH, Duration::from_millis(millis))
    }

    fn job(number: u32) -> JobRow {
        let due_at = at(u64::from(number));
        let draft = Draft::new("work", Json::null());
        let mut job = draft.check(JobId(Uuid::from_u128(number.into())), due_at, 1000).expect("a job").job;
        job.scheduled_at = due_at;
        job
    }

    struct Process {
        frontiers: Frontiers,
        kinds: Arc<Vec<String>>,
    }

    impl Process {
        fn new() -> Self {
            let frontiers = Frontiers::default();
            frontiers.counted(DEAD_ROWS);
            Self { frontiers, kinds: Arc::new(vec!["work".into()]) }
        }

        fn begin(&self, now: Duration) -> Begin {
            self.frontiers.begin(&self.kinds, &["default"], now)
        }

        /// A claim of these jobs that ended at `now`.
        fn claim(&self, now: Duration, took: Duration, found: &[JobRow], is_exhausted: bool) -> Begin {
            let (begin, queues) = (self.begin(now), ["default"]);
            let exhausted = if is_exhausted { queues.as_slice() } else { &[] };
            let walk = Walk { kinds: &self.kinds, queues: &queues, begin: &begin, found, exhausted, took };
            let time = later(Timestamp::UNIX_EPOCH, now);
            self.frontiers.walked(&walk, time, now);
            begin
        }
    }

    /// The place of jobs with the usual priority.
    fn place(begin: &Begin) -> Place {
        (begin.at[5], begin.ids[5])
    }

    #[test]
    fn claims_walk_all_while_that_is_quick() {
        let process = Process::new();
        for second in 0..10 {
            let jobs: Vec<JobRow> = (0..1000).map(|number| job(second * 1000 + number)).collect();
            assert!(process.claim(SECOND * second, SLOW, &jobs, false).is_all);
        }
    }

    #[test]
    fn claims_walk_all_while_there_are_few_dead_rows_however_long_that_takes() {
        let process = Process::new();
        process.frontiers.counted(DEAD_ROWS - 1);
        for second in 0..10u32 {
            assert!(process.claim(SECOND * second, SECOND, &[job(second)], true).is_all);
            let looked = process.frontiers.look(&process.kinds, &["default"], SECOND * second);
            assert_eq!(looked, (Begin::all(1), None));
        }
    }

    #[test]
    fn claims_begin_behind_what_was_claimed_a_second_ago_once_a_walk_of_all_is_slow() {
        let process = Process::new();
        let slow = SLOW * 100;
        for second in 0..10u32 {
            process.claim(SECOND * second, slow, &[job(second)], false);
        }
        let now = SECOND * 9 + slow;
        let begin = process.begin(now);
        assert!(!begin.is_all);
        assert_eq!(place(&begin), (at(7), Uuid::from_u128(7)), "the newest two are too young");
        assert!(process.begin(now + slow * RESTS).is_all, "all are walked now and then");
    }

    #[test]
    fn a_burst_of_claims_does_not_outrun_what_is_about_to_be_committed() {
        let process = Process::new();
        let jobs: Vec<JobRow> = (0..1500).map(job).collect();
        process.claim(SECOND, SLOW * 2, &jobs, false);
        assert_eq!(place(&process.begin(SECOND)), (Timestamp::MIN, Uuid::nil()));
    }

    #[test]
    fn jobs_that_a_walk_of_all_finds_behind_the_place_move_it_back() {
        let process = Process::new();
        for second in 10..20u32 {
            process.claim(SECOND * second, SLOW * 2, &[job(second * 1000)], false);
        }
        assert!(process.claim(SECOND * 30, SLOW * 2, &[job(500)], false).is_all);
        assert_eq!(place(&process.begin(SECOND * 30)), (at(500), Uuid::from_u128(500)));
    }

    #[test]
    fn a_queue_that_has_nothing_more_is_walked_from_two_seconds_ago() {
        let process = Process::new();
        process.claim(SECOND * 60, SLOW * 2, &[], true);
        assert_eq!(place(&process.begin(SECOND * 60)), (at(58_000), Uuid::nil()));
    }

    #[test]
    fn the_claim_behind_a_job_that_was_put_behind_the_present_walks_all() {
        let process = Process::new();
        process.claim(SECOND, SLOW * 2, &[], true);
        assert!(!process.begin(SECOND).is_all);
        process.frontiers.put_behind();
        let (_, walk_in) = process.frontiers.look(&process.kinds, &["default"], SECOND);
        assert_eq!(walk_in, Some(Duration::ZERO));
        assert!(process.begin(SECOND).is_all);
        assert!(!process.begin(SECOND).is_all, "once");
    }

    #[test]
    fn a_look_that_leaves_out_something_says_when_all_is_walked() {
        let process = Process::new();
        let look = |now| process.frontiers.look(&process.kinds, &["default"], now);
        assert_eq!(look(SECOND), (Begin::all(1), None));
        process.claim(SECOND, SLOW * 2, &[], true);
        let (begin, walk_in) = look(SECOND);
        assert!(!begin.is_all);
        assert_eq!(walk_in, Some(SLOW * 2 * RESTS));
    }
}
