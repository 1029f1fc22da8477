//! How long to wait before the next attempt.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Invalid, bounds, millis};

/// A back-off, its jitter and its cap.
///
/// The default waits `attempt⁴` seconds ± 10 %, at most 24 h. With 20 attempts a job is tried for about four days. So what
/// broke on a Friday can still be repaired on Monday.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// The wait before jitter and cap.
    pub backoff: Backoff,
    /// The wait is spread evenly over ± this part of itself, 0 to 100. Default 10.
    #[serde(default = "jitter_percent_default")]
    pub jitter_percent: u8,
    /// No wait is longer. Default 24 h.
    #[serde(default = "cap_default", with = "millis", rename = "cap_ms")]
    pub cap: Duration,
}

/// How the wait grows with the attempts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Backoff {
    /// `attempt⁴` seconds: 1 s, 16 s, 81 s, 256 s, …
    Quartic,
    /// Always the same wait.
    Constant(#[serde(with = "millis")] Duration),
    /// `attempt` × the step.
    Linear(#[serde(with = "millis")] Duration),
    /// The base, doubled with each further attempt.
    Exponential(#[serde(with = "millis")] Duration),
    /// One wait per retry, in order; the last one repeats if the budget allows more.
    List(#[serde(with = "millis::list")] Vec<Duration>),
}

impl RetryPolicy {
    /// `attempt⁴` seconds ± 10 %, at most 24 h.
    pub const DEFAULT: Self =
        Self { backoff: Backoff::Quartic, jitter_percent: jitter_percent_default(), cap: cap_default() };

    /// Always `delay` (± 10 %).
    pub const fn constant(delay: Duration) -> Self {
        Self { backoff: Backoff::Constant(delay), ..Self::DEFAULT }
    }

    /// `step`, 2 × `step`, 3 × `step`, … (± 10 %).
    pub const fn linear(step: Duration) -> Self {
        Self { backoff: Backoff::Linear(step), ..Self::DEFAULT }
    }

    /// `base`, 2 × `base`, 4 × `base`, … (± 10 %), at most `cap`.
    pub const fn exponential(base: Duration, cap: Duration) -> Self {
        Self { backoff: Backoff::Exponential(base), cap, ..Self::DEFAULT }
    }

    /// The given waits in order (± 10 %). A job that sets no budget of its own gets one attempt more than there
    /// are waits.
    pub fn list(delays: impl Into<Vec<Duration>>) -> Self {
        Self { backoff: Backoff::List(delays.into()), ..Self::DEFAULT }
    }

    /// The same policy with another jitter, in percent; 0 for exact waits.
    pub const fn jitter(mut self, percent: u8) -> Self {
        self.jitter_percent = percent;
        self
    }

    /// The wait after the failure of `attempt` (from 1). `chance`, uniform in `[0, 1)`, places it within the
    /// jitter. Never longer than the cap, whatever the jitter.
    pub fn delay(&self, attempt: u32, chance: f64) -> Duration {
        let whole = self.backoff.wait(attempt.max(1)).min(self.cap);
        let spread = f64::from(self.jitter_percent.min(100)) / 100.0 * (2.0 * chance.clamp(0.0, 1.0) - 1.0);
        let jittered = whole.as_secs_f64() * (1.0 + spread);
        Duration::try_from_secs_f64(jittered).unwrap_or(self.cap).min(self.cap)
    }

    /// The budget of a job that sets none: what a list spells out, else 20.
    pub fn max_attempts_default(&self) -> u32 {
        match &self.backoff {
            Backoff::List(delays) => u32::try_from(delays.len()).unwrap_or(u32::MAX).saturating_add(1),
            Backoff::Quartic | Backoff::Constant(_) | Backoff::Linear(_) | Backoff::Exponential(_) => 20,
        }
    }

    /// The policy with its spans cut to whole milliseconds, as it is stored; otherwise a job would differ from itself
    /// after one trip through a store.
    pub fn whole_millis(self) -> Self {
        let cut = |span: Duration| Duration::from_millis(millis::millis(span));
        let backoff = match self.backoff {
            Backoff::Quartic => Backoff::Quartic,
            Backoff::Constant(delay) => Backoff::Constant(cut(delay)),
            Backoff::Linear(step) => Backoff::Linear(cut(step)),
            Backoff::Exponential(base) => Backoff::Exponential(cut(base)),
            Backoff::List(delays) => Backoff::List(delays.into_iter().map(cut).collect()),
        };
        Self { backoff, cap: cut(self.cap), ..self }
    }

    /// A bound on the bytes of its JSON.
    pub(crate) fn json_bytes_max(&self) -> usize {
        const NUMBER: usize = 21;
        let delays = match &self.backoff {
            Backoff::Quartic => 0,
            Backoff::Constant(_) | Backoff::Linear(_) | Backoff::Exponential(_) => 1,
            Backoff::List(delays) => delays.len(),
        };
        r#""retry":{"backoff":{"exponential":[]},"jitter_percent":,"cap_ms":},"#.len() + NUMBER * (delays + 2)
    }

    /// Refuses a policy that is surely a mistake: an empty or very long list, waits of years, jitter over 100 %.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.jitter_percent > 100 {
            let why = format!("has a jitter of {} %; at most 100 is allowed", self.jitter_percent);
            return Err(Invalid::new("retry policy", why));
        }
        bounds::check_span("retry cap", self.cap)?;
        match &self.backoff {
            Backoff::Quartic => Ok(()),
            Backoff::Constant(delay) | Backoff::Linear(delay) | Backoff::Exponential(delay) => {
                bounds::check_span("retry delay", *delay)
            }
            Backoff::List(delays) if delays.is_empty() || delays.len() > 100 => {
                let why = format!("lists {} delays; give 1 to 100", delays.len());
                Err(Invalid::new("retry policy", why))
            }
            Backoff::List(delays) => delays.iter().try_for_each(|d| bounds::check_span("retry delay", *d)),
        }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Backoff {
    fn wait(&self, attempt: u32) -> Duration {
        match self {
            Self::Quartic => Duration::from_secs(u64::from(attempt).saturating_pow(4)),
            Self::Constant(delay) => *delay,
            Self::Linear(step) => step.saturating_mul(attempt),
            Self::Exponential(base) => base.saturating_mul(1u32.checked_shl(attempt - 1).unwrap_or(u32::MAX)),
            Self::List(delays) => {
                let index = (attempt as usize - 1).min(delays.len().saturating_sub(1));
                delays.get(index).copied().unwrap_or_default()
            }
        }
    }
}

const fn jitter_percent_default() -> u8 {
    10
}

const fn cap_default() -> Duration {
    Duration::from_secs(24 * 3600)
}
