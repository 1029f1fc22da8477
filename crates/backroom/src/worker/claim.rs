//! Taking jobs from the store into a pool.

use std::{sync::Arc, time::Duration};

use backroom_core::{JobRow, Timestamp, bounds::later};

use tokio::task::JoinHandle;

use super::{active_runs::Run, execute, hand::Load, pool::Pool, report, shared::Shared, trial};
use crate::{
    Error, ErrorKind,
    store::{Claim, Listener, is_told},
};

/// The wait after a claim that failed, doubled up to the limit while claims go on failing.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The wait before looking again when a job seemed due, doubled up to the limit while claims go on taking nothing. The
/// limit is short, because behind the job that seems due another one may become due.
const LOOK_MIN: Duration = Duration::from_micros(200);
const LOOK_MAX: Duration = Duration::from_millis(50);

/// Conditions that may be met again and again.
const FAILED: &str = "a claim failed";

/// Claimed jobs that no slot has begun within this span go back to the store, for other workers.
const HOARD: Duration = Duration::from_secs(1);

/// Keeps a pool in jobs until the worker stops. Fails if the answer of a claim stayed lost until the end.
pub(crate) async fn keep_claiming(shared: Arc<Shared>, pool: Arc<Pool>) -> Result<(), Error> {
    let queues = Arc::new(pool.order.queues());
    let listener = shared.engine.store.wakes().listen_queues(&queues);
    let mut claimer = Claimer {
        shared: Arc::clone(&shared),
        pool,
        queues,
        listener,
        turn: 0,
        failures: 0,
        job_bytes: 0,
        vain: 0,
        under_way: None,
        unanswered: None,
    };
    tokio::select! {
        biased;
        () = shared.stopping.cancelled() => {}
        () = claimer.run() => {}
    }
    tokio::select! {
        biased;
        // Dropped, not stopped: what runs is left to its lease.
        () = shared.abandoned.cancelled() => Ok(()),
        wound_up = claimer.wind_up() => wound_up,
    }
}

/// A claim was not answered before its worker had to stop.
pub(super) fn lost() -> Error {
    let message = "stop the worker: the answer of a claim was lost; the jobs it took, if any, run again when their leases \
                   run out";
    Error::new(ErrorKind::Unavailable, message)
}

/// What came of a claim that the store answered.
struct Answered {
    /// How many jobs it took.
    taken: usize,
    /// How many bytes these have.
    bytes: usize,
}

struct Claimer {
    shared: Arc<Shared>,
    pool: Arc<Pool>,
    queues: Arc<Vec<String>>,
    listener: Listener,
    turn: u64,
    failures: u32,
    /// Bytes per job of the last claim that took some.
    job_bytes: usize,
    /// Claims in a row that took nothing although something seemed due.
    vain: u32,
    /// The claim that was sent last, until its answer is heard.
    under_way: Option<JoinHandle<Result<Answered, Error>>>,
    /// A claim whose answer never came, be it that the store was away for longer than its decorator is patient. Whatever
    /// it took runs in our name and nobody here knows of it.
    unanswered: Option<Arc<Claim>>,
}

impl Claimer {
    async fn run(&mut self) {
        self.shared.registered.cancelled().await;
        loop {
            self.give_back_hoard().await;
            if let Err(error) = self.recall().await {
                self.pause(&error).await;
                continue;
            }
            if self.shared.neighbours.is_closed() {
                // A prime suspect has the process for itself: what would be claimed now could not begin.
                tokio::select! {
                    () = self.shared.neighbours.open() => {}
                    () = self.shared.engine.clock.sleep(HOARD) => {}
                }
                continue;
            }
            if self.shared.trouble.holds_claims() {
                self.shared.engine.clock.sleep(PAUSE_MIN).await;
                continue;
            }
            let wanted = self.pool.wanted();
            let room = self.shared.hand.room(self.pool.has_ready());
            if wanted == 0 || room == 0 {
                self.wait_for_want(wanted > 0).await;
                continue;
            }
            let limit = wanted.min(self.jobs_within(room));
            match self.claim(limit, room).await {
                Ok(Answered { taken, bytes, .. }) => {
                    if self.failures > 0 {
                        self.failures = 0;
                        self.shared.repeats.over(FAILED, self.shared.engine.clock.monotonic());
                    }
                    self.shared.trouble.claimed();
                    if let Some(job_bytes) = bytes.checked_div(taken) {
                        self.vain = 0;
                        self.job_bytes = job_bytes;
                    }
                    if taken < limit && bytes < room {
                        self.idle().await;
                    }
                }
                Err(error) => self.pause(&error).await,
            }
        }
    }

