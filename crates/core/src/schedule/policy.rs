//! The choices that a schedule makes, each with its default first.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Invalid, bounds, millis};

/// Longest window of a catch-up.
pub const WINDOW_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// Most runs that one catch-up may start, and most occurrences that a buffer may hold.
pub const RUNS_MAX: u32 = 1000;
/// An occurrence that is reached later than this counts as missed, and [`CatchUp`] decides about it. Until then it is on time:
/// a busy minute must not turn into an outage.
pub const ON_TIME: Duration = Duration::from_secs(60);

/// What an occurrence does while a run of the same schedule is still going. A job that waits for its retry is still going.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It does not run.
    #[default]
    Skip,
    /// One occurrence waits for the end of the run; further ones do not run.
    BufferOne,
    /// So many occurrences wait, and run one after the other; further ones do not run.
    BufferAll(u32),
    /// The run is cancelled. The occurrence runs when it has ended; a newer one takes its place.
    CancelOther,
    /// It runs beside the others.
    AllowAll,
}

/// What happens with occurrences that were missed: because no process was there, or none that worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// The newest runs, if it is no older than the window and no occurrence after it is due already.
    Once {
        /// Default one hour.
        #[serde(with = "millis", rename = "window_ms")]
        window: Duration,
    },
    /// All within the window run, the oldest first, at most the newest `max` of them.
    All {
        /// How old they may be.
        #[serde(with = "millis", rename = "window_ms")]
        window: Duration,
        /// At most [`RUNS_MAX`].
        max: u32,
    },
    /// None runs.
    None,
}

/// What an occurrence does where the offset of the zone changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dst {
    /// It fires once, as with Vixie cron: in a gap at its end, in a fold the first time. Cron expressions whose minute or hour
    /// begins with `*`, and recurrence rules below a day, go by the wall clock.
    #[default]
    Once,
    /// It fires when the wall clock shows its time: never in a gap, twice in a fold.
    Literal,
}

/// What the failure of a run does to the schedule. A run has failed when its job is discarded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Nothing.
    #[default]
    GoOn,
    /// It is paused until an operator resumes it.
    Pause,
}

/// All policies of a schedule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policies {
    /// While a run is still going. Default skip.
    pub overlap: Overlap,
    /// After an outage. Default once within an hour.
    pub catch_up: CatchUp,
    /// Where the offset changes. Default once.
    pub dst: Dst,
    /// After a failure. Default go on.
    pub on_failure: OnFailure,
    /// A run must succeed within this span after the last success; otherwise the schedule is reported as overdue. Default no
    /// such expectation.
    #[serde(with = "millis::optional", rename = "deadman_ms", skip_serializing_if = "Option::is_none")]
    pub deadman: Option<Duration>,
}

impl CatchUp {
    /// Once, within an hour.
    pub const DEFAULT: Self = Self::Once { window: Duration::from_secs(3600) };
}

impl Default for CatchUp {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Policies {
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        self.check_catch_up()?;
        if let Overlap::BufferAll(size) = self.overlap
            && !(1..=RUNS_MAX).contains(&size)
        {
            return Err(Invalid::new("buffer", format!("of {size} occurrences; use 1 to {RUNS_MAX}")));
        }
        match self.deadman {
            Some(span) if span < Duration::from_secs(1) => {
                Err(Invalid::new("deadman", "is less than a second; leave it out for no expectation"))
            }
            Some(span) => bounds::check_span("deadman", span),
            None => Ok(()),
        }
    }

    fn check_catch_up(&self) -> Result<(), Invalid> {
        let window = match self.catch_up {
            CatchUp::Once { window } | CatchUp::All { window, .. } => window,
            CatchUp::None => return Ok(()),
        };
        if window > WINDOW_MAX || window < ON_TIME {
            let why = format!("of {} s; use 60 s to one year, or no catch-up", window.as_secs());
            return Err(Invalid::new("catch-up window", why));
        }
        let CatchUp::All { max, .. } = self.catch_up else { return Ok(()) };
        if !(1..=RUNS_MAX).contains(&max) {
            return Err(Invalid::new("catch-up", format!("of at most {max} runs; use 1 to {RUNS_MAX}")));
        }
        if self.overlap == Overlap::Skip {
            let why = "of all occurrences with the overlap `skip` would skip all but the first; \
                       choose the overlap `buffer_all` or `allow_all`, or catch up once";
            return Err(Invalid::new("catch-up", why));
        }
        Ok(())
    }
}
