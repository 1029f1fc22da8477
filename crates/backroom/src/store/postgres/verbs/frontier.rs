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
//! that puts a job behind the present notifies the others. Each process counts these notifications, and the next claim of
//! each queue walks all: one claim says nothing about the queues that it did not walk.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
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
/// A claim that finds more jobs than this takes its time for them, and says little about the walk.
const FEW: usize = 100;
/// What such a claim is allowed per job; what it takes beyond that it takes for the walk.
const PER_JOB: Duration = Duration::from_micros(50);
/// Where a claim found nothing more, all that was due is seen but for what was about to be committed.
const SEEN_BEFORE: Duration = Duration::from_secs(2);
/// Queues that are remembered, over all sets of kinds. Beyond it all are forgotten, and walked again.
const QUEUES_MAX: usize = 10_000;
const PRIORITIES: usize = 10;

/// The order of claims within a queue and priority.
type Place = (Timestamp, Uuid);

/// Whether a job that is stored now, and due at a moment, may lie behind the places that claims use.
pub(crate) fn is_behind(due_at: Timestamp, now: Timestamp) -> bool {
    due_at < earlier(now, LAG)
}

/// The places of one process.
#[derive(Debug, Default)]
pub(crate) struct Frontiers {
    known: Mutex<Known>,
    /// How often a job was put behind the present.
    put_behind: AtomicU64,
    /// The server counts many dead rows.
    is_littered: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    /// By the kinds that are asked for: jobs of others stay behind, and are nobody's business here.
    of_kinds: HashMap<Arc<Vec<String>>, HashMap<String, OfQueue>>,
    queues: usize,
}

#[derive(Debug, Default)]
struct OfQueue {
    reached: [Reached; PRIORITIES],
    /// When the last walk of all ended.
    walked_at: Duration,
    /// How long the last one took that tells.
    took: Option<Duration>,
    /// How often a job had been put behind the present when that walk began.
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

/// Where a claim of several queues begins, by queue and priority: moments and ids, the queues one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Begin {
    pub(crate) at: Vec<Timestamp>,
    pub(crate) ids: Vec<Uuid>,
    /// By queue: whether that is before all jobs.
    is_all: Vec<bool>,
    /// How often a job was put behind the present before.
    put_behind: u64,
}

impl Begin {
    fn new(put_behind: u64) -> Self {
        Self { at: Vec::new(), ids: Vec::new(), is_all: Vec::new(), put_behind }
    }

    /// The next queue: from the places that are used, or from before all jobs.
    fn push(&mut self, of_queue: Option<&OfQueue>) {
        for priority in 0..PRIORITIES {
            let (at, id) = of_queue
                .and_then(|of_queue| of_queue.reached[priority].used)
                .unwrap_or((Timestamp::MIN, Uuid::nil()));
            self.at.push(at);
            self.ids.push(id);
        }
        self.is_all.push(of_queue.is_none());
    }
}

/// What a claim found.
pub(crate) struct Walk<'a> {
    pub(crate) kinds: &'a Arc<Vec<String>>,
    pub(crate) queues: &'a [&'a str],
    pub(crate) begin: &'a Begin,
    pub(crate) found: &'a [JobRow],
    /// The queues that have nothing more: their walk was not ended by a limit.
    pub(crate) exhausted: &'a [&'a str],
    pub(crate) took: Duration,
}

impl Frontiers {
    /// Where a claim of these queues begins.
    pub(crate) fn begin(&self, kinds: &Arc<Vec<String>>, queues: &[&str], now: Duration) -> Begin {
        let known = self.known();
        let of_kinds = known.of_kinds.get(kinds).filter(|_| self.is_littered());
        let mut begin = Begin::new(self.put_behind.load(Ordering::SeqCst));
        for queue in queues {
            let of_queue = of_kinds.and_then(|of_kinds| of_kinds.get(*queue));
            begin.push(of_queue.filter(|of_queue| !of_queue.walks_all(begin.put_behind, now)));
        }
        begin
    }

    /// Where a look for what is due next begins, and when the next walk of all is due if it leaves out something.
    pub(crate) fn look(
        &self,
        kinds: &Arc<Vec<String>>,
        queues: &[&str],
        now: Duration,
    ) -> (Begin, Option<Duration>) {
        let known = self.known();
        let of_kinds = known.of_kinds.get(kinds).filter(|_| self.is_littered());
        let mut begin = Begin::new(self.put_behind.load(Ordering::SeqCst));
        let mut walk_in: Option<Duration> = None;
        for queue in queues {
            let of_queue = of_kinds.and_then(|of_kinds| of_kinds.get(*queue));
            let walk_at = of_queue.and_then(OfQueue::walks_all_at);
            begin.push(of_queue.filter(|_| walk_at.is_some()));
            if let (Some(of_queue), Some(at)) = (of_queue, walk_at) {
                let is_behind = of_queue.put_behind < begin.put_behind;
                let span = if is_behind { Duration::ZERO } else { at.saturating_sub(now) };
                walk_in = Some(walk_in.map_or(span, |other| other.min(span)));
            }
        }
        (begin, walk_in)
    }