    /// How many jobs are likely to fit. A store that stops at the bytes may have found, and locked, as many as the limit says.
    fn jobs_within(&self, bytes: usize) -> usize {
        (bytes / self.job_bytes.max(1)).saturating_mul(2).max(1)
    }

    /// Waits until a slot comes free, or there is room in hand if that is all that lacks, or for the time to look for a hoard.
    async fn wait_for_want(&self, lacks_room: bool) {
        tokio::select! {
            () = self.pool.wants.notified(), if !lacks_room => {}
            () = self.shared.hand.has_room(self.pool.has_ready()), if lacks_room => {}
            () = self.shared.engine.clock.sleep(HOARD) => {}
        }
    }

    async fn claim(&mut self, limit: usize, bytes_max: usize) -> Result<Answered, Error> {
        self.turn += 1;
        let (shared, pool) = (&self.shared, &self.pool);
        let (now, due) = (shared.engine.clock.now(), shared.engine.clock.due());
        let claim = Arc::new(Claim {
            worker: shared.name(),
            shares: pool.order.shares(limit, self.turn),
            kinds: Arc::clone(&shared.kinds),
            limit,
            bytes_max,
            lease: shared.engine.ids.lease(),
            until: later(now, shared.settings.lease),
            due,
            repeat: false,
        });
        // Noted before: this future may be dropped while it waits.
        self.unanswered = Some(Arc::clone(&claim));
        self.send(claim, now);
        self.answer().await
    }

    /// Takes over what an unanswered claim took; without this it would lie until the lease ran out, and count as a
    /// crash. It takes no more than that: by now some of it may have been rescued, and one lease must not name two runs
    /// of a job.
    async fn recall(&mut self) -> Result<(), Error> {
        let Some(claim) = &self.unanswered else { return Ok(()) };
        let claim = Arc::new(Claim { shares: Vec::new(), repeat: true, ..Claim::clone(claim) });
        let unanswered = Arc::clone(&claim);
        self.send(claim, self.shared.engine.clock.now());
        let recalled = self.answer().await.map(drop);
        if recalled.as_ref().is_err_and(|error| error.kind() != ErrorKind::Closed) {
            // What the claim itself took is still not known, whatever was wrong with the question.
            self.unanswered = Some(unanswered);
        }
        recalled
    }

    /// Sends a claim, in a task of its own: dropped half-way when the worker stops, its answer would be lost and its
    /// jobs would lie until their leases run out.
    fn send(&mut self, claim: Arc<Claim>, now: Timestamp) {
        let (shared, pool) = (Arc::clone(&self.shared), Arc::clone(&self.pool));
        let under_way = shared.begin_claim();
        // Counted from now on, so that the claims of two pools do not both take the last room.
        let reserved = shared.hand.hold(claim.bytes_max);
        self.under_way = Some(tokio::spawn(async move {
            let taken = take(&shared, &pool, claim, reserved, now).await;
            drop(under_way);
            taken
        }));
    }

