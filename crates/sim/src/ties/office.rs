//! What the machines of the simulation share: the users' code of jobs that are tied to others, and what is known of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use backroom::{
    BatchId, Context, Failure, JobId, Json, RetryPolicy, Worker, store::JournalWrite, workflow::Answer,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

use super::program::{Flow, flow};
use crate::model::Model;

/// The kind of jobs that are members, nodes and children.
pub const PIECE: &str = "piece";
/// The kind of the end jobs of batches.
pub const END: &str = "end";

/// The args of a piece.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Piece {
    /// What its handler does is drawn from this.
    pub play: u64,
    /// How many further members of its batch it adds.
    pub adds: u32,
}

/// What is known.
#[derive(Debug, Default)]
pub struct Known {
    /// Workflows, by the answers that their clients got.
    pub flows: Vec<JobId>,
    /// Other jobs.
    pub pieces: Vec<JobId>,
    /// Batches that were opened.
    pub batches: Vec<BatchId>,
    /// Signals that were stored.
    pub sent: BTreeSet<(JobId, u64)>,
    /// Signals that a wait has taken.
    pub taken: BTreeSet<(JobId, u64)>,
    /// The first answer of each entry, by workflow, generation and key.
    pub answers: HashMap<(JobId, u32, String), Answer>,
    /// Children that were started, by workflow, generation, number of retries, and key.
    pub children: BTreeMap<(JobId, u32, u32, String), JobId>,
    /// Keys of entries whose compensations have succeeded, in that order.
    pub undone: BTreeMap<JobId, Vec<String>>,
    /// Values for which compensations have run.
    pub undoes: BTreeMap<JobId, Vec<u64>>,
    /// How often workflows went on after a retry.
    pub resumes: BTreeMap<JobId, u32>,
    traces: HashMap<(JobId, u32), Vec<String>>,
    undo_tries: HashMap<(JobId, u64), u32>,
}

/// The users' code, and what it does.
pub struct Office {
    known: Mutex<Known>,
    model: Arc<Mutex<Model>>,
    numbers: AtomicU64,
    is_ending: AtomicBool,
}

impl Office {
    /// An office in which nothing has happened. `model` collects what is wrong.
    pub fn new(model: Arc<Mutex<Model>>) -> Self {
        Self { known: Mutex::default(), model, numbers: AtomicU64::new(1), is_ending: AtomicBool::new(false) }
    }

    /// What is known.
    pub fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The trace, and what is wrong.
    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that was not used before.
    pub fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::SeqCst)
    }

    /// From now on nothing fails and nothing is added.
    pub fn end(&self) {
        self.is_ending.store(true, Ordering::SeqCst);
    }

    /// A run of a workflow saw this at this place. Every other run of it must see the same.
    pub fn saw(&self, workflow: (JobId, u32), place: usize, line: String) {
        let mut known = self.known();
        if known.resumes.contains_key(&workflow.0) {
            return;
        }
        let trace = known.traces.entry(workflow).or_default();
        let before = trace.get(place).cloned();
        if before.is_none() {
            trace.push(line.clone());
        }
        let is_gap = trace.len() <= place;
        drop(known);
        let short = Model::short(workflow.0);
        if before.is_none() {
            self.model().tell(format!("             flow   {short} {line}"));
        }
        if before.as_ref().is_some_and(|before| *before != line) || is_gap {
            self.model().wrong(format!(
                "workflow {} saw {line:?} at place {place}, and an earlier run saw {before:?}",
                workflow.0
            ));
        }
    }

    /// A workflow goes on after a retry. Its runs see something else from then on, so they are not compared with those before.
    pub fn resumed(&self, write: &JournalWrite) {
        let mut known = self.known();
        let resumes = known.resumes.get(&write.workflow).copied().unwrap_or_default();
        if write.header.resumes > resumes {
            known.resumes.insert(write.workflow, write.header.resumes);
            drop(known);
            let mut model = self.model();
            model.tally.resumed += 1;
            model.tell(format!("             flow   {} goes on", Model::short(write.workflow)));
        }
    }

    /// A compensation runs; it fails the first few times.
    pub fn undoes(&self, workflow: JobId, value: u64, fails: u32) -> Result<(), Failure> {
        let mut known = self.known();
        let tries = known.undo_tries.entry((workflow, value)).or_default();
        *tries += 1;
        if *tries <= fails && !self.is_ending.load(Ordering::SeqCst) {
            return Err(Failure::retry("scripted"));
        }
        known.undoes.entry(workflow).or_default().push(value);
        Ok(())
    }

    /// Gives a worker the handlers.
    pub fn register(self: &Arc<Self>, worker: Worker) -> Worker {
        let (flows, pieces, ends) = (Arc::clone(self), Arc::clone(self), Arc::clone(self));
        worker
            .workflow(move |args: Flow, ctx| flow(Arc::clone(&flows), args, ctx))
            .handle_untyped(PIECE, move |args, context| {
                let office = Arc::clone(&pieces);
                async move { office.piece(args.decode()?, &context).await }
            })
            .handle_untyped(END, move |_, context| {
                let office = Arc::clone(&ends);
                async move {
                    if context.ended_batch().is_none() {
                        office.model().wrong(format!("end job {} knows no batch", context.id()));
                    }
                    Ok(Json::null())
                }
            })
    }

    async fn piece(&self, piece: Piece, context: &Context) -> Result<Json, Failure> {
        let mut rng = StdRng::seed_from_u64(piece.play ^ u64::from(context.attempt()));
        let span = Duration::from_millis(rng.random_range(0..4_000));
        let is_ending = self.is_ending.load(Ordering::SeqCst);
        for _ in 0..if is_ending { 0 } else { piece.adds } {
            let args = Json::encode(&Piece { play: rng.random(), adds: 0 })?;
            let client = context.backroom();
            let draft = client.enqueue_untyped(PIECE, args).queue(context.job().queue.clone());
            draft.max_attempts(2).in_batch_of(context).await?;
        }
        let clock = context.backroom().clock().clone();
        tokio::select! {
            biased;
            () = context.cancelled() => return Err(Failure::retry("asked to stop")),
            () = clock.sleep(span) => {}
        }
        match rng.random_range(0..10) {
            0 | 1 if !is_ending => Err(Failure::retry_after(Duration::from_secs(1), "scripted")),
            2 => Err(Failure::discard("scripted")),
            _ => Ok(Json::encode(&self.number())?),
        }
    }
}

/// A draft of a piece.
pub fn piece(rng: &mut StdRng, queue: &str, adds: u32) -> backroom::Draft {
    let args = Json::encode(&Piece { play: rng.random(), adds }).unwrap_or_else(|_| Json::null());
    let mut draft = backroom::Draft::new(PIECE, args);
    draft.queue = queue.into();
    draft.max_attempts = Some(rng.random_range(1..4));
    draft.extras.retry = Some(RetryPolicy::constant(Duration::from_secs(1)));
    draft
}