    /// Learns from a claim made at `time` by the store's clock that ended at `now` by this process's.
    pub(crate) fn walked(&self, walk: &Walk<'_>, time: Timestamp, now: Duration) {
        let mut known = self.known();
        if known.queues >= QUEUES_MAX {
            *known = Known::default();
        }
        let of_kinds = known.of_kinds.entry(Arc::clone(walk.kinds)).or_default();
        let before = of_kinds.len();
        for (index, queue) in walk.queues.iter().enumerate() {
            if !of_kinds.contains_key(*queue) {
                of_kinds.insert((*queue).to_owned(), OfQueue::default());
            }
            let Some(of_queue) = of_kinds.get_mut(*queue) else { continue };
            of_queue.learn(walk, (index, queue), time, now);
        }
        let added = of_kinds.len() - before;
        known.queues += added;
    }

    /// The server counts so many dead rows among the live jobs.
    pub(crate) fn counted(&self, dead_rows: i64) {
        self.is_littered.store(dead_rows >= DEAD_ROWS, Ordering::Relaxed);
    }

    /// A job was put where claims may have passed already.
    pub(crate) fn put_behind(&self) {
        self.put_behind.fetch_add(1, Ordering::SeqCst);
    }

    #[cfg(test)]
    pub(crate) fn times_put_behind(&self) -> u64 {
        self.put_behind.load(Ordering::SeqCst)
    }

