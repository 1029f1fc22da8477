//! What a store recorded of one job, as one sequence: log lines and ended attempts.

use backroom_core::{Attempt, LogLine};
use serde::{Deserialize, Serialize};

use super::Record;

/// How much of a job's history a reader has seen: the history begins after so many lines and so many attempts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Seen {
    /// Log lines.
    pub lines: u32,
    /// Ended attempts.
    pub attempts: u32,
}

/// One entry of a job's history.
#[derive(Debug, Clone, PartialEq)]
pub enum Recorded {
    /// A handler wrote a log line.
    Line(LogLine),
    /// An attempt ended without success.
    Attempt(Attempt),
}

impl Seen {
    /// The position after one more entry.
    #[must_use]
    pub fn and(self, entry: &Recorded) -> Self {
        match entry {
            Recorded::Line(_) => Self { lines: self.lines.saturating_add(1), ..self },
            Recorded::Attempt(_) => Self { attempts: self.attempts.saturating_add(1), ..self },
        }
    }
}

/// An ended attempt, and how many lines the job's log had when it was recorded.
pub(crate) type PlacedAttempt = (u32, Attempt);

/// One sequence of what a store read after `seen`: first the lines, then the attempts. An attempt follows the lines that were
/// there when it was recorded. One that follows lines which this read did not find is left to the next read.
pub(crate) fn in_order(
    seen: Seen,
    lines: Vec<LogLine>,
    attempts: Vec<PlacedAttempt>,
    limit: usize,
) -> Vec<Recorded> {
    let mut entries = Vec::with_capacity(limit.min(lines.len() + attempts.len()));
    let mut attempts = attempts.into_iter().peekable();
    let mut count = seen.lines;
    for line in lines {
        while let Some((_, attempt)) = attempts.next_if(|(place, _)| *place <= count) {
            entries.push(Recorded::Attempt(attempt));
        }
        entries.push(Recorded::Line(line));
        count = count.saturating_add(1);
    }
    while let Some((_, attempt)) = attempts.next_if(|(place, _)| *place <= count) {
        entries.push(Recorded::Attempt(attempt));
    }
    entries.truncate(limit);
    entries
}

/// Where the attempts of an imported record stand among its lines: each after the last line of its run. One that wrote no line
/// stands after the lines that are not younger than its end. Which store it comes from may have known better; both
/// sequences stay complete and in order for a reader that continues here.
pub(crate) fn places(record: &Record) -> Vec<u32> {
    let mut least = 0;
    let place = |attempt: &Attempt| {
        let last = record.lines.iter().rposition(|line| line.lease_id == attempt.lease_id);
        let by_time = || record.lines.iter().take_while(|line| line.at <= attempt.ended_at).count();
        let place = last.map_or_else(by_time, |last| last + 1);
        least = least.max(u32::try_from(place).unwrap_or(u32::MAX));
        least
    };
    record.attempts.iter().map(place).collect()
}
