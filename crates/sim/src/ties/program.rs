//! Random workflows: programs of steps, timers, signals, children, joins and races, and the code that carries them out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use backroom::{Draft, Failure, Job, JobId, Json, RetryPolicy, WorkflowContext, workflow::ChildPolicy};
use futures_util::future::BoxFuture;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

use super::office::{Office, PIECE};
use crate::drafts::{QUEUES, millis, pick};

/// The args of a workflow.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Flow {
    /// What its program is drawn from.
    pub program: u64,
    /// How often it has gone on with an empty journal.
    #[serde(default)]
    pub round: u32,
}

impl Job for Flow {
    const KIND: &'static str = "flow";
    type Output = u64;
}

/// The names of signals.
pub const SIGNALS: [&str; 3] = ["red", "green", "blue"];

/// One statement. Numbers tell names apart; a loop uses them again.
#[derive(Debug, Clone)]
enum Node {
    Step { id: u32, fails: u32, is_fatal: bool, undo_fails: Option<u32>, takes: Duration },
    Sleep { id: u32, span: Duration },
    Wait { signal: &'static str, within: Option<Duration> },
    Child { id: u32, play: u64, policy: ChildPolicy },
    Now,
    Join { id: u32, branches: Vec<Vec<Node>> },
    Race { id: u32, branches: Vec<Vec<Node>> },
    Twice(Vec<Node>),
}

fn program(rng: &mut StdRng, depth: u32, next: &mut u32) -> Vec<Node> {
    (0..rng.random_range(1..4)).map(|_| node(rng, depth, next)).collect()
}

fn node(rng: &mut StdRng, depth: u32, next: &mut u32) -> Node {
    *next += 1;
    let id = *next;
    let most = if depth == 0 { 13 } else { 18 };
    match rng.random_range(0..most) {
        0..6 => Node::Step {
            id,
            fails: rng.random_range(0..4_u32).saturating_sub(1),
            is_fatal: rng.random_bool(0.3),
            undo_fails: rng.random_bool(0.5).then(|| rng.random_range(0..2)),
            takes: if rng.random_bool(0.5) { Duration::ZERO } else { millis(rng, 1..3_000) },
        },
        6 | 7 => Node::Sleep { id, span: millis(rng, 0..20_000) },
        8..11 => {
            let within = rng.random_bool(0.6).then(|| millis(rng, 0..30_000));
            Node::Wait { signal: pick(rng, &SIGNALS), within }
        }
        11 => Node::Child { id, play: rng.random(), policy: pick(rng, &ChildPolicy::ALL) },
        12 => Node::Now,
        13 | 14 => Node::Join { id, branches: branches(rng, depth, next) },
        15 | 16 => Node::Race { id, branches: branches(rng, depth, next) },
        _ => Node::Twice(program(rng, depth - 1, next)),
    }
}

fn branches(rng: &mut StdRng, depth: u32, next: &mut u32) -> Vec<Vec<Node>> {
    (0..2).map(|_| program(rng, depth - 1, next)).collect()
}

/// One run of the code, and how far it came.
struct Telling {
    office: Arc<Office>,
    workflow: JobId,
    round: u32,
    next: AtomicUsize,
}

impl Telling {
    /// What every run of this workflow must see at this place.
    fn say(&self, line: String) {
        let place = self.next.fetch_add(1, Ordering::SeqCst);
        self.office.saw((self.workflow, self.round), place, line);
    }
}

/// The handler.
pub async fn flow(office: Arc<Office>, args: Flow, ctx: WorkflowContext) -> Result<u64, Failure> {
    let mut rng = StdRng::seed_from_u64(args.program ^ u64::from(args.round));
    let nodes = program(&mut rng, 2, &mut 0);
    let (is_endless, workflow) = (rng.random_bool(0.15), ctx.id());
    let telling = Telling { office, workflow, round: args.round, next: AtomicUsize::new(0) };
    telling.say(format!("begins with {}", ctx.random("draw")?));
    let sum = run(&telling, ctx.clone(), &nodes, 0).await?;
    telling.say(format!("ends with {sum}"));
    if is_endless && args.round == 0 {
        return Err(ctx.continue_as_new(&Flow { round: 1, ..args })?);
    }
    Ok(sum)
}

fn run<'a>(
    telling: &'a Telling,
    ctx: WorkflowContext,
    nodes: &'a [Node],
    sum: u64,
) -> BoxFuture<'a, Result<u64, Failure>> {
    Box::pin(async move {
        let mut sum = sum;
        for node in nodes {
            sum = sum.wrapping_mul(31).wrapping_add(one(telling, &ctx, node, sum).await?);
        }
        Ok(sum)
    })
}

