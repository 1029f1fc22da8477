//! One run: draws actions from the seed, lets the world come to rest after each, and checks.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use backroom::{Backroom, Error, JobId, JobRow, Reason, State, Timestamp, testing::faults::Fault};
use jiff::SignedDuration;
use rand::{RngExt, rngs::StdRng};
use tokio::sync::Notify;

use crate::{
    Weather,
    actions::{self, Action},
    callers::{self, Ask, Setting},
    drafts,
    handlers::{ORPHAN, Stage},
    invariants,
    machine::{Machine, Parts},
    model::{Row, machine_of},
    schedules,
    world::{MachineClock, plus},
};

/// Once everything is mended, jobs that are due within so long are waited for.
const END_MAX: Duration = Duration::from_secs(30 * 60);
/// So long after that the last of them must have ended. A job may be due at the very end, under a clock that is late.
const LAST_RUN_MAX: Duration = Duration::from_secs(10 * 60);
/// Moments within one instant before it counts as a loop.
const RINGS_PER_INSTANT_MAX: u32 = 20_000;

/// The world and its fate.
pub struct Driver {
    /// What everything is built from.
    pub parts: Parts,
    rng: StdRng,
    calm: bool,
    weather: Weather,
    steps: u32,
    /// When machines crashed.
    gone: BTreeMap<String, Timestamp>,
    machines: Vec<Option<Machine>>,
    starts: usize,
    /// Numbers what takers of messages do.
    turns: u64,
    at_rest: Arc<Notify>,
}

impl Driver {
    /// A world without machines. `at_rest` notifies whenever no task has anything left to do.
    pub fn new(parts: Parts, mut rng: StdRng, weather: Weather, at_rest: Arc<Notify>) -> Self {
        let calm = match weather {
            Weather::Any => rng.random_ratio(1, 8),
            Weather::Outages | Weather::Clocks | Weather::Killers => {
                // Drawn and not used: the seeds of the regressions go on to mean what they meant.
                _ = rng.random_ratio(1, 8);
                true
            }
            Weather::Schedules | Weather::Ties => false,
        };
        let steps = rng.random_range(40..140);
        Self {
            parts,
            rng,
            calm,
            weather,
            steps,
            gone: BTreeMap::new(),
            machines: Vec::new(),
            starts: 0,
            turns: 0,
            at_rest,
        }
    }

    /// Runs to the end, or to the first thing that is wrong.
    pub async fn run(&mut self) -> Result<(), Error> {
        for index in 0..self.rng.random_range(2..5) {
            let machine = self.start(index).await?;
            self.machines.push(Some(machine));
        }
        if self.weather == Weather::Schedules
            && let Some(client) = self.client()
        {
            schedules::put(&client).await?;
        }
        for _ in 0..self.steps {
            let action = match self.weather {
                Weather::Outages if self.rng.random_ratio(1, 8) => actions::draw_outage(&mut self.rng),
                Weather::Clocks if self.rng.random_ratio(1, 4) => actions::draw_clock(&mut self.rng),
                Weather::Clocks if self.rng.random_ratio(1, 20) => {
                    Action::Crash { killed: self.rng.random_bool(0.5) }
                }
                Weather::Killers if self.rng.random_ratio(1, 10) => Action::EnqueueKiller,
                Weather::Schedules if self.rng.random_ratio(1, 15) => actions::draw_clock(&mut self.rng),
                Weather::Schedules if self.rng.random_ratio(1, 15) => actions::draw_outage(&mut self.rng),
                Weather::Any
                | Weather::Outages
                | Weather::Clocks
                | Weather::Killers
                | Weather::Schedules
                | Weather::Ties => actions::draw(&mut self.rng, self.calm),
            };
            self.act(action).await?;
            self.take();
            self.check().await?;
            if self.is_wrong() {
                return Ok(());
            }
        }
        self.end().await
    }

