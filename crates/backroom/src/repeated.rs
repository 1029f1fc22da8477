//! Conditions that repeat: each is reported when it begins, then counted, then reported as over.
//!
//! A full disk or a hundred lost leases would otherwise fill the log and hide the other lines. [`Repeated`] only decides;
//! [`Repeats`] holds several conditions by their name and logs the end of each. Time is an argument: a reading of a monotonic
//! clock.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// A condition whose end nothing reports is over when it has not been met for so long.
pub(crate) const QUIET: Duration = Duration::from_secs(60);

/// One condition.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Repeated {
    /// When it began and when it was last met; none while it is over.
    met: Option<(Duration, Duration)>,
    times: u64,
}

/// How often a condition was met, and within which span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) times: u64,
    pub(crate) span: Duration,
}

impl Repeated {
    /// The condition is met. Returns whether that begins it, so that it is to be logged.
    pub(crate) fn met(&mut self, now: Duration) -> bool {
        self.times += 1;
        let (begun, _) = *self.met.get_or_insert((now, now));
        self.met = Some((begun, now));
        self.times == 1
    }

    /// Whether it is met and not over.
    pub(crate) fn is_met(&self) -> bool {
        self.met.is_some()
    }

    /// It is over; nothing if it was not met.
    pub(crate) fn over(&mut self, now: Duration) -> Option<Times> {
        let (begun, _) = self.met?;
        let times = Times { times: self.times, span: now.saturating_sub(begun) };
        *self = Self::default();
        Some(times)
    }

    /// The same if it has not been met for [`QUIET`]; then it ended when it was last met.
    pub(crate) fn over_if_quiet(&mut self, now: Duration) -> Option<Times> {
        let (_, last) = self.met?;
        if now.saturating_sub(last) < QUIET { None } else { self.over(last) }
    }
}

impl fmt::Display for Times {
    /// `8,198 times in 2m 30s`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.times == 1 {
            return f.write_str("once");
        }
        let digits = self.times.to_string();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        let secs = self.span.as_secs();
        match (secs / 3600, secs / 60 % 60, secs % 60) {
            (0, 0, 0) => f.write_str(" times within a second"),
            (0, 0, secs) => write!(f, " times in {secs}s"),
            (0, minutes, secs) => write!(f, " times in {minutes}m {secs}s"),
            (hours, minutes, _) => write!(f, " times in {hours}h {minutes}m"),
        }
    }
}

/// Several conditions, each named by a sentence that is also its line in the log.
#[derive(Debug, Default)]
pub(crate) struct Repeats(Mutex<BTreeMap<&'static str, Repeated>>);

impl Repeats {
    /// None is met.
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// The condition is met. Returns whether the caller is to log it, with the details of this case.
    pub(crate) fn met(&self, condition: &'static str, now: Duration) -> bool {
        self.conditions().entry(condition).or_default().met(now)
    }

    /// The condition is not met, although it could be. Logs that it is over if it was met before.
    pub(crate) fn over(&self, condition: &'static str, now: Duration) {
        let ended = self.conditions().remove(condition).and_then(|mut repeated| repeated.over(now));
        if let Some(times) = ended {
            tracing::warn!("{condition}: {times}, now over");
        }
    }

    /// Logs the end of conditions that were met several times and not for a while. To be called from time to time.
    pub(crate) fn check(&self, now: Duration) {
        let mut ended = Vec::new();
        self.conditions().retain(|condition, repeated| match repeated.over_if_quiet(now) {
            Some(times) => {
                ended.push((*condition, times));
                false
            }
            None => true,
        });
        // A condition that was met once was logged in full.
        for (condition, times) in ended.into_iter().filter(|(_, times)| times.times > 1) {
            tracing::warn!("{condition}: {times}, now over");
        }
    }

    /// Logs what was counted and not logged yet, when no condition can be met any more.
    pub(crate) fn finish(&self, now: Duration) {
        let conditions = std::mem::take(&mut *self.conditions());
        for (condition, mut repeated) in conditions {
            if let Some(times) = repeated.over(now).filter(|times| times.times > 1) {
                tracing::warn!("{condition}: {times} until the end");
            }
        }
    }

    fn conditions(&self) -> MutexGuard<'_, BTreeMap<&'static str, Repeated>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_condition_is_reported_when_it_begins_and_counted_until_it_is_over() {
        let mut repeated = Repeated::default();
        assert_eq!(repeated.over(secs(1)), None);
        let reported = (0..8198).filter(|_| repeated.met(secs(10))).count();
        assert_eq!(reported, 1);
        let times = repeated.over(secs(160)).unwrap();
        assert_eq!(times.to_string(), "8,198 times in 2m 30s");
        assert_eq!(repeated.over(secs(170)), None);
        assert!(repeated.met(secs(180)), "it begins again");
    }

    #[test]
    fn a_condition_whose_end_nothing_reports_is_over_when_it_has_been_quiet() {
        let mut repeated = Repeated::default();
        assert_eq!(repeated.over_if_quiet(secs(99)), None);
        repeated.met(secs(100));
        repeated.met(secs(105));
        assert_eq!(repeated.over_if_quiet(secs(105) + QUIET - secs(1)), None);
        let times = repeated.over_if_quiet(secs(105) + QUIET).unwrap();
        assert_eq!(times, Times { times: 2, span: secs(5) });
    }

    #[test]
    fn spans_are_shown_in_the_two_largest_units() {
        let text = |times, secs| Times { times, span: Duration::from_secs(secs) }.to_string();
        assert_eq!(text(1, 9), "once");
        assert_eq!(text(31_456, 0), "31,456 times within a second");
        assert_eq!(text(999, 59), "999 times in 59s");
        assert_eq!(text(1_000_000, 3600 * 26 + 61), "1,000,000 times in 26h 1m");
    }
}
