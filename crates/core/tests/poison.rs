//! Which jobs are discarded as poison, simulated. A process has slots, trials and runs alone, as the worker has them. Its killers
//! end it, and it is restarted, until every job has ended. Time moves in small steps.

mod common;

use std::{collections::BTreeMap, time::Duration};

use backroom_core::{
    Event, JobId, JobRow, Json, LeaseId, Loss, Part, Standing, State, Suspicion, Timestamp,
    blame::{DeadWorker, Threads, Trial, Trials, losses},
    bounds::{CRASH_SPAN, later, span_until},
    transition::apply,
};
use common::{now, queued, secs};
use proptest::prelude::*;
use uuid::Uuid;

/// A worker holds suspects whose trials take about so long, and puts the others off.
const HELD_MAX: Duration = Duration::from_secs(15);
/// The longest time for which a prime suspect waits for the others.
const DRAIN: Duration = Duration::from_secs(10);

/// A killer never causes more deaths than these, however late it strikes.
const DEATHS_PER_KILLER: usize = 12;

/// What a job does when it runs.
#[derive(Debug, Clone, Copy)]
enum Play {
    /// It ends well after this span.
    Ends(u64),
    /// It ends its process after this span.
    Kills(u64),
}

struct World {
    now: Timestamp,
    slots: usize,
    workers: usize,
    restart: Duration,
    step: Duration,
    jobs: BTreeMap<JobId, (JobRow, Play)>,
    deaths: Vec<Timestamp>,
    leases: u128,
}

/// One life of the process.
#[derive(Default)]
struct Life {
    /// Handlers that run, and since when.
    running: BTreeMap<JobId, Timestamp>,
    /// Suspects that wait for their trial.
    held: Vec<JobId>,
    trials: Trials,
    trial_until: Option<Timestamp>,
    /// A prime suspect waits for the process to be empty, at most until then; nothing else begins.
    draining: Option<(JobId, Timestamp)>,
}

impl Life {
    fn is_closed(&self) -> bool {
        self.draining.is_some() || self.trials.on.as_ref().is_some_and(|on| on.alone)
    }
}

impl World {
    fn new(slots: usize) -> Self {
        Self {
            now: now(),
            slots,
            workers: 1,
            restart: Duration::from_millis(300),
            step: Duration::from_millis(10),
            jobs: BTreeMap::new(),
            deaths: Vec::new(),
            leases: 0,
        }
    }

    fn add(&mut self, play: Play) -> JobId {
        let id = JobId(Uuid::from_u128(self.jobs.len() as u128 + 1));
        let fresh = JobRow { id, attempt: 0, max_attempts: 20, args: Json::null(), ..queued() };
        let job = JobRow {
            scheduled_at: self.now,
            started_at: None,
            unique_key: None,
            unique_while: None,
            ..fresh
        };
        self.jobs.insert(id, (JobRow { unique_held: false, ..job }, play));
        id
    }

    fn event(&mut self, id: JobId, event: Event) {
        let now = self.now;
        let job = &mut self.jobs.get_mut(&id).expect("the job").0;
        if let Some(change) = apply(job, event, now).expect("taken") {
            change.write_to(job);
        }
    }

    fn job(&self, id: JobId) -> &JobRow {
        &self.jobs[&id].0
    }

    fn account(&self) -> String {
        let said = |(job, play): &(JobRow, Play)| {
            format!("{play:?}: {}, {} crashes, {:?}", job.state, job.crashes, job.suspicion)
        };
        let live = self.jobs.values().filter(|(job, _)| !job.state.is_finished());
        format!("{} deaths; {}", self.deaths.len(), live.map(said).collect::<Vec<_>>().join("\n"))
    }

    fn live(&self) -> bool {
        self.jobs.values().any(|(job, _)| !job.state.is_finished())
    }

    /// Goes on until every job has ended; at each step `more` may enqueue others.
    fn play(&mut self, mut more: impl FnMut(&mut World) -> bool) {
        let end = later(self.now, secs(3600));
        loop {
            let mut life = Life::default();
            loop {
                let expects = more(self);
                if !self.live() && !expects {
                    return;
                }
                assert!(self.now < end, "an hour, and not all have ended: {}", self.account());
                if self.live_on(&mut life) {
                    break;
                }
                self.now = later(self.now, self.step);
            }
            self.deaths.push(self.now);
            self.now = later(self.now, self.restart);
            self.rescue(&life);
        }
    }

