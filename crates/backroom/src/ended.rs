//! The one room for reports of ended attempts.
//!
//! Every end passes through [`Ends::report`], once, after the store has recorded it: those of handlers, those of args that
//! do not decode, and those that upkeep finds (a crash, poison, an expiry). Here an end is counted, logged, and handed to
//! the hooks of [`Worker::on_end`](crate::Worker::on_end). This room never decides what becomes of a job.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use backroom_core::{AttemptEnd, Change, Event, JobId, JobRow, Loss, State, Timestamp, bounds::span_until};

use crate::{clock::Clock, worker::Tally};

/// One attempt that has ended, after the store has recorded it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Ended<'a> {
    /// The job.
    pub id: JobId,
    /// Its kind.
    pub kind: &'a str,
    /// Its queue.
    pub queue: &'a str,
    /// Which attempt it was, from 1; 0 for a job that expired before its first attempt.
    pub attempt: u32,
    /// How many attempts the job is allowed.
    pub max_attempts: u32,
    /// The worker that ran it; none for a job that expired before its first attempt.
    pub worker: Option<&'a str>,
    /// In which way it ended.
    pub ending: Ending,
    /// The job's state afterwards: `Queued` means that it runs again, `Discarded` that it was given up.
    pub state: State,
    /// How long the job waits for its next attempt; none if there is none.
    pub retry_in: Option<Duration>,
    /// What the attempt said: the error with a panic's place and backtrace, or the reason of a cancel or discard. At most
    /// [`ERROR_BYTES_MAX`](crate::core::bounds::ERROR_BYTES_MAX) bytes.
    pub error: Option<&'a str>,
    /// From the moment the job was due until its handler began; none if the handler never began, or another worker ran it.
    pub waited: Option<Duration>,
    /// How long the handler ran; none if it never began, or another worker ran it.
    pub ran: Option<Duration>,
    /// When the end was decided.
    pub ended_at: Timestamp,
}

/// In which way an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ending {
    /// The handler returned its output.
    Succeeded,
    /// The handler returned an error.
    Failed,
    /// The handler panicked.
    Panicked,
    /// The handler ran longer than the job's timeout.
    TimedOut,
    /// The args did not decode, so the handler did not run.
    Undecoded,
    /// The handler gave the job up.
    Discarded,
    /// The handler ended the job as cancelled, or stopped because the job was cancelled.
    Cancelled,
    /// The handler postponed the job.
    Snoozed,
    /// The worker gave the job back unfinished.
    Released,
    /// The run parked itself.
    Suspended,
    /// The worker's process died while it ran the job. Upkeep found it.
    Crashed,
    /// The worker lost its lease while its process lived. Upkeep found it.
    Lost,
    /// The worker's process died before the handler began. Upkeep found it.
    NotBegun,
    /// `expires_at` passed before an attempt began.
    Expired,
}

