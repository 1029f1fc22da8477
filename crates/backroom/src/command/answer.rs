//! What the end of a command means for its job.

use std::time::Duration;

use backroom_core::Json;

use super::{
    order::{Ended, Exit, NotBegun},
    signals::{CODE_DISCARD, CODE_RETRY, CODE_SNOOZE, SIGKILL, SIGXCPU, name},
    stdout::Stdout,
};
use crate::{Failure, worker::StopReason};

/// What the worker knows when a run is over.
#[derive(Debug)]
pub(super) enum End {
    /// The command could not be started.
    NotBegun(NotBegun),
    /// The command ended, and its descendants with it.
    Ended(Ended),
    /// The supervisor died before it reported the end.
    Unsupervised,
    /// The command did not end within its grace, although the supervisor sent SIGKILL.
    Unkillable,
}

/// What the command wrote about itself.
#[derive(Debug, Default)]
pub(super) struct Reported {
    pub(super) snooze: Option<Duration>,
    pub(super) retry: Option<Duration>,
    /// Its last line on stderr that was no report.
    pub(super) last_line: String,
}

/// The answer of a command in place of a handler's. A command that was asked to stop has done its work only if it exits with 0.
pub(super) fn answer(
    end: End,
    stop: Option<StopReason>,
    stdout: Stdout,
    reported: Reported,
    snooze: Duration,
) -> Result<Json, Failure> {
    if stdout.is_too_large() {
        return Err(stdout.too_large());
    }
    let Ended { exit, out_of_memory, .. } = match end {
        End::Ended(ended) => ended,
        End::NotBegun(why) => return Err(Failure::retry(not_begun(&why))),
        End::Unsupervised => {
            return Err(stopped(stop).unwrap_or_else(|| {
                Failure::retry("the supervisor of the command was killed by another process; the command was killed, too")
            }));
        }
        End::Unkillable => {
            return Err(stopped(stop).unwrap_or_else(|| {
                Failure::retry("processes of the command did not end although they were sent SIGKILL")
            }));
        }
    };
    if exit == Exit::Code(0) {
        return stdout.into_output();
    }
    if let Some(failure) = stopped(stop) {
        return Err(failure);
    }
    let because = |what: String| match reported.last_line.as_str() {
        "" => what,
        line => format!("{what}: {line}"),
    };
    Err(match exit {
        Exit::Code(CODE_DISCARD) => Failure::discard(because("the command exited with 65 (discard)".into())),
        Exit::Code(CODE_SNOOZE) => Failure::snooze(reported.snooze.unwrap_or(snooze)),
        Exit::Code(CODE_RETRY) => {
            let why = because("the command exited with 75 (try again)".into());
            match reported.retry {
                Some(delay) => Failure::retry_after(delay, why),
                None => Failure::retry(why),
            }
        }
        Exit::Code(code) => Failure::retry(because(format!("the command exited with {code}"))),
        Exit::Signal(_) if out_of_memory => {
            Failure::retry(because("the command used more memory than its limit, and was killed".into()))
        }
        Exit::Signal(signal) => Failure::retry(because(by_signal(signal))),
    })
}

/// What becomes of the job of a command that was asked to stop and did not exit with 0.
fn stopped(stop: Option<StopReason>) -> Option<Failure> {
    match stop? {
        // Nothing failed, and the next worker may begin at once.
        StopReason::Stopping => Some(Failure::snooze(Duration::ZERO)),
        why @ StopReason::Cancelled => Some(Failure::cancel(why.to_string())),
        // The worker drops the answer.
        why @ (StopReason::LeaseLost | StopReason::TimedOut) => Some(Failure::retry(why.to_string())),
    }
}

fn by_signal(signal: i32) -> String {
    let what = format!("the command was killed by signal {signal} ({})", name(signal));
    match signal {
        SIGKILL => format!("{what}, by another process or by the kernel for lack of memory or CPU time"),
        SIGXCPU => format!("{what}: it used more CPU time than its limit"),
        _ => what,
    }
}

fn not_begun(why: &NotBegun) -> String {
    format!("the command did not begin: {}", why.error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{command::Output, failure::Outcome};

    fn of(exit: Exit, stop: Option<StopReason>, reported: Reported) -> Result<String, (Outcome, String)> {
        let mut stdout = Stdout::new(Output::Whole, 100);
        stdout.take(b"1");
        let ended = End::Ended(Ended { exit, left: 0, killed: false, out_of_memory: false });
        answer(ended, stop, stdout, reported, Duration::from_secs(60))
            .map(|output| output.to_string())
            .map_err(|failure| (failure.outcome, failure.message))
    }

    fn outcome(exit: Exit) -> Outcome {
        of(exit, None, Reported::default()).unwrap_err().0
    }

    #[test]
    fn exit_codes_say_what_becomes_of_the_job() {
        assert_eq!(of(Exit::Code(0), None, Reported::default()), Ok("1".into()));
        assert_eq!(outcome(Exit::Code(65)), Outcome::Discard);
        assert_eq!(outcome(Exit::Code(69)), Outcome::Snooze(Duration::from_secs(60)));
        assert_eq!(outcome(Exit::Code(75)), Outcome::Retry);
        for code in [1, 2, 64, 66, 126, 127, 255] {
            assert_eq!(outcome(Exit::Code(code)), Outcome::Retry, "{code}");
        }
        assert_eq!(outcome(Exit::Signal(11)), Outcome::Retry);
        let spans = || Reported {
            snooze: Some(Duration::from_secs(5)),
            retry: Some(Duration::from_secs(7)),
            last_line: "full".into(),
        };
        assert_eq!(of(Exit::Code(69), None, spans()).unwrap_err().0, Outcome::Snooze(Duration::from_secs(5)));
        let (outcome, message) = of(Exit::Code(75), None, spans()).unwrap_err();
        assert_eq!(outcome, Outcome::RetryAfter(Duration::from_secs(7)));
        assert_eq!(message, "the command exited with 75 (try again): full");
    }

    #[test]
    fn a_signal_is_told_from_an_exit_code() {
        let (_, message) = of(Exit::Signal(11), None, Reported::default()).unwrap_err();
        assert_eq!(message, "the command was killed by signal 11 (SIGSEGV)");
        let (_, message) = of(Exit::Code(139), None, Reported::default()).unwrap_err();
        assert_eq!(message, "the command exited with 139");
    }

    #[test]
    fn a_command_that_was_asked_to_stop_succeeds_with_0_and_fails_for_no_other_reason() {
        for stop in [StopReason::Stopping, StopReason::Cancelled] {
            assert_eq!(of(Exit::Code(0), Some(stop), Reported::default()), Ok("1".into()));
            for exit in [Exit::Code(1), Exit::Code(65), Exit::Signal(15), Exit::Signal(9)] {
                let (outcome, _) = of(exit, Some(stop), Reported::default()).unwrap_err();
                let expected = match stop {
                    StopReason::Stopping => Outcome::Snooze(Duration::ZERO),
                    _ => Outcome::Cancel,
                };
                assert_eq!(outcome, expected, "{stop:?} {exit:?}");
            }
        }
    }
}
