//! The users' code of the simulation: what a handler does is drawn from its job's args and how often the job has
//! moved, so that every run of a job is another one, and the same in every replay.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use backroom::{Context, Failure, Job, JobId, Json, LeaseId, RetryPolicy, Timestamp, Worker};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::{
    drafts,
    model::{Model, Said},
};

/// What handlers share with the driver.
pub struct Stage {
    /// The reference model.
    pub model: Arc<Mutex<Model>>,
    ending: AtomicBool,
    ended: Notify,
    numbers: AtomicU64,
    live: Mutex<Vec<Live>>,
    deaths: Mutex<Vec<String>>,
    children_left: AtomicU64,
}

/// A handler at work.
#[derive(Clone)]
pub struct Live {
    number: u64,
    /// Its job, lease and worker, and whether it was asked to stop.
    pub context: Context,
    /// Its lease.
    pub lease: LeaseId,
    /// Since when its lease is known to be lost, or its job to be cancelled.
    pub unwanted_since: Option<Timestamp>,
}

impl Stage {
    /// An empty stage.
    pub fn new(model: Arc<Mutex<Model>>) -> Self {
        Self {
            model,
            ending: AtomicBool::new(false),
            ended: Notify::new(),
            numbers: AtomicU64::new(0),
            live: Mutex::default(),
            deaths: Mutex::default(),
            children_left: AtomicU64::new(20),
        }
    }

    /// From now on no handler hangs, snoozes or has children.
    pub fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
        self.ended.notify_waiters();
    }

    /// The model.
    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handlers at work.
    pub fn live(&self) -> MutexGuard<'_, Vec<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The workers that a killer takes down at this moment.
    pub fn take_deaths(&self) -> Vec<String> {
        std::mem::take(&mut *self.deaths())
    }

    fn deaths(&self) -> MutexGuard<'_, Vec<String>> {
        self.deaths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }

    async fn until_end(&self) {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if self.is_ending() {
                return;
            }
            ended.await;
        }
    }
}

/// The typed kind. The others are known by name only.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Play {
    /// What its handler will do.
    pub play: u64,
    /// It takes its process down instead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kills: bool,
}

impl Play {
    /// Whether a job of these args takes its process down.
    pub fn is_killer(args: &Json) -> bool {
        args.decode::<Self>().is_ok_and(|play| play.kills)
    }
}

impl Job for Play {
    const KIND: &'static str = "alpha";
    type Output = Json;

    fn retry() -> RetryPolicy {
        RetryPolicy::constant(Duration::from_secs(2))
    }
}

/// Kinds that some worker handles.
pub const KINDS: [&str; 3] = ["alpha", "beta", "gamma"];
/// A kind that no worker handles.
pub const ORPHAN: &str = "orphan";

/// Gives a worker the handler of one of [`KINDS`].
pub fn register(worker: Worker, kind: &str, stage: &Arc<Stage>) -> Worker {
    let stage = Arc::clone(stage);
    if kind == Play::KIND {
        return worker.handle(move |job: Play, context| perform(Arc::clone(&stage), job, context));
    }
    worker.handle_untyped(kind, move |args: Json, context| {
        let stage = Arc::clone(&stage);
        async move {
            let args: Play = args.decode()?;
            perform(stage, args, context).await
        }
    })
}

