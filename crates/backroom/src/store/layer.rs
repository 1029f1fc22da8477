//! Layers over a store: each sees every call, and may delay it, repeat it or answer in its place.
//!
//! A layer implements [`Layer`]. Every layer is a [`Store`]: the implementations at the end of this file and in `access` are the only
//! places that forward verbs.

use std::{any::Any, fmt, sync::Arc};

use async_trait::async_trait;
use backroom_core::{
    Attempt, AuditEntry, Change, JobId, JobRow, Json, LeaseId, LogLine, Message, MessageId, Queue,
    SecretHash, Timestamp, Token, TokenId,
    draft::NewJob,
    idempotency::{Begun, IdempotencyRecord, RequestEnd},
    stats::StatsRow,
};
use futures_util::{FutureExt as _, future::BoxFuture};
use uuid::Uuid;

use super::{
    Acknowledged, Beaten, Call, Claim, Committed, Count, DeadLetter, Deleted, DropMessages, EndedEndpoint,
    EndpointVerbs, Filter, Health, Holder, Inserted, JobVerbs, LeaseStatus, MessageRow, Note, Notifier,
    Prune, QueueSetting, QueueVerbs, ReadVerbs, Record, Recorded, ReplyQueue, ReplyVerbs, RunningJob, Seen,
    Store, TakeMessages, TriggerHold, TriggerPause, WorkerRow, WorkerVerbs, WriteState,
};
use crate::Error;

/// Sees every call to the store below it.
pub trait Layer: Send + Sync + 'static {
    /// The store below.
    fn inner(&self) -> &Arc<dyn Store>;

    /// Answers one call. `forward` calls a store, as often as the layer wants.
    fn around<T: Answer>(
        &self,
        request: Request,
        call: Call,
        forward: Forward<T>,
    ) -> impl Future<Output = Result<T, Error>> + Send;
}

/// Calls a store and answers what it answers.
pub type Forward<T> = fn(Arc<dyn Store>, Request, Call) -> BoxFuture<'static, Result<T, Error>>;

/// What a verb answers.
pub trait Answer: Any + Send {
    /// How many rows it stands for.
    fn rows(&self) -> usize {
        1
    }
}

impl<T: Any + Send> Answer for Vec<T> {
    fn rows(&self) -> usize {
        self.len()
    }
}

impl<T: Any + Send> Answer for Option<T> {
    fn rows(&self) -> usize {
        usize::from(self.is_some())
    }
}

/// A count of rows.
impl Answer for u64 {
    fn rows(&self) -> usize {
        usize::try_from(*self).unwrap_or(usize::MAX)
    }
}

impl Answer for () {}
impl Answer for bool {}
impl Answer for Beaten {}
impl Answer for Deleted {}
impl Answer for Health {}
impl Answer for Begun {}
impl Answer for super::Load {}
impl Answer for super::TriggerReader {}

/// Declares the requests, and the verbs that name them.
macro_rules! requests {
    ($($verb:ident $name:literal $({ $($arg:ident: $type:ty),+ })?),+ $(,)?) => {
        /// The arguments of one call. Cheap to clone.
        #[derive(Debug, Clone)]
        #[non_exhaustive]
        #[expect(missing_docs, reason = "each stands for the verb of its name, which documents its arguments")]
        pub enum Request {
            $($verb $({ $($arg: $type),+ })?),+
        }

        /// A verb of the store.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        #[expect(missing_docs, reason = "each stands for the verb of its name")]
        pub enum Verb {
            $($verb),+
        }

        impl Request {
            /// Its verb.
            pub fn verb(&self) -> Verb {
                match self {
                    $(Self::$verb { .. } => Verb::$verb),+
                }
            }
        }

        impl Verb {
            /// Its name in logs and errors.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$verb => $name),+
                }
            }
        }
    };
}

