//! What a receiver's answer means, by Standard Webhooks and HTTP.

use std::time::Duration;

use backroom_core::Timestamp;

use crate::http_out::retry_after::wait_of;

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
}
