//! What a schedule would do: its description, and its next and previous occurrences, with the changes of clocks marked.

use backroom::{
    Invalid, Timestamp,
    core::schedule::{
        FREQUENT_GAP, PREVIEW_MAX, Schedule, Timetable,
        mark::{ClockMark, MarkKind},
    },
};
use jiff::{civil::DateTime, tz::TimeZone};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Occurrences of a preview that names no number.
pub(crate) const NEXT_DEFAULT: usize = 10;

/// What a schedule means and when it fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct PreviewView {
    /// Specs, exclusions and zone in plain language. It says whether the two fields for days are joined by AND or OR.
    pub(crate) description: String,
    /// The zone whose wall clock counts.
    pub(crate) zone: String,
    /// The moment from which the preview is made.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) now: Timestamp,
    /// The next occurrences, the nearest first.
    pub(crate) next: Vec<OccurrenceView>,
    /// The previous occurrences, the nearest first.
    pub(crate) previous: Vec<OccurrenceView>,
    /// The shortest span between two of the next thousand occurrences, in milliseconds; null if there is at most one.
    pub(crate) shortest_gap_ms: Option<u64>,
    /// Whether it fires more often than every ten seconds, so that a schedule must set `frequent`.
    pub(crate) needs_frequent: bool,
}

/// One occurrence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct OccurrenceView {
    /// The moment.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) at: Timestamp,
    /// The same on the wall clock of the zone, with the offset.
    #[schema(example = "2026-03-29T03:00:00+02:00")]
    pub(crate) local: String,
    /// Set where the clocks are changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) clocks: Option<ClockView>,
    /// Whether the offset is another than at the occurrence before it in time.
    pub(crate) offset_changed: bool,
}

/// What the clocks do at an occurrence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ClockView {
    /// `end_of_gap`, `first_of_fold` or `second_of_fold`.
    #[schema(value_type = String)]
    pub(crate) mark: MarkKind,
    /// Where on the wall clock the times begin that do not exist, or exist twice.
    #[schema(value_type = String)]
    pub(crate) from: DateTime,
    /// Where they end.
    #[schema(value_type = String)]
    pub(crate) to: DateTime,
    /// The same for people.
    pub(crate) words: String,
}

impl From<ClockMark> for ClockView {
    fn from(mark: ClockMark) -> Self {
        Self { mark: mark.mark, from: mark.from, to: mark.to, words: mark.to_string() }
    }
}

/// The preview of a definition. More than a thousand occurrences in one direction are refused.
pub(crate) fn preview(
    schedule: &Schedule,
    now: Timestamp,
    next: usize,
    previous: usize,
) -> Result<PreviewView, Invalid> {
    if next.max(previous) > PREVIEW_MAX {
        let why = format!("of more than {PREVIEW_MAX} occurrences; ask for fewer");
        return Err(Invalid::new("preview", why));
    }
    let timetable = schedule.timetable()?;
    let rate = timetable.rate(now);
    // One more, to know whether the offset changed before the last one.
    let mut past = timetable.previous_few(now, previous + 1);
    let older = if past.len() > previous { past.pop() } else { None };
    past.reverse();
    let ahead = timetable.next_few(now, next);
    let mut before = older;
    let mut view = |at: Timestamp| occurrence(&timetable, at, before.replace(at));
    let mut previous: Vec<_> = past.into_iter().map(&mut view).collect();
    previous.reverse();
    let next = ahead.into_iter().map(&mut view).collect();
    Ok(PreviewView {
        description: schedule.describe()?,
        zone: schedule.zone.clone(),
        now,
        next,
        previous,
        shortest_gap_ms: rate.shortest_gap.map(|gap| u64::try_from(gap.as_millis()).unwrap_or(u64::MAX)),
        needs_frequent: rate.shortest_gap.is_some_and(|gap| gap < FREQUENT_GAP),
    })
}

/// One occurrence, and whether the offset has changed since the one before it.
pub(crate) fn occurrence(timetable: &Timetable, at: Timestamp, before: Option<Timestamp>) -> OccurrenceView {
    let zone = timetable.zone();
    let offset_changed = before.is_some_and(|before| zone.to_offset(before) != zone.to_offset(at));
    OccurrenceView {
        at,
        local: local(zone, at),
        clocks: timetable.mark(at).map(ClockView::from),
        offset_changed,
    }
}

/// A moment on the wall clock of a zone, with its offset.
pub(crate) fn local(zone: &TimeZone, at: Timestamp) -> String {
    at.display_with_offset(zone.to_offset(at)).to_string()
}

#[cfg(test)]
mod tests {
    use backroom::{
        Json,
        core::schedule::{ScheduledJob, Spec},
    };

    use super::*;

    fn schedule(text: &str, zone: &str) -> Schedule {
        let spec: Spec = text.parse().expect("a spec");
        Schedule {
            zone: zone.into(),
            ..Schedule::new("preview", spec, ScheduledJob::new("kind", Json::null()))
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a moment")
    }

    #[test]
    fn a_change_of_clocks_is_marked_and_so_is_the_first_occurrence_behind_it() {
        let preview = preview(&schedule("30 2 * * *", "Europe/Oslo"), at("2026-03-28T12:00:00Z"), 3, 2);
        let preview = preview.expect("a preview");
        let locals: Vec<_> = preview.next.iter().map(|next| next.local.as_str()).collect();
        assert_eq!(
            locals,
            ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00", "2026-03-31T02:30:00+02:00"]
        );
        assert_eq!(preview.next[0].clocks.as_ref().map(|clocks| clocks.mark), Some(MarkKind::EndOfGap));
        let changed: Vec<_> = preview.next.iter().map(|next| next.offset_changed).collect();
        assert_eq!(changed, [true, false, false]);
        let before: Vec<_> = preview.previous.iter().map(|past| past.local.as_str()).collect();
        assert_eq!(before, ["2026-03-28T02:30:00+01:00", "2026-03-27T02:30:00+01:00"]);
        assert!(preview.previous.iter().all(|past| !past.offset_changed));
    }

    #[test]
    fn the_change_before_the_oldest_occurrence_is_seen() {
        let schedule = schedule("0 12 * * *", "Europe/Oslo");
        let preview = preview(&schedule, at("2026-03-29T12:00:00Z"), 0, 1).expect("a preview");
        assert!(preview.previous[0].offset_changed, "{preview:?}");
    }

    #[test]
    fn a_rate_that_is_surely_a_mistake_is_shown() {
        let now = at("2026-11-27T00:00:00Z");
        let often = preview(&schedule("* * * * * *", "UTC"), now, 1, 0).expect("a preview");
        assert_eq!((often.shortest_gap_ms, often.needs_frequent), (Some(1000), true));
        let seldom = preview(&schedule("@daily", "UTC"), now, 1, 0).expect("a preview");
        assert!(!seldom.needs_frequent);
        let once = preview(&schedule("at 2027-01-01T00:00", "UTC"), now, 10, 0).expect("a preview");
        assert_eq!((once.next.len(), once.shortest_gap_ms), (1, None));
        assert!(preview(&schedule("@daily", "UTC"), now, 1001, 0).is_err());
    }
}
