//! Spans, moments and numbers as people read them.

use std::time::Duration;

use backroom::{Timestamp, core::bounds::span_until};
use jiff::tz::TimeZone;

/// A span as people say it, two figures at most: `3s`, `4m 10s`, `2h 5m`, `7d`.
pub(crate) fn span(span: Duration) -> String {
    let secs = span.as_secs();
    let (large, small) = match secs {
        0 if !span.is_zero() => return format!("{}ms", span.as_millis().max(1)),
        0..60 => return format!("{secs}s"),
        60..3600 => ((secs / 60, "m"), (secs % 60, "s")),
        3600..86_400 => ((secs / 3600, "h"), (secs % 3600 / 60, "m")),
        _ => ((secs / 86_400, "d"), (secs % 86_400 / 3600, "h")),
    };
    match small.0 {
        0 => format!("{}{}", large.0, large.1),
        _ => format!("{}{} {}{}", large.0, large.1, small.0, small.1),
    }
}

/// A moment seen from now: `in 4m 10s`, `2h 5m ago`, `now`.
pub(crate) fn from_now(at: Timestamp, now: Timestamp) -> String {
    let (ahead, past) = (span_until(now, at), span_until(at, now));
    if ahead.as_secs() > 0 {
        format!("in {}", span(ahead))
    } else if past.as_secs() > 0 {
        format!("{} ago", span(past))
    } else {
        "now".into()
    }
}

/// A moment in the machine's time zone, with how far it is: `2026-01-31 09:00:00 +01:00 (2h ago)`.
pub(crate) fn moment(at: Timestamp, now: Timestamp) -> String {
    let zoned = at.to_zoned_datetime(TimeZone::system());
    format!("{} ({})", zoned.strftime("%Y-%m-%d %H:%M:%S %:z"), from_now(at, now))
}

/// A moment as programs and people read it, with how far it is: `2026-01-31T08:00:00Z (2026-01-31 09:00:00 +01:00, in 2h)`.
/// The local time is left out where the machine's time zone cannot be found, or is UTC.
pub(crate) fn moment_in_full(at: Timestamp, now: Timestamp) -> String {
    let utc = at.strftime("%Y-%m-%dT%H:%M:%SZ");
    let far = from_now(at, now);
    match TimeZone::try_system() {
        Ok(zone) if zone != TimeZone::UTC => {
            let local = at.to_zoned_datetime(zone);
            format!("{utc} ({}, {far})", local.strftime("%Y-%m-%d %H:%M:%S %:z"))
        }
        Ok(_) | Err(_) => format!("{utc} ({far})"),
    }
}

/// A number with its noun: `1 job`, `3 jobs`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(number))
}

/// A number with its thousands apart: `1,000,000`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut apart = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            apart.push(',');
        }
        apart.push(digit);
    }
    apart
}

/// Bytes as people say them: `512 B`, `3.4 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_with_two_figures_at_most() {
        let said = |secs| span(Duration::from_secs(secs));
        assert_eq!(said(0), "0s");
        assert_eq!(span(Duration::from_micros(20)), "1ms");
        assert_eq!(span(Duration::from_millis(250)), "250ms");
        assert_eq!(said(59), "59s");
        assert_eq!(said(60), "1m");
        assert_eq!(said(250), "4m 10s");
        assert_eq!(said(7500), "2h 5m");
        assert_eq!(said(7 * 86_400), "7d");
        assert_eq!(said(u64::MAX), "213503982334601d 7h");
    }

    #[test]
    fn moments_are_seen_from_now() {
        let now = Timestamp::from_second(1_700_000_000).expect("a moment");
        let at = |secs: i64| Timestamp::from_second(1_700_000_000 + secs).expect("a moment");
        assert_eq!(from_now(at(250), now), "in 4m 10s");
        assert_eq!(from_now(at(-5), now), "5s ago");
        assert_eq!(from_now(now, now), "now");
        assert_eq!(from_now(Timestamp::MIN, Timestamp::MAX).split(' ').next_back(), Some("ago"));
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(count(1, "job"), "1 job");
        assert_eq!(count(2000, "job"), "2,000 jobs");
    }
}