async fn one<'a>(
    telling: &'a Telling,
    ctx: &WorkflowContext,
    node: &'a Node,
    sum: u64,
) -> Result<u64, Failure> {
    match node {
        Node::Step { .. } => step(telling, ctx, node).await,
        Node::Sleep { id, span } => {
            ctx.sleep(&format!("t{id}"), *span).await?;
            telling.say(format!("t{id}"));
            Ok(1)
        }
        Node::Wait { signal, within } => {
            let value = match within {
                None => Some(ctx.wait_signal::<u64>(signal).await?),
                Some(within) => ctx.wait_signal_within::<u64>(signal, *within).await?,
            };
            telling.say(format!("{signal} {value:?}"));
            Ok(value.unwrap_or(2))
        }
        Node::Child { id, play, policy } => {
            let args = Json::encode(&super::office::Piece { play: *play, adds: 0 })?;
            let mut draft = Draft::new(PIECE, args);
            draft.queue = QUEUES[usize::try_from(*play % 3).unwrap_or_default()].into();
            let ended = ctx.child_draft(&format!("c{id}"), draft, *policy).await;
            telling.say(format!("c{id} {ended:?}"));
            Ok(u64::from(ended.is_ok()))
        }
        Node::Now => {
            let now = ctx.now().await?;
            telling.say(format!("now {now}"));
            Ok(3)
        }
        Node::Join { id, branches } => {
            let branch = |ctx, nodes: &'a Vec<Node>| run(telling, ctx, nodes, sum);
            let sums = ctx.join_all(&format!("j{id}"), branches, branch).await?;
            telling.say(format!("j{id}"));
            sums.into_iter().try_fold(0_u64, |all, sum| Ok(all.wrapping_add(sum?)))
        }
        Node::Race { id, branches } => {
            let mut race = ctx.race(format!("r{id}"));
            for (place, nodes) in branches.iter().enumerate() {
                race = race.branch(place.to_string(), move |ctx| run(telling, ctx, nodes, sum));
            }
            let won = race.run().await?;
            telling.say(format!("r{id} {}", won.branch));
            won.output
        }
        Node::Twice(nodes) => {
            let first = run(telling, ctx.clone(), nodes, sum).await?;
            run(telling, ctx.clone(), nodes, first).await
        }
    }
}

async fn step(telling: &Telling, ctx: &WorkflowContext, node: &Node) -> Result<u64, Failure> {
    let Node::Step { id, fails, is_fatal, undo_fails, takes } = node else { return Ok(0) };
    let (office, workflow, clock) = (&telling.office, telling.workflow, ctx.backroom().clock().clone());
    let mut step =
        ctx.step::<u64>(format!("s{id}")).retry(RetryPolicy::constant(Duration::from_secs(1))).max_tries(2);
    if let Some(undo_fails) = *undo_fails {
        let office = Arc::clone(office);
        step = step.compensate(move |value| {
            let answer = office.undoes(workflow, value, undo_fails);
            std::future::ready(answer)
        });
    }
    let mut tries = 0;
    let value = step
        .run(|| {
            tries += 1;
            let (is_bad, clock) = (tries <= *fails, clock.clone());
            async move {
                clock.sleep(*takes).await;
                // Another number each time the code runs: only the recorded one may be seen.
                if is_bad { Err(Failure::retry("scripted")) } else { Ok(office.number()) }
            }
        })
        .await;
    telling.say(format!("s{id} {value:?}"));
    match value {
        Ok(value) => Ok(value),
        Err(_) if *is_fatal => Err(Failure::discard(format!("s{id} failed"))),
        Err(_) => Ok(4),
    }
}
