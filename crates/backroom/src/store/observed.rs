//! The layer over every store: spans, deadlines, and repeats while the store is away for a moment.
//!
//! Every verb is safe to repeat, so a call that met a transient error is made again. Other errors are passed on: bad input
//! and a broken store do not mend themselves. Each call has a deadline that includes all repeats. The deadline of an enqueue
//! is the shortest, because a user waits for it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tracing::Instrument as _;

use super::{
    Call, CallHook, Store,
    layer::{Answer, Forward, Layer, Request, Verb},
    outage::{Begun, Miss, Outage, Over, is_outage},
};
use crate::{Error, ErrorKind, clock::Clock, repeated::Times};

/// How often a call is made again before its error is passed on.
pub const REPEATS_MAX: u32 = 6;
/// The first wait; each further one doubles it. With [`REPEATS_MAX`] that makes about three seconds in all: long
/// enough for a busy file or a server that restarts, short enough for a caller that waits.
pub const REPEAT_AFTER: Duration = Duration::from_millis(50);

/// Longest time that an enqueue takes, with all repeats: default of [`Options::enqueue_timeout`](crate::Options::enqueue_timeout).
pub const INSERT_TIMEOUT: Duration = Duration::from_secs(10);
/// The same for the calls of workers and for reads. Their callers make them again.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// The same for calls that may read or write everything: a check, an import, a prune, the last writes before a close.
const LONG_TIMEOUT: Duration = Duration::from_secs(3600);

/// Observes a store. Each call gets a span with its rows and errors at debug level, and is repeated with backoff after
/// transient errors. An outage is logged as one warning, however many calls meet it: one of all calls, of writes only, or of
/// disk space. Its end is logged when the verbs that failed are answered again.
pub struct Observed {
    inner: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    outage: Mutex<Outage>,
    insert_timeout: Duration,
    /// Called with every call, if there is one.
    hook: Option<CallHook>,
}

impl Observed {
    /// Observes `inner`, and waits by `clock` between repeats.
    pub fn new(inner: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { inner, clock, outage: Mutex::default(), insert_timeout: INSERT_TIMEOUT, hook: None }
    }

    /// The same with another longest time for an enqueue.
    #[must_use]
    pub fn insert_timeout(mut self, timeout: Duration) -> Self {
        self.insert_timeout = timeout;
        self
    }

    /// The same with a hook that is called with every call.
    #[must_use]
    pub(crate) fn on_call(mut self, hook: Option<CallHook>) -> Self {
        self.hook = hook;
        self
    }

    /// How long a call may take in all, repeats included.
    fn timeout_of(&self, verb: Verb) -> Duration {
        match verb {
            Verb::Insert => self.insert_timeout,
            Verb::Health
            | Verb::Import
            | Verb::ImportMessages
            | Verb::DropMessages
            | Verb::Prune
            | Verb::ImportBatches
            | Verb::PruneBatches
            | Verb::DeleteTrigger
            | Verb::Close => LONG_TIMEOUT,
            Verb::Claim
            | Verb::Commit
            | Verb::LeaseStatus
            | Verb::Note
            | Verb::Delete
            | Verb::DeleteCopy
            | Verb::DeleteUnmoved
            | Verb::Job
            | Verb::Attempts
            | Verb::Logs
            | Verb::History
            | Verb::List
            | Verb::Counts
            | Verb::Load
            | Verb::Ahead
            | Verb::NextDue
            | Verb::RunningOf
            | Verb::ExpiredJobs
            | Verb::Journal
            | Verb::WriteJournals
            | Verb::Signal
            | Verb::DueWakes
            | Verb::ClearWakes
            | Verb::ForgetTaken
            | Verb::Queues
            | Verb::SetQueue
            | Verb::Heartbeat
            | Verb::Deregister
            | Verb::Workers
            | Verb::Holders
            | Verb::DeclareDead
            | Verb::PutStats
            | Verb::Stats
            | Verb::PutSamples
            | Verb::Samples
            | Verb::PutToken
            | Verb::Tokens
            | Verb::TokenOf
            | Verb::RevokeToken
            | Verb::TokenUsed
            | Verb::AppendAudit
            | Verb::Audit
            | Verb::BeginRequest
            | Verb::EndRequest
            | Verb::TakeMessages
            | Verb::AcknowledgeMessages
            | Verb::ReleaseMessages
            | Verb::ForgetMessages
            | Verb::Messages
            | Verb::ReplyQueues
            | Verb::EndEndpoint
            | Verb::EndedEndpoint
            | Verb::EndedEndpoints
            | Verb::EnableEndpoint
            | Verb::PutTrigger
            | Verb::Trigger
            | Verb::Triggers
            | Verb::PauseTrigger
            | Verb::HoldTrigger
            | Verb::ReleaseTrigger
            | Verb::WriteTriggerState
            | Verb::TriggerState
            | Verb::TriggerValues
            | Verb::PutDeadLetters
            | Verb::DeadLetters
            | Verb::DeadLetter
            | Verb::DeleteDeadLetters
            | Verb::Schedule
            | Verb::Schedules
            | Verb::MoveSchedules
            | Verb::DeleteSchedule
            | Verb::DueSchedules
            | Verb::Entries
            | Verb::EntryOfKey
            // A graph may be large.
            | Verb::InsertLinked
            | Verb::SettleLeft
            | Verb::Edges
            | Verb::OpenBatch
            | Verb::TurnBatch
            | Verb::Batch
            | Verb::Batches => CALL_TIMEOUT,
        }
    }

