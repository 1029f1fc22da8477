//! Random jobs.

use std::time::Duration;

use backroom::{
    Draft, Json, MessageKind, RetryPolicy, UniqueRule,
    core::{Reply, draft::When},
};
use rand::{RngExt, rngs::StdRng};

use crate::handlers::{KINDS, ORPHAN, Play};

/// The queues of the simulation.
pub const QUEUES: [&str; 3] = ["mail", "images", "reports"];

/// The reply queue of the simulation.
pub const REPLIES: &str = "replies";

/// A job with options as users might give them. Waits are short, so that a simulation of minutes sees their end.
pub fn draw(rng: &mut StdRng) -> Draft {
    let kind = if rng.random_ratio(1, 50) { ORPHAN } else { pick(rng, &KINDS) };
    let args = Json::encode(&Play { play: rng.random(), kills: false }).unwrap_or_else(|_| Json::null());
    let mut draft = Draft::new(kind, args);
    draft.queue = pick(rng, &QUEUES).into();
    draft.priority = if rng.random_bool(0.5) { 5 } else { rng.random_range(0..10) };
    draft.max_attempts = Some(rng.random_range(1..=4));
    if rng.random_bool(0.3) {
        draft.start = When::In(millis(rng, 1..60_000));
    }
    if rng.random_bool(0.2) {
        let start = match draft.start {
            When::In(delay) => delay,
            When::Now | When::At(_) => Duration::ZERO,
        };
        draft.expiry = Some(When::In(start + millis(rng, 1..30_000)));
    }
    if rng.random_bool(0.3) {
        draft.extras.timeout = Some(millis(rng, 100..30_000));
    }
    if rng.random_bool(0.5) {
        draft.extras.retry = Some(retry(rng));
    }
    // No random number is drawn for it: the seeds of the regressions go on to mean what they meant.
    if draft.priority.is_multiple_of(3) {
        draft.extras.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into());
    }
    if draft.priority % 4 == 1 {
        let on = MessageKind::ALL.into_iter().filter(|kind| *kind != MessageKind::Progress).collect();
        draft.extras.reply = Some(Reply { to: REPLIES.into(), correlation_id: None, on });
    }
    if rng.random_bool(0.3) {
        draft.unique = Some(unique(rng));
    }
    draft
}

/// A job that takes its process down each time it runs, now or soon.
pub fn killer(rng: &mut StdRng) -> Draft {
    let args = Json::encode(&Play { play: rng.random(), kills: true }).unwrap_or_else(|_| Json::null());
    let mut draft = Draft::new(pick(rng, &KINDS), args);
    draft.queue = pick(rng, &QUEUES).into();
    draft.priority = rng.random_range(0..10);
    if rng.random_bool(0.3) {
        draft.start = When::In(millis(rng, 1..30_000));
    }
    draft
}

fn retry(rng: &mut StdRng) -> RetryPolicy {
    match rng.random_range(0..4) {
        0 => RetryPolicy::constant(millis(rng, 0..10_000)),
        1 => RetryPolicy::linear(millis(rng, 0..10_000)),
        2 => RetryPolicy::exponential(millis(rng, 1..5_000), Duration::from_secs(30)),
        _ => RetryPolicy::list(vec![Duration::ZERO, millis(rng, 0..20_000)]).jitter(0),
    }
}

/// Few keys, so that they collide.
fn unique(rng: &mut StdRng) -> UniqueRule {
    let rule = UniqueRule::by_key(pick(rng, &["north", "south", "east"]));
    let rule = match rng.random_range(0..3) {
        0 => rule,
        1 => rule.while_queued(),
        _ => rule.within(Duration::from_secs(rng.random_range(1..60))),
    };
    match rng.random_range(0..3) {
        0 => rule,
        1 => rule.replace(),
        _ => rule.reject(),
    }
}

/// One of these.
pub fn pick<T: Copy>(rng: &mut StdRng, of: &[T]) -> T {
    of[rng.random_range(0..of.len())]
}

/// A span in milliseconds.
pub fn millis(rng: &mut StdRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.random_range(range))
}
