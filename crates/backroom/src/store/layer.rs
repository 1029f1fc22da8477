//! Layers over a store: each sees every call, and may delay it, repeat it or answer in its place.
//!
//! A layer implements [`Layer`]. Every layer is a [`Store`]: only the files below this one forward verbs, a file for each noun.

mod access;
mod endpoints;
mod jobs;
mod journals;
mod links;
mod queues;
mod reads;
mod replies;
mod samples;
mod schedules;
mod triggers;
mod workers;

use std::{any::Any, fmt, sync::Arc};

use async_trait::async_trait;
use backroom_core::{
    AuditEntry, Change, JobId, JobRow, Json, Kinds, LeaseId, Message, MessageId, SecretHash, Timestamp,
    Token, TokenId,
    batch::BatchId,
    draft::NewJob,
    idempotency::{Begun, IdempotencyRecord, RequestEnd},
    sample::{Grain, Sample},
    stats::StatsRow,
};
use futures_util::{FutureExt as _, future::BoxFuture};
use uuid::Uuid;

use super::{
    BatchRow, BatchTurn, Beaten, Call, Claim, DeadLetter, Deleted, DropMessages, DueAfter, DueSchedules,
    DueWakes, EdgesOfJob, EndedEndpoint, Filter, Health, InsertLinked, JournalAfter, JournalPage,
    JournalWrite, Note, Notifier, OpenBatch, Prune, QueueSetting, Record, ScheduleMove, Seen, Signal, Store,
    TakeMessages, TriggerHold, TriggerPause, WorkerRow, WriteState,
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
impl Answer for super::Moved {}
impl Answer for Health {}
impl Answer for Begun {}
impl Answer for super::BatchRow {}
impl Answer for super::Load {}
impl Answer for super::TriggerReader {}

impl Answer for DueSchedules {
    fn rows(&self) -> usize {
        self.due.len() + self.reported.len()
    }
}

impl Answer for JournalPage {
    fn rows(&self) -> usize {
        self.entries.len() + self.arrivals.len()
    }
}

impl Answer for DueWakes {
    fn rows(&self) -> usize {
        self.due.len()
    }
}

/// Declares the requests, and the verbs that name them. `of` names the list that a request carries to the store.
macro_rules! requests {
    (@rows) => { 1 };
    (@rows $list:ident $(.$field:ident)?) => { $list$(.$field)?.len() };
    (@reads) => { false };
    (@writes) => { true };
    ($($effect:ident $verb:ident $name:literal $({ $($arg:ident: $type:ty),+ })? $(of $list:ident $(.$field:ident)?)?),+ $(,)?) => {
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

            /// How many rows it carries to the store; 1 for a call that carries no list.
            pub fn rows(&self) -> usize {
                match self {
                    $(Self::$verb { $($list,)? .. } => requests!(@rows $($list $(.$field)?)?)),+
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

            /// Whether it changes what is stored.
            pub fn writes(self) -> bool {
                match self {
                    $(Self::$verb => requests!(@$effect)),+
                }
            }
        }
    };
}

requests! {
    writes Insert "insert" { jobs: Arc<Vec<NewJob>>, now: Timestamp } of jobs,
    writes Claim "claim" { claim: Arc<Claim>, now: Timestamp },
    writes Commit "commit" { changes: Arc<Vec<Change>> } of changes,
    reads LeaseStatus "lease_status" { leases: Arc<Vec<(JobId, LeaseId)>> } of leases,
    writes Note "note" { notes: Arc<Vec<Note>>, now: Timestamp } of notes,
    writes Prune "prune" { prune: Arc<Prune>, now: Timestamp },
    writes Delete "delete" { id: JobId, now: Timestamp },
    writes DeleteCopy "delete_copy" { id: JobId },
    writes DeleteUnmoved "delete_unmoved" { jobs: Arc<Vec<(JobId, u64)>>, now: Timestamp } of jobs,
    writes Import "import" { records: Arc<Vec<Record>> } of records,
    reads Job "job" { id: JobId },
    reads Attempts "attempts" { id: JobId },
    reads Logs "logs" { id: JobId, skip: usize, limit: usize },
    reads History "history" { id: JobId, seen: Seen, limit: usize },
    reads List "list" { filter: Arc<Filter>, before: Option<JobId>, limit: usize },
    reads Counts "counts" { now: Timestamp },
    reads Load "load" { queue: Arc<str>, limit: u64, now: Timestamp },
    reads Ahead "ahead" { job: Arc<JobRow>, limit: u64, now: Timestamp },
    reads NextDue "next_due" { queues: Arc<Vec<String>>, kinds: Arc<Kinds>, now: Timestamp },
    reads RunningOf "running_of" { worker: Arc<str>, after: Option<JobId>, limit: usize },
    reads ExpiredJobs "expired_jobs" { limit: usize, now: Timestamp },
    reads Queues "queues",
    writes SetQueue "set_queue" { name: Arc<str>, setting: QueueSetting },
    writes Heartbeat "heartbeat" { worker: Arc<WorkerRow> },
    writes Deregister "deregister" { worker: Arc<str> },
    reads Workers "workers" { since: Timestamp },
    reads Holders "holders",
    writes DeclareDead "declare_dead" { worker: Arc<str>, beats: Option<u64>, now: Timestamp },
    writes PutStats "put_stats" { row: Arc<StatsRow>, now: Timestamp },
    reads Stats "stats" { since: Timestamp, limit: usize },
    writes PutSamples "put_samples" { samples: Arc<Vec<Sample>>, now: Timestamp } of samples,
    reads Samples "samples" { grain: Grain, since: Timestamp },
    writes PutToken "put_token" { token: Arc<Token>, hash: SecretHash, now: Timestamp },
    reads Tokens "tokens",
    reads TokenOf "token_of" { hash: SecretHash },
    writes RevokeToken "revoke_token" { id: TokenId, now: Timestamp },
    writes TokenUsed "token_used" { id: TokenId, now: Timestamp },
    writes AppendAudit "append_audit" { entry: Arc<AuditEntry> },
    reads Audit "audit" { before: Option<Uuid>, limit: usize },
    writes BeginRequest "begin_request" { wanted: Arc<IdempotencyRecord>, now: Timestamp },
    writes EndRequest "end_request" { key: Arc<str>, holder: Uuid, end: Arc<RequestEnd> },
    writes TakeMessages "take_messages" { take: Arc<TakeMessages>, now: Timestamp },
    writes AcknowledgeMessages "acknowledge_messages" { lease: LeaseId, ids: Arc<Vec<MessageId>> } of ids,
    writes ReleaseMessages "release_messages" { lease: LeaseId, ids: Arc<Vec<MessageId>> } of ids,
    writes ForgetMessages "forget_messages" { jobs: Arc<Vec<JobId>> } of jobs,
    reads Messages "messages" { reply_to: Option<Arc<str>>, after: u64, limit: usize },
    reads ReplyQueues "reply_queues" { after: Option<Arc<str>>, limit: usize, now: Timestamp },
    writes DropMessages "drop_messages" { bounds: Arc<DropMessages>, now: Timestamp },
    writes ImportMessages "import_messages" { messages: Arc<Vec<Message>> } of messages,
    writes EndEndpoint "end_endpoint" { endpoint: Arc<EndedEndpoint> },
    reads EndedEndpoint "ended_endpoint" { url: Arc<str> },
    reads EndedEndpoints "ended_endpoints" { after: Option<String>, limit: usize },
    writes EnableEndpoint "enable_endpoint" { url: Arc<str> },
    writes PutTrigger "put_trigger" { name: Arc<str>, definition: Json, now: Timestamp },
    reads Trigger "trigger" { name: Arc<str> },
    reads Triggers "triggers" { after: Option<Arc<str>>, limit: usize },
    writes PauseTrigger "pause_trigger" { name: Arc<str>, pause: Option<TriggerPause> },
    writes DeleteTrigger "delete_trigger" { name: Arc<str> },
    writes HoldTrigger "hold_trigger" { hold: Arc<TriggerHold>, now: Timestamp },
    writes ReleaseTrigger "release_trigger" { name: Arc<str>, lease: LeaseId },
    writes WriteTriggerState "write_trigger_state" { write: Arc<WriteState> } of write.values,
    reads TriggerState "trigger_state" { name: Arc<str>, prefix: Arc<str>, after: Option<Arc<str>>, limit: usize },
    reads TriggerValues "trigger_values" { name: Arc<str>, keys: Arc<Vec<String>> } of keys,
    writes PutDeadLetters "put_dead_letters" { letters: Arc<Vec<DeadLetter>> } of letters,
    reads DeadLetters "dead_letters" { trigger: Option<Arc<str>>, before: Option<Uuid>, limit: usize },
    reads DeadLetter "dead_letter" { id: Uuid },
    writes DeleteDeadLetters "delete_dead_letters" { ids: Arc<Vec<Uuid>> } of ids,
    reads Schedule "schedule" { name: Arc<str> },
    reads Schedules "schedules" { after: Option<Arc<str>>, limit: usize },
    writes MoveSchedules "move_schedules" { moves: Arc<Vec<ScheduleMove>> } of moves,
    writes DeleteSchedule "delete_schedule" { name: Arc<str>, revision: Option<u64> },
    reads DueSchedules "due_schedules" { after: Option<Arc<DueAfter>>, limit: usize, now: Timestamp },
    reads Entries "entries" { schedule: Arc<str>, before: Option<u64>, limit: usize },
    reads EntryOfKey "entry_of_key" { schedule: Arc<str>, key: Arc<str> },
    reads Journal "journal" { workflow: JobId, after: Option<Arc<JournalAfter>>, limit: usize },
    writes WriteJournals "write_journals" { writes: Arc<Vec<JournalWrite>> } of writes,
    writes Signal "signal" { signals: Arc<Vec<Signal>>, now: Timestamp } of signals,
    reads DueWakes "due_wakes" { limit: usize, now: Timestamp },
    writes ClearWakes "clear_wakes" { wakes: Arc<Vec<(JobId, Timestamp)>> } of wakes,
    writes ForgetTaken "forget_taken" { before: Timestamp, limit: usize },
    writes InsertLinked "insert_linked" { insert: Arc<InsertLinked>, now: Timestamp } of insert.jobs,
    writes SettleLeft "settle_left" { now: Timestamp },
    reads Edges "edges" { of: EdgesOfJob, after: Option<JobId>, limit: usize },
    writes OpenBatch "open_batch" { open: Arc<OpenBatch>, now: Timestamp },
    writes TurnBatch "turn_batch" { id: BatchId, turn: BatchTurn, now: Timestamp },
    reads Batch "batch" { id: BatchId },
    reads Batches "batches" { parent: Option<BatchId>, before: Option<BatchId>, limit: usize },
    writes ImportBatches "import_batches" { batches: Arc<Vec<BatchRow>> } of batches,
    writes PruneBatches "prune_batches" { ended_before: Timestamp, limit: usize },
    reads Health "health",
    reads Close "close",
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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

use forward;

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
