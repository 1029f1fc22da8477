//! One run: clients begin work and send signals, machines die and come back, and at the end all of it must have ended well.

use std::{sync::Arc, time::Duration};

use backroom::{
    Backroom, BatchState, Draft, Error, ErrorKind, Filter, GraphNode, Job as _, JobId, JobRow, Json,
    OnFailure, State, testing::faults::Fault,
};
use jiff::SignedDuration;
use rand::{RngExt, rngs::StdRng};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    children, judge,
    office::{self, END, Office},
    program::{Flow, SIGNALS},
};
use crate::{
    drafts::{QUEUES, millis, pick},
    machine::{Machine, Parts},
    world::plus,
};

/// Once everything is mended, all work ends within this span.
const END_MAX: Duration = Duration::from_secs(90 * 60);
/// Moments within one instant before it counts as a loop.
const RINGS_PER_INSTANT_MAX: u32 = 20_000;

/// The world and its fate.
pub struct Ties {
    parts: Parts,
    office: Arc<Office>,
    rng: StdRng,
    machines: Vec<Option<Machine>>,
    starts: usize,
    at_rest: Arc<Notify>,
}

impl Ties {
    /// A world without machines. `at_rest` notifies whenever no task has anything left to do.
    pub fn new(parts: Parts, office: Arc<Office>, rng: StdRng, at_rest: Arc<Notify>) -> Self {
        Self { parts, office, rng, machines: Vec::new(), starts: 0, at_rest }
    }

    /// Runs to the end, or to the first thing that is wrong.
    pub async fn run(&mut self) -> Result<(), Error> {
        for index in 0..self.rng.random_range(2..4) {
            let machine = self.start(index).await?;
            self.machines.push(Some(machine));
        }
        for _ in 0..self.rng.random_range(30..90) {
            self.act().await?;
            self.rest().await;
            if self.is_wrong() {
                return Ok(());
            }
        }
        self.end().await
    }

    async fn act(&mut self) -> Result<(), Error> {
        match self.rng.random_range(0..100) {
            0..12 => self.begin_flow(),
            12..16 => self.begin_graph(),
            16..20 => self.begin_batch(),
            20..34 => self.signal(),
            34..38 => self.cancel(),
            38..41 => self.retry(),
            41..73 => {
                let span = self.span();
                self.advance(span).await;
            }
            73..80 => {
                let killed = self.rng.random_bool(0.7);
                if let Some(machine) = self.draw(|_| true).and_then(|index| self.machines[index].take()) {
                    self.tell(format!("-- {} is gone", machine.name));
                    machine.crash(killed);
                }
            }
            80..87 => self.restart().await?,
            87 => self.trouble(|machine| !machine.paused, Machine::pause),
            88..91 => self.trouble(|machine| machine.paused, Machine::resume),
            91..96 => {
                let (nth, fault) = (self.rng.random_range(1..6), self.fault());
                self.trouble(|_| true, |machine| machine.lose_call(nth, fault));
            }
            96 => {
                let fault = self.fault();
                self.trouble(|machine| !machine.cut, |machine| machine.cut(fault));
            }
            97 => {
                let most = millis(&mut self.rng, 1..2_000);
                self.trouble(|_| true, |machine| machine.slow(most));
            }
            _ => self.trouble(|machine| machine.cut || machine.slow, Machine::heal),
        }
        Ok(())
    }

    fn begin_flow(&mut self) {
        let (args, queue) = (Flow { program: self.rng.random(), round: 0 }, pick(&mut self.rng, &QUEUES));
        self.call(move |client, office| async move {
            let job = client.enqueue(args).queue(queue).await?;
            office.known().flows.push(job.id());
            Ok(())
        });
    }

    fn begin_graph(&mut self) {
        let mut nodes: Vec<GraphNode> = Vec::new();
        for place in 0..self.rng.random_range(2..7_usize) {
            let queue = pick(&mut self.rng, &QUEUES);
            let mut node = GraphNode::new(format!("n{place}"), office::piece(&mut self.rng, queue, 0));
            for before in 0..place {
                if self.rng.random_bool(0.5) {
                    let policy = [OnFailure::Cancel, OnFailure::Run, OnFailure::Cancel, OnFailure::Wait];
                    node = node.after_with(format!("n{before}"), pick(&mut self.rng, &policy));
                }
            }
            nodes.push(node);
        }
        self.call(|client, office| async move {
            let graph = client.enqueue_graph(nodes).await?;
            office.known().pieces.extend(graph.jobs.iter().map(|(_, id)| *id));
            Ok(())
        });
    }

