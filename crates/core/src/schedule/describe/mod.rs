//! A schedule in plain language: what a person reads before it is put.

mod cron;
mod phrases;
mod rrule;

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Schedule, Spec, Timetable,
    calendar::{Calendar, Moment},
    cron::{Cron, Dialect},
    every::Every,
    policy::Dst,
    rrule::Recurrence,
};
use crate::Invalid;
use phrases::list;

/// What a schedule will do, and what it would have done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// The specs, the exclusions and the zone in plain language.
    pub description: String,
    /// The next occurrences, the nearest first.
    pub next: Vec<Timestamp>,
    /// The previous occurrences, the nearest first.
    pub previous: Vec<Timestamp>,
}

/// Most occurrences of a preview in each direction.
pub const PREVIEW_MAX: usize = 1000;

impl Schedule {
    /// What it means, with the next and the previous occurrences around `now`. More than [`PREVIEW_MAX`] are not listed.
    pub fn preview(&self, now: Timestamp, next: usize, previous: usize) -> Result<Preview, Invalid> {
        let timetable = self.timetable()?;
        Ok(Preview {
            description: self.describe()?,
            next: timetable.next_few(now, next),
            previous: timetable.previous_few(now, previous),
        })
    }

    /// The specs, the exclusions and the zone in plain language.
    pub fn describe(&self) -> Result<String, Invalid> {
        let phrases = |specs: &[Spec]| -> Result<Vec<String>, Invalid> {
            specs.iter().map(|spec| spec.describe(&self.zone)).collect()
        };
        let mut text = phrases(&self.specs)?.join("; and ");
        if !self.except.is_empty() {
            text.push_str(", but not ");
            text.push_str(&phrases(&self.except)?.join("; and not "));
        }
        text.push_str(&format!(", in {}", self.zone));
        if let Some(start) = self.starts_at {
            text.push_str(&format!(", not before {start}"));
        }
        if let Some(end) = self.ends_at {
            text.push_str(&format!(", not after {end}"));
        }
        if !self.jitter.is_zero() {
            text.push_str(&format!(", each delayed by less than {}", span(self.jitter)));
        }
        if let Some(runs) = self.max_runs {
            text.push_str(&format!(", at most {runs} times"));
        }
        match self.policies.dst {
            Dst::Once => {}
            Dst::Literal => text.push_str("; where clocks are changed it skips times that do not exist, and runs twice at times that exist twice"),
        }
        Ok(text)
    }
}

impl Spec {
    /// The spec in plain language, without the zone.
    pub fn describe(&self, zone_name: &str) -> Result<String, Invalid> {
        let parse =
            |text: &str, dialect, what| Cron::parse(text, dialect).map_err(|mistake| mistake.of(what));
        Ok(match self {
            Self::Cron(text) => cron::describe(&parse(text, Dialect::Vixie, "cron expression")?.fields),
            Self::Quartz(text) => cron::describe(&parse(text, Dialect::Quartz, "quartz expression")?.fields),
            Self::Every(every) => describe_every(every),
            Self::Calendar(calendar) => describe_calendar(calendar),
            Self::Rrule(text) => {
                let parsed = Recurrence::parse(text, zone_name).map_err(|mistake| mistake.of("rule"))?;
                rrule::describe(&parsed.rule)
            }
            Self::At(moments) => describe_moments(moments),
        })
    }
}

impl Timetable {
    /// The next `count` occurrences after `now`, at most [`PREVIEW_MAX`].
    pub fn next_few(&self, now: Timestamp, count: usize) -> Vec<Timestamp> {
        let next = std::iter::successors(self.next_after(now), |at| self.next_after(*at));
        next.take(count.min(PREVIEW_MAX)).collect()
    }

    /// The previous `count` occurrences before `now`, the newest first, at most [`PREVIEW_MAX`].
    pub fn previous_few(&self, now: Timestamp, count: usize) -> Vec<Timestamp> {
        let previous = std::iter::successors(self.previous_before(now), |at| self.previous_before(*at));
        previous.take(count.min(PREVIEW_MAX)).collect()
    }
}

fn describe_every(every: &Every) -> String {
    let counted = match (every.anchor, every.phase.is_zero()) {
        (Some(anchor), true) => format!(", counted from {anchor}"),
        (Some(anchor), false) => format!(", counted from {} after {anchor}", span(every.phase)),
        (None, true) => String::new(),
        (None, false) => format!(", moved by {}", span(every.phase)),
    };
    format!("every {}{counted}", span(every.interval))
}

fn describe_calendar(calendar: &Calendar) -> String {
    let at: Vec<String> = calendar.at.iter().map(|time| phrases::time(*time)).collect();
    let at = if at.is_empty() { "all day".to_owned() } else { format!("at {}", list(&at)) };
    let dates: Vec<String> = calendar.dates.iter().map(ToString::to_string).collect();
    format!("{at} on {}", few(&dates, "dates"))
}

fn describe_moments(moments: &[Moment]) -> String {
    let moments: Vec<String> = moments
        .iter()
        .map(|moment| match moment {
            Moment::Exact(at) => at.to_string(),
            Moment::Local(at) => format!("{} {}", at.date(), phrases::time(at.time())),
        })
        .collect();
    format!("at {}", few(&moments, "moments"))
}

/// The whole list if it is short; otherwise how many, the first and the last.
fn few(entries: &[String], what: &str) -> String {
    match entries {
        [first, .., last] if entries.len() > 5 => format!("{} {what}, from {first} to {last}", entries.len()),
        _ => list(entries),
    }
}

/// A span in the largest units that fit.
pub(crate) fn span(span: Duration) -> String {
    let millis = span.as_millis();
    let units =
        [(86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1000, "second"), (1, "millisecond")];
    let mut rest = millis;
    let mut parts = Vec::new();
    for (size, name) in units {
        let count = rest / size;
        rest %= size;
        match count {
            0 => {}
            1 => parts.push(format!("1 {name}")),
            count => parts.push(format!("{count} {name}s")),
        }
    }
    if parts.is_empty() { "0 seconds".to_owned() } else { parts.join(" ") }
}
