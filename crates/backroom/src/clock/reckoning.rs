//! The time of a wall clock, reckoned on by a monotonic clock between two measurements.
//!
//! A wall clock can be set forward or back at any moment. A measurement notices that and the reckoning takes over the new
//! time at once, so it always moves and is never wrong for longer than the time between two measurements. It may go
//! back. Nothing may rely on two readings being in order.
//!
//! After a clock was set back, jobs that were enqueued just before lie in the future. So the moment up to which jobs are due goes
//! on as before, until the new time has reached it.

use std::time::Duration;

use backroom_core::{
    Timestamp,
    bounds::{later, span_until},
};

/// A step back of at most this length is bridged for jobs that are due. After a longer one, jobs that were scheduled for
/// later would run too early by too much.
const BRIDGED_MAX: Duration = Duration::from_secs(15 * 60);
/// A step back of at most this length is the error of a measurement, which needs no bridge.
const ERROR_MAX: Duration = Duration::from_millis(1);

/// A wall clock's time at one reading of the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    time: Timestamp,
    reading: Duration,
}

impl Line {
    fn at(self, reading: Duration) -> Timestamp {
        later(self.time, reading.saturating_sub(self.reading))
    }
}

/// The last measurement, and what went before it if that was later.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reckoning {
    line: Line,
    /// The line before a step back, and the moment that it had reached then.
    before: Option<(Line, Timestamp)>,
}

impl Reckoning {
    /// Begins with the first measurement: it was `time` when the monotonic clock read `reading`.
    pub(crate) fn new(time: Timestamp, reading: Duration) -> Self {
        Self { line: Line { time, reading }, before: None }
    }

    /// Takes over a new measurement.
    pub(crate) fn measured(&mut self, time: Timestamp, reading: Duration) {
        let due = self.due(reading);
        let old = self.before.filter(|_| due > self.line.at(reading)).map_or(self.line, |(line, _)| line);
        let stepped_back = span_until(time, due);
        let is_bridged = stepped_back > ERROR_MAX && stepped_back <= BRIDGED_MAX;
        self.before = is_bridged.then(|| {
            // While an earlier step back is still bridged, that bridge lasts at least to its own end.
            let reached = self.before.map_or(self.line.at(reading), |(_, reached)| reached);
            (old, reached.max(self.line.at(reading)))
        });
        self.line = Line { time, reading };
    }

    /// The time at a reading of the monotonic clock.
    pub(crate) fn now(&self, reading: Duration) -> Timestamp {
        self.line.at(reading)
    }

    /// Up to which moment jobs are due at a reading of the monotonic clock.
    pub(crate) fn due(&self, reading: Duration) -> Timestamp {
        let now = self.now(reading);
        match self.before {
            Some((line, reached)) if now < reached => now.max(line.at(reading)),
            Some(_) | None => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        later(Timestamp::UNIX_EPOCH, secs_of(1_000_000 + secs))
    }

    fn secs_of(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn time_goes_on_at_the_pace_of_the_monotonic_clock() {
        let reckoning = Reckoning::new(at(5000), secs_of(10));
        assert_eq!(reckoning.now(secs_of(70)), at(5060));
        assert_eq!(reckoning.due(secs_of(70)), at(5060));
    }

    #[test]
    fn a_step_of_any_length_is_taken_over_at_once_and_time_goes_on() {
        for stepped in [0, 4990, 5010, 100_000] {
            let mut reckoning = Reckoning::new(at(5000), secs_of(0));
            reckoning.measured(at(stepped), secs_of(1));
            assert_eq!(reckoning.now(secs_of(1)), at(stepped));
            assert_eq!(reckoning.now(secs_of(3)), at(stepped + 2));
        }
    }

    #[test]
    fn jobs_enqueued_before_a_step_back_stay_due() {
        let mut reckoning = Reckoning::new(at(5000), secs_of(0));
        reckoning.measured(at(4890), secs_of(10));
        assert_eq!(reckoning.now(secs_of(10)), at(4890));
        for passed in 10..130 {
            assert_eq!(reckoning.due(secs_of(passed)), at(5000 + passed), "after {passed} s");
        }
        assert_eq!(reckoning.due(secs_of(130)), at(5010), "the new time has caught up");
        assert_eq!(reckoning.due(secs_of(131)), at(5011));
    }

    #[test]
    fn the_measurements_after_a_step_back_keep_its_bridge() {
        let mut reckoning = Reckoning::new(at(5000), secs_of(0));
        for passed in 10..130 {
            reckoning.measured(at(4880 + passed), secs_of(passed));
            assert_eq!(reckoning.now(secs_of(passed)), at(4880 + passed));
            assert_eq!(reckoning.due(secs_of(passed)), at(5000 + passed), "after {passed} s");
        }
        reckoning.measured(at(5010), secs_of(130));
        assert_eq!(reckoning.due(secs_of(130)), at(5010));
    }

    #[test]
    fn a_second_step_back_keeps_the_later_of_both_ends() {
        let mut reckoning = Reckoning::new(at(5000), secs_of(0));
        reckoning.measured(at(4900), secs_of(10));
        reckoning.measured(at(4800), secs_of(20));
        assert_eq!(reckoning.due(secs_of(20)), at(5020));
        assert_eq!(reckoning.due(secs_of(229)), at(5229));
        assert_eq!(reckoning.due(secs_of(231)), at(5011));
    }

    #[test]
    fn a_long_step_back_is_not_bridged() {
        let mut reckoning = Reckoning::new(at(5000), secs_of(0));
        reckoning.measured(at(1400), secs_of(10));
        assert_eq!(reckoning.due(secs_of(11)), at(1401), "a job due in fifty minutes must not run now");
    }

    #[test]
    fn a_step_forward_ends_a_bridge() {
        let mut reckoning = Reckoning::new(at(5000), secs_of(0));
        reckoning.measured(at(4900), secs_of(10));
        reckoning.measured(at(5020), secs_of(20));
        assert_eq!(reckoning.due(secs_of(21)), at(5021));
    }
}
