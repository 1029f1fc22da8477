//! The runs of this worker: each holds a lease until its end is recorded.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use backroom_core::{JobId, JobRow, LeaseId, Timestamp, bounds::span_until};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{hand::Load, neighbours::Running, notes::Said, trial::Ticket};
use crate::ended::Times;

/// One claimed job on its way through this worker.
pub(crate) struct Run {
    pub(crate) job: JobRow,
    pub(crate) lease: LeaseId,
    /// The reading of the monotonic clock when the answer of the claim came.
    pub(crate) received: Duration,
    /// Its bytes, counted until nothing refers to it any more.
    _load: Load,
    /// Tells the handler to stop.
    pub(crate) stop: CancellationToken,
    /// Why it was told, and at which reading of the monotonic clock.
    told: OnceLock<(Stop, Duration)>,
    /// The lease is gone: whatever the handler returns is dropped.
    lost: AtomicBool,
    /// Its end was reported, or it was given back: a result that comes later is dropped.
    over: AtomicBool,
    deadline: Mutex<Deadline>,
    /// Rings once there is a deadline.
    timed: CancellationToken,
    /// When the handler began and ended.
    times: Mutex<RunTimes>,
    /// Rings once a blocking handler has its core.
    began: Notify,
    executing: AtomicBool,
    /// Whether its handler is on a thread of the runtime at this moment.
    polled: AtomicBool,
    on_thread: AtomicBool,
    /// Set if it begins on trial.
    ticket: OnceLock<Ticket>,
    reported_stuck: AtomicBool,
    pub(crate) said: Mutex<Said>,
}

/// Until which reading of the monotonic clock an attempt may run.
#[derive(Debug, Clone, Copy, Default)]
struct Deadline {
    timeout_at: Option<Duration>,
    extended_to: Option<Duration>,
}

/// When the handler began and ended; the moment is for people, the readings of the monotonic clock are for the span.
#[derive(Debug, Clone, Copy, Default)]
struct RunTimes {
    began: Option<(Timestamp, Duration)>,
    ended: Option<Duration>,
}

/// Why a handler was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Somebody cancelled the job.
    Cancelled,
    /// The job runs elsewhere by now, or is finished or gone.
    LeaseLost,
    /// The attempt ran out of time.
    TimedOut,
    /// The worker stops.
    Stopping,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "the job was cancelled",
            Self::LeaseLost => "the lease was lost",
            Self::TimedOut => "the attempt ran out of time",
            Self::Stopping => "the worker is stopping",
        })
    }
}

impl Run {
    pub(crate) fn new(job: JobRow, lease: LeaseId, load: Load, received: Duration) -> Self {
        Self {
            job,
            lease,
            received,
            _load: load,
            stop: CancellationToken::new(),
            told: OnceLock::new(),
            lost: AtomicBool::new(false),
            over: AtomicBool::new(false),
            deadline: Mutex::default(),
            timed: CancellationToken::new(),
            times: Mutex::default(),
            began: Notify::new(),
            executing: AtomicBool::new(false),
            polled: AtomicBool::new(false),
            on_thread: AtomicBool::new(false),
            ticket: OnceLock::new(),
            reported_stuck: AtomicBool::new(false),
            said: Mutex::default(),
        }
    }

    /// Tells the handler to stop; only the first reason counts.
    pub(crate) fn tell(&self, why: Stop, now: Duration) {
        if why == Stop::LeaseLost {
            self.lost.store(true, Ordering::Release);
        }
        let _ = self.told.set((why, now));
        self.stop.cancel();
    }

