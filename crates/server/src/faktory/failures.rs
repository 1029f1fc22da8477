//! What becomes of a job that failed.

use std::time::Duration;

use backroom::{RetryPolicy, RunOutcome};

use super::{command::Finished, runs::Run};

/// Longest name of an error.
const ERRTYPE_CHARS_MAX: usize = 100;
/// Longest message of an error.
const MESSAGE_CHARS_MAX: usize = 1000;
/// Most lines of a backtrace.
pub(super) const BACKTRACE_MAX: usize = 50;
/// What stands in place of what a client leaves out.
const UNKNOWN: &str = "unknown";
/// Between the name of an error and its message.
const BETWEEN: &str = ": ";

/// The end of a run, as the worker says it.
pub(super) fn failed(run: &Run, said: &Finished, chance: f64) -> RunOutcome {
    outcome(run, text(said, run.backtrace), false, chance)
}

/// The end of a run whose reservation is over.
pub(super) fn expired(run: &Run, chance: f64) -> RunOutcome {
    let error = format!("ReservationExpired{BETWEEN}Faktory job reservation expired");
    outcome(run, error, true, chance)
}

fn outcome(run: &Run, error: String, timed_out: bool, chance: f64) -> RunOutcome {
    match run.retry {
        // Nothing is to remain of it: it does not count as given up.
        Some(0) => RunOutcome::Cancel(error),
        Some(..0) => RunOutcome::Discard(error),
        Some(1..) => {
            let delay = Some(delay(run.attempt.saturating_sub(1), chance));
            RunOutcome::Fail { error, timed_out, delay, retry: RetryPolicy::DEFAULT }
        }
        None => RunOutcome::Fail { error, timed_out, delay: None, retry: RetryPolicy::DEFAULT },
    }
}

/// The wait before the next attempt after `count` failures before this one: `count⁴ + 15 + (0 to 29) × (count + 1)` seconds.
fn delay(count: u32, chance: f64) -> Duration {
    let spread = (chance.clamp(0.0, 1.0) * 30.0).min(29.0);
    let count = u64::from(count);
    let random = Duration::from_secs_f64(spread.floor()).as_secs();
    Duration::from_secs(count.saturating_pow(4).saturating_add(15).saturating_add(random * (count + 1)))
}

/// The text of an error as it is recorded: name and message in the first line, the backtrace below.
fn text(said: &Finished, lines_max: usize) -> String {
    let errtype = or_unknown(said.errtype.as_deref(), ERRTYPE_CHARS_MAX);
    let message = or_unknown(said.message.as_deref(), MESSAGE_CHARS_MAX);
    let lines = said.backtrace.iter().flatten().take(lines_max.min(BACKTRACE_MAX));
    lines.fold(format!("{errtype}{BETWEEN}{message}"), |text, line| text + "\n" + &one_line(line))
}

fn or_unknown(text: Option<&str>, chars_max: usize) -> String {
    let text: String = one_line(text.unwrap_or_default()).chars().take(chars_max).collect();
    if text.is_empty() { UNKNOWN.into() } else { text }
}

/// A line break would make the rest a part of the backtrace.
fn one_line(text: &str) -> String {
    text.replace("\r\n", " ").replace(['\r', '\n'], " ")
}

/// Name, message and backtrace of an error that was recorded, by a worker of whichever protocol.
pub(super) fn split(error: &str) -> (&str, &str, Vec<&str>) {
    let (first, rest) = error.split_once('\n').unwrap_or((error, ""));
    // Names of errors have no spaces, but may have colons, as those of Ruby do.
    let (errtype, message) = match first.split_once(BETWEEN) {
        Some((errtype, message)) if !errtype.contains(' ') && !errtype.is_empty() => (errtype, message),
        _ => (UNKNOWN, first),
    };
    (errtype, message, rest.lines().collect())
}

#[cfg(test)]
mod tests {
    use backroom::{JobId, LeaseId, RunKey};
    use uuid::Uuid;

    use super::*;

    fn run(retry: Option<i64>, attempt: u32) -> Run {
        let key = RunKey { job: JobId(Uuid::nil()), lease: LeaseId(Uuid::nil()) };
        Run { key, wid: "w".into(), until: Duration::ZERO, attempt, retry, backtrace: 2 }
    }

    fn said(errtype: &str, message: &str, lines: &[&str]) -> Finished {
        let lines = lines.iter().map(|&line| line.to_owned()).collect();
        let text = |text: &str| Some(text.to_owned());
        Finished { jid: "a".into(), errtype: text(errtype), message: text(message), backtrace: Some(lines) }
    }

    #[test]
    fn the_wait_grows_with_the_failures_and_is_spread() {
        let secs = |count, chance| delay(count, chance).as_secs();
        assert_eq!((secs(0, 0.0), secs(0, 0.999)), (15, 15 + 29));
        assert_eq!((secs(1, 0.0), secs(1, 0.5)), (16, 16 + 15 * 2));
        assert_eq!(secs(24, 0.0), 24_u64.pow(4) + 15);
        assert_eq!(secs(u32::MAX, 1.0), u64::MAX);
    }

    #[test]
    fn retries_decide_what_becomes_of_a_failure() {
        let of = |retry, attempt| failed(&run(retry, attempt), &said("E", "m", &[]), 0.0);
        assert_eq!(of(Some(0), 1), RunOutcome::Cancel("E: m".into()));
        assert_eq!(of(Some(-1), 1), RunOutcome::Discard("E: m".into()));
        let fail = |secs: Option<u64>| RunOutcome::Fail {
            error: "E: m".into(),
            timed_out: false,
            delay: secs.map(Duration::from_secs),
            retry: RetryPolicy::DEFAULT,
        };
        assert_eq!((of(Some(25), 1), of(Some(25), 3)), (fail(Some(15)), fail(Some(16 + 15))));
        assert_eq!(of(None, 3), fail(None), "its own policy decides");
        assert!(matches!(expired(&run(Some(5), 1), 0.0), RunOutcome::Fail { timed_out: true, .. }));
    }

    #[test]
    fn the_text_of_an_error_comes_back_in_its_parts() {
        let recorded = text(&said("Foo::Bar", "it: broke\nbadly", &["a:1", "b:2", "c:3"]), 2);
        assert_eq!(split(&recorded), ("Foo::Bar", "it: broke badly", vec!["a:1", "b:2"]));
        assert_eq!(split(&text(&said("", "", &[]), 0)), ("unknown", "unknown", vec![]));
        assert_eq!(split("no such file: x"), ("unknown", "no such file: x", vec![]));
        let long = text(&said(&"e".repeat(300), &"m".repeat(3000), &[]), 0);
        assert_eq!(long.len(), 100 + 2 + 1000);
    }
}
