//! A circuit breaker: whether work of one kind is to be tried now, or the other side is left alone for a while.

use std::time::Duration;

/// When a circuit breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// So many failures in a row open it.
    pub failures: u32,
    /// So long it stays open. Then one attempt shows whether it closes.
    pub pause: Duration,
}

/// A circuit breaker. Moments are readings of a monotonic clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Failures in a row.
    failures: u32,
    /// Since it opened: until when it stays open.
    open_until: Option<Duration>,
    /// One attempt is under way to show whether it closes; it counts as lost from this reading on.
    trial_until: Option<Duration>,
}

impl Breaker {
    /// Whether it is open, so that no attempt begins.
    pub fn is_open(&self, now: Duration) -> bool {
        self.rest(now).is_some()
    }

    /// Lets an attempt begin; fails with how long to wait. After the pause one attempt is let in.
    pub fn admit(&mut self, policy: BreakerPolicy, now: Duration) -> Result<(), Duration> {
        if let Some(rest) = self.rest(now) {
            return Err(rest);
        }
        if self.open_until.is_some() {
            self.trial_until = Some(now.saturating_add(policy.pause));
        }
        Ok(())
    }

    /// An attempt succeeded, or failed for a reason that is not the other side's: it closes.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// An attempt failed. Answers whether it opened by that.
    pub fn failed(&mut self, policy: BreakerPolicy, now: Duration) -> bool {
        self.failures = self.failures.saturating_add(1);
        if self.failures < policy.failures {
            return false;
        }
        let was_open = self.is_open(now) && self.trial_until.is_none();
        self.open_until = Some(now.saturating_add(policy.pause));
        self.trial_until = None;
        !was_open
    }

    /// How many failures in a row there were.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether it has opened and not closed since.
    pub fn has_opened(&self) -> bool {
        self.open_until.is_some()
    }

    fn rest(&self, now: Duration) -> Option<Duration> {
        let until = self.trial_until.max(self.open_until)?;
        (until > now).then(|| until.saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: BreakerPolicy = BreakerPolicy { failures: 3, pause: Duration::from_secs(30) };

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let mut breaker = Breaker::default();
        assert!(!breaker.failed(POLICY, at(1)) && !breaker.failed(POLICY, at(2)));
        breaker.succeeded();
        assert!(!breaker.failed(POLICY, at(3)) && !breaker.failed(POLICY, at(4)));
        assert_eq!(breaker.admit(POLICY, at(5)), Ok(()));
        assert!(breaker.failed(POLICY, at(6)), "the third in a row");
        assert_eq!(breaker.admit(POLICY, at(10)), Err(at(26)));
        assert!(breaker.is_open(at(35)) && !breaker.is_open(at(36)));
        // An attempt that began before ends late.
        assert!(!breaker.failed(POLICY, at(20)));
    }

    #[test]
    fn after_the_pause_one_attempt_decides() {
        let mut breaker = Breaker::default();
        (0..3).for_each(|_| _ = breaker.failed(POLICY, at(0)));
        assert_eq!(breaker.admit(POLICY, at(30)), Ok(()));
        assert_eq!(breaker.admit(POLICY, at(31)), Err(at(29)), "one at a time");
        assert!(breaker.failed(POLICY, at(32)), "it opens again");
        assert_eq!(breaker.admit(POLICY, at(61)), Err(at(1)));
        assert_eq!(breaker.admit(POLICY, at(62)), Ok(()));
        breaker.succeeded();
        assert_eq!(breaker.admit(POLICY, at(62)), Ok(()));
        assert_eq!((breaker.failures(), breaker.has_opened()), (0, false));
    }

    #[test]
    fn an_attempt_whose_end_is_never_reported_does_not_hold_it_open_for_ever() {
        let mut breaker = Breaker::default();
        (0..3).for_each(|_| _ = breaker.failed(POLICY, at(0)));
        assert_eq!(breaker.admit(POLICY, at(30)), Ok(()));
        assert_eq!(breaker.admit(POLICY, at(60)), Ok(()));
    }
}
