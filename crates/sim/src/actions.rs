//! What can be done to the world in one step, and how it is drawn.

use std::time::Duration;

use backroom::{Retention, core::retention::RetentionLimit, testing::faults::Fault};
use jiff::SignedDuration;
use rand::{RngExt, rngs::StdRng};

use crate::drafts::{QUEUES, millis, pick};

/// One step. Machines and jobs are named by a random number that is taken modulo what is there.
#[derive(Debug, Clone)]
pub enum Action {
    /// A client enqueues so many jobs, one call each.
    Enqueue(u32),
    /// A client enqueues a job that takes its process down.
    EnqueueKiller,
    /// A client cancels a job.
    Cancel,
    /// A client retries a job by hand.
    Retry,
    /// A client deletes a job.
    Delete,
    /// A client pauses a queue.
    PauseQueue(&'static str),
    /// A client resumes a queue.
    ResumeQueue(&'static str),
    /// A client sets how long a queue keeps its finished jobs.
    Retain(&'static str, Retention),
    /// Time passes, and all machines follow it.
    Advance(Duration),
    /// Time passes at once for all: the whole world was suspended.
    Lurch(Duration),
    /// A worker is dropped, or its process killed.
    Crash {
        /// Whether by `kill -9`.
        killed: bool,
    },
    /// A worker stops in order.
    Stop,
    /// A machine that is down comes back.
    Restart,
    /// A machine freezes.
    Pause,
    /// A frozen machine goes on.
    Resume,
    /// A machine's clock is set.
    Jump(SignedDuration),
    /// The clock that all machines go by is set.
    JumpAll(SignedDuration),
    /// A machine's clock goes at another pace from now on: faster by so many millionths.
    Pace(i64),
    /// A machine is cut off from the store.
    Cut(Fault),
    /// One call of a machine is lost.
    LoseCall(u64, Fault),
    /// A machine's wire gets slow.
    Slow(Duration),
    /// A machine's wire is mended.
    Heal,
    /// The store is away for so long, for all machines; or it only refuses writes.
    Outage {
        /// For so long.
        span: Duration,
        /// How calls fail.
        fault: Fault,
        /// Reads go on being answered.
        writes_only: bool,
    },
}

/// Draws the next step; a calm one never is a fault.
pub fn draw(rng: &mut StdRng, calm: bool) -> Action {
    let most = if calm { 78 } else { 100 };
    match rng.random_range(0..most) {
        0..26 => Action::Enqueue(rng.random_range(1..5)),
        26..30 => Action::Cancel,
        30..34 => Action::Retry,
        34..36 => Action::Delete,
        36..38 => Action::PauseQueue(pick(rng, &QUEUES)),
        38..42 => Action::ResumeQueue(pick(rng, &QUEUES)),
        42 => Action::Retain(pick(rng, &QUEUES), retention(rng)),
        43..70 => Action::Advance(span(rng)),
        70..73 => Action::Stop,
        73..78 => Action::Restart,
        78..80 => Action::Crash { killed: rng.random_bool(0.5) },
        80..82 => Action::Pause,
        82..86 => Action::Resume,
        86 => draw_clock(rng),
        87..90 => Action::Cut(fault(rng)),
        90..94 => Action::LoseCall(rng.random_range(1..6), fault(rng)),
        94..96 => Action::Slow(millis(rng, 1..3_000)),
        96..99 => Action::Heal,
        _ => Action::Lurch(millis(rng, 1_000..60_000)),
    }
}

/// Draws what may happen to all machines at once.
pub fn draw_outage(rng: &mut StdRng) -> Action {
    let span = millis(rng, 200..90_000);
    if rng.random_bool(0.7) {
        Action::Outage { span, fault: fault(rng), writes_only: rng.random_bool(0.5) }
    } else {
        Action::Lurch(span)
    }
}

/// Draws what may befall clocks.
pub fn draw_clock(rng: &mut StdRng) -> Action {
    match rng.random_range(0..10) {
        0..5 => Action::Jump(step(rng)),
        5..7 => Action::JumpAll(step(rng)),
        // From one that stands still to one at five times the pace.
        7 => Action::Pace(-1_000_000),
        8 => Action::Pace(rng.random_range(-500_000..4_000_000)),
        _ => Action::Pace(rng.random_range(-500..500)),
    }
}

/// From a second to days, forward or back.
fn step(rng: &mut StdRng) -> SignedDuration {
    let secs = match rng.random_range(0..3) {
        0 => rng.random_range(1..60),
        1 => rng.random_range(60..7_200),
        _ => rng.random_range(7_200..3 * 86_400),
    };
    SignedDuration::from_secs(if rng.random_bool(0.5) { secs } else { -secs })
}

fn fault(rng: &mut StdRng) -> Fault {
    if rng.random_bool(0.5) { Fault::Before } else { Fault::After }
}

fn span(rng: &mut StdRng) -> Duration {
    match rng.random_range(0..10) {
        0..4 => millis(rng, 1..500),
        4..8 => millis(rng, 500..5_000),
        _ => millis(rng, 5_000..45_000),
    }
}

fn retention(rng: &mut StdRng) -> Retention {
    let mut limit = || match rng.random_range(0..3) {
        0 => RetentionLimit::FOREVER,
        1 => RetentionLimit::newest(rng.random_range(0..5)),
        _ => RetentionLimit::for_age(Duration::from_secs(rng.random_range(1..120))),
    };
    Retention { completed: limit(), cancelled: limit(), discarded: limit() }
}
