//! How often a schedule fires, to ask about what is surely a mistake.

use std::time::Duration;

use jiff::Timestamp;

use super::Timetable;

/// A schedule that fires more often than this must say that it means it: `* * * * * *` is easily written for `* * * * *`.
pub const FREQUENT_GAP: Duration = Duration::from_secs(10);
/// So many occurrences are looked at.
const LOOKED_AT: usize = 1000;

/// How often a schedule fires, found from its next occurrences (at most a thousand).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The shortest span between two of them; none if there is at most one.
    pub shortest_gap: Option<Duration>,
    /// How many there are in the first day, counted up to a thousand.
    pub per_day: usize,
}

impl Timetable {
    /// The rate of the occurrences after `from`. If there are none, of those before.
    pub fn rate(&self, from: Timestamp) -> Rate {
        let later: Vec<Timestamp> =
            std::iter::successors(self.next_after(from), |at| self.next_after(*at)).take(LOOKED_AT).collect();
        let mut sorted = later;
        if sorted.is_empty() {
            let earlier = std::iter::successors(self.previous_before(from), |at| self.previous_before(*at));
            sorted = earlier.take(LOOKED_AT).collect();
            sorted.reverse();
        }
        let gaps = sorted.iter().zip(sorted.iter().skip(1)).map(|(one, next)| next.duration_since(*one));
        let shortest_gap = gaps.min().and_then(|gap| Duration::try_from(gap).ok());
        let day = sorted.first().map(|first| crate::bounds::later(*first, Duration::from_secs(24 * 3600)));
        let per_day = sorted.iter().filter(|at| day.is_some_and(|end| **at < end)).count();
        Rate { shortest_gap, per_day }
    }
}
