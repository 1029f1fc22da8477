//! What a receiver's answer means, by Standard Webhooks and HTTP.

use std::time::Duration;

use backroom_core::{Timestamp, bounds::span_until};
use jiff::fmt::strtime::BrokenDownTime;

/// The longest wait that a receiver can ask for.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The receiver has the callback.
    Done,
    /// The receiver wants no more of them, at this URL.
    Gone,
    /// The receiver is not able now, and may say for how long.
    Later(Option<Duration>),
    /// Anything else. A redirect is a failure, too: the address that it names was not checked.
    Failed,
}

/// What a status and the header `Retry-After` mean.
pub(super) fn verdict(status: u16, retry_after: Option<&str>, now: Timestamp) -> Verdict {
    match status {
        200..=299 => Verdict::Done,
        410 => Verdict::Gone,
        429 | 502..=504 => Verdict::Later(retry_after.and_then(|text| wait_of(text, now))),
        _ => Verdict::Failed,
    }
}

/// Reads `Retry-After`: seconds, or a date in one of the three forms of HTTP. None if it is neither.
fn wait_of(text: &str, now: Timestamp) -> Option<Duration> {
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

/// What people read of an answer: its status and the beginning of its body, with nothing in it that could move a cursor.
pub(super) fn described(status: u16, reason: Option<&str>, body: &[u8]) -> String {
    let reason = reason.map(|reason| format!(" {reason}")).unwrap_or_default();
    let body = String::from_utf8_lossy(body);
    let body = body.trim();
    let said = if body.is_empty() { String::new() } else { format!(": {}", body.escape_debug()) };
    format!("the receiver answered {status}{reason}{said}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_mean_what_the_standard_says() {
        let now = Timestamp::UNIX_EPOCH;
        for (status, expected) in [
            (200, Verdict::Done),
            (204, Verdict::Done),
            (299, Verdict::Done),
            (301, Verdict::Failed),
            (307, Verdict::Failed),
            (304, Verdict::Failed),
            (400, Verdict::Failed),
            (404, Verdict::Failed),
            (410, Verdict::Gone),
            (429, Verdict::Later(None)),
            (500, Verdict::Failed),
            (502, Verdict::Later(None)),
            (503, Verdict::Later(None)),
            (504, Verdict::Later(None)),
            (600, Verdict::Failed),
        ] {
            assert_eq!(verdict(status, None, now), expected, "{status}");
        }
        assert_eq!(verdict(200, Some("60"), now), Verdict::Done);
        assert_eq!(verdict(500, Some("60"), now), Verdict::Failed);
    }

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

    #[test]
    fn an_answer_is_shown_on_one_line_without_control_characters() {
        let shown = described(500, Some("Internal Server Error"), b" no\n\x1b[2Jdisk\xff ");
        assert_eq!(shown, "the receiver answered 500 Internal Server Error: no\\n\\u{1b}[2Jdisk\u{fffd}");
        assert_eq!(described(404, None, b" \n"), "the receiver answered 404");
    }
}
