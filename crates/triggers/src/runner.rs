//! The loop that reads a source: deliveries become durable jobs, then the source is settled.

use std::{sync::Arc, time::Duration};

use backroom::{Error, ErrorKind, clock::Clock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    Bounds, Delivery, Settled, Source, SourceContext, SourceError,
    holding::Standing,
    intake::{Intake, Prepared, fits},
    status::{Activity, Board},
};

/// First wait after an error; each further one is twice as long.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// Longest wait after an error.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A source that was read for so long without an error is taken for sound, also if nothing came: longer than a request with its repeats
/// may take.
const SOUND_AFTER: Duration = Duration::from_secs(600);
/// How often a full queue is tried again.
const FULL_RETRY: Duration = Duration::from_secs(1);
/// How often a source is asked for its lag, and is asked to keep what waits.
const ASKED_EVERY: Duration = Duration::from_secs(5);

/// Reads one source.
pub(crate) struct Runner {
    pub(crate) source: Box<dyn Source>,
    pub(crate) intake: Intake,
    pub(crate) bounds: Bounds,
    pub(crate) standing: watch::Receiver<Standing>,
    pub(crate) stop: CancellationToken,
    pub(crate) failures: Failures,
}

/// Errors of the source since it was last sound.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    count: u32,
    last: Option<String>,
}

/// Why a source is no longer read, without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// The trigger stops.
    Stop,
    /// The trigger is paused, or another process reads the source.
    NotOurs,
}

impl Runner {
    /// Reads until it is stopped.
    pub(crate) async fn run(mut self) {
        while let Some(context) = self.turn().await {
            let ended = self.read(&context).await;
            self.source.close().await;
            self.board().in_flight(0, None);
            match ended {
                Ok(Ended::Stop) => break,
                Ok(Ended::NotOurs) => {}
                Err(error) if error.is_lost() => {
                    tracing::info!(trigger = %self.intake.trigger(), "another process reads the source now");
                    // The holding observes the same within its next beat.
                    self.rest(BACKOFF_MIN).await;
                }
                Err(error) => self.failed(&error).await,
            }
        }
        self.show(Activity::Stopped, None);
    }

    /// Waits until this process may read the source; none when it is stopped.
    async fn turn(&mut self) -> Option<SourceContext> {
        loop {
            if self.stop.is_cancelled() {
                return None;
            }
            let standing = self.standing.borrow_and_update().clone();
            match standing {
                Standing::Ours(lease) => {
                    let lease = self.source.is_exclusive().then_some(lease);
                    let (backroom, trigger) =
                        (self.intake.backroom().clone(), Arc::clone(self.intake.trigger()));
                    return Some(SourceContext { backroom, trigger, lease, bounds: self.bounds });
                }
                Standing::Unknown => self.show(Activity::Starting, None),
                Standing::Paused(reason) => self.show(Activity::Paused, Some(reason)),
                Standing::Standby(holder) => {
                    self.show(Activity::Standby, Some(format!("{holder} reads the source")));
                }
                Standing::Unsure(why) => self.show(Activity::Blocked, Some(why)),
            }
            tokio::select! {
                () = self.stop.cancelled() => return None,
                changed = self.standing.changed() => changed.ok()?,
            }
        }
    }