    /// Whether the process died.
    fn live_on(&mut self, life: &mut Life) -> bool {
        let now = self.now;
        for (id, since) in life.running.clone() {
            let (ran, play) = (span_until(since, now), self.jobs[&id].1);
            match play {
                Play::Kills(after) if ran >= Duration::from_millis(after) => return true,
                Play::Ends(after) if ran >= Duration::from_millis(after) => {
                    let lease = self.job(id).lease_id.expect("a lease");
                    self.event(id, Event::Succeed { lease, output: Json::null() });
                    life.running.remove(&id);
                    life.trials.passed.retain(|passed| *passed != id);
                }
                Play::Kills(_) | Play::Ends(_) => {}
            }
        }
        if let Some(on) = &life.trials.on
            && (life.trial_until.is_some_and(|until| until <= now) || !life.running.contains_key(&on.job))
        {
            let on = life.trials.on.take().expect("it is on");
            if life.running.contains_key(&on.job) {
                life.trials.passed.push(on.job);
            }
        }
        self.try_suspects(life);
        self.claim(life);
        self.try_suspects(life);
        false
    }

    fn claim(&mut self, life: &mut Life) {
        while !life.is_closed() && life.running.len() < self.slots * self.workers {
            let due = |job: &&JobRow| job.state == State::Queued && job.scheduled_at <= self.now;
            let order = |job: &&JobRow| (job.scheduled_at, job.id);
            let Some(id) =
                self.jobs.values().map(|(job, _)| job).filter(due).min_by_key(order).map(|job| job.id)
            else {
                return;
            };
            self.leases += 1;
            let (lease, until) = (LeaseId(Uuid::from_u128(self.leases)), self.now);
            let worker = format!("worker-{}", self.leases as usize % self.workers);
            self.event(id, Event::Claim { lease, until, due: until, worker });
            match self.job(id).standing(CRASH_SPAN, self.now) {
                Standing::Clear => _ = life.running.insert(id, self.now),
                Standing::Suspect(_) | Standing::Prime(_) => {
                    let wait = life.held.iter().map(|held| self.trial(*held)).sum();
                    if wait > HELD_MAX {
                        self.event(id, Event::Snooze { lease, delay: wait });
                    } else {
                        life.held.push(id);
                    }
                }
            }
        }
    }

    fn try_suspects(&mut self, life: &mut Life) {
        if life.trials.on.is_some() || life.running.len() >= self.slots * self.workers {
            return;
        }
        let now = self.now;
        if life.draining.is_none() {
            life.held.sort_by_key(|id| (self.is_prime(*id), self.job(*id).crashes, *id));
            if life.held.is_empty() {
                return;
            }
            let next = life.held.remove(0);
            if self.is_prime(next) {
                life.draining = Some((next, later(now, DRAIN)));
            } else {
                return self.begin_trial(life, next, false);
            }
        }
        if let Some((prime, until)) = life.draining {
            if life.running.is_empty() {
                life.draining = None;
                self.begin_trial(life, prime, true);
            } else if until <= now {
                life.draining = None;
                let lease = self.job(prime).lease_id.expect("claimed");
                self.event(prime, Event::Snooze { lease, delay: secs(30) });
            }
        }
    }

    fn begin_trial(&mut self, life: &mut Life, id: JobId, alone: bool) {
        let lease = self.job(id).lease_id.expect("claimed");
        life.trials.on = Some(Trial { job: id, lease, alone, since: self.now });
        life.trial_until = Some(later(self.now, self.trial(id)));
        life.running.insert(id, self.now);
    }

    fn is_prime(&self, id: JobId) -> bool {
        matches!(self.job(id).standing(CRASH_SPAN, self.now), Standing::Prime(_))
    }

    fn trial(&self, id: JobId) -> Duration {
        match self.job(id).standing(CRASH_SPAN, self.now) {
            Standing::Clear => Duration::ZERO,
            Standing::Suspect(span) | Standing::Prime(span) => span,
        }
    }

    fn rescue(&mut self, life: &Life) {
        let workers: Vec<_> = (0..self.workers)
            .map(|index| DeadWorker {
                name: format!("worker-{index}"),
                slots: self.slots,
                threads: Threads::default(),
                trials: if index == 0 { life.trials.clone() } else { Trials::default() },
            })
            .collect();
        let jobs: Vec<JobRow> = self
            .jobs
            .values()
            .map(|(job, _)| job.clone())
            .filter(|job| job.state == State::Running)
            .collect();
        for (job, loss) in jobs.iter().zip(losses(&workers, &jobs, CRASH_SPAN, self.now)) {
            let began = life.running.contains_key(&job.id);
            assert!(began || matches!(loss, Loss::NotBegun { .. }), "held ready, and charged: {loss:?}");
            self.event(job.id, Event::LeaseLost(loss));
        }
    }