requests! {
    Insert "insert" { jobs: Arc<Vec<NewJob>>, now: Timestamp },
    Claim "claim" { claim: Arc<Claim>, now: Timestamp },
    Commit "commit" { changes: Arc<Vec<Change>> },
    LeaseStatus "lease_status" { leases: Arc<Vec<(JobId, LeaseId)>> },
    Note "note" { notes: Arc<Vec<Note>>, now: Timestamp },
    Prune "prune" { prune: Arc<Prune>, now: Timestamp },
    Delete "delete" { id: JobId },
    DeleteUnmoved "delete_unmoved" { jobs: Arc<Vec<(JobId, u64)>> },
    Import "import" { records: Arc<Vec<Record>> },
    Job "job" { id: JobId },
    Attempts "attempts" { id: JobId },
    Logs "logs" { id: JobId, skip: usize, limit: usize },
    History "history" { id: JobId, seen: Seen, limit: usize },
    List "list" { filter: Arc<Filter>, before: Option<JobId>, limit: usize },
    Counts "counts" { now: Timestamp },
    Load "load" { queue: Arc<str>, limit: u64, now: Timestamp },
    Ahead "ahead" { job: Arc<JobRow>, limit: u64, now: Timestamp },
    NextDue "next_due" { queues: Arc<Vec<String>>, kinds: Arc<Vec<String>>, now: Timestamp },
    RunningOf "running_of" { worker: Arc<str>, after: Option<JobId>, limit: usize },
    ExpiredJobs "expired_jobs" { limit: usize, now: Timestamp },
    Queues "queues",
    SetQueue "set_queue" { name: Arc<str>, setting: QueueSetting },
    Heartbeat "heartbeat" { worker: Arc<WorkerRow> },
    Deregister "deregister" { worker: Arc<str> },
    Workers "workers" { since: Timestamp },
    Holders "holders",
    DeclareDead "declare_dead" { worker: Arc<str>, beats: Option<u64>, now: Timestamp },
    PutStats "put_stats" { row: Arc<StatsRow>, now: Timestamp },
    Stats "stats" { since: Timestamp, limit: usize },
    PutToken "put_token" { token: Arc<Token>, hash: SecretHash, now: Timestamp },
    Tokens "tokens",
    TokenOf "token_of" { hash: SecretHash },
    RevokeToken "revoke_token" { id: TokenId, now: Timestamp },
    TokenUsed "token_used" { id: TokenId, now: Timestamp },
    AppendAudit "append_audit" { entry: Arc<AuditEntry> },
    Audit "audit" { before: Option<Uuid>, limit: usize },
    BeginRequest "begin_request" { wanted: Arc<IdempotencyRecord>, now: Timestamp },
    EndRequest "end_request" { key: Arc<str>, holder: Uuid, end: Arc<RequestEnd> },
    TakeMessages "take_messages" { take: Arc<TakeMessages>, now: Timestamp },
    AcknowledgeMessages "acknowledge_messages" { lease: LeaseId, ids: Arc<Vec<MessageId>> },
    ReleaseMessages "release_messages" { lease: LeaseId, ids: Arc<Vec<MessageId>> },
    Messages "messages" { reply_to: Option<Arc<str>>, after: u64, limit: usize },
    ReplyQueues "reply_queues" { after: Option<Arc<str>>, limit: usize, now: Timestamp },
    DropMessages "drop_messages" { bounds: Arc<DropMessages>, now: Timestamp },
    ImportMessages "import_messages" { messages: Arc<Vec<Message>> },
    EndEndpoint "end_endpoint" { endpoint: Arc<EndedEndpoint> },
    EndedEndpoint "ended_endpoint" { url: Arc<str> },
    EndedEndpoints "ended_endpoints" { after: Option<String>, limit: usize },
    EnableEndpoint "enable_endpoint" { url: Arc<str> },
    PutTrigger "put_trigger" { name: Arc<str>, definition: Json, now: Timestamp },
    Trigger "trigger" { name: Arc<str> },
    Triggers "triggers" { after: Option<Arc<str>>, limit: usize },
    PauseTrigger "pause_trigger" { name: Arc<str>, pause: Option<TriggerPause> },
    DeleteTrigger "delete_trigger" { name: Arc<str> },
    HoldTrigger "hold_trigger" { hold: Arc<TriggerHold>, now: Timestamp },
    ReleaseTrigger "release_trigger" { name: Arc<str>, lease: LeaseId },
    WriteTriggerState "write_trigger_state" { write: Arc<WriteState> },
    TriggerState "trigger_state" { name: Arc<str>, prefix: Arc<str>, after: Option<Arc<str>>, limit: usize },
    TriggerValues "trigger_values" { name: Arc<str>, keys: Arc<Vec<String>> },
    PutDeadLetters "put_dead_letters" { letters: Arc<Vec<DeadLetter>> },
    DeadLetters "dead_letters" { trigger: Option<Arc<str>>, before: Option<Uuid>, limit: usize },
    DeadLetter "dead_letter" { id: Uuid },
    DeleteDeadLetters "delete_dead_letters" { ids: Arc<Vec<Uuid>> },
    Health "health",
    Close "close",
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Request {
    /// How many rows it carries to the store; 1 for a call that carries no list.
    pub fn rows(&self) -> usize {
        match self {
            Self::Insert { jobs, .. } => jobs.len(),
            Self::Commit { changes } => changes.len(),
            Self::LeaseStatus { leases } => leases.len(),
            Self::Note { notes, .. } => notes.len(),
            Self::DeleteUnmoved { jobs } => jobs.len(),
            Self::Import { records } => records.len(),
            Self::WriteTriggerState { write } => write.values.len(),
            Self::TriggerValues { keys, .. } => keys.len(),
            Self::PutDeadLetters { letters } => letters.len(),
            Self::DeleteDeadLetters { ids } => ids.len(),
            _ => 1,
        }
    }
}

impl Verb {
    /// Whether it changes what is stored.
    pub fn writes(self) -> bool {
        match self {
            Self::Insert
            | Self::Claim
            | Self::Commit
            | Self::Note
            | Self::Prune
            | Self::Delete
            | Self::DeleteUnmoved
            | Self::Import
            | Self::SetQueue
            | Self::Heartbeat
            | Self::Deregister
            | Self::DeclareDead
            | Self::PutStats
            | Self::PutToken
            | Self::RevokeToken
            | Self::TokenUsed
            | Self::AppendAudit
            | Self::BeginRequest
            | Self::EndRequest
            | Self::TakeMessages
            | Self::AcknowledgeMessages
            | Self::ReleaseMessages
            | Self::DropMessages
            | Self::ImportMessages
            | Self::EndEndpoint
            | Self::EnableEndpoint
            | Self::PutTrigger
            | Self::PauseTrigger
            | Self::DeleteTrigger
            | Self::HoldTrigger
            | Self::ReleaseTrigger
            | Self::WriteTriggerState
            | Self::PutDeadLetters
            | Self::DeleteDeadLetters => true,
            Self::LeaseStatus
            | Self::Job
            | Self::Attempts
            | Self::Logs
            | Self::History
            | Self::List
            | Self::Counts
            | Self::Load
            | Self::Ahead
            | Self::NextDue
            | Self::RunningOf
            | Self::ExpiredJobs
            | Self::Queues
            | Self::Workers
            | Self::Holders
            | Self::Stats
            | Self::Tokens
            | Self::TokenOf
            | Self::Audit
            | Self::Messages
            | Self::ReplyQueues
            | Self::EndedEndpoint
            | Self::EndedEndpoints
            | Self::Trigger
            | Self::Triggers
            | Self::TriggerState
            | Self::TriggerValues
            | Self::DeadLetters
            | Self::DeadLetter
            | Self::Health
            | Self::Close => false,
        }
    }
}

/// `forward!(self, call, Verb { args }, store.method(args))`: has the layer answer a request.
macro_rules! forward {
    ($self:ident, $call:expr, $verb:ident { $($arg:ident),* }, |$store:ident, $repeat:ident| $send:expr) => {
        $self.around(Request::$verb { $($arg),* }, $call, |$store, request, $repeat| {
            async move {
                let Request::$verb { $($arg),* } = request else {
                    unreachable!("a layer forwards a request to the verb it belongs to")
                };
                $send.await
            }
            .boxed()
        })
        .await
    };
}

mod access;
mod triggers;

#[async_trait]
impl<L: Layer> JobVerbs for L {
    async fn insert(
        &self,
        jobs: Arc<Vec<NewJob>>,
        now: Timestamp,
        call: Call,
    ) -> Result<Vec<Inserted>, Error> {
        forward!(self, call, Insert { jobs, now }, |store, call| store.insert(jobs, now, call))
    }

    async fn claim(&self, claim: Arc<Claim>, now: Timestamp, call: Call) -> Result<Vec<JobRow>, Error> {
        forward!(self, call, Claim { claim, now }, |store, call| store.claim(claim, now, call))
    }

    async fn commit(&self, changes: Arc<Vec<Change>>) -> Result<Vec<Committed>, Error> {
        forward!(self, Call::First, Commit { changes }, |store, _call| store.commit(changes))
    }

    async fn lease_status(&self, leases: Arc<Vec<(JobId, LeaseId)>>) -> Result<Vec<LeaseStatus>, Error> {
        forward!(self, Call::First, LeaseStatus { leases }, |store, _call| store.lease_status(leases))
    }

    async fn note(&self, notes: Arc<Vec<Note>>, now: Timestamp) -> Result<(), Error> {
        forward!(self, Call::First, Note { notes, now }, |store, _call| store.note(notes, now))
    }

    async fn prune(&self, prune: Arc<Prune>, now: Timestamp) -> Result<u64, Error> {
        forward!(self, Call::First, Prune { prune, now }, |store, _call| store.prune(prune, now))
    }

    async fn delete(&self, id: JobId) -> Result<Deleted, Error> {
        forward!(self, Call::First, Delete { id }, |store, _call| store.delete(id))
    }

    async fn delete_unmoved(&self, jobs: Arc<Vec<(JobId, u64)>>) -> Result<Vec<Deleted>, Error> {
        forward!(self, Call::First, DeleteUnmoved { jobs }, |store, _call| store.delete_unmoved(jobs))
    }

    async fn import(&self, records: Arc<Vec<Record>>) -> Result<u64, Error> {
        forward!(self, Call::First, Import { records }, |store, _call| store.import(records))
    }
}

#[async_trait]
impl<L: Layer> ReadVerbs for L {
    async fn job(&self, id: JobId) -> Result<Option<JobRow>, Error> {
        forward!(self, Call::First, Job { id }, |store, _call| store.job(id))
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, Error> {
        forward!(self, Call::First, Attempts { id }, |store, _call| store.attempts(id))
    }

    async fn logs(&self, id: JobId, skip: usize, limit: usize) -> Result<Vec<LogLine>, Error> {
        forward!(self, Call::First, Logs { id, skip, limit }, |store, _call| store.logs(id, skip, limit))
    }

    async fn history(&self, id: JobId, seen: Seen, limit: usize) -> Result<Vec<Recorded>, Error> {
        forward!(self, Call::First, History { id, seen, limit }, |store, _call| store
            .history(id, seen, limit))
    }

    async fn list(
        &self,
        filter: Arc<Filter>,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobRow>, Error> {
        forward!(self, Call::First, List { filter, before, limit }, |store, _call| store
            .list(filter, before, limit))
    }

    async fn counts(&self, now: Timestamp) -> Result<Vec<Count>, Error> {
        forward!(self, Call::First, Counts { now }, |store, _call| store.counts(now))
    }

    async fn load(&self, queue: &str, limit: u64, now: Timestamp) -> Result<super::Load, Error> {
        let queue: Arc<str> = queue.into();
        forward!(self, Call::First, Load { queue, limit, now }, |store, _call| store.load(&queue, limit, now))
    }

    async fn ahead(&self, job: Arc<JobRow>, limit: u64, now: Timestamp) -> Result<u64, Error> {
        forward!(self, Call::First, Ahead { job, limit, now }, |store, _call| store.ahead(job, limit, now))
    }

    async fn next_due(
        &self,
        queues: Arc<Vec<String>>,
        kinds: Arc<Vec<String>>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        forward!(self, Call::First, NextDue { queues, kinds, now }, |store, _call| store
            .next_due(queues, kinds, now))
    }

    async fn running_of(
        &self,
        worker: &str,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<RunningJob>, Error> {
        let worker: Arc<str> = worker.into();
        forward!(self, Call::First, RunningOf { worker, after, limit }, |store, _call| store
            .running_of(&worker, after, limit))
    }

    async fn expired_jobs(&self, limit: usize, now: Timestamp) -> Result<Vec<JobRow>, Error> {
        forward!(self, Call::First, ExpiredJobs { limit, now }, |store, _call| store.expired_jobs(limit, now))
    }
}

#[async_trait]
impl<L: Layer> QueueVerbs for L {
    async fn queues(&self) -> Result<Vec<Queue>, Error> {
        forward!(self, Call::First, Queues {}, |store, _call| store.queues())
    }

    async fn set_queue(&self, name: &str, setting: QueueSetting) -> Result<(), Error> {
        let name: Arc<str> = name.into();
        forward!(self, Call::First, SetQueue { name, setting }, |store, _call| store
            .set_queue(&name, setting))
    }
}

#[async_trait]
impl<L: Layer> WorkerVerbs for L {
    async fn heartbeat(&self, worker: Arc<WorkerRow>) -> Result<Beaten, Error> {
        forward!(self, Call::First, Heartbeat { worker }, |store, _call| store.heartbeat(worker))
    }

    async fn deregister(&self, worker: &str) -> Result<(), Error> {
        let worker: Arc<str> = worker.into();
        forward!(self, Call::First, Deregister { worker }, |store, _call| store.deregister(&worker))
    }

    async fn workers(&self, since: Timestamp) -> Result<Vec<WorkerRow>, Error> {
        forward!(self, Call::First, Workers { since }, |store, _call| store.workers(since))
    }

    async fn holders(&self) -> Result<Vec<Holder>, Error> {
        forward!(self, Call::First, Holders {}, |store, _call| store.holders())
    }

    async fn declare_dead(&self, worker: &str, beats: Option<u64>, now: Timestamp) -> Result<bool, Error> {
        let worker: Arc<str> = worker.into();
        forward!(self, Call::First, DeclareDead { worker, beats, now }, |store, _call| store
            .declare_dead(&worker, beats, now))
    }

    async fn put_stats(&self, row: Arc<StatsRow>, now: Timestamp) -> Result<(), Error> {
        forward!(self, Call::First, PutStats { row, now }, |store, _call| store.put_stats(row, now))
    }

    async fn stats(&self, since: Timestamp, limit: usize) -> Result<Vec<StatsRow>, Error> {
        forward!(self, Call::First, Stats { since, limit }, |store, _call| store.stats(since, limit))
    }
}

#[async_trait]
impl<L: Layer> ReplyVerbs for L {
    async fn take_messages(
        &self,
        take: Arc<TakeMessages>,
        now: Timestamp,
        call: Call,
    ) -> Result<Vec<MessageRow>, Error> {
        forward!(self, call, TakeMessages { take, now }, |store, call| store.take_messages(take, now, call))
    }

    async fn acknowledge_messages(
        &self,
        lease: LeaseId,
        ids: Arc<Vec<MessageId>>,
    ) -> Result<Vec<Acknowledged>, Error> {
        forward!(self, Call::First, AcknowledgeMessages { lease, ids }, |store, _call| store
            .acknowledge_messages(lease, ids))
    }

    async fn release_messages(&self, lease: LeaseId, ids: Arc<Vec<MessageId>>) -> Result<(), Error> {
        forward!(self, Call::First, ReleaseMessages { lease, ids }, |store, _call| store
            .release_messages(lease, ids))
    }

    async fn messages(
        &self,
        reply_to: Option<&str>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<MessageRow>, Error> {
        let reply_to: Option<Arc<str>> = reply_to.map(Into::into);
        forward!(self, Call::First, Messages { reply_to, after, limit }, |store, _call| store.messages(
            reply_to.as_deref(),
            after,
            limit
        ))
    }

    async fn reply_queues(
        &self,
        after: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<ReplyQueue>, Error> {
        let after: Option<Arc<str>> = after.map(Into::into);
        forward!(self, Call::First, ReplyQueues { after, limit, now }, |store, _call| store.reply_queues(
            after.as_deref(),
            limit,
            now
        ))
    }

    async fn drop_messages(&self, bounds: Arc<DropMessages>, now: Timestamp) -> Result<u64, Error> {
        forward!(self, Call::First, DropMessages { bounds, now }, |store, _call| store
            .drop_messages(bounds, now))
    }

    async fn import_messages(&self, messages: Arc<Vec<Message>>) -> Result<u64, Error> {
        forward!(self, Call::First, ImportMessages { messages }, |store, _call| store
            .import_messages(messages))
    }
}

#[async_trait]
impl<L: Layer> EndpointVerbs for L {
    async fn end_endpoint(&self, endpoint: Arc<EndedEndpoint>) -> Result<(), Error> {
        forward!(self, Call::First, EndEndpoint { endpoint }, |store, _call| store.end_endpoint(endpoint))
    }

    async fn ended_endpoint(&self, url: &str) -> Result<Option<EndedEndpoint>, Error> {
        let url: Arc<str> = url.into();
        forward!(self, Call::First, EndedEndpoint { url }, |store, _call| store.ended_endpoint(&url))
    }

    async fn ended_endpoints(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<EndedEndpoint>, Error> {
        forward!(self, Call::First, EndedEndpoints { after, limit }, |store, _call| store
            .ended_endpoints(after, limit))
    }

    async fn enable_endpoint(&self, url: &str) -> Result<u64, Error> {
        let url: Arc<str> = url.into();
        forward!(self, Call::First, EnableEndpoint { url }, |store, _call| store.enable_endpoint(&url))
    }
}

#[async_trait]
impl<L: Layer> Store for L {
    async fn health(&self) -> Result<Health, Error> {
        forward!(self, Call::First, Health {}, |store, _call| store.health())
    }

    fn notifier(&self) -> &Arc<Notifier> {
        self.inner().notifier()
    }

    async fn close(&self) -> Result<(), Error> {
        forward!(self, Call::First, Close {}, |store, _call| store.close())
    }
}
