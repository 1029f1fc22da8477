//! One claimed job on its way through a worker.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use backroom_core::{JobRow, LeaseId, Timestamp, bounds::span_until};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::{held_bytes::Load, neighbours::Running, pending_notes::PendingNotes, trial::Trial};
use crate::{ended::Times, recorder::LeaseLost};

/// One claimed job on its way through this worker.
pub(crate) struct Run {
    pub(crate) job: Arc<JobRow>,
    pub(crate) lease: LeaseId,
    /// The reading of the monotonic clock when the answer of the claim came.
    pub(crate) received: Duration,
    /// Its bytes, counted until nothing refers to it any more.
    _load: Load,
    /// Cancelled when the handler is asked to stop.
    pub(crate) stop: CancellationToken,
    /// Why it was asked to stop, and at which reading of the monotonic clock.
    stop_reason: OnceLock<(StopReason, Duration)>,
    /// Set when the lease is lost: what the handler returns is then dropped.
    lease_lost: LeaseLost,
    /// Its end was reported, or it was given back: a result that comes later is dropped.
    over: AtomicBool,
    deadline: Mutex<Deadline>,
    /// Cancelled once there is a deadline.
    timed: CancellationToken,
    /// When the handler began and ended.
    times: Mutex<RunTimes>,
    /// Notified once a blocking handler begins on its thread.
    began: Notify,
    executing: AtomicBool,
    /// Whether its handler is on a thread of the runtime at this moment.
    polled: AtomicBool,
    on_thread: AtomicBool,
    /// Set if it begins on trial.
    trial: OnceLock<Trial>,
    /// The right to a thread for blocking handlers, which a suspect has before it begins.
    thread: Mutex<Option<OwnedSemaphorePermit>>,
    reported_stuck: AtomicBool,
    /// The `traceparent` of its span, if that is traced.
    traceparent: OnceLock<String>,
    pub(crate) pending_notes: Mutex<PendingNotes>,
    /// The job with its args opened, and what seals the answer; only if its kind is sealed.
    #[cfg(feature = "sealed")]
    opened: OnceLock<(JobRow, crate::sealed::Codec)>,
}

/// Until which reading of the monotonic clock an attempt may run.
#[derive(Debug, Clone, Copy, Default)]
struct Deadline {
    timeout_at: Option<Duration>,
    extended_to: Option<Duration>,
}

/// When the handler began and ended: a moment for people, and readings of the monotonic clock for the span.
#[derive(Debug, Clone, Copy, Default)]
struct RunTimes {
    began: Option<(Timestamp, Duration)>,
    ended: Option<Duration>,
}

/// Why a handler is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// The job was cancelled.
    Cancelled,
    /// The job runs elsewhere by now, or is finished or gone.
    LeaseLost,
    /// The attempt ran out of time.
    TimedOut,
    /// The worker stops.
    Stopping,
}

