//! Decides from a count of ticks whether a runtime runs its tasks.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::store::Blocked;

/// The time between two ticks, and between two checks of them.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// What is known about the runtime of one worker.
#[derive(Debug, Default)]
pub(super) struct Watched {
    ticks: AtomicU64,
    blocked: Mutex<Option<Blocked>>,
}

impl Watched {
    /// One more tick of the runtime.
    pub(super) fn tick(&self) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ticks(&self) -> u64 {
        self.ticks.load(Ordering::Relaxed)
    }

    /// The last time that it was blocked.
    pub(super) fn blocked(&self) -> Option<Blocked> {
        self.lock().clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Option<Blocked>> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a check of the ticks found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// They have not moved for so long.
    Blocked(Duration),
    /// The same at a later check.
    Still(Duration),
    /// They move again, after they had not moved for so long.
    Over(Duration),
}

/// Decides from the ticks whether a runtime is blocked.
pub(super) struct Watch {
    ticks: u64,
    checked: Duration,
    idle: Duration,
    shortest: Duration,
    is_blocked: bool,
}

impl Watch {
    pub(super) fn new(shortest: Duration, now: Duration) -> Self {
        Self { ticks: 0, checked: now, idle: Duration::ZERO, shortest, is_blocked: false }
    }

    pub(super) fn check(&mut self, ticks: u64, now: Duration) -> Option<Found> {
        // After a long pause between two checks the whole process was frozen, not only the runtime.
        let passed = now.saturating_sub(self.checked).min(TICK * 2);
        self.checked = now;
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
    fn a_runtime_whose_ticks_do_not_move_is_blocked_until_they_do() {
        let mut watch = Watch::new(ms(1000), ms(0));
        assert_eq!(watch.check(1, ms(250)), None);
        for at in [500, 750, 1000, 1250] {
            assert_eq!(watch.check(1, ms(at)), None);
        }
        assert_eq!(watch.check(1, ms(1500)), Some(Found::Blocked(ms(1250))));
        assert_eq!(watch.check(1, ms(1750)), Some(Found::Still(ms(1500))));
        assert_eq!(watch.check(2, ms(2000)), Some(Found::Over(ms(1750))));
        assert_eq!(watch.check(2, ms(2250)), None);
    }

    #[test]
    fn a_process_that_was_frozen_has_no_blocked_runtime() {
        let mut watch = Watch::new(ms(1000), ms(0));
        watch.check(1, ms(250));
        assert_eq!(watch.check(1, ms(3_600_000)), None);
        assert_eq!(watch.check(2, ms(3_600_250)), None);
    }
}
