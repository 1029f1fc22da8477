//! Every bound on what a job may carry, in one place, and the checks that name what broke them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::Invalid;

/// Longest name of a kind, queue, lane, tag, meta key or worker, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest unique key as given by a caller, in bytes.
pub const UNIQUE_KEY_BYTES_MAX: usize = 512;
/// Most tags on one job.
pub const TAGS_MAX: usize = 32;
/// Most meta entries on one job.
pub const META_ENTRIES_MAX: usize = 64;
/// Longest value of one meta entry, in bytes.
pub const META_VALUE_BYTES_MAX: usize = 4096;
/// Default bound on args and output, each, in bytes of JSON text.
pub const JSON_BYTES_MAX: usize = 1024 * 1024;
/// Default bound on the bytes of jobs that a worker holds, and on those that one call to a store reads.
pub const BYTES_IN_HAND_MAX: usize = 64 * 1024 * 1024;
/// Deepest nesting of arrays and objects. Below serde_json's own recursion limit of 128, so that whatever is
/// stored can also be read back.
pub const JSON_DEPTH_MAX: usize = 100;
/// Longest error text of one attempt, in bytes; the rest is cut.
pub const ERROR_BYTES_MAX: usize = 8 * 1024;
/// Longest progress message, in bytes; the rest is cut.
pub const MESSAGE_BYTES_MAX: usize = 256;
/// Longest log line, in bytes; the rest is cut.
pub const LOG_LINE_BYTES_MAX: usize = 4096;
/// Most log lines of one run; a last line counts those that were left out.
pub const LOG_LINES_MAX: u32 = 1000;
/// Most log lines of one job, over all its runs; later ones are dropped.
pub const JOB_LOG_LINES_MAX: u32 = 10_000;
/// Most attempts a job may be given.
pub const ATTEMPTS_MAX: u32 = 10_000;
/// A job is discarded as poison after at least this many crashes within [`CRASH_SPAN`]. [`ALONE_MIN`] of them must have happened
/// while no other job ran in the process.
pub const CRASHES_MAX: u32 = 3;
/// So many of its crashes must have happened while it was the only job that ran in the process.
pub const ALONE_MIN: u32 = 2;
/// After so many crashes that no trial explained, a job runs alone next.
pub const CRASHES_UNCLEAR_MAX: u32 = 4;
/// How long a crash is remembered by default. A crash later than that begins the count again at one.
pub const CRASH_SPAN: Duration = Duration::from_secs(72 * 3600);
/// Most suspects past their trial that a worker writes down.
pub const PASSED_MAX: usize = 200;
/// Longest delay, timeout, expiry or retry wait: about ten years. Farther moments are far more often a mistaken
/// unit (milliseconds for seconds) than meant.
pub const SPAN_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// Checks a name: 1 to [`NAME_BYTES_MAX`] bytes, no control characters (NUL among them: PostgreSQL cannot
/// store it), no white space at the ends (it cannot be seen in a table and is a typing error).
pub fn check_name(what: &'static str, name: &str) -> Result<(), Invalid> {
    check_text(what, name, NAME_BYTES_MAX)?;
    if name.trim() != name {
        return Err(Invalid::new(what, format!("{name:?} begins or ends with white space; trim it")));
    }
    Ok(())
}

/// Checks a text: 1 to `bytes_max` bytes and no control characters.
pub fn check_text(what: &'static str, text: &str, bytes_max: usize) -> Result<(), Invalid> {
    if text.is_empty() {
        return Err(Invalid::new(what, "is empty; give it at least one character"));
    }
    if text.len() > bytes_max {
        let why = format!("is {} bytes long; at most {bytes_max} are allowed", text.len());
        return Err(Invalid::new(what, why));
    }
    if let Some(control) = text.chars().find(|c| c.is_control()) {
        let why = format!("{text:?} holds the control character {control:?}; remove it");
        return Err(Invalid::new(what, why));
    }
    Ok(())
}

/// Checks a span given by a caller against [`SPAN_MAX`].
pub fn check_span(what: &'static str, span: Duration) -> Result<(), Invalid> {
    if span > SPAN_MAX {
        let why = format!("of {} s is longer than ten years; check the unit", span.as_secs());
        return Err(Invalid::new(what, why));
    }
    Ok(())
}

/// The moment cut to whole microseconds, the precision of both stores.
pub fn whole_micros(at: Timestamp) -> Timestamp {
    // Within the very last second no microsecond is accepted, so a store could not read it back.
    Timestamp::from_microsecond(at.as_microsecond())
        .or_else(|_| Timestamp::from_second(at.as_second()))
        .unwrap_or(at)
}

/// `at + span`, held inside the range a [`Timestamp`] can express.
pub fn later(at: Timestamp, span: Duration) -> Timestamp {
    let span = SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
    whole_micros(at.checked_add(span).unwrap_or(Timestamp::MAX))
}

/// `at - span`, held inside the range a [`Timestamp`] can express.
pub fn earlier(at: Timestamp, span: Duration) -> Timestamp {
    let span = SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
    whole_micros(at.checked_sub(span).unwrap_or(Timestamp::MIN))
}

/// How long from `from` until `until`; zero when `until` has passed.
pub fn span_until(from: Timestamp, until: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(from)).unwrap_or(Duration::ZERO)
}

/// The text cut to at most `bytes_max` bytes at a character boundary, with NUL bytes (which PostgreSQL cannot
/// store) replaced. For texts that come from failing code: there a cut text beats a second failure.
pub fn clip(text: &str, bytes_max: usize) -> String {
    let mut clipped = head(text, bytes_max).replace('\0', "\u{fffd}");
    // The replacement is longer than what it replaces, and may have pushed the text over its bound again.
    clipped.truncate(head(&clipped, bytes_max).len());
    clipped
}

/// The longest beginning of at most `bytes_max` bytes that ends at a character boundary.
fn head(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
