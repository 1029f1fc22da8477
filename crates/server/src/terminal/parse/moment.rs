//! Moments as people write them: RFC 3339, a local date and time, or a span from now.

use std::time::Duration;

use backroom::{Timestamp, core::bounds};
use jiff::{
    civil::DateTime,
    tz::{AmbiguousOffset, Offset, TimeZone},
};

use super::span;

/// A moment as written; a relative one becomes a [`Timestamp`] only once `now` is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MomentText {
    /// `now`.
    Now,
    /// `in 10m`.
    In(Duration),
    /// `10m ago`.
    Ago(Duration),
    /// `10m`: the option says in which direction.
    Span(Duration),
    /// `2026-01-31T09:00:00Z`.
    At(Timestamp),
    /// `2026-01-31 09:00`, in the machine's time zone.
    Local(DateTime),
}

const EXAMPLES: &str = "write it like 2026-01-31T09:00:00Z, 2026-01-31 09:00 (local time), '2026-01-31 09:00 [Europe/Berlin]', \
                        10m ago or in 2h";

/// Reads a moment.
pub(crate) fn moment(text: &str) -> Result<MomentText, String> {
    let text = text.trim();
    if text == "now" {
        return Ok(MomentText::Now);
    }
    if let Some(ahead) = text.strip_prefix("in ") {
        return span(ahead).map(MomentText::In);
    }
    if let Some(past) = text.strip_suffix(" ago") {
        return span(past).map(MomentText::Ago);
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(MomentText::At(at));
    }
    if let Some((local, zone)) = text.strip_suffix(']').and_then(|text| text.split_once('['))
        && let Ok(local) = local.trim_end().parse::<DateTime>()
        && !has_offset(text)
    {
        let found =
            TimeZone::get(zone).map_err(|_| format!("names the time zone {zone:?}, which is not known here"));
        return in_zone(local, &found?).map(MomentText::At);
    }
    // jiff reads a local time off a text with a zone too, and would drop what it does not use.
    if !text.contains(['[', 'Z', 'z', '+'])
        && let Ok(local) = text.parse::<DateTime>()
    {
        return Ok(MomentText::Local(local));
    }
    span(text).map(MomentText::Span).map_err(|_| format!("is not a moment; {EXAMPLES}"))
}

impl MomentText {
    /// The moment, where a bare span means that long ago.
    pub(crate) fn past(self, now: Timestamp) -> Result<Timestamp, String> {
        match self {
            Self::Span(span) => Ok(bounds::earlier(now, span)),
            Self::Now | Self::In(_) | Self::Ago(_) | Self::At(_) | Self::Local(_) => self.fixed(now),
        }
    }

    /// The moment, where a bare span means from now on.
    pub(crate) fn ahead(self, now: Timestamp) -> Result<Timestamp, String> {
        match self {
            Self::Span(span) => Ok(bounds::later(now, span)),
            Self::Now | Self::In(_) | Self::Ago(_) | Self::At(_) | Self::Local(_) => self.fixed(now),
        }
    }

    fn fixed(self, now: Timestamp) -> Result<Timestamp, String> {
        match self {
            Self::Now => Ok(now),
            Self::In(span) | Self::Span(span) => Ok(bounds::later(now, span)),
            Self::Ago(span) => Ok(bounds::earlier(now, span)),
            Self::At(at) => Ok(at),
            Self::Local(local) => in_zone(local, &local_zone()?),
        }
    }
}

/// The machine's time zone. Where it cannot be found, UTC would be a guess that is wrong by hours.
fn local_zone() -> Result<TimeZone, String> {
    TimeZone::try_system().map_err(|error| {
        format!(
            "the machine's time zone cannot be found ({error}); write the moment with its offset, like 2026-01-31T09:00:00Z or \
             2026-01-31T09:00:00+01:00, or set TZ to a zone that is known"
        )
    })
}