    /// Why the handler was told to stop, if it was.
    pub(crate) fn told(&self) -> Option<(Stop, Duration)> {
        self.told.get().copied()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Claims the right to report the end; false if somebody has.
    pub(crate) fn end(&self) -> bool {
        !self.over.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// True once: for a report that must not be repeated.
    pub(crate) fn first_stuck_report(&self) -> bool {
        !self.reported_stuck.swap(true, Ordering::Relaxed)
    }

    /// Whether its handler runs now.
    pub(crate) fn is_executing(&self) -> bool {
        self.executing.load(Ordering::Relaxed)
    }

    pub(crate) fn set_executing(&self, executing: bool) {
        self.executing.store(executing, Ordering::Relaxed);
    }

    /// Runs the handler, and notes while its code is on a thread of the runtime. The handler's panics are caught within.
    pub(crate) async fn polled<T>(&self, handler: impl Future<Output = T>) -> T {
        let mut handler = std::pin::pin!(handler);
        std::future::poll_fn(|cx| {
            self.polled.store(true, Ordering::Relaxed);
            let polled = handler.as_mut().poll(cx);
            self.polled.store(false, Ordering::Relaxed);
            polled
        })
        .await
    }

    /// Whether its handler is on a thread of the runtime at this moment. One that is there for long blocks it.
    pub(crate) fn is_polled(&self) -> bool {
        self.polled.load(Ordering::Relaxed)
    }

    /// A blocking handler has its core and begins; it is on its thread until the answer is dropped.
    pub(crate) fn begins_on_thread(self: &Arc<Self>, running: Running) -> impl Drop + Send + use<> {
        self.on_thread.store(true, Ordering::Release);
        self.began.notify_one();
        OnThread(Arc::clone(self), running)
    }

    /// Whether user code runs to this moment, on a slot or on a thread that was given up on.
    pub(crate) fn goes_on(&self) -> bool {
        self.is_executing() || self.on_thread.load(Ordering::Acquire)
    }

    /// It begins on trial.
    pub(crate) fn put_on_trial(&self, ticket: Ticket) {
        // A run has one trial at most: one that is put off ends here.
        let _ = self.ticket.set(ticket);
    }

    /// What says how it begins, if that is on trial.
    pub(crate) fn ticket(&self) -> Option<&Ticket> {
        self.ticket.get()
    }

    /// Returns once a blocking handler has begun.
    pub(crate) async fn begun(&self) {
        self.began.notified().await;
    }

    /// The attempt's time begins to run.
    pub(crate) fn set_deadline(&self, at: Duration) {
        self.lock_deadline().timeout_at = Some(at);
        self.timed.cancel();
    }

    /// The handler asks for time until `at`; it may do so before its time begins to run.
    pub(crate) fn extend_deadline(&self, at: Duration) {
        let mut deadline = self.lock_deadline();
        deadline.extended_to = deadline.extended_to.max(Some(at));
    }

    /// When the attempt runs out of time; none before its time begins to run, or without a timeout.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let deadline = *self.lock_deadline();
        deadline.timeout_at.max(deadline.timeout_at.and(deadline.extended_to))
    }

    /// Waits until the attempt's time begins to run, and answers when it will be over.
    pub(crate) async fn has_deadline(&self) -> Duration {
        loop {
            self.timed.cancelled().await;
            if let Some(deadline) = self.deadline() {
                return deadline;
            }
        }
    }

    /// The handler begins, at this moment and this reading of the monotonic clock.
    pub(crate) fn begins(&self, at: Timestamp, reading: Duration) {
        self.lock_times().began = Some((at, reading));
    }

    /// The handler has ended.
    pub(crate) fn ends(&self, reading: Duration) {
        self.lock_times().ended = Some(reading);
    }

    /// When the handler began, if it has.
    pub(crate) fn began_at(&self) -> Option<Timestamp> {
        self.lock_times().began.map(|(at, _)| at)
    }

    /// How long the job waited since it was due, and how long its handler ran.
    pub(crate) fn times(&self) -> Times {
        let RunTimes { began, ended } = *self.lock_times();
        let ran = began.zip(ended).map(|((_, began), ended)| ended.saturating_sub(began));
        Times { waited: began.map(|(at, _)| span_until(self.job.scheduled_at, at)), ran }
    }

    fn lock_times(&self) -> MutexGuard<'_, RunTimes> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_deadline(&self) -> MutexGuard<'_, Deadline> {
        self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it goes on although it was told to stop `span` or longer ago.
    pub(crate) fn is_stuck(&self, span: Duration, now: Duration) -> bool {
        self.told().is_some_and(|(_, at)| at.saturating_add(span) <= now)
    }
}

struct OnThread(Arc<Run>, #[expect(dead_code, reason = "counted until the thread ends")] Running);

impl Drop for OnThread {
    fn drop(&mut self) {
        self.0.on_thread.store(false, Ordering::Release);
    }
}

/// Runs that ended for the store while their handler went on: a thread cannot be stopped from outside, and a handler
/// whose lease is lost is only told.
#[derive(Default)]
pub(crate) struct Strays(Mutex<Vec<Arc<Run>>>);

impl Strays {
    /// Takes in those of the runs whose handler goes on.
    pub(crate) fn add<'a>(&self, ended: impl IntoIterator<Item = &'a Arc<Run>>) {
        let strays = ended.into_iter().filter(|run| run.goes_on()).cloned();
        self.runs().extend(strays);
    }

    /// Those whose handler goes on to this moment.
    pub(crate) fn all(&self) -> Vec<Arc<Run>> {
        let mut runs = self.runs();
        runs.retain(|run| run.goes_on());
        runs.clone()
    }

    fn runs(&self) -> MutexGuard<'_, Vec<Arc<Run>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All runs whose leases this worker holds.
#[derive(Default)]
pub(crate) struct Held {
    runs: Mutex<HashMap<JobId, Arc<Run>>>,
}

impl Held {
    /// Keeps the leases of newly claimed runs. A job whose earlier run is still held here was rescued unnoticed and
    /// came back: nobody would ask about the old lease again, so its handler is told now.
    pub(crate) fn add(&self, claimed: &[Arc<Run>], now: Duration) {
        let mut runs = self.runs();
        for run in claimed {
            if let Some(displaced) = runs.insert(run.job.id, Arc::clone(run)) {
                displaced.tell(Stop::LeaseLost, now);
            }
        }
    }

    /// Forgets runs. One that was claimed anew meanwhile stays.
    pub(crate) fn remove<'a>(&self, gone: impl IntoIterator<Item = &'a Arc<Run>>) {
        let mut runs = self.runs();
        for run in gone {
            if runs.get(&run.job.id).is_some_and(|held| held.lease == run.lease) {
                runs.remove(&run.job.id);
            }
        }
    }

    /// In the order of their ids: the order of a map differs from run to run, and with it that of everything that
    /// follows, so that a seed would not repeat it.
    pub(crate) fn all(&self) -> Vec<Arc<Run>> {
        let mut all: Vec<_> = self.runs().values().cloned().collect();
        all.sort_unstable_by_key(|run| run.job.id);
        all
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs().is_empty()
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<JobId, Arc<Run>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use backroom_core::{Draft, Json, Timestamp};
    use uuid::Uuid;

    use super::{super::hand::Hand, *};

    fn run_under(lease: u128, job: u128) -> Arc<Run> {
        let id = JobId(Uuid::from_u128(job));
        let new = Draft::new("kind", Json::null()).check(id, Timestamp::UNIX_EPOCH, 100).expect("a draft");
        Arc::new(Run::new(new.job, LeaseId(Uuid::from_u128(lease)), Hand::new(100).hold(0), Duration::ZERO))
    }

    #[test]
    fn a_run_whose_job_is_claimed_again_here_is_asked_to_stop() {
        let held = Held::default();
        let (earlier, other, later) = (run_under(1, 7), run_under(1, 8), run_under(2, 7));
        held.add(&[Arc::clone(&earlier), Arc::clone(&other)], Duration::ZERO);
        assert!(earlier.told().is_none());
        held.add(std::slice::from_ref(&later), Duration::from_secs(9));
        assert_eq!(earlier.told(), Some((Stop::LeaseLost, Duration::from_secs(9))));
        assert!(earlier.is_lost() && earlier.stop.is_cancelled());
        assert!(other.told().is_none() && later.told().is_none());
        assert_eq!(held.all().iter().map(|run| run.lease).collect::<Vec<_>>(), [later.lease, other.lease]);
        held.remove([&earlier]);
        assert_eq!(held.all().len(), 2, "the end of the earlier run does not take the later one away");
    }
}