/// One run of a handler.
async fn perform(stage: Arc<Stage>, play: Play, context: Context) -> Result<Json, Failure> {
    let (id, revision) = (context.id(), context.job().revision);
    let lease = context.job().lease_id.ok_or_else(|| Failure::retry("claimed without a lease"))?;
    let on_stage = enter(&stage, &context, lease);
    let mut rng = StdRng::seed_from_u64(play.play ^ revision.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    if play.kills {
        return kill(&stage, &context, &mut rng).await;
    }
    for _ in 0..rng.random_range(0..4) {
        step(&stage, &context, &mut rng).await;
    }
    let answer = end(&stage, &context, &mut rng).await;
    say(&stage, id, lease, &answer);
    drop(on_stage);
    match answer {
        Answer::Panic => panic!("{SCRIPTED}"),
        Answer::Return(result) => result,
    }
}

/// Takes the whole process down after a while, or at once.
async fn kill(stage: &Stage, context: &Context, rng: &mut StdRng) -> Result<Json, Failure> {
    let after = if rng.random_bool(0.3) { 0 } else { rng.random_range(1..8_000) };
    context.backroom().clock().sleep(Duration::from_millis(after)).await;
    stage.deaths().push(context.job().worker.clone().unwrap_or_default());
    std::future::pending().await
}

/// The message of panics that belong to the play.
pub const SCRIPTED: &str = "a scripted panic";

enum Answer {
    Return(Result<Json, Failure>),
    Panic,
}

/// Takes itself off the stage, however the handler ends.
struct OnStage {
    stage: Arc<Stage>,
    number: u64,
}

impl Drop for OnStage {
    fn drop(&mut self) {
        self.stage.live().retain(|live| live.number != self.number);
    }
}

fn enter(stage: &Arc<Stage>, context: &Context, lease: LeaseId) -> OnStage {
    let worker = context.job().worker.clone().unwrap_or_default();
    stage.model().begins(context.id(), lease, &worker);
    let number = stage.numbers.fetch_add(1, Ordering::SeqCst);
    stage.live().push(Live { number, context: context.clone(), lease, unwanted_since: None });
    OnStage { stage: Arc::clone(stage), number }
}

async fn step(stage: &Stage, context: &Context, rng: &mut StdRng) {
    let clock = context.backroom().clock().clone();
    match rng.random_range(0..10) {
        0..4 => clock.sleep(Duration::from_millis(rng.random_range(1..2_000))).await,
        4 => clock.sleep(Duration::from_millis(rng.random_range(2_000..40_000))).await,
        5 => context.log(format!("line {}", rng.random_range(0..100))),
        6 | 7 => context.progress(rng.random_range(0..=100), "on its way"),
        8 => {
            // A lost lease is what the end is judged by; here it only says to stop early.
            let _ = context.extend(Duration::from_secs(rng.random_range(1..60))).await;
        }
        _ => have_child(stage, context, rng).await,
    }
}

async fn have_child(stage: &Stage, context: &Context, rng: &mut StdRng) {
    let left = stage.children_left.load(Ordering::SeqCst);
    if left == 0 || stage.is_ending() {
        return;
    }
    stage.children_left.store(left - 1, Ordering::SeqCst);
    let draft = drafts::draw(rng);
    if let Ok(child) = context.backroom().enqueue_draft(draft).await {
        stage.model().acknowledged(child.id(), child.is_new());
    }
}

async fn end(stage: &Stage, context: &Context, rng: &mut StdRng) -> Answer {
    let draw = rng.random_range(0..100);
    let answer = match draw {
        _ if draw >= 70 && stage.is_ending() => Ok(output(context)),
        0..45 => Ok(output(context)),
        45..60 => Err(Failure::retry("scripted")),
        60..65 => return Answer::Panic,
        65..68 => Err(Failure::discard("scripted")),
        68..70 => Err(Failure::cancel("scripted")),
        70..80 => Err(Failure::snooze(Duration::from_millis(rng.random_range(0..30_000)))),
        80..95 => {
            tokio::select! {
                biased;
                () = context.cancelled() => {}
                () = stage.until_end() => {}
            }
            match rng.random_range(0..3) {
                0 => Ok(output(context)),
                1 => Err(Failure::retry("asked to stop")),
                _ => context.checkpoint().map(|()| output(context)),
            }
        }
        _ => {
            // Does not listen.
            let span = Duration::from_millis(rng.random_range(1_000..90_000));
            context.backroom().clock().sleep(span).await;
            Ok(output(context))
        }
    };
    Answer::Return(answer)
}

fn output(context: &Context) -> Json {
    Json::encode(&(context.id().to_string(), context.attempt())).unwrap_or_else(|_| Json::null())
}

fn say(stage: &Stage, id: JobId, lease: LeaseId, answer: &Answer) {
    let said = match answer {
        Answer::Panic => Said::Panicked,
        Answer::Return(Ok(output)) => Said::Succeeded(output.clone()),
        Answer::Return(Err(failure)) => match failure.message() {
            message if message.starts_with("snoozed") => Said::Snoozed,
            _ => said_of(&format!("{failure:?}")),
        },
    };
    stage.model().says(id, lease, said);
}

/// The outcome is the failure's own affair; its debug form tells it.
fn said_of(shown: &str) -> Said {
    if shown.starts_with("Discard") {
        Said::Discarded
    } else if shown.starts_with("Cancel") {
        Said::Cancelled
    } else {
        Said::Failed
    }
}