    /// Its client may die before it closes the batch. A member may add further ones.
    fn begin_batch(&mut self) {
        let (queue, count) = (pick(&mut self.rng, &QUEUES), self.rng.random_range(0..6_u32));
        let members: Vec<_> = (0..count)
            .map(|_| {
                let adds = self.rng.random_range(0..3_u32).saturating_sub(1);
                office::piece(&mut self.rng, queue, adds)
            })
            .collect();
        let mut end = Draft::new(END, Json::null());
        end.queue = queue.into();
        let closes = self.rng.random_bool(0.7);
        self.call(move |client, office| async move {
            let opening = client.open_batch().on_success_draft(end.clone()).on_finish_draft(end);
            let batch = opening.await?;
            office.known().batches.push(batch.id());
            for member in members {
                let job = client.enqueue_draft(member).batch(&batch).await?;
                office.known().pieces.push(job.id());
            }
            if closes {
                batch.close().await?;
            }
            Ok(())
        });
    }

    fn signal(&mut self) {
        let flows = self.office.known().flows.clone();
        if flows.is_empty() {
            return;
        }
        let young = flows.len().saturating_sub(5);
        let workflow = flows[self.rng.random_range(young..flows.len())];
        let name = pick(&mut self.rng, &SIGNALS);
        self.send(workflow, name);
    }

    fn send(&mut self, workflow: JobId, name: &'static str) {
        let (value, id) = (self.office.number(), Uuid::from_u128(self.rng.random()));
        self.call(move |client, _| async move {
            client.signal_as(workflow, name, Json::encode(&value)?, id).await
        });
    }

    fn cancel(&mut self) {
        let (job, is_batch) = (self.some_job(), self.rng.random_bool(0.15));
        let batch = self.office.known().batches.last().copied().filter(|_| is_batch);
        self.call(move |client, _| async move {
            match (batch, job) {
                (Some(batch), _) => client.batch(batch).cancel("scripted").await.map(drop),
                (None, Some(job)) => client.cancel(job).await,
                (None, None) => Ok(()),
            }
        });
    }

    fn retry(&mut self) {
        let (job, is_batch) = (self.some_job(), self.rng.random_bool(0.3));
        let batch = self.office.known().batches.last().copied().filter(|_| is_batch);
        self.call(move |client, _| async move {
            match (batch, job) {
                (Some(batch), _) => client.batch(batch).retry_failed().await.map(drop),
                (None, Some(job)) => client.retry(job).await,
                (None, None) => Ok(()),
            }
        });
    }

    fn some_job(&mut self) -> Option<JobId> {
        let known = self.office.known();
        let jobs: Vec<_> = known.flows.iter().chain(&known.pieces).copied().collect();
        drop(known);
        (!jobs.is_empty()).then(|| pick(&mut self.rng, &jobs))
    }

    /// Heals everything, sends what is waited for, and checks that all work ends.
    async fn end(&mut self) -> Result<(), Error> {
        self.tell("-- the end begins".into());
        self.office.end();
        for machine in self.machines.iter_mut().flatten() {
            machine.resume();
            machine.heal();
        }
        self.advance(self.parts.lease * 2).await;
        for index in 0..self.machines.len() {
            if self.machines[index].as_ref().is_none_or(|machine| !machine.works()) {
                self.machines[index] = Some(self.start(index).await?);
            }
        }
        let Some(client) = self.machines.iter().flatten().next().map(|machine| machine.backroom.clone())
        else {
            return Ok(());
        };
        let until = plus(self.parts.world.now(), END_MAX);
        let rows = loop {
            let rows = all(&client).await?;
            let live: Vec<_> = rows.iter().filter(|row| !row.state.is_finished()).cloned().collect();
            let batches = client.batches(None, None, 500).await?;
            for batch in batches.iter().filter(|batch| batch.state == BatchState::Open) {
                client.batch(batch.id).close().await?;
            }
            let stuck = judge::waits_for_ever(&client, &live).await?;
            let has_ended = batches.iter().all(|batch| batch.state == BatchState::Ended);
            if has_ended && live.iter().all(|row| stuck.contains(&row.id)) || self.is_wrong() {
                break rows;
            }
            if self.parts.world.now() > until {
                for row in live.iter().filter(|row| !stuck.contains(&row.id)) {
                    let journal = client.journal(row.id).await?;
                    self.wrong(format!("job {} has not ended: {row:?} {journal:?}", row.id));
                }
                break rows;
            }
            children::parked(&self.office, &client, &live).await?;
            for row in live.iter().filter(|row| row.kind == Flow::KIND && row.state == State::Waiting) {
                for name in SIGNALS {
                    self.send(row.id, name);
                }
            }
            self.advance(Duration::from_secs(10)).await;
        };
        if self.is_wrong() {
            return Ok(());
        }
        judge::account(&self.office, &client, &rows).await?;
        for machine in self.machines.iter_mut().flatten() {
            machine.stop();
        }
        self.advance(Duration::from_secs(60)).await;
        Ok(())
    }