    async fn act(&mut self, action: Action) -> Result<(), Error> {
        self.tell(format!("-- {action:?}"));
        match action {
            Action::Enqueue(count) => (0..count).for_each(|_| self.enqueue()),
            Action::EnqueueKiller => {
                let draft = drafts::killer(&mut self.rng);
                self.call(|machine, stage| callers::enqueue(machine, stage, draft));
            }
            Action::Cancel => self.ask(Ask::Cancel),
            Action::Retry => self.ask(Ask::Retry),
            Action::Delete => self.ask(Ask::Delete),
            Action::PauseQueue(queue) => self.set(queue, Setting::Pause),
            Action::ResumeQueue(queue) => self.set(queue, Setting::Resume),
            Action::Retain(queue, keep) => self.set(queue, Setting::Retain(keep)),
            Action::Advance(span) => self.advance(span).await?,
            Action::Lurch(span) => {
                let at = plus(self.parts.world.now(), span);
                self.parts.world.advance_to(at);
                for machine in self.machines.iter_mut().flatten() {
                    (machine.troubled_at, machine.ever_troubled) = (at, true);
                }
            }
            Action::Crash { killed } => {
                if let Some(machine) = self.draw(|_| true).and_then(|index| self.machines[index].take()) {
                    self.tell(format!("   {} is gone", machine.name));
                    self.crash(machine, killed);
                }
            }
            Action::Stop => self.stop(),
            Action::Restart => self.restart().await?,
            Action::Pause => self.trouble(|machine| !machine.paused, Machine::pause),
            Action::Resume => self.trouble(|machine| machine.paused, Machine::resume),
            Action::Jump(by) => self.set_clock(|clock| clock.jump(by)),
            Action::JumpAll(by) => {
                let now = self.parts.world.now();
                for machine in self.machines.iter_mut().flatten() {
                    machine.set_at = now;
                    machine.clock.jump(by);
                }
            }
            Action::Pace(fast_ppm) => self.set_clock(|clock| clock.run_at(fast_ppm)),
            Action::Cut(fault) => self.trouble(|machine| !machine.cut, |machine| machine.cut(fault)),
            Action::LoseCall(nth, fault) => self.trouble(|_| true, |machine| machine.lose_call(nth, fault)),
            Action::Slow(most) => self.trouble(|_| true, |machine| machine.slow(most)),
            Action::Heal => self.trouble(|machine| machine.cut || machine.slow, Machine::heal),
            Action::Outage { span, fault, writes_only } => self.outage(span, fault, writes_only).await?,
        }
        self.rest().await;
        Ok(())
    }

    /// The store is away for all machines, and comes back.
    async fn outage(&mut self, span: Duration, fault: Fault, writes_only: bool) -> Result<(), Error> {
        // A worker that cannot record its ends while it stops leaves them to be rescued, and rightly so.
        while !self.is_wrong() && self.machines.iter().flatten().any(Machine::stops) {
            self.advance(Duration::from_secs(1)).await?;
        }
        for machine in self.machines.iter_mut().flatten() {
            if writes_only { machine.cut_writes(fault) } else { machine.cut(fault) }
        }
        self.advance(span).await?;
        let now = self.parts.world.now();
        for machine in self.machines.iter_mut().flatten() {
            machine.heal();
            (machine.troubled_at, machine.ever_troubled) = (now, true);
        }
        Ok(())
    }

    /// Heals everything, lets live jobs end, and checks that they have.
    async fn end(&mut self) -> Result<(), Error> {
        self.tell("-- the end begins".into());
        self.parts.stage.end();
        for machine in self.machines.iter_mut().flatten() {
            machine.resume();
            machine.heal();
            machine.troubled_at = self.parts.world.now();
        }
        self.advance(self.parts.lease * 2).await?;
        self.replace_bad_clocks().await?;
        self.end_schedules().await?;
        for queue in drafts::QUEUES {
            self.set(queue, Setting::Resume);
        }
        let due_until = plus(self.parts.world.now(), END_MAX);
        let until = plus(due_until, LAST_RUN_MAX);
        while !self.is_wrong() && self.parts.world.now() < until && self.is_anything_live(due_until) {
            self.advance(Duration::from_secs(10)).await?;
        }
        if self.is_wrong() {
            return Ok(());
        }
        self.account(due_until).await?;
        self.take_all().await?;
        for machine in self.machines.iter_mut().flatten() {
            self.parts.stage.model().stops(&machine.name);
            machine.stop();
        }
        self.advance(Duration::from_secs(60)).await?;
        if self.machines.iter().flatten().any(|machine| machine.stops() || machine.works()) {
            self.wrong("a worker did not stop within a minute".into());
        }
        Ok(())
    }

