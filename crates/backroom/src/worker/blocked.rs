//! Watches whether the worker's runtime runs its tasks.
//!
//! A task on that runtime counts ticks, and the thread of the heartbeats watches the count. When the count does not move, some
//! code blocks the runtime. The worker says so in the log and in its row, and names the handlers that are on its threads.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::DropGuard;

use super::{
    runtime_watch::{Found, TICK, Watch},
    shared::Shared,
};
use crate::store::Blocked;

/// A runtime that is blocked for less is not reported; with a long lease, for less than a part of the lease.
const SHORTEST: Duration = Duration::from_secs(1);
const PARTS_OF_LEASE: u32 = 10;
/// Kinds that are named.
const KINDS_MAX: usize = 10;
/// Jobs that one line names.
const JOBS_MAX: usize = 5;

/// The condition, which can be met many times.
const BLOCKED: &str = "the runtime of the worker was blocked";

/// Ticks on the runtime that is watched. When that runtime is dropped, so is this task, and the heartbeats end.
pub(super) async fn keep_ticking(shared: Arc<Shared>, _heart: DropGuard) {
    loop {
        shared.watched.tick();
        shared.engine.clock.sleep(TICK).await;
    }
}

/// Watches the ticks, from another runtime.
pub(super) async fn keep_watching(shared: Arc<Shared>) {
    let clock = &shared.engine.clock;
    let mut watch = Watch::new(SHORTEST.max(shared.settings.lease / PARTS_OF_LEASE), clock.monotonic());
    let mut is_reported = false;
    loop {
        clock.sleep(TICK).await;
        match watch.check(shared.watched.ticks(), clock.monotonic()) {
            None => {}
            Some(Found::Blocked(span)) => is_reported = begin(&shared, span),
            Some(Found::Still(span)) => {
                if let Some(blocked) = &mut *shared.watched.lock() {
                    blocked.for_ms = millis(span);
                }
            }
            Some(Found::Over(span)) => end(&shared, span, is_reported),
        }
    }
}

/// The runtime is blocked. Returns whether that was logged: after the first time it is only counted.
fn begin(shared: &Shared, span: Duration) -> bool {
    let runs: Vec<_> = shared.work.active.all().into_iter().filter(|run| run.is_polled()).collect();
    let mut kinds: Vec<_> = runs.iter().map(|run| run.job.kind.clone()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds.truncate(KINDS_MAX);
    let blocked = Blocked { at: shared.engine.clock.now(), for_ms: millis(span), now: true, kinds };
    *shared.watched.lock() = Some(blocked.clone());
    shared.signals.heartbeats.request();
    let is_news = shared.is_news(BLOCKED);
    if is_news {
        let jobs = runs.iter().take(JOBS_MAX).map(|run| format!("{} {}", run.job.kind, run.job.id));
        tracing::warn!(
            worker = %shared.name(), handlers = runs.len(), first = jobs.collect::<Vec<_>>().join(", "),
            "the runtime is {blocked}; no other task runs meanwhile. Its heartbeats go on. Let such handlers use \
             handle_blocking or spawn_blocking"
        );
    }
    is_news
}

/// The runtime runs its tasks again.
fn end(shared: &Shared, span: Duration, is_reported: bool) {
    let over = shared.watched.lock().as_mut().map(|blocked| {
        blocked.for_ms = millis(span);
        blocked.now = false;
        blocked.clone()
    });
    shared.signals.heartbeats.request();
    if let (Some(blocked), true) = (over, is_reported) {
        tracing::warn!(worker = %shared.name(), ms = blocked.for_ms, "the runtime was {blocked}; it runs again");
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
