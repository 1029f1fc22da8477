//! Repeats after a span of real time, whatever the wall clock shows.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Invalid, bounds, millis};

/// The shortest interval.
pub const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// An interval and where it is counted from. Every process computes the same occurrences, after a restart too, because nothing
/// is counted from the start of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Every {
    /// The span between two occurrences, in whole milliseconds; at least a second.
    #[serde(with = "millis", rename = "interval_ms")]
    pub interval: Duration,
    /// Moves every occurrence by this span, shorter than the interval; default none.
    #[serde(default, with = "millis", rename = "phase_ms", skip_serializing_if = "Duration::is_zero")]
    pub phase: Duration,
    /// One of the occurrences, without the phase. Default 1970-01-01T00:00:00Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<Timestamp>,
}

impl Every {
    /// Each `interval`, counted from 1970-01-01T00:00:00Z.
    pub const fn new(interval: Duration) -> Self {
        Self { interval, phase: Duration::ZERO, anchor: None }
    }

    /// Moved by `phase`.
    pub const fn phase(mut self, phase: Duration) -> Self {
        self.phase = phase;
        self
    }

    /// Counted from `anchor`.
    pub const fn anchor(mut self, anchor: Timestamp) -> Self {
        self.anchor = Some(anchor);
        self
    }

    pub(crate) fn check(&self) -> Result<(), Invalid> {
        let interval = self.interval;
        if interval < INTERVAL_MIN {
            let why = format!("is {} ms; at least 1000 are needed", interval.as_millis());
            return Err(Invalid::new("interval", why));
        }
        bounds::check_span("interval", interval)?;
        if self.phase >= interval {
            let why = format!(
                "of {} ms is not shorter than the interval of {} ms; leave out whole intervals",
                self.phase.as_millis(),
                interval.as_millis()
            );
            return Err(Invalid::new("phase", why));
        }
        Ok(())
    }

    pub(crate) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let (step, origin) = self.micros();
        let since = i128::from(after.as_microsecond()) - origin;
        at(origin + (since.div_euclid(step) + 1) * step).filter(|at| *at > after)
    }

    pub(crate) fn previous(&self, before: Timestamp) -> Option<Timestamp> {
        let (step, origin) = self.micros();
        let since = i128::from(before.as_microsecond()) - origin;
        let whole = origin + since.div_euclid(step) * step;
        match at(whole)? {
            on_it if on_it < before => Some(on_it),
            _ => at(whole - step),
        }
    }

    /// The interval and one of the occurrences, in microseconds.
    fn micros(&self) -> (i128, i128) {
        let anchor = self.anchor.unwrap_or(Timestamp::UNIX_EPOCH);
        let whole = |span: Duration| i128::from(millis::millis(span)) * 1000;
        (whole(self.interval).max(1), i128::from(anchor.as_microsecond()) + whole(self.phase))
    }
}

fn at(micros: i128) -> Option<Timestamp> {
    Timestamp::from_microsecond(i64::try_from(micros).ok()?).ok()
}