    /// A client on some machine.
    fn client(&self) -> Option<Backroom> {
        self.machines.iter().flatten().next().map(|machine| machine.backroom.clone())
    }

    /// Every occurrence is accounted for, and no further one comes.
    async fn end_schedules(&mut self) -> Result<(), Error> {
        let Some(client) = self.client().filter(|_| self.weather == Weather::Schedules) else {
            return Ok(());
        };
        schedules::pause(&client).await?;
        self.advance(Duration::from_secs(5)).await?;
        let stage = Arc::clone(&self.parts.stage);
        schedules::account(&client, &mut |check| check(&mut stage.model())).await
    }

    /// After the end every machine works, and none has a clock that would take the others' leases away.
    async fn replace_bad_clocks(&mut self) -> Result<(), Error> {
        let most = SignedDuration::try_from(self.parts.lease / 3).unwrap_or(SignedDuration::MAX);
        for index in 0..self.machines.len() {
            let bad = |machine: &Machine| {
                machine.clock.ahead().abs() > most || machine.clock.is_off_pace() || !machine.works()
            };
            if self.machines[index].as_ref().is_none_or(bad) {
                if let Some(machine) = self.machines[index].take() {
                    self.crash(machine, true);
                }
                self.machines[index] = Some(self.start(index).await?);
            }
        }
        Ok(())
    }

    /// A client on some machine takes messages. No random number is drawn for it: the seeds of the regressions go on to mean what
    /// they meant.
    fn take(&mut self) {
        self.turns += 1;
        let (turn, count) = (self.turns, self.machines.len());
        let first = usize::try_from(turn).unwrap_or_default();
        let awake = |machine: &Option<Machine>| machine.as_ref().is_some_and(|machine| !machine.paused);
        let index = (0..count).map(|step| (first + step) % count).find(|index| awake(&self.machines[*index]));
        if let Some(machine) = index.and_then(|index| self.machines[index].as_mut()) {
            callers::take(machine, &self.parts.stage, turn);
        }
    }

    /// Takers go on until nothing is left, whatever earlier ones had in hand.
    async fn take_all(&mut self) -> Result<(), Error> {
        let until = plus(self.parts.world.now(), END_MAX);
        while !self.is_wrong() && self.parts.world.now() < until {
            let Some(client) = self.machines.iter().flatten().next().map(|machine| machine.backroom.clone())
            else {
                return Ok(());
            };
            if client.reply_queues().await?.iter().all(|queue| queue.messages == 0) {
                break;
            }
            self.take();
            self.advance(Duration::from_secs(1)).await?;
        }
        self.parts.stage.model().check_delivered();
        Ok(())
    }

    /// Every job is finished, or `explain` says why it cannot be. What a clock that was ahead put off until after `due_until` is not
    /// waited for.
    async fn account(&mut self, due_until: Timestamp) -> Result<(), Error> {
        let live: Vec<JobId> = {
            let model = self.parts.stage.model();
            model.rows().filter(|(_, _, row)| is_waited_for(row, due_until)).map(|(id, _, _)| id).collect()
        };
        let Some(client) = self.machines.iter().flatten().next().map(|machine| machine.backroom.clone())
        else {
            return Ok(());
        };
        for id in live {
            let explanation = client.explain(id).await?;
            let says = |reason: &Reason| matches!(reason, Reason::NoWorkerForKind { .. });
            let orphan = explanation.job.kind == ORPHAN && explanation.reasons.iter().any(says);
            if !orphan {
                self.wrong(format!("job {id} is not finished: {explanation:?}"));
            }
        }
        let may_die = matches!(self.weather, Weather::Clocks | Weather::Killers);
        if self.calm && !may_die && self.parts.stage.model().tally.rescued > 0 {
            self.wrong("a job was rescued although no worker had died or been cut off".into());
        }
        Ok(())
    }

