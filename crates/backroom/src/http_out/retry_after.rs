//! The header `Retry-After`.

use std::time::Duration;

use backroom_core::{Timestamp, bounds::span_until};
use jiff::fmt::strtime::BrokenDownTime;

/// The longest wait that a receiver can ask for.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

/// Reads `Retry-After`: seconds, or a date in one of the three forms of HTTP. None if it is neither.
pub(crate) fn wait_of(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number beyond 64 bits is long enough.
        return Some(text.parse().map_or(WAIT_MAX, Duration::from_secs).min(WAIT_MAX));
    }
    const FORMS: [&str; 3] =
        ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    let read = |form: &str| BrokenDownTime::parse(form, text).ok()?.to_datetime().ok();
    let at = FORMS.iter().find_map(|form| read(form))?;
    // The last hours of the year 9999 are no timestamp.
    let at = jiff::tz::TimeZone::UTC.to_timestamp(at).unwrap_or(Timestamp::MAX);
    Some(span_until(now, at).min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_seconds_or_dates_and_no_longer_than_a_day() {
        let now: Timestamp = "1994-11-06T08:48:37Z".parse().unwrap();
        let seconds = |text| wait_of(text, now).map(|wait| wait.as_secs());
        assert_eq!(seconds("0"), Some(0));
        assert_eq!(seconds(" 120 "), Some(120));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(60));
        assert_eq!(seconds("Sunday, 06-Nov-94 08:49:37 GMT"), Some(60));
        assert_eq!(seconds("Sun Nov  6 08:49:37 1994"), Some(60));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0), "in the past");
        assert_eq!(seconds("Fri, 31 Dec 9999 23:59:59 GMT"), Some(86_400));
        assert_eq!(seconds("99999999999999999999999999"), Some(86_400));
        for wrong in [
            "",
            "-1",
            "1.5",
            "soon",
            "12 seconds",
            "Sun, 06 Nov 1994 08:49:37 PST",
            "0x10",
            "Sun, 99 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(seconds(wrong), None, "{wrong:?}");
        }
    }
}
