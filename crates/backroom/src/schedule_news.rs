//! Reports what happens to schedules: to the log, and to the hooks of [`Worker::on_schedule`](crate::Worker::on_schedule).

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use backroom_core::{Timestamp, redact::Redaction, schedule::turn::News};

/// The target of the log events about schedules. Filters name it, so it stays as it is wherever the code moves.
pub const SCHEDULES_TARGET: &str = "backroom::schedules";

/// Something that happened to a schedule: occurrences were missed, its job cannot be made, a failure paused it, no run succeeded in
/// time, or one did again.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ScheduleEvent<'a> {
    /// The name of the schedule.
    pub schedule: &'a str,
    /// When it was noticed, by the time of the store.
    pub at: Timestamp,
    /// What happened.
    pub news: &'a News,
}

/// Called with every event.
pub(crate) type ScheduleHook = Arc<dyn Fn(&ScheduleEvent<'_>) + Send + Sync>;

/// Where every event of the schedules is reported that one process runs.
#[derive(Default)]
pub(crate) struct ScheduleNews {
    hooks: Vec<ScheduleHook>,
    panicked: AtomicU64,
}

impl ScheduleNews {
    pub(crate) fn new(hooks: Vec<ScheduleHook>) -> Self {
        Self { hooks, panicked: AtomicU64::new(0) }
    }

    /// Reports one event. Called once for each in all processes together, after the store has written what it follows from. The log
    /// hides what `redaction` hides.
    pub(crate) fn report(&self, event: &ScheduleEvent<'_>, redaction: &Redaction) {
        log(event, redaction);
        for hook in &self.hooks {
            // A hook is the user's code: its panic must not stop the schedules.
            if catch_unwind(AssertUnwindSafe(|| hook(event))).is_err() {
                let times = self.panicked.fetch_add(1, Ordering::Relaxed) + 1;
                if times.is_power_of_two() {
                    let schedule = event.schedule;
                    tracing::error!(target: SCHEDULES_TARGET, schedule, times, "a hook of Worker::on_schedule panicked; the panic is ignored");
                }
            }
        }
    }
}

fn log(event: &ScheduleEvent<'_>, redaction: &Redaction) {
    let schedule = event.schedule;
    macro_rules! log {
        ($level:ident, $what:literal $(, $($more:tt)*)?) => {
            tracing::$level!(target: SCHEDULES_TARGET, schedule, $($($more)*,)? $what)
        };
    }
    match event.news {
        News::Missed(passed) => {
            let (first, last, count) = (passed.first, passed.last, passed.count);
            log!(warn, "occurrences were missed", %first, %last, count, why = passed.why.sentence());
        }
        News::Failing(failing) => log!(error, "the schedule fails", error = %redaction.text(&failing.why)),
        News::FailsNoMore(failing) => log!(info, "the schedule fails no more", since = %failing.since),
        News::PausedByFailure { nominal, job } => {
            log!(error, "the failure of a run has paused the schedule; resume it when the cause is removed", %nominal, %job);
        }
        News::Overdue { since } => log!(error, "no run of the schedule succeeded in time", %since),
        News::Recovered { since } => {
            log!(info, "a run of the schedule succeeded again", overdue_since = %since)
        }
        News::DecidedAhead { ahead } => {
            log!(
                warn,
                "the clock was set back; occurrences that were decided before do not fire again",
                ?ahead
            );
        }
        News::Backfilled(backfill) => {
            log!(info, "a backfill has started its last run", occurrences = backfill.done)
        }
        _ => log!(info, "something happened to the schedule", news = ?event.news),
    }
}