    fn is_anything_live(&self, due_until: Timestamp) -> bool {
        let model = self.parts.stage.model();
        let callers = self.machines.iter().flatten().any(Machine::has_callers);
        callers || model.rows().any(|(_, _, row)| row.kind != ORPHAN && is_waited_for(row, due_until))
    }

    /// Lets a client on some machine that runs do something.
    fn call(&mut self, call: impl FnOnce(&mut Machine, &Arc<Stage>)) {
        let index = self.draw(|machine| !machine.paused);
        if let Some(machine) = index.and_then(|index| self.machines[index].as_mut()) {
            call(machine, &self.parts.stage);
        }
    }

    fn enqueue(&mut self) {
        let draft = drafts::draw(&mut self.rng);
        self.call(|machine, stage| callers::enqueue(machine, stage, draft));
    }

    fn ask(&mut self, ask: Ask) {
        let known: Vec<JobId> = self.parts.stage.model().jobs.keys().copied().collect();
        if !known.is_empty() {
            // Mostly a young one: the old ones are finished.
            let young = known.len().saturating_sub(15);
            let from = if self.rng.random_bool(0.8) { young } else { 0 };
            let id = known[self.rng.random_range(from..known.len())];
            self.call(|machine, stage| callers::ask(machine, stage, id, ask));
        }
    }

    fn set(&mut self, queue: &'static str, setting: Setting) {
        self.call(|machine, stage| callers::set(machine, stage, queue, setting));
    }

    /// Something happens to some machine.
    fn trouble(&mut self, whom: impl Fn(&Machine) -> bool, what: impl FnOnce(&mut Machine)) {
        let now = self.parts.world.now();
        let Some(index) = self.draw(whom) else { return };
        if let Some(machine) = &mut self.machines[index] {
            self.parts.stage.model().tell(format!("   to {}", machine.name));
            (machine.troubled_at, machine.ever_troubled) = (now, true);
            what(machine);
        }
    }

    /// The wall clock of some machine is set, or its pace: nothing that may keep it from its work.
    fn set_clock(&mut self, set: impl FnOnce(&MachineClock)) {
        let now = self.parts.world.now();
        let Some(index) = self.draw(|_| true) else { return };
        if let Some(machine) = &mut self.machines[index] {
            self.parts.stage.model().tell(format!("   to {}", machine.name));
            machine.set_at = now;
            set(&machine.clock);
        }
    }

    fn crash(&mut self, machine: Machine, killed: bool) {
        self.gone.insert(machine.name.clone(), self.parts.world.now());
        machine.crash(killed);
    }

    fn stop(&mut self) {
        let Some(index) = self.draw(|machine| machine.works() && !machine.paused) else { return };
        if let Some(machine) = &mut self.machines[index] {
            self.parts.stage.model().tell(format!("   {} is to stop", machine.name));
            self.parts.stage.model().stops(&machine.name);
            machine.stop();
        }
    }

    async fn restart(&mut self) -> Result<(), Error> {
        let down = |machine: &Option<Machine>| machine.as_ref().is_none_or(|m| !m.works() && !m.stops());
        let Some(index) = self.machines.iter().position(down) else { return Ok(()) };
        if let Some(machine) = self.machines[index].take() {
            self.crash(machine, false);
        }
        self.machines[index] = Some(self.start(index).await?);
        Ok(())
    }

    async fn start(&mut self, index: usize) -> Result<Machine, Error> {
        self.starts += 1;
        let most = if self.calm { 500 } else { 3_000 };
        let offset = SignedDuration::from_millis(self.rng.random_range(-most..most));
        let seed = self.rng.random();
        Machine::start(&self.parts, index, self.starts, seed, offset).await
    }

