//! Moments as people write them: RFC 3339, a local date and time, or a span from now.

use std::time::Duration;

use backroom::{Timestamp, core::bounds};
use jiff::{civil::DateTime, tz::TimeZone};

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

const EXAMPLES: &str = "write it like 2026-01-31T09:00:00Z, 2026-01-31 09:00 (local time), 10m ago or in 2h";

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
            Self::Local(local) => TimeZone::system().to_timestamp(local).map_err(|error| error.to_string()),
        }
    }
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
}