    /// No innocent was discarded, each killer was.
    fn judge(&self) {
        for (job, play) in self.jobs.values() {
            match play {
                Play::Ends(_) => assert_eq!(job.state, State::Completed, "{job:?}"),
                Play::Kills(_) => assert_eq!(job.state, State::Discarded, "{job:?}"),
            }
        }
    }

    /// How long after the second death the last innocent ended.
    fn after_second_death(&self) -> Duration {
        let innocent = self.jobs.values().filter(|(_, play)| matches!(play, Play::Ends(_)));
        let last = innocent.filter_map(|(job, _)| job.finished_at).max().expect("an innocent");
        span_until(self.deaths[1], last)
    }
}

/// Twenty innocents of three seconds and a killer at this place of the queue, on ten slots.
fn twenty_and_a_killer(place: usize, after: u64, restart: u64) -> (Duration, usize) {
    let mut world = World::new(10);
    world.restart = Duration::from_millis(restart);
    for index in 0..21 {
        world.add(if index == place { Play::Kills(after) } else { Play::Ends(3000) });
    }
    world.play(|_| false);
    world.judge();
    (world.after_second_death(), world.deaths.len())
}

#[test]
fn twenty_neighbours_end_within_fifteen_seconds_of_the_second_death() {
    for restart in [300, 2000, 30_000] {
        for after in [0, 100, 500, 1000, 2000] {
            let played: Vec<_> = (0..21).map(|place| twenty_and_a_killer(place, after, restart)).collect();
            let longest = played.iter().map(|(took, _)| *took).max().expect("played");
            let deaths = played.iter().map(|(_, deaths)| *deaths).max().expect("played");
            println!("killer after {after} ms, restart after {restart} ms: {longest:?}, {deaths} deaths");
            if after <= 1000 && restart <= 2000 {
                assert!(longest <= secs(15), "{longest:?}");
            }
        }
    }
}

#[test]
fn a_second_killer_after_the_second_death_costs_no_innocent_job() {
    for after in [0, 300, 1000, 3000] {
        let mut world = World::new(10);
        world.add(Play::Ends(6000));
        world.add(Play::Kills(after));
        let mut second = false;
        world.play(|world| {
            if !second && world.deaths.len() == 2 {
                second = true;
                world.add(Play::Kills(after));
            }
            !second
        });
        world.judge();
        assert!(world.deaths.len() <= 9, "killers after {after} ms: {} deaths", world.deaths.len());
    }
}

#[test]
fn four_killers_one_every_twelve_seconds_lose_none_of_thirty() {
    let mut world = World::new(10);
    (0..30).for_each(|_| _ = world.add(Play::Ends(3000)));
    let (start, mut killers) = (world.now, 0);
    world.play(|world| {
        if killers < 4 && span_until(start, world.now) >= secs(12 * killers) {
            killers += 1;
            world.add(Play::Kills(200));
        }
        killers < 4
    });
    world.judge();
    assert!(world.deaths.len() <= 20, "{} deaths", world.deaths.len());
}

#[test]
fn a_killer_in_a_process_with_two_workers_loses_none_of_ten() {
    let mut world = World::new(5);
    world.workers = 2;
    (0..10).for_each(|_| _ = world.add(Play::Ends(3000)));
    world.add(Play::Kills(500));
    world.play(|_| false);
    world.judge();
    assert!(world.deaths.len() <= 5, "{} deaths", world.deaths.len());
}

/// One killer and one innocent on one slot.
fn deaths_on_one_slot(after: u64) -> usize {
    let mut world = World::new(1);
    world.add(Play::Kills(after));
    world.add(Play::Ends(2000));
    world.play(|_| false);
    world.judge();
    world.deaths.len()
}

#[test]
fn a_killer_on_one_slot_is_discarded_at_its_fourth_death_and_one_that_outlives_its_trial_at_its_fifth() {
    assert_eq!(deaths_on_one_slot(500), 4);
    assert_eq!(deaths_on_one_slot(2000), 5);
}