    /// Makes one call, and repeats it while it meets transient errors. `failed` gets the last of them.
    async fn call_repeatedly<T: Answer>(
        &self,
        request: Request,
        mut call: Call,
        forward: Forward<T>,
        failed: &Mutex<Option<String>>,
    ) -> Result<T, Error> {
        let verb = request.verb();
        let span = tracing::debug_span!("store", %verb);
        async {
            let (mut repeats, mut first) = (0, None);
            loop {
                let before = self.outage().answered_so_far(verb);
                let answer = forward(Arc::clone(&self.inner), request.clone(), call).await;
                match &answer {
                    Ok(answer) => {
                        tracing::debug!(%verb, rows = answer.rows(), repeats, "answered");
                        self.answered(verb);
                    }
                    Err(error) => {
                        tracing::debug!(%verb, %error, repeats, "failed");
                        let is_last = !error.is_transient() || repeats == REPEATS_MAX;
                        if is_outage(error) {
                            let first = *first.get_or_insert_with(|| (self.clock.monotonic(), before));
                            self.failed(verb, error, &Miss { first, before, repeats, is_last });
                        }
                        if !is_last {
                            *failed.lock().unwrap_or_else(PoisonError::into_inner) =
                                Some(error.message().to_owned());
                            self.clock.sleep(REPEAT_AFTER * 2u32.pow(repeats)).await;
                            repeats += 1;
                            call = Call::Repeated;
                            continue;
                        }
                    }
                }
                return answer;
            }
        }
        .instrument(span)
        .await
    }

    fn failed(&self, verb: Verb, error: &Error, miss: &Miss) {
        let begun = self.outage().failed(verb, error, miss, self.clock.monotonic());
        match begun {
            None => {}
            Some(Begun::Outage) if error.kind() == ErrorKind::NoSpace => {
                tracing::warn!(%verb, %error, "the store cannot write; what is to be recorded waits until it can");
            }
            Some(Begun::Outage) => {
                tracing::warn!(%verb, %error, "the store does not answer; trying again until it does");
            }
            Some(Begun::Relapses) => {
                tracing::warn!(%verb, %error, "the store fails again soon after it answered; further outages are counted");
            }
        }
    }

    fn answered(&self, verb: Verb) {
        let over = self.outage().answered(verb, || self.clock.monotonic());
        match over {
            None => {}
            Some(Over::Outage(Times { times, span })) => {
                let away_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
                tracing::info!(away_ms, failed_calls = times, "the store answers again");
            }
            Some(Over::Relapses(times)) => {
                tracing::warn!("the store failed again soon after it answered: {times}, now over");
            }
        }
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Observed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observed").field("clock", &self.clock).field("outage", &self.outage).finish()
    }
}

impl Layer for Observed {
    fn inner(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    /// Makes one call within its deadline. It uses real time, whatever the clock: the store lies outside this process.
    async fn around<T: Answer>(&self, request: Request, call: Call, forward: Forward<T>) -> Result<T, Error> {
        let verb = request.verb();
        let timeout = self.timeout_of(verb);
        let measured = self.hook.as_ref().map(|hook| (hook, request.rows(), self.clock.monotonic()));
        let failed = Mutex::new(None);
        let answering = self.call_repeatedly(request, call, forward, &failed);
        let answer = tokio::time::timeout(timeout, answering).await;
        let answer = answer.unwrap_or_else(|_| {
            let effect = if verb == Verb::Insert {
                "; the jobs may be stored all the same, so enqueue again under the same unique key"
            } else {
                ""
            };
            // The try before says more than that this one took too long: which process has locked the file.
            let before = failed.lock().unwrap_or_else(PoisonError::into_inner).take();
            let before =
                before.map_or_else(String::new, |error| format!("; the try before failed to {error}"));
            let why = format!("{verb}: the store did not answer within {timeout:?}{before}{effect}");
            tracing::debug!(%verb, ?timeout, "no answer within the deadline");
            Err(Error::new(ErrorKind::Unavailable, why))
        });
        if let Some((hook, sent, began)) = measured {
            let took = self.clock.monotonic().saturating_sub(began);
            hook.call(verb, sent, took, answer.as_ref().map(Answer::rows));
        }
        answer
    }
}