impl fmt::Display for StopReason {
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
            job: Arc::new(job),
            lease,
            received,
            _load: load,
            stop: CancellationToken::new(),
            stop_reason: OnceLock::new(),
            lease_lost: LeaseLost::default(),
            over: AtomicBool::new(false),
            deadline: Mutex::default(),
            timed: CancellationToken::new(),
            times: Mutex::default(),
            began: Notify::new(),
            executing: AtomicBool::new(false),
            polled: AtomicBool::new(false),
            on_thread: AtomicBool::new(false),
            trial: OnceLock::new(),
            thread: Mutex::default(),
            reported_stuck: AtomicBool::new(false),
            traceparent: OnceLock::new(),
            pending_notes: Mutex::default(),
            #[cfg(feature = "sealed")]
            opened: OnceLock::new(),
        }
    }

    /// The job as its handler sees it: its args are open.
    pub(crate) fn open_job(&self) -> &JobRow {
        #[cfg(feature = "sealed")]
        if let Some((job, _)) = self.opened.get() {
            return job;
        }
        &self.job
    }

    /// What seals the answer of the handler and its notes; none if the kind is not sealed.
    #[cfg(feature = "sealed")]
    pub(crate) fn codec(&self) -> Option<&crate::sealed::Codec> {
        self.opened.get().map(|(_, codec)| codec)
    }

    /// The args are open.
    #[cfg(feature = "sealed")]
    pub(crate) fn opens(&self, args: backroom_core::Json, codec: crate::sealed::Codec) {
        let job = JobRow { args, ..JobRow::clone(&self.job) };
        // It is opened once, before its handler begins.
        let _ = self.opened.set((job, codec));
    }

    /// Asks the handler to stop; only the first reason counts.
    pub(crate) fn request_stop(&self, reason: StopReason, now: Duration) {
        if reason == StopReason::LeaseLost {
            self.lease_lost.set();
        }
        let _ = self.stop_reason.set((reason, now));
        self.stop.cancel();
    }

    /// Why the handler was asked to stop, if it was.
    pub(crate) fn stop_reason(&self) -> Option<StopReason> {
        self.stop_reason.get().map(|(reason, _)| *reason)
    }

    /// Sets the `traceparent` of its span.
    pub(crate) fn trace(&self, traceparent: String) {
        let _ = self.traceparent.set(traceparent);
    }

    /// The `traceparent` of its span, or that of the caller.
    pub(crate) fn traceparent(&self) -> Option<&str> {
        self.traceparent.get().or(self.job.extras.traceparent.as_ref()).map(String::as_str)
    }

    /// Whether the lease is lost, as far as this worker knows.
    pub(crate) fn lease_lost(&self) -> &LeaseLost {
        &self.lease_lost
    }

    /// Claims the right to report the end; false if another task has it.
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

    /// Runs the handler, and marks when its code is on a thread of the runtime. `handler` catches its own panics.
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

    /// Whether its handler is on a thread of the runtime at this moment. A handler that stays there blocks the runtime.
    pub(crate) fn is_polled(&self) -> bool {
        self.polled.load(Ordering::Relaxed)
    }

    /// A blocking handler begins on its thread; it is there until the guard is dropped.
    pub(crate) fn begins_on_thread(self: &Arc<Self>, running: Running) -> impl Drop + Send + use<> {
        self.on_thread.store(true, Ordering::Release);
        self.began.notify_one();
        OnThread(Arc::clone(self), running)
    }

    /// Whether user code still runs, in a slot or on a thread whose run has ended.
    pub(crate) fn goes_on(&self) -> bool {
        self.is_executing() || self.on_thread.load(Ordering::Acquire)
    }

    /// It begins on trial.
    pub(crate) fn put_on_trial(&self, trial: Trial) {
        // A run has at most one trial: a run that is put off ends.
        let _ = self.trial.set(trial);
    }

    /// Its trial, if it begins on trial.
    pub(crate) fn trial(&self) -> Option<&Trial> {
        self.trial.get()
    }

    /// It will run on a thread for blocking handlers.
    pub(crate) fn hold_thread(&self, thread: OwnedSemaphorePermit) {
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    }

    /// The right to a thread that it holds, if it does.
    pub(crate) fn take_thread(&self) -> Option<OwnedSemaphorePermit> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()
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

    /// Waits until the attempt's time begins to run. Returns when it will be over.
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

    /// Whether it goes on although it was asked to stop `span` or longer ago.
    pub(crate) fn is_stuck(&self, span: Duration, now: Duration) -> bool {
        self.stop_reason.get().is_some_and(|(_, at)| at.saturating_add(span) <= now)
    }
}

struct OnThread(Arc<Run>, #[expect(dead_code, reason = "counted until the thread ends")] Running);

impl Drop for OnThread {
    fn drop(&mut self) {
        self.0.on_thread.store(false, Ordering::Release);
    }
}