    async fn read(&mut self, context: &SourceContext) -> Result<Ended, SourceError> {
        let mut watched = self.standing.clone();
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            ended = interrupted(&mut watched, &stop) => return Ok(ended),
            opened = self.source.open(context) => opened?,
        }
        self.show(Activity::Running, None);
        let clock = Arc::clone(self.clock());
        let opened_at = clock.monotonic();
        let mut asked_at = None;
        loop {
            let now = clock.monotonic();
            if now.saturating_sub(opened_at) >= SOUND_AFTER {
                self.recovered();
            }
            if asked_at.is_none_or(|at| now.saturating_sub(at) >= ASKED_EVERY) {
                let lag = self.source.lag().await;
                self.board().show_source(lag, self.source.details());
                asked_at = Some(now);
            }
            let deliveries = tokio::select! {
                biased;
                ended = interrupted(&mut watched, &stop) => return Ok(ended),
                next = self.source.next(self.bounds) => next?,
                () = clock.sleep(ASKED_EVERY) => continue,
            };
            if deliveries.is_empty() {
                continue;
            }
            self.board().in_flight(deliveries.len(), Some(clock.now()));
            let settled = match self.take(&deliveries, &mut watched).await? {
                Ok(settled) => settled,
                Err(ended) => return Ok(ended),
            };
            self.source.settle(settled).await?;
            // Not before: a source that delivers but cannot be settled would fail again at once, and be reported each time.
            self.recovered();
            self.board().in_flight(0, None);
        }
    }

    /// Makes jobs of deliveries, and waits as long as the store or a full queue makes it wait.
    async fn take(
        &mut self,
        deliveries: &[Delivery],
        watched: &mut watch::Receiver<Standing>,
    ) -> Result<Result<Vec<Settled>, Ended>, SourceError> {
        let receipts: Vec<u64> = deliveries.iter().map(|delivery| delivery.receipt).collect();
        let mut prepared = self.intake.prepare(deliveries);
        while let Err(error) = self.intake.store_letters(&mut prepared).await {
            if let Some(ended) = self.blocked(&error, &receipts, watched).await? {
                return Ok(Err(ended));
            }
        }
        let mut answers = Vec::with_capacity(prepared.jobs().len());
        let mut size = usize::MAX;
        while answers.len() < prepared.jobs().len() {
            let left = rest(&prepared, answers.len());
            let part = left.get(..size.min(left.len())).unwrap_or(left);
            match self.intake.insert(part.to_vec()).await {
                Ok(stored) => {
                    answers.extend(stored);
                    size = usize::MAX;
                }
                Err(error) => {
                    let tried = part.len();
                    size = fits(&error, tried);
                    let is_full =
                        matches!(error.kind(), ErrorKind::QueueFull { depth, limit } if depth >= limit);
                    let may_fit = size < tried && !is_full;
                    if !may_fit && let Some(ended) = self.blocked(&error, &receipts, watched).await? {
                        return Ok(Err(ended));
                    }
                }
            }
        }
        self.show(Activity::Running, None);
        let outcomes = self.intake.outcomes(prepared, &answers);
        let settled = receipts.into_iter().zip(outcomes);
        Ok(Ok(settled.map(|(receipt, outcome)| Settled { receipt, verdict: outcome.verdict() }).collect()))
    }

    /// The store takes nothing now: waits a while. Answers why the source is to be left, if it is.
    async fn blocked(
        &mut self,
        error: &Error,
        receipts: &[u64],
        watched: &mut watch::Receiver<Standing>,
    ) -> Result<Option<Ended>, SourceError> {
        match error.kind() {
            ErrorKind::QueueFull { .. } | ErrorKind::Unavailable | ErrorKind::NoSpace => {}
            // Nothing that time mends: the source is closed, and the error is shown.
            _ => return Err(SourceError::new(error.to_string())),
        }
        if self.board().status().activity != Activity::Blocked {
            tracing::warn!(trigger = %self.intake.trigger(), "the trigger waits: {error}");
        }
        self.show(Activity::Blocked, Some(error.to_string()));
        let clock = Arc::clone(self.clock());
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            ended = interrupted(watched, &stop) => return Ok(Some(ended)),
            () = clock.sleep(FULL_RETRY) => {}
        }
        self.source.keep(receipts).await?;
        Ok(None)
    }

    /// Reports an error of the source, once until it is over, and waits.
    async fn failed(&mut self, error: &SourceError) {
        let name = Arc::clone(self.intake.trigger());
        Board::count(&self.board().errors, 1);
        let text = error.to_string();
        if self.failures.last.as_ref() != Some(&text) {
            tracing::warn!(trigger = %name, "{text}");
        }
        self.show(Activity::Failing, Some(text.clone()));
        let doubled = BACKOFF_MIN.saturating_mul(1 << self.failures.count.min(6)).min(BACKOFF_MAX);
        let spread = 0.9 + 0.2 * self.intake.ids().chance();
        self.failures = Failures { count: self.failures.count.saturating_add(1), last: Some(text) };
        self.rest(doubled.mul_f64(spread)).await;
    }

    fn recovered(&mut self) {
        let Failures { count, last: _ } = std::mem::take(&mut self.failures);
        if count > 0 {
            tracing::info!(trigger = %self.intake.trigger(), failures = count, "the source can be read again");
        }
    }

    async fn rest(&mut self, span: Duration) {
        let clock = Arc::clone(self.clock());
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = clock.sleep(span) => {}
        }
    }

    fn show(&self, activity: Activity, why: Option<String>) {
        self.board().show(activity, why, self.clock().now());
    }

    fn board(&self) -> &Arc<Board> {
        self.intake.board()
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        self.intake.backroom().clock()
    }
}

fn rest(prepared: &Prepared, from: usize) -> &[backroom::core::draft::NewJob] {
    prepared.jobs().get(from..).unwrap_or_default()
}

/// Returns once the source must be left.
async fn interrupted(standing: &mut watch::Receiver<Standing>, stop: &CancellationToken) -> Ended {
    let left = standing.wait_for(|standing| !matches!(standing, Standing::Ours(_)));
    tokio::select! {
        () = stop.cancelled() => Ended::Stop,
        // The sender is dropped when the trigger stops.
        left = left => if left.is_ok() { Ended::NotOurs } else { Ended::Stop },
    }
}