#[test]
fn a_job_that_is_the_last_one_of_its_store_is_not_taken_for_alone() {
    // Its process serves another store, too, where the killer runs: no row here says so.
    let mut world = World::new(1);
    let id = world.add(Play::Ends(1000));
    for death in 0..6 {
        let (lease, until) = (LeaseId(Uuid::from_u128(death + 1)), world.now);
        world.event(id, Event::Claim { lease, until, due: until, worker: "worker-0".into() });
        let is_tried = world.job(id).standing(CRASH_SPAN, world.now) != Standing::Clear;
        let on = is_tried.then_some(Trial { job: id, lease, alone: false, since: world.now });
        let trials = Trials { on, passed: Vec::new() };
        let worker = DeadWorker { name: "worker-0".into(), slots: 1, threads: Threads::default(), trials };
        let loss = losses(&[worker], &[world.job(id).clone()], CRASH_SPAN, world.now).remove(0);
        let expected = if is_tried { Part::OnTrial } else { Part::Beside };
        assert_eq!(loss, Loss::Died { part: expected, span: CRASH_SPAN });
        world.event(id, Event::LeaseLost(loss));
        world.now = later(world.now, secs(3600));
    }
    assert_eq!(world.job(id).state, State::Queued, "{:?}", world.job(id));
}

#[test]
fn blocking_jobs_that_waited_for_a_thread_in_their_slot_are_not_charged_for_a_crash() {
    let mut world = World::new(4);
    let ids: Vec<_> = (0..4).map(|_| world.add(Play::Ends(1000))).collect();
    for (id, lease) in ids.iter().zip(1..) {
        let (lease, until) = (LeaseId(Uuid::from_u128(lease)), world.now);
        world.event(*id, Event::Claim { lease, until, due: until, worker: "worker-0".into() });
        world.now = later(world.now, secs(1));
    }
    let mut jobs: Vec<_> = ids.iter().map(|id| world.job(*id).clone()).collect();
    // The last one has an async handler, so it needs no thread.
    jobs[3].kind = "mail".into();
    let blame = |threads: Threads, trials: Trials, jobs: &[JobRow]| -> Vec<bool> {
        let worker = DeadWorker { name: "worker-0".into(), slots: 4, threads, trials };
        let losses = losses(&[worker], jobs, CRASH_SPAN, world.now);
        losses.iter().map(|loss| matches!(loss, Loss::Died { .. })).collect()
    };
    let threads = |count| Threads { count, kinds: vec![jobs[0].kind.clone()] };
    assert_eq!(blame(threads(Some(1)), Trials::default(), &jobs), [true, false, false, true]);
    assert_eq!(blame(threads(Some(2)), Trials::default(), &jobs), [true, true, false, true]);
    assert_eq!(blame(threads(None), Trials::default(), &jobs), [true; 4], "a worker that wrote nothing");

    // The suspect that passed its trial has the only thread.
    let mut with_suspect = jobs.clone();
    with_suspect[2].crashes = 1;
    with_suspect[2].suspicion = Some(Suspicion { on_trial: 0, alone: 0, at: world.now, ran_ms: 0 });
    let trials = Trials { on: None, passed: vec![ids[2]] };
    assert_eq!(blame(threads(Some(1)), trials, &with_suspect), [false, false, true, true]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Killers of every pace among innocents of every length, enqueued one after another.
    #[test]
    fn no_innocent_is_discarded_and_every_killer_is(
        plays in prop::collection::vec((0u64..60_000, 0u64..20_000), 1..30),
        killers in 0usize..5,
        slots in 1usize..12,
        workers in 1usize..3,
        restart in 0u64..40_000,
    ) {
        let mut world = World::new(slots);
        world.workers = workers;
        world.restart = Duration::from_millis(restart);
        world.step = Duration::from_millis(100);
        let start = world.now;
        let mut plays: Vec<_> = plays.into_iter().enumerate().map(|(index, (length, wait))| {
            (wait, if index < killers { Play::Kills(length) } else { Play::Ends(length) })
        }).collect();
        plays.sort_by_key(|(wait, _)| std::cmp::Reverse(*wait));
        world.play(|world| {
            while plays.last().is_some_and(|(wait, _)| start + Duration::from_millis(*wait) <= world.now) {
                let (_, play) = plays.pop().expect("one");
                world.add(play);
            }
            !plays.is_empty()
        });
        world.judge();
        let bound = DEATHS_PER_KILLER * killers.max(1);
        prop_assert!(world.deaths.len() <= bound, "{} deaths of {killers} killers", world.deaths.len());
    }
}