    fn is_littered(&self) -> bool {
        self.is_littered.load(Ordering::Relaxed)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Whole after every statement; a panic elsewhere does not damage it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OfQueue {
    /// When the next walk of all is due; none while every claim makes it.
    fn walks_all_at(&self) -> Option<Duration> {
        let took = self.took.filter(|took| *took > SLOW)?;
        Some(self.walked_at.saturating_add(took.saturating_mul(RESTS).min(REST_LONGEST)))
    }

    fn walks_all(&self, put_behind: u64, now: Duration) -> bool {
        self.put_behind < put_behind || self.walks_all_at().is_none_or(|at| at <= now)
    }

    fn learn(&mut self, walk: &Walk<'_>, (index, queue): (usize, &str), time: Timestamp, now: Duration) {
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
            // The limit of a claim may be reached before this queue is: then nothing of it was walked.
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
            self.begin_of("default", now)
        }

        fn begin_of(&self, queue: &str, now: Duration) -> Begin {
            self.frontiers.begin(&self.kinds, &[queue], now)
        }

        /// A claim of these jobs that ended at `now`.
        fn claim(&self, now: Duration, took: Duration, found: &[JobRow], is_exhausted: bool) -> Begin {
            let exhausted: &[&str] = if is_exhausted { &["default"] } else { &[] };
            self.claim_of(&["default"], now, took, found, exhausted)
        }

        fn claim_of(
            &self,
            queues: &[&str],
            now: Duration,
            took: Duration,
            found: &[JobRow],
            exhausted: &[&str],
        ) -> Begin {
            let begin = self.frontiers.begin(&self.kinds, queues, now);
            let walk = Walk { kinds: &self.kinds, queues, begin: &begin, found, exhausted, took };
            let time = later(Timestamp::UNIX_EPOCH, now);
            self.frontiers.walked(&walk, time, now);
            begin
        }
    }

    impl Begin {
        fn is_all(&self) -> bool {
            self.is_all.iter().all(|is_all| *is_all)
        }

        fn all() -> Self {
            let mut begin = Self::new(0);
            begin.push(None);
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
            assert!(process.claim(SECOND * second, SLOW, &jobs, false).is_all());
        }
    }

    #[test]
    fn claims_walk_all_while_there_are_few_dead_rows_however_long_that_takes() {
        let process = Process::new();
        process.frontiers.counted(DEAD_ROWS - 1);
        for second in 0..10u32 {
            assert!(process.claim(SECOND * second, SECOND, &[job(second)], true).is_all());
            let looked = process.frontiers.look(&process.kinds, &["default"], SECOND * second);
            assert_eq!(looked, (Begin::all(), None));
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
        assert!(!begin.is_all());
        assert_eq!(place(&begin), (at(7), Uuid::from_u128(7)), "the newest two are too young");
        assert!(process.begin(now + slow * RESTS).is_all(), "all are walked now and then");
    }

    #[test]
    fn a_burst_of_claims_does_not_outrun_what_is_about_to_be_committed() {
        let process = Process::new();
        process.claim(SECOND, SLOW * 2, &[], false);
        process.claim(SECOND, SLOW * 2, &[job(0)], false);
        let jobs: Vec<JobRow> = (1..1500).map(job).collect();
        process.claim(SECOND, SLOW * 2, &jobs, false);
        assert!(!process.begin(SECOND).is_all());
        assert_eq!(place(&process.begin(SECOND)), (Timestamp::MIN, Uuid::nil()));
    }

    #[test]
    fn jobs_that_a_walk_of_all_finds_behind_the_place_move_it_back() {
        let process = Process::new();
        for second in 10..20u32 {
            process.claim(SECOND * second, SLOW * 2, &[job(second * 1000)], false);
        }
        assert!(process.claim(SECOND * 30, SLOW * 2, &[job(500)], false).is_all());
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
        assert!(!process.begin(SECOND).is_all());
        process.frontiers.put_behind();
        let (_, walk_in) = process.frontiers.look(&process.kinds, &["default"], SECOND);
        assert_eq!(walk_in, Some(Duration::ZERO));
        assert!(process.begin(SECOND).is_all());
        assert!(process.begin(SECOND).is_all(), "until a claim has walked: the first one may have failed");
        process.claim(SECOND, SLOW * 2, &[], true);
        assert!(!process.begin(SECOND).is_all(), "once");
    }

    #[test]
    fn a_job_put_behind_the_present_while_a_claim_is_on_its_way_is_left_to_the_next_one() {
        let process = Process::new();
        process.claim(SECOND, SLOW * 2, &[], true);
        process.frontiers.put_behind();
        let begin = process.begin(SECOND);
        process.frontiers.put_behind();
        let (queues, found) = (["default"], []);
        let walk = Walk {
            kinds: &process.kinds,
            queues: &queues,
            begin: &begin,
            found: &found,
            exhausted: &queues,
            took: SLOW * 2,
        };
        process.frontiers.walked(&walk, at(1000), SECOND);
        assert!(process.begin(SECOND).is_all());
    }

    #[test]
    fn each_of_two_pools_walks_all_of_its_own_queue_once_a_job_was_put_behind_the_present() {
        let process = Process::new();
        for queue in ["one", "two"] {
            process.claim_of(&[queue], SECOND, SLOW * 2, &[], &[queue]);
            assert!(!process.begin_of(queue, SECOND).is_all());
        }
        process.frontiers.put_behind();
        process.claim_of(&["one"], SECOND, SLOW * 2, &[], &["one"]);
        assert!(!process.begin_of("one", SECOND).is_all());
        assert!(process.begin_of("two", SECOND).is_all(), "no claim has walked it since");
        let (_, walk_in) = process.frontiers.look(&process.kinds, &["one", "two"], SECOND);
        assert_eq!(walk_in, Some(Duration::ZERO));
    }

    #[test]
    fn each_of_two_pools_walks_all_of_its_own_queue_now_and_then() {
        let process = Process::new();
        process.claim_of(&["two"], SECOND, SLOW * 2, &[], &["two"]);
        for second in 1..20 {
            process.claim_of(&["one"], SECOND * second, SLOW * 2, &[], &["one"]);
        }
        assert!(process.begin_of("two", SECOND * 19).is_all());
    }

    #[test]
    fn a_queue_that_the_limit_of_a_claim_cut_off_counts_as_not_walked() {
        let process = Process::new();
        let queues = ["default", "two"];
        process.claim_of(&queues, SECOND, SLOW * 2, &[], &queues);
        process.frontiers.put_behind();
        process.claim_of(&queues, SECOND, SLOW * 2, &[job(1)], &[]);
        assert!(!process.begin_of("default", SECOND).is_all());
        assert!(process.begin_of("two", SECOND).is_all());
    }

    #[test]
    fn priorities_that_the_limit_of_a_claim_cut_off_are_walked_from_their_beginning() {
        let process = Process::new();
        process.claim(SECOND * 60, SLOW * 2, &[], true);
        process.frontiers.put_behind();
        let mut urgent = job(1);
        urgent.priority = 2;
        process.claim(SECOND * 60, SLOW * 2, &[urgent], false);
        let begin = process.begin(SECOND * 60);
        assert!(!begin.is_all());
        assert_eq!((begin.at[1], begin.at[2]), (at(58_000), at(1)));
        assert_eq!(place(&begin), (Timestamp::MIN, Uuid::nil()));
    }

    #[test]
    fn a_claim_of_many_jobs_takes_its_time_for_them_and_tells_nothing_about_the_walk() {
        let process = Process::new();
        let jobs: Vec<JobRow> = (0..1000).map(job).collect();
        process.claim(SECOND, PER_JOB * 1000, &jobs, false);
        assert!(process.claim(SECOND, SLOW * 10, &[job(1000)], false).is_all());
        process.claim(SECOND, PER_JOB * 1000, &jobs, false);
        assert!(!process.begin(SECOND).is_all(), "it does not take back what a small one has shown");
        process.claim(SECOND * 9, PER_JOB * 1000 + SLOW * 2, &jobs, false);
        assert!(!process.begin(SECOND * 9 + SLOW * 17).is_all(), "what it takes beyond that is the walk");
        assert!(process.begin(SECOND * 9 + SLOW * 18).is_all());
    }

    #[test]
    fn a_look_that_leaves_out_something_says_when_all_is_walked() {
        let process = Process::new();
        let look = |now| process.frontiers.look(&process.kinds, &["default"], now);
        assert_eq!(look(SECOND), (Begin::all(), None));
        process.claim(SECOND, SLOW * 2, &[], true);
        let (begin, walk_in) = look(SECOND);
        assert!(!begin.is_all());
        assert_eq!(walk_in, Some(SLOW * 2 * RESTS));
    }
}