impl Ending {
    /// The word in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
            Self::TimedOut => "timedout",
            Self::Undecoded => "undecoded",
            Self::Discarded => "discarded",
            Self::Cancelled => "cancelled",
            Self::Snoozed => "snoozed",
            Self::Released => "released",
            Self::Suspended => "suspended",
            Self::Crashed => "crashed",
            Self::Lost => "lost",
            Self::NotBegun => "notbegun",
            Self::Expired => "expired",
        }
    }

    /// Whether the attempt failed: the handler did not do what the job asks for, and nothing said that this is as it
    /// should be. A snooze, a release, a cancel and an expiry are no failures.
    pub const fn is_failure(self) -> bool {
        match self {
            Self::Failed
            | Self::Panicked
            | Self::TimedOut
            | Self::Undecoded
            | Self::Discarded
            | Self::Crashed
            | Self::Lost => true,
            Self::Succeeded
            | Self::Cancelled
            | Self::Snoozed
            | Self::Released
            | Self::Suspended
            | Self::NotBegun
            | Self::Expired => false,
        }
    }

    /// What an event ends an attempt as; none if it ends none.
    pub(crate) fn of(event: &Event) -> Option<Self> {
        match event {
            Event::Succeed { .. } => Some(Self::Succeeded),
            Event::Fail { end, .. } => Some(Self::of_attempt(*end)),
            Event::Discard { .. } => Some(Self::Discarded),
            Event::Stop { .. } => Some(Self::Cancelled),
            Event::Snooze { .. } => Some(Self::Snoozed),
            Event::Release { .. } => Some(Self::Released),
            Event::Suspend { .. } => Some(Self::Suspended),
            Event::LeaseLost(Loss::Died { .. }) => Some(Self::Crashed),
            Event::LeaseLost(Loss::Outlived { .. }) => Some(Self::Lost),
            Event::LeaseLost(Loss::NotBegun { .. }) => Some(Self::NotBegun),
            Event::Expire => Some(Self::Expired),
            Event::Claim { .. } | Event::Wake | Event::Cancel { .. } | Event::Retry | Event::Amend { .. } => {
                None
            }
        }
    }

    fn of_attempt(end: AttemptEnd) -> Self {
        match end {
            AttemptEnd::Failed => Self::Failed,
            AttemptEnd::Panicked => Self::Panicked,
            AttemptEnd::TimedOut => Self::TimedOut,
            AttemptEnd::Crashed => Self::Crashed,
            AttemptEnd::Lost => Self::Lost,
            AttemptEnd::Discarded => Self::Discarded,
            AttemptEnd::Cancelled => Self::Cancelled,
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How long a run waited and ran; none where this process did not run it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Times {
    pub(crate) waited: Option<Duration>,
    pub(crate) ran: Option<Duration>,
}

impl<'a> Ended<'a> {
    /// The end of `job`'s current attempt, as `change` recorded it.
    pub(crate) fn new(
        job: &'a JobRow,
        ending: Ending,
        change: &'a Change,
        times: Times,
        now: Timestamp,
    ) -> Self {
        let error = change.attempt_ended().map(|attempt| attempt.error.as_str());
        Self {
            id: job.id,
            kind: &job.kind,
            queue: &job.queue,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            worker: job.worker.as_deref(),
            ending,
            state: change.state,
            retry_in: (change.state == State::Queued).then(|| span_until(now, change.scheduled_at)),
            error: error.or(change.reason.as_deref()).filter(|_| ending != Ending::Succeeded),
            waited: times.waited,
            ran: times.ran,
            ended_at: now,
        }
    }
}

/// Called with every end.
pub(crate) type Hook = Arc<dyn Fn(&Ended<'_>) + Send + Sync>;

/// A hook that takes longer is warned of: while it runs, no further end is recorded.
const HOOK_SLOW: Duration = Duration::from_secs(1);

/// Where every end of one worker, and of the upkeep beside it, is reported.
pub(crate) struct Ends {
    clock: Arc<dyn Clock>,
    hooks: Vec<Hook>,
    /// Whether ends without failure are logged at INFO.
    log_successes: bool,
    tally: Tally,
    allowance: Mutex<Allowance>,
    panicked: AtomicU64,
    slow: AtomicU64,
}

impl Ends {
    pub(crate) fn new(clock: Arc<dyn Clock>, hooks: Vec<Hook>, log_successes: bool) -> Self {
        Self {
            clock,
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
            // A hook is the user's code: its panic must neither lose the ends behind it nor stop the worker.
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

    /// One structured event: WARN for an attempt that failed and is retried, ERROR for a job that is given up, and DEBUG
    /// (or INFO, where asked for) for the rest.
    fn log(&self, end: &Ended<'_>) {
        let is_failure = end.ending.is_failure() && end.state != State::Cancelled;
        let is_loud = is_failure || end.state == State::Discarded;
        let is_allowed = !is_loud || self.is_allowed();
        let error = OneLine(end.error.unwrap_or_default());
        let Ended { id, kind, queue, attempt, max_attempts, ending, state, .. } = *end;
        let worker = end.worker.unwrap_or_default();
        macro_rules! event {
            ($level:ident, $what:literal, $($more:tt)*) => {
                tracing::$level!(
                    job = %id, %kind, %queue, attempt, max_attempts, end = %ending, %state, worker,
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

    /// Whether one more loud line may be written now. Says how many were left out once that is known.
    fn is_allowed(&self) -> bool {
        let (is_allowed, left_out) =
            self.allowance.lock().unwrap_or_else(PoisonError::into_inner).take(self.clock.monotonic());
        Self::say_left_out(left_out);
        is_allowed
    }

    /// Says how many lines were left out, if the span in which they were is over. For the time after the last end.
    pub(crate) fn sum_up(&self) {
        let left_out =
            self.allowance.lock().unwrap_or_else(PoisonError::into_inner).turn(self.clock.monotonic());
        Self::say_left_out(left_out);
    }

    fn say_left_out(left_out: u64) {
        if left_out > 0 {
            tracing::warn!(
                attempts = left_out,
                "more attempts failed than are logged one by one; the others are logged at level DEBUG"
            );
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Lines of level WARN and ERROR within one span. A database that is away can fail thousands of jobs in a second, and a log
/// that fills the disk would be the second failure.
const LINES_MAX: u32 = 100;
/// That span.
const LINES_SPAN: Duration = Duration::from_secs(10);

/// How many loud lines are left.
#[derive(Debug, Default)]
struct Allowance {
    /// The reading of the monotonic clock at which the span is over.
    until: Option<Duration>,
    written: u32,
    left_out: u64,
}

impl Allowance {
    /// Takes one line, and answers how many were left out in the span before, once.
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

/// An error on one line of a log: without its backtrace, cut, and with everything escaped that could break the line or
/// steer a terminal.
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
    fn lines_beyond_the_allowance_are_counted_and_the_count_is_said_once() {
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