    fn draw(&mut self, whom: impl Fn(&Machine) -> bool) -> Option<usize> {
        let able = |machine: &Option<Machine>| machine.as_ref().is_some_and(&whom);
        let able: Vec<usize> =
            (0..self.machines.len()).filter(|index| able(&self.machines[*index])).collect();
        (!able.is_empty()).then(|| drafts::pick(&mut self.rng, &able))
    }

    /// Lets time pass from alarm to alarm.
    async fn advance(&mut self, span: Duration) -> Result<(), Error> {
        let until = plus(self.parts.world.now(), span);
        let mut rings = 0;
        // Tasks that were just notified set their alarms first.
        self.rest().await;
        while let Some(next) = self.parts.world.next_alarm().filter(|next| *next <= until) {
            let now = self.parts.world.now();
            rings = if next <= now { rings + 1 } else { 0 };
            if rings > RINGS_PER_INSTANT_MAX {
                self.wrong("the world does not come to rest".into());
            }
            self.parts.world.advance_to(next);
            self.rest().await;
            self.check().await?;
            if self.is_wrong() {
                return Ok(());
            }
        }
        self.parts.world.advance_to(until);
        self.rest().await;
        self.check().await
    }

    /// Returns when no task has anything left to do at this moment.
    async fn rest(&self) {
        self.at_rest.notified().await;
    }

    /// Processes that a killer took down end, and are started again.
    async fn bury(&mut self) -> Result<(), Error> {
        for worker in self.parts.stage.take_deaths() {
            let is_it =
                |machine: &Option<Machine>| machine.as_ref().is_some_and(|m| m.name == machine_of(&worker));
            // It is gone already when two killers acted at one moment.
            let Some(index) = self.machines.iter().position(is_it) else { continue };
            let Some(machine) = self.machines[index].take() else { continue };
            self.tell(format!("   a job takes {} down", machine.name));
            self.crash(machine, true);
            self.machines[index] = Some(self.start(index).await?);
            self.rest().await;
        }
        Ok(())
    }

    async fn check(&mut self) -> Result<(), Error> {
        self.bury().await?;
        for machine in self.machines.iter_mut().flatten() {
            let Some(stopped) = machine.stopped().await else { continue };
            self.parts.stage.model().tell(format!("   {} stopped: {stopped:?}", machine.name));
            if stopped.is_ok() {
                invariants::check_stopped(&self.parts.stage, &machine.name);
            }
            if stopped.is_err() && !machine.ever_troubled {
                self.parts.stage.model().wrong(format!("{} did not stop: {stopped:?}", machine.name));
            }
        }
        let stage = Arc::clone(&self.parts.stage);
        if stage.model().take_touched() {
            let weather = self.weather;
            let check = |mut rows: Vec<JobRow>| {
                rows.reverse();
                invariants::check_rows(&mut stage.model(), &rows);
                if weather == Weather::Killers {
                    invariants::check_poison(&mut stage.model(), &rows);
                }
            };
            self.parts.server.with_rows(check).await?;
        }
        invariants::check_stop_requests(&self.parts, &self.machines);
        invariants::check_dead(&self.parts, &self.machines);
        invariants::check_rescued(&self.parts, &self.machines, &self.gone);
        if self.parts.prompt {
            invariants::check_prompt(&self.parts, &self.machines);
        }
        Ok(())
    }

    fn is_wrong(&self) -> bool {
        self.parts.stage.model().first_wrong().is_some()
    }

    fn wrong(&self, what: String) {
        self.parts.stage.model().wrong(what);
    }

    fn tell(&self, line: String) {
        self.parts.stage.model().tell(line);
    }
}

/// Whether a job is live, and due by `due_until` if it is queued.
fn is_waited_for(row: &Row, due_until: Timestamp) -> bool {
    let is_due_later = row.state == State::Queued && row.scheduled_at > due_until;
    !row.state.is_finished() && !is_due_later
}
