//! Whether the runtime of a worker runs its tasks.
//!
//! A task on that runtime counts ticks, and the thread of the heartbeats watches the count. When it stands still, some code
//! blocks the runtime. The worker says so in the log and in its row, and names the handlers that are on its threads.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio_util::sync::DropGuard;

use super::shared::Shared;
use crate::store::Blocked;

/// The time between two ticks, and between two looks at them.
const TICK: Duration = Duration::from_millis(250);
/// A runtime that stands still for less is not reported; with a long lease, for less than a part of that.
const SHORTEST: Duration = Duration::from_secs(1);
const PARTS_OF_LEASE: u32 = 10;
/// Kinds that are named.
const KINDS_MAX: usize = 10;
/// Jobs that one line names.
const JOBS_MAX: usize = 5;

/// The condition, which may be met again and again.
const BLOCKED: &str = "the runtime of the worker was blocked";

/// What is known of the runtime of one worker.
#[derive(Debug, Default)]
pub(super) struct Watched {
    ticks: AtomicU64,
    blocked: Mutex<Option<Blocked>>,
}

impl Watched {
    /// The last time that it was blocked.
    pub(super) fn blocked(&self) -> Option<Blocked> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Blocked>> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ticks on the runtime that is watched. When that runtime is dropped, so is this, and the heartbeats end.
pub(super) async fn keep_ticking(shared: Arc<Shared>, _heart: DropGuard) {
    loop {
        shared.watched.ticks.fetch_add(1, Ordering::Relaxed);
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
        match watch.look(shared.watched.ticks.load(Ordering::Relaxed), clock.monotonic()) {
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

/// It is blocked. Answers whether that was reported: one that is blocked again and again is counted.
fn begin(shared: &Shared, span: Duration) -> bool {
    let runs: Vec<_> = shared.held.all().into_iter().filter(|run| run.is_polled()).collect();
    let mut kinds: Vec<_> = runs.iter().map(|run| run.job.kind.clone()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds.truncate(KINDS_MAX);
    let blocked = Blocked { at: shared.engine.clock.now(), for_ms: millis(span), now: true, kinds };
    *shared.watched.lock() = Some(blocked.clone());
    shared.pulse.want();
    let is_news = shared.is_news(BLOCKED);
    if is_news {
        let jobs = runs.iter().take(JOBS_MAX).map(|run| format!("{} {}", run.job.kind, run.job.id));
        tracing::warn!(
            worker = %shared.name(), handlers = runs.len(), first = jobs.collect::<Vec<_>>().join(", "),
            "the runtime is {blocked}; no other task runs meanwhile. The worker keeps its leases. Let such handlers use \
             handle_blocking or spawn_blocking"
        );
    }
    is_news
}

/// It runs its tasks again.
fn end(shared: &Shared, span: Duration, is_reported: bool) {
    let over = shared.watched.lock().as_mut().map(|blocked| {
        blocked.for_ms = millis(span);
        blocked.now = false;
        blocked.clone()
    });
    shared.pulse.want();
    if let (Some(blocked), true) = (over, is_reported) {
        tracing::warn!(worker = %shared.name(), ms = blocked.for_ms, "the runtime was {blocked}; it runs again");
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// What a look at the ticks found.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// They stand still, for so long by now.
    Blocked(Duration),
    /// The same at a later look.
    Still(Duration),
    /// They go on, after they stood still for so long.
    Over(Duration),
}

/// Decides from the ticks whether a runtime is blocked.
struct Watch {
    ticks: u64,
    looked: Duration,
    idle: Duration,
    shortest: Duration,
    is_blocked: bool,
}

impl Watch {
    fn new(shortest: Duration, now: Duration) -> Self {
        Self { ticks: 0, looked: now, idle: Duration::ZERO, shortest, is_blocked: false }
    }

    fn look(&mut self, ticks: u64, now: Duration) -> Option<Found> {
        // After a long pause between two looks the whole process was frozen, not the runtime alone.
        let passed = now.saturating_sub(self.looked).min(TICK * 2);
        self.looked = now;
        self.idle += passed;
        if ticks != self.ticks {
            self.ticks = ticks;
            let idle = std::mem::take(&mut self.idle);
            return std::mem::take(&mut self.is_blocked).then_some(Found::Over(idle));
        }
        if self.idle <= self.shortest {
            return None;
        }
        let was_blocked = std::mem::replace(&mut self.is_blocked, true);
        Some(if was_blocked { Found::Still(self.idle) } else { Found::Blocked(self.idle) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_runtime_whose_ticks_stand_still_is_blocked_until_they_go_on() {
        let mut watch = Watch::new(ms(1000), ms(0));
        assert_eq!(watch.look(1, ms(250)), None);
        for at in [500, 750, 1000, 1250] {
            assert_eq!(watch.look(1, ms(at)), None);
        }
        assert_eq!(watch.look(1, ms(1500)), Some(Found::Blocked(ms(1250))));
        assert_eq!(watch.look(1, ms(1750)), Some(Found::Still(ms(1500))));
        assert_eq!(watch.look(2, ms(2000)), Some(Found::Over(ms(1750))));
        assert_eq!(watch.look(2, ms(2250)), None);
    }

    #[test]
    fn a_process_that_was_frozen_has_no_blocked_runtime() {
        let mut watch = Watch::new(ms(1000), ms(0));
        watch.look(1, ms(250));
        assert_eq!(watch.look(1, ms(3_600_000)), None);
        assert_eq!(watch.look(2, ms(3_600_250)), None);
    }
}