    /// What came of the claim that is under way; nothing if none is. Dropped while it waits, it can be asked again.
    async fn answer(&mut self) -> Result<Answered, Error> {
        let Some(under_way) = &mut self.under_way else {
            return Ok(Answered { taken: 0, bytes: 0 });
        };
        let answered = under_way.await;
        self.under_way = None;
        let answered = answered.unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Internal, "claim jobs: the claiming task ended").caused_by(error))
        });
        // An error that no waiting mends is an answer, too: the store took nothing.
        if !answered.as_ref().is_err_and(is_told) {
            self.unanswered = None;
        }
        answered
    }

    /// Asks again for a claim whose answer is lost, now that the worker is stopping, until its grace is over. What comes of
    /// it is given back; without this it would lie until the lease ran out, and count as a crash.
    async fn wind_up(&mut self) -> Result<(), Error> {
        let clock = Arc::clone(&self.shared.engine.clock);
        let until = clock.monotonic().saturating_add(self.shared.settings.grace);
        if let Err(error) = self.answer().await {
            self.report(&error);
        }
        while self.unanswered.is_some() {
            let Err(error) = self.recall().await else { continue };
            self.report(&error);
            let now = clock.monotonic();
            if now < until {
                clock.sleep_to(now.saturating_add(PAUSE_MIN).min(until)).await;
            } else if self.unanswered.is_some() {
                return Err(lost().caused_by(error));
            }
        }
        Ok(())
    }

    /// Waits for a hint, for the next job to become due, or for the time to look anyway.
    async fn idle(&mut self) {
        let clock = &self.shared.engine.clock;
        let (queues, kinds) = (Arc::clone(&self.queues), Arc::clone(&self.shared.kinds));
        let poll = self.shared.settings.poll;
        let vain = &mut self.vain;
        let due = async {
            let next = self.shared.engine.store.next_due(queues, kinds, clock.due()).await;
            // An error here costs no more than a later look.
            let Some(next) = next.ok().flatten() else { return std::future::pending().await };
            *vain = if next <= clock.due() { *vain + 1 } else { 0 };
            // What seems due and is not taken has expired, or went to somebody else: asking for it again and again
            // would burn a core until upkeep cancels it. A new job rings, and is not kept waiting by this.
            let again = LOOK_MIN.saturating_mul(1 << vain.saturating_sub(1).min(20)).min(LOOK_MAX);
            clock.sleep(again).await;
            clock.sleep_until(next).await;
        };
        tokio::select! {
            biased;
            () = self.listener.woken() => {}
            () = due => {}
            // The looks that come without a hint are counted by the monotonic clock: no step of a wall clock puts them off.
            () = clock.sleep(poll) => {}
        }
    }

    /// Short jobs are claimed ahead; when a long one then takes the slots, those behind it would wait here while other
    /// workers are idle.
    async fn give_back_hoard(&self) {
        // In the clock's first moments nothing can be that old.
        let Some(before) = self.shared.engine.clock.monotonic().checked_sub(HOARD) else { return };
        let hoard = self.pool.take_hoard(before);
        if !hoard.is_empty() {
            // In a task of its own: dropped half-way when the worker stops, some would be nobody's.
            let shared = Arc::clone(&self.shared);
            let giving = tokio::spawn(async move { report::give_back(&shared, hoard).await });
            // It fails only with the runtime, and then all is over.
            let _ = giving.await;
        }
    }

    /// Reports a failure once: an outage by the store's decorator, anything else here.
    fn report(&self, error: &Error) {
        if !is_told(error) && self.shared.is_news(FAILED) {
            tracing::error!(worker = %self.shared.name(), %error, "{FAILED}; it is tried again");
        }
    }

    async fn pause(&mut self, error: &Error) {
        self.report(error);
        self.shared.trouble.claim_failed(error, self.shared.engine.clock.now());
        let pause = PAUSE_MIN.saturating_mul(1 << self.failures.min(6)).min(PAUSE_MAX);
        self.failures += 1;
        self.shared.engine.clock.sleep(pause).await;
    }
}

/// Claims, registers the runs so that their leases are kept from now on, and starts runners for them.
async fn take(
    shared: &Arc<Shared>,
    pool: &Arc<Pool>,
    claim: Arc<Claim>,
    reserved: Load,
    now: Timestamp,
) -> Result<Answered, Error> {
    let jobs = shared.engine.store.claim(Arc::clone(&claim), now).await?;
    let received = shared.engine.clock.monotonic();
    let mut bytes = 0;
    let begin = |job: JobRow| {
        let job_bytes = job.bytes();
        bytes += job_bytes;
        Arc::new(Run::new(job, claim.lease, shared.hand.hold(job_bytes), received))
    };
    let runs: Vec<_> = jobs.into_iter().map(begin).collect();
    drop(reserved);
    let taken = runs.len();
    shared.held.add(&runs, shared.engine.clock.monotonic());
    let answered = Answered { taken, bytes };
    if shared.stopping.is_cancelled() || claim.worker != shared.name() {
        // The worker takes no more jobs; or it was declared dead meanwhile, and what a dead worker holds is rescued.
        report::give_back(shared, runs).await;
        return Ok(answered);
    }
    let runs = trial::set_apart(shared, pool, runs).await;
    for _ in 0..pool.give(runs) {
        tokio::spawn(execute::keep_running(Arc::clone(shared), Arc::clone(pool)));
    }
    Ok(answered)
}