/// A local time in a zone. One that the clocks skip, or pass twice, is refused: either guess is wrong for half of the people.
fn in_zone(local: DateTime, zone: &TimeZone) -> Result<Timestamp, String> {
    let name = zone.iana_name().unwrap_or("the machine's time zone");
    let with = |offset: Offset| format!("{}{}", local.strftime("%Y-%m-%dT%H:%M:%S"), colon(offset));
    let found = zone.to_ambiguous_timestamp(local);
    match found.offset() {
        AmbiguousOffset::Unambiguous { .. } => {
            found.unambiguous().map_err(|error| format!("is out of range: {error}"))
        }
        AmbiguousOffset::Gap { before, after } => Err(format!(
            "{} does not exist in {name}, where the clocks skip it; write {} or {}",
            local.strftime("%Y-%m-%d %H:%M:%S"),
            with(before),
            with(after)
        )),
        AmbiguousOffset::Fold { before, after } => Err(format!(
            "{} comes twice in {name}, where the clocks are set back; write {} for the first or {} for the second",
            local.strftime("%Y-%m-%d %H:%M:%S"),
            with(before),
            with(after)
        )),
    }
}

/// `+02:00`.
fn colon(offset: Offset) -> String {
    let minutes = offset.seconds() / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

/// Whether the text says how far it is from UTC.
fn has_offset(text: &str) -> bool {
    let time = text.split('[').next().unwrap_or(text);
    time.contains(['Z', 'z', '+']) || time.matches('-').count() > 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a timestamp")
    }

    #[test]
    fn moments_are_read_as_people_write_them() {
        assert_eq!(moment("now"), Ok(MomentText::Now));
        assert_eq!(moment("in 10m"), Ok(MomentText::In(Duration::from_secs(600))));
        assert_eq!(moment("2h ago"), Ok(MomentText::Ago(Duration::from_secs(7200))));
        assert_eq!(moment("2h"), Ok(MomentText::Span(Duration::from_secs(7200))));
        assert_eq!(moment("2026-01-31T09:00:00Z"), Ok(MomentText::At(at("2026-01-31T09:00:00Z"))));
        assert_eq!(moment("2026-01-31T09:00:00+02:00"), Ok(MomentText::At(at("2026-01-31T07:00:00Z"))));
        assert!(matches!(moment("2026-01-31 09:00"), Ok(MomentText::Local(_))));
        assert!(matches!(moment("2026-01-31"), Ok(MomentText::Local(_))));
    }

    #[test]
    fn a_bare_span_goes_where_the_option_points() {
        let now = at("2026-01-31T09:00:00Z");
        let hour = moment("1h").expect("a moment");
        assert_eq!(hour.past(now), Ok(at("2026-01-31T08:00:00Z")));
        assert_eq!(hour.ahead(now), Ok(at("2026-01-31T10:00:00Z")));
    }

    #[test]
    fn what_is_no_moment_is_refused_with_an_example() {
        for text in
            ["", "tomorrow", "2026-13-01", "2026-01-31T25:00:00Z", "12", "99999-01-01T00:00:00Z", "\0"]
        {
            let refused = moment(text).expect_err(text);
            assert!(refused.contains("like 2026"), "{text:?}: {refused}");
        }
    }

    #[test]
    fn spans_beyond_the_calendar_are_held_at_its_ends() {
        let now = at("2026-01-31T09:00:00Z");
        let long = moment("170000000h").expect("a moment");
        assert_eq!(long.past(now), Ok(Timestamp::MIN));
    }

    #[test]
    fn a_time_that_the_clocks_skip_or_pass_twice_is_refused_with_both_offsets() {
        let gap = moment("2026-03-29 02:30 [Europe/Berlin]").expect_err("a gap");
        assert!(gap.contains("2026-03-29T02:30:00+01:00") && gap.contains("+02:00"), "{gap}");
        let fold = moment("2026-10-25T02:30[Europe/Berlin]").expect_err("a fold");
        assert!(fold.contains("comes twice") && fold.contains("2026-10-25T02:30:00+02:00"), "{fold}");
        assert_eq!(
            moment("2026-07-01 09:00 [Europe/Berlin]"),
            Ok(MomentText::At(at("2026-07-01T07:00:00Z")))
        );
        assert_eq!(moment("2026-03-29T02:30:00+01:00"), Ok(MomentText::At(at("2026-03-29T01:30:00Z"))));
    }

    #[test]
    fn a_zone_that_is_not_known_is_refused() {
        let refused = moment("2026-07-01 09:00 [Europe/Atlantis]").expect_err("no zone");
        assert!(refused.contains("Atlantis"), "{refused}");
    }
}
