//! Reports every ended attempt.
//!
//! Every end passes through [`Ends::report`], once, after the store has recorded it: those of handlers, those of args that
//! do not decode, and those that upkeep finds (a crash, poison, an expiry). Here an end is counted, logged, and passed to
//! the hooks of [`Worker::on_end`](crate::Worker::on_end). Nothing here decides what becomes of a job.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use backroom_core::State;

use crate::{
    Ended,
    clock::Clock,
    engine::{Engine, Hidden, loggable},
    tally::Tally,
};

/// The target of the log events about ended attempts. Filters name it, so it stays as it is wherever the code moves.
pub const ATTEMPTS_TARGET: &str = "backroom::attempts";

/// Called with every end.
pub(crate) type Hook = Arc<dyn Fn(&Ended<'_>) + Send + Sync>;

/// The log warns of hooks that take longer: while one runs, no further end is recorded.
const HOOK_SLOW: Duration = Duration::from_secs(1);

/// Where every end of one worker, and of the upkeep beside it, is reported.
pub(crate) struct Ends {
    clock: Arc<dyn Clock>,
    /// What the log must not show.
    hidden: Arc<Hidden>,
    hooks: Vec<Hook>,
    /// Whether ends without failure are logged at INFO.
    log_successes: bool,
    tally: Tally,
    allowance: Mutex<Allowance>,
    panicked: AtomicU64,
    slow: AtomicU64,
}

impl Ends {
    pub(crate) fn new(engine: &Engine, hooks: Vec<Hook>, log_successes: bool) -> Self {
        Self {
            clock: Arc::clone(&engine.clock),
            hidden: Arc::clone(&engine.hidden),
            hooks,
            log_successes,
            tally: Tally::default(),
            allowance: Mutex::default(),
            panicked: AtomicU64::new(0),
            slow: AtomicU64::new(0),
        }
    }

    /// Reports one end. Called once for each, after it is recorded.
    pub(crate) fn report(&self, end: &Ended<'_>) {
        self.tally.count(end);
        self.log(end);
        if self.hooks.is_empty() {
            return;
        }
        let began = self.clock.monotonic();
        for hook in &self.hooks {
            // A hook is the user's code: its panic must neither lose the next ends nor stop the worker.
            if catch_unwind(AssertUnwindSafe(|| hook(end))).is_err() {
                let times = self.panicked.fetch_add(1, Ordering::Relaxed) + 1;
                if times.is_power_of_two() {
                    tracing::error!(job = %end.id, kind = %end.kind, times, "a hook of Worker::on_end panicked; the panic is ignored");
                }
            }
        }
        let took = self.clock.monotonic().saturating_sub(began);
        if took >= HOOK_SLOW {
            let times = self.slow.fetch_add(1, Ordering::Relaxed) + 1;
            if times.is_power_of_two() {
                tracing::warn!(
                    ?took,
                    times,
                    "the hooks of Worker::on_end are slow; no further end is recorded while one runs"
                );
            }
        }
    }

    /// What was counted so far.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// One structured event: WARN for an attempt that failed and is retried, ERROR for a job that is discarded, and DEBUG
    /// (or INFO, where asked for) for the rest.
    fn log(&self, end: &Ended<'_>) {
        let is_failure = end.ending.is_failure() && end.state != State::Cancelled;
        let is_loud = is_failure || end.state == State::Discarded;
        let is_allowed = !is_loud || self.is_allowed();
        let error = end.error.unwrap_or_default();
        let error = end.job.0.map_or(error.into(), |job| loggable(&self.hidden, job, error));
        let error = OneLine(&error);
        let Ended { id, kind, queue, attempt, max_attempts, ending, state, .. } = *end;
        let worker = end.worker.unwrap_or_default();
        macro_rules! event {
            ($level:ident, $what:literal, $($more:tt)*) => {
                tracing::$level!(
                    target: ATTEMPTS_TARGET, job = %id, %kind, %queue, attempt, max_attempts, end = %ending, %state, worker,
                    waited_ms = end.waited.map(millis), ran_ms = end.ran.map(millis), $($more)*, $what
                )
            };
        }
        let retry_in = end.retry_in.unwrap_or_default();
        match (is_loud && is_allowed, end.state) {
            (true, State::Discarded) => event!(error, "the job was discarded", error = %error),
            (true, _) => {
                event!(warn, "the attempt failed; the job is retried", retry_in = ?retry_in, error = %error)
            }
            (false, _) if !is_loud && self.log_successes => event!(info, "the attempt ended", error = %error),
            (false, _) => event!(debug, "the attempt ended", retry_in = ?retry_in, error = %error),
        }
    }

    /// Whether one more line of level WARN or ERROR may be written now. Logs how many were left out once that is known.
    fn is_allowed(&self) -> bool {
        let (is_allowed, left_out) =
            self.allowance.lock().unwrap_or_else(PoisonError::into_inner).take(self.clock.monotonic());
        Self::log_left_out(left_out);
        is_allowed
    }

    /// Logs how many lines were left out, if their span is over. For the time after the last end.
    pub(crate) fn sum_up(&self) {
        let left_out =
            self.allowance.lock().unwrap_or_else(PoisonError::into_inner).turn(self.clock.monotonic());
        Self::log_left_out(left_out);
    }

    fn log_left_out(left_out: u64) {
        if left_out > 0 {
            tracing::warn!(
                target: ATTEMPTS_TARGET, attempts = left_out,
                "more attempts failed than are logged one by one; the others are logged at level DEBUG"
            );
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Lines of level WARN and ERROR within one span. A database that is away can fail thousands of jobs in a second, and their lines
/// could fill the disk.
const LINES_MAX: u32 = 100;
/// That span.
const LINES_SPAN: Duration = Duration::from_secs(10);

/// How many lines of these levels are left.
#[derive(Debug, Default)]
struct Allowance {
    /// The reading of the monotonic clock at which the span is over.
    until: Option<Duration>,
    written: u32,
    left_out: u64,
}

impl Allowance {
    /// Takes one line. Returns also how many were left out in the span before, once.
    fn take(&mut self, now: Duration) -> (bool, u64) {
        let left_out = self.turn(now);
        self.until.get_or_insert(now.saturating_add(LINES_SPAN));
        if self.written < LINES_MAX {
            self.written += 1;
            return (true, left_out);
        }
        self.left_out += 1;
        (false, left_out)
    }

    /// Begins a new span if the last one is over.
    fn turn(&mut self, now: Duration) -> u64 {
        if self.until.is_none_or(|until| now < until) {
            return 0;
        }
        std::mem::take(self).left_out
    }
}

/// What separates an error from the backtrace behind it.
pub(crate) const BACKTRACE: &str = "\nbacktrace:\n";
/// Longest error in a log line, in bytes before it is escaped.
const LOGGED_BYTES_MAX: usize = 512;

/// An error on one line of a log: without its backtrace, cut, and with every character escaped that could break the
/// line or control a terminal.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = self.0.split(BACKTRACE).next().unwrap_or_default();
        let mut bytes = 0;
        for c in said.chars() {
            bytes += c.len_utf8();
            if bytes > LOGGED_BYTES_MAX {
                return f.write_str("…");
            }
            // Quotes are harmless, and text full of backslashes is hard to read.
            if matches!(c, '"' | '\'') {
                fmt::Write::write_char(f, c)?
            } else {
                write!(f, "{}", c.escape_debug())?
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Duration {
        Duration::from_secs(1000 + secs)
    }

    #[test]
    fn lines_beyond_the_allowance_are_counted_and_the_count_is_logged_once() {
        let mut allowance = Allowance::default();
        for _ in 0..LINES_MAX {
            assert_eq!(allowance.take(at(0)), (true, 0));
        }
        assert_eq!(allowance.take(at(9)), (false, 0));
        assert_eq!(allowance.take(at(9)), (false, 0));
        assert_eq!(allowance.take(at(10)), (true, 2));
        assert_eq!(allowance.take(at(10)), (true, 0));
        assert_eq!(allowance.turn(at(20)), 0);
    }

    #[test]
    fn an_error_is_logged_on_one_short_line_without_its_backtrace() {
        let shown = OneLine("a\nb\u{1b}[31m\u{202e}\"c\"\nbacktrace:\n 0: main").to_string();
        assert_eq!(shown, "a\\nb\\u{1b}[31m\\u{202e}\"c\"");
        let long = OneLine(&"é".repeat(1000)).to_string();
        assert_eq!(long.chars().count(), LOGGED_BYTES_MAX / 2 + 1);
    }
}