    /// Lets a client on some machine that runs do something. It dies with the machine.
    fn call<F, R>(&mut self, call: F)
    where
        F: FnOnce(Backroom, Arc<Office>) -> R,
        R: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let Some(index) = self.draw(|machine| !machine.paused) else { return };
        let office = Arc::clone(&self.office);
        if let Some(machine) = &mut self.machines[index] {
            let calling = call(machine.backroom.clone(), Arc::clone(&office));
            machine.does(async move {
                if let Err(error) = calling.await {
                    judge_error(&office, &error);
                }
            });
        }
    }

    fn trouble(&mut self, whom: impl Fn(&Machine) -> bool, what: impl FnOnce(&mut Machine)) {
        let Some(index) = self.draw(whom) else { return };
        if let Some(machine) = &mut self.machines[index] {
            self.office.model().tell(format!("-- trouble for {}", machine.name));
            what(machine);
        }
    }

    async fn restart(&mut self) -> Result<(), Error> {
        let Some(index) = self.machines.iter().position(Option::is_none) else { return Ok(()) };
        self.machines[index] = Some(self.start(index).await?);
        Ok(())
    }

    async fn start(&mut self, index: usize) -> Result<Machine, Error> {
        self.starts += 1;
        let offset = SignedDuration::from_millis(self.rng.random_range(-500..500));
        let seed = self.rng.random();
        Machine::start(&self.parts, index, self.starts, seed, offset).await
    }

    fn draw(&mut self, whom: impl Fn(&Machine) -> bool) -> Option<usize> {
        let able = |machine: &Option<Machine>| machine.as_ref().is_some_and(&whom);
        let able: Vec<usize> =
            (0..self.machines.len()).filter(|index| able(&self.machines[*index])).collect();
        (!able.is_empty()).then(|| pick(&mut self.rng, &able))
    }

    fn span(&mut self) -> Duration {
        match self.rng.random_range(0..10) {
            0..4 => millis(&mut self.rng, 1..500),
            4..8 => millis(&mut self.rng, 500..5_000),
            _ => millis(&mut self.rng, 5_000..45_000),
        }
    }

    fn fault(&mut self) -> Fault {
        if self.rng.random_bool(0.5) { Fault::Before } else { Fault::After }
    }

    /// Lets time pass from alarm to alarm.
    async fn advance(&mut self, span: Duration) {
        let until = plus(self.parts.world.now(), span);
        let mut rings = 0;
        self.rest().await;
        while let Some(next) = self.parts.world.next_alarm().filter(|next| *next <= until) {
            rings = if next <= self.parts.world.now() { rings + 1 } else { 0 };
            if rings > RINGS_PER_INSTANT_MAX {
                self.wrong("the world does not come to rest".into());
            }
            self.parts.world.advance_to(next);
            self.rest().await;
            if self.is_wrong() {
                return;
            }
        }
        self.parts.world.advance_to(until);
        self.rest().await;
    }

    /// Returns when no task has anything left to do at this moment.
    async fn rest(&self) {
        self.at_rest.notified().await;
    }

    fn is_wrong(&self) -> bool {
        self.office.model().first_wrong().is_some()
    }

    fn wrong(&self, what: String) {
        self.office.model().wrong(what);
    }

    fn tell(&self, line: String) {
        self.office.model().tell(line);
    }
}

/// Some errors are the world's answer, others are bugs.
fn judge_error(office: &Office, error: &Error) {
    let mut model = office.model();
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::KeyHeld { .. } | ErrorKind::NotFound | ErrorKind::Refused => {
            model.tell(format!("             answered: {error}"));
        }
        // A batch that was closed or cancelled meanwhile.
        ErrorKind::Invalid if error.to_string().contains("batch") => {
            model.tell(format!("             answered: {error}"));
        }
        _ => model.wrong(format!("a client was answered: {error}")),
    }
}

/// All jobs.
async fn all(client: &Backroom) -> Result<Vec<JobRow>, Error> {
    let (mut rows, mut before) = (Vec::new(), None);
    loop {
        let page = client.list(Filter::default(), before, 500).await?;
        before = page.jobs.last().map(|job| job.id);
        let is_last = page.jobs.len() < 500;
        rows.extend(page.jobs);
        if is_last {
            return Ok(rows);
        }
    }
}
