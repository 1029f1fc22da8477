//! What a process learns from its claims.

use backroom_core::{Draft, JobId, Json, bounds::later};

use super::{
    of_queue::{PER_JOB, Place, RESTS, SLOW},
    *,
};

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
    kinds: Arc<Kinds>,
}

impl Process {
    fn new() -> Self {
        let frontiers = Frontiers::default();
        frontiers.counted(DEAD_ROWS);
        Self { frontiers, kinds: Arc::new(vec!["work".into()].into()) }
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
        let searched = process.frontiers.search(&process.kinds, &["default"], SECOND * second);
        assert_eq!(searched, (Begin::all(), None));
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
fn the_claim_behind_a_job_that_was_stored_behind_the_present_walks_all() {
    let process = Process::new();
    process.claim(SECOND, SLOW * 2, &[], true);
    assert!(!process.begin(SECOND).is_all());
    process.frontiers.put_behind();
    let (_, walk_in) = process.frontiers.search(&process.kinds, &["default"], SECOND);
    assert_eq!(walk_in, Some(Duration::ZERO));
    assert!(process.begin(SECOND).is_all());
    assert!(process.begin(SECOND).is_all(), "until a claim has walked: the first one may have failed");
    process.claim(SECOND, SLOW * 2, &[], true);
    assert!(!process.begin(SECOND).is_all(), "once");
}

#[test]
fn a_job_stored_behind_the_present_while_a_claim_is_on_its_way_is_left_to_the_next_one() {
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
fn each_of_two_pools_walks_all_of_its_own_queue_once_a_job_was_stored_behind_the_present() {
    let process = Process::new();
    for queue in ["one", "two"] {
        process.claim_of(&[queue], SECOND, SLOW * 2, &[], &[queue]);
        assert!(!process.begin_of(queue, SECOND).is_all());
    }
    process.frontiers.put_behind();
    process.claim_of(&["one"], SECOND, SLOW * 2, &[], &["one"]);
    assert!(!process.begin_of("one", SECOND).is_all());
    assert!(process.begin_of("two", SECOND).is_all(), "no claim has walked it since");
    let (_, walk_in) = process.frontiers.search(&process.kinds, &["one", "two"], SECOND);
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
fn a_claim_of_many_jobs_spends_its_time_on_them_and_says_nothing_about_the_walk() {
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
fn a_search_that_leaves_out_something_says_when_all_is_walked() {
    let process = Process::new();
    let search = |now| process.frontiers.search(&process.kinds, &["default"], now);
    assert_eq!(search(SECOND), (Begin::all(), None));
    process.claim(SECOND, SLOW * 2, &[], true);
    let (begin, walk_in) = search(SECOND);
    assert!(!begin.is_all());
    assert_eq!(walk_in, Some(SLOW * 2 * RESTS));
}
