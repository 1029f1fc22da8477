//! Schemas of the library's rows, for the document. The rows themselves are written by the library; a test compares the fields.
#![expect(dead_code, reason = "these types describe what the library writes, and are never made")]

use std::{borrow::Cow, collections::BTreeMap};

use backroom::{AttemptEnd, DisplayState, MessageKind, PausedBy, Scope, State};
use serde::Serialize;
use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{ObjectBuilder, Type},
    },
};

/// A text that is one word of a list of the library's.
macro_rules! word {
    ($schema:ident, $name:literal, $words:expr) => {
        #[doc = concat!("One word of a list: ", $name)]
        pub(crate) enum $schema {}

        impl PartialSchema for $schema {
            fn schema() -> RefOr<Schema> {
                let words: Vec<&'static str> = $words.into_iter().map(|word| word.as_str()).collect();
                ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
            }
        }

        impl ToSchema for $schema {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    };
}

word!(StateWord, "State", State::ALL);
word!(ShownWord, "DisplayState", DisplayState::ALL);
word!(EndWord, "AttemptEnd", AttemptEnd::ALL);
word!(PausedByWord, "PausedBy", PausedBy::ALL);
word!(ScopeWord, "Scope", Scope::ALL);
word!(MessageKindWord, "MessageKind", MessageKind::ALL);

/// A job, as it is stored, and the state that it is shown in.
#[derive(ToSchema)]
#[schema(as = Job)]
pub(crate) struct JobSchema {
    /// A UUIDv7.
    #[schema(format = "uuid")]
    id: String,
    /// Which handler runs it.
    kind: String,
    /// Where it waits.
    queue: String,
    /// Key inside the queue.
    lane: Option<String>,
    /// 0 (first) to 9 (last).
    priority: u8,
    /// As stored.
    state: StateWord,
    /// Input of the handler.
    args: Value,
    /// Attempts that were charged.
    attempt: u32,
    /// Attempts allowed.
    max_attempts: u32,
    /// Workers that died while they ran it.
    crashes: u32,
    /// When it may run.
    #[schema(format = DateTime)]
    scheduled_at: String,
    /// When it is cancelled unless it has begun.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// The key that no other job may hold at the same time, prefixed with the kind.
    unique_key: Option<String>,
    /// How long the key is held; set exactly if the key is.
    unique_while: Option<UniqueWhileSchema>,
    /// Whether this job holds its key now.
    unique_held: bool,
    /// The current claim, or the last one when the job is not running.
    #[schema(format = "uuid")]
    lease_id: Option<String>,
    /// The claim plus one lease; set exactly while running. The lease holds for as long as the worker lives.
    #[schema(format = DateTime)]
    lease_until: Option<String>,
    /// Name of the worker that holds, or last held, the lease.
    worker: Option<String>,
    /// What its handler last reported of this attempt.
    progress: Option<ProgressSchema>,
    /// What its handler returned; missing until it is completed.
    #[schema(required = false)]
    output: Value,
    /// Why it was cancelled or discarded.
    reason: Option<String>,
    /// When a client asked for a running job to stop.
    #[schema(format = DateTime)]
    cancel_requested_at: Option<String>,
    /// A wake arrived while the job ran.
    woken: bool,
    /// When it was enqueued.
    #[schema(format = DateTime)]
    created_at: String,
    /// When its current or last attempt was claimed.
    #[schema(format = DateTime)]
    started_at: Option<String>,
    /// When it ended.
    #[schema(format = DateTime)]
    finished_at: Option<String>,
    /// Labels to filter by.
    tags: Vec<String>,
    /// Longest run of one attempt in milliseconds.
    timeout_ms: Option<u64>,
    /// The waits between attempts; null for those of its kind.
    retry: Option<RetrySchema>,
    /// Free data.
    meta: BTreeMap<String, String>,
    /// The caller's span, as the `traceparent` of W3C Trace Context.
    traceparent: Option<String>,
    /// The reply queue that messages about the job go to, and which messages.
    reply: Option<ReplySchema>,
    /// The URL that messages about the job go to, and which messages.
    callback: Option<CallbackSchema>,
    /// +1 at every change of state or mark.
    revision: u64,
    /// The evidence of its crashes; set exactly if there are any.
    suspicion: Option<SuspicionSchema>,
    /// As people see it: queued is split into scheduled, retrying and available.
    shown: ShownWord,
}

/// How long a unique key is held.
#[derive(Serialize, ToSchema)]
#[schema(as = UniqueWhile)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UniqueWhileSchema {
    /// Until the job is finished.
    Live,
    /// Until the job is claimed for the first time.
    Queued,
    /// Until this moment.
    Until(String),
}

/// How far a running handler is.
#[derive(ToSchema)]
#[schema(as = Progress)]
pub(crate) struct ProgressSchema {
    #[schema(minimum = 0, maximum = 100)]
    percent: u8,
    message: String,
}

/// The waits between attempts.
#[derive(ToSchema)]
#[schema(as = RetryPolicy)]
pub(crate) struct RetrySchema {
    /// The wait before jitter and cap.
    backoff: BackoffSchema,
    /// The wait is spread evenly over ± this part of itself. Default 10.
    #[schema(minimum = 0, maximum = 100, required = false)]
    jitter_percent: u8,
    /// No wait is longer, in milliseconds. Default 24 h.
    #[schema(required = false)]
    cap_ms: u64,
}

/// How the wait grows with the attempts. Spans are in milliseconds.
#[derive(Serialize, ToSchema)]
#[schema(as = Backoff)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BackoffSchema {
    /// The fourth power of the attempt, in seconds: 1 s, 16 s, 81 s, …
    Quartic,
    /// Always the same wait.
    Constant(u64),
    /// The attempt times the step.
    Linear(u64),
    /// The base, doubled with each further attempt.
    Exponential(u64),
    /// One wait per retry, in order; the last one repeats.
    List(Vec<u64>),
}

/// Messages to a reply queue.
#[derive(ToSchema)]
#[schema(as = Reply)]
pub(crate) struct ReplySchema {
    /// The reply queue.
    to: String,
    /// Stands in every message. Messages with the same one are delivered in order.
    correlation_id: Option<String>,
    /// Of what they inform. Default: of the end of the job.
    #[schema(required = false)]
    on: Vec<MessageKindWord>,
}

/// Messages to a URL.
#[derive(ToSchema)]
#[schema(as = Callback)]
pub(crate) struct CallbackSchema {
    /// Where they are sent.
    url: String,
    /// Of what they inform. Default: of the end of the job.
    #[schema(required = false)]
    on: Vec<MessageKindWord>,
}

/// The evidence of crashes of a job's workers.
#[derive(ToSchema)]
#[schema(as = Suspicion)]
pub(crate) struct SuspicionSchema {
    /// Crashes while the job was on trial and other jobs ran beside it.
    on_trial: u32,
    /// Crashes while no other job ran in the process.
    alone: u32,
    /// When the last crash was found.
    #[schema(format = DateTime)]
    at: String,
    /// How long the job had run by then at the most, in milliseconds.
    ran_ms: u64,
}

/// An attempt that did not succeed.
#[derive(ToSchema)]
#[schema(as = Attempt)]
pub(crate) struct AttemptSchema {
    /// The run.
    #[schema(format = "uuid")]
    lease_id: String,
    /// Which attempt of the budget it was. A crash gives its number back, so numbers may repeat.
    attempt: u32,
    /// In which way it ended.
    end: EndWord,
    /// Why.
    error: String,
    /// The worker that ran it.
    worker: Option<String>,
    /// When it was claimed.
    #[schema(format = DateTime)]
    started_at: Option<String>,
    /// When it ended.
    #[schema(format = DateTime)]
    ended_at: String,
}

/// A line that a handler logged on its job.
#[derive(ToSchema)]
#[schema(as = LogLine)]
pub(crate) struct LogLineSchema {
    /// The run that wrote it.
    #[schema(format = "uuid")]
    lease_id: String,
    /// Position within the run, from 0.
    seq: u32,
    /// When it was written.
    #[schema(format = DateTime)]
    at: String,
    /// The text.
    line: String,
}

/// A reason why a job is where it is. What belongs to the reason stands beside its name.
#[derive(ToSchema)]
#[schema(as = Reason)]
pub(crate) struct ReasonSchema {
    /// Its name.
    #[schema(example = "queue_paused")]
    reason: String,
    /// The same for people.
    words: String,
    /// Data of the reason, by its names.
    #[serde(flatten)]
    data: BTreeMap<String, Value>,
}

/// How many jobs of one queue are shown in one state.
#[derive(ToSchema)]
#[schema(as = Count)]
pub(crate) struct CountSchema {
    queue: String,
    state: ShownWord,
    jobs: u64,
}

/// How long finished jobs are retained, by state.
#[derive(ToSchema)]
#[schema(as = Retention)]
pub(crate) struct RetentionSchema {
    completed: RetentionLimitSchema,
    cancelled: RetentionLimitSchema,
    discarded: RetentionLimitSchema,
}

/// A limit by age, by number, or both. A job beyond either of them may be deleted; null is no limit.
#[derive(ToSchema)]
#[schema(as = RetentionLimit)]
pub(crate) struct RetentionLimitSchema {
    /// In seconds since the end.
    age_secs: Option<u64>,
    /// The newest so many.
    count: Option<u64>,
}

/// A worker as it last reported itself.
#[derive(ToSchema)]
#[schema(as = Worker)]
pub(crate) struct WorkerSchema {
    /// Unique among workers.
    name: String,
    /// Distinguishes two workers of the same name.
    #[schema(format = "uuid")]
    incarnation: String,
    /// How many heartbeats there were.
    beats: u64,
    /// Another process declared it dead.
    dead: bool,
    /// The machine.
    host: String,
    /// The process.
    pid: u32,
    /// Since when it lives.
    #[schema(format = DateTime)]
    started_at: String,
    /// When its last heartbeat was.
    #[schema(format = DateTime)]
    beat_at: String,
    /// How long it may send no heartbeat before it counts as dead, in milliseconds.
    lease_ms: u64,
    /// Each queue that it serves with the slots that may serve it.
    #[schema(value_type = Vec<Vec<Value>>, example = json!([["mail", 4]]))]
    queues: Vec<(String, u32)>,
    /// Kinds that it has a handler for.
    kinds: Vec<String>,
    /// All its slots.
    slots: u32,
    /// Slots taken.
    running: u32,
    /// Slots whose handler still runs after a stop request.
    stuck: u32,
    /// It claims no more jobs.
    stopping: bool,
    /// Its jobs that are suspected of killing their worker and have begun.
    trials: TrialsSchema,
    /// What prevents it from working.
    trouble: Option<String>,
    /// Which process it is, among all that had the same id.
    process: ProcessSchema,
    /// How far the wall clock of its machine is ahead of the store's time, in milliseconds.
    clock_ahead_ms: Option<i64>,
    /// The last time that its runtime was blocked.
    blocked: Option<BlockedSchema>,
    /// The threads that its blocking handlers share.
    threads: ThreadsSchema,
}

/// Suspects that a worker runs.
#[derive(ToSchema)]
#[schema(as = Trials)]
pub(crate) struct TrialsSchema {
    /// The suspect whose trial is under way.
    on: Option<TrialSchema>,
    /// Suspects that passed their trial and run on.
    passed: Vec<String>,
}

/// The trial of a suspect.
#[derive(ToSchema)]
#[schema(as = Trial)]
pub(crate) struct TrialSchema {
    /// The suspect.
    #[schema(format = "uuid")]
    job: String,
    /// Its run.
    #[schema(format = "uuid")]
    lease: String,
    /// Whether nothing else runs in the process.
    alone: bool,
    /// When it began.
    #[schema(format = DateTime)]
    since: String,
}

/// What identifies a process beyond its host and id.
#[derive(ToSchema)]
#[schema(as = Process)]
pub(crate) struct ProcessSchema {
    boot_id: String,
    pid_namespace: String,
    started_ticks: u64,
}

/// A runtime that could not run its tasks, because handlers blocked its threads.
#[derive(ToSchema)]
#[schema(as = Blocked)]
pub(crate) struct BlockedSchema {
    /// When that was noticed.
    #[schema(format = DateTime)]
    at: String,
    /// For how long, in milliseconds.
    for_ms: u64,
    /// Whether it still is.
    now: bool,
    /// The kinds of the handlers that blocked it.
    kinds: Vec<String>,
}

/// The threads that blocking handlers share.
#[derive(ToSchema)]
#[schema(as = Threads)]
pub(crate) struct ThreadsSchema {
    /// How many there are; null if that is unknown.
    count: Option<u32>,
    /// The kinds whose handlers block.
    kinds: Vec<String>,
}

/// A token, without its secret.
#[derive(ToSchema)]
#[schema(as = Token)]
pub(crate) struct TokenSchema {
    #[schema(format = "uuid")]
    id: String,
    /// What people call it.
    name: String,
    /// What it permits.
    scopes: Vec<ScopeWord>,
    /// Patterns of queues; empty for every queue.
    queues: Vec<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    #[schema(format = DateTime)]
    revoked_at: Option<String>,
    /// To the minute.
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
}

/// An administrative act.
#[derive(ToSchema)]
#[schema(as = AuditEntry)]
pub(crate) struct AuditEntrySchema {
    #[schema(format = "uuid")]
    id: String,
    #[schema(format = DateTime)]
    at: String,
    /// The name and id of a token, or the user of the machine.
    who: String,
    /// What was done.
    #[schema(example = "queue.pause")]
    act: String,
    /// To what. Empty where the detail says it.
    target: String,
    /// What else belongs to it.
    detail: Value,
}

/// A reply queue and what waits in it.
#[derive(ToSchema)]
#[schema(as = ReplyQueue)]
pub(crate) struct ReplyQueueSchema {
    name: String,
    /// Messages that are not acknowledged.
    messages: u64,
    /// How many of them a taker has.
    taken: u64,
    /// Bytes of all of them.
    bytes: u64,
    /// When the oldest of them was written.
    #[schema(format = DateTime)]
    oldest_at: Option<String>,
    /// Messages that were not acknowledged in time, or were too many.
    dropped: u64,
}

/// A message of a reply queue.
#[derive(ToSchema)]
#[schema(as = Message)]
pub(crate) struct MessageSchema {
    /// Its position.
    seq: u64,
    #[schema(format = "uuid")]
    id: String,
    /// The reply queue.
    reply_to: String,
    body: MessageBodySchema,
    /// How often it was taken.
    deliveries: u32,
    /// The last lease, which may have ended.
    lease: Option<MessageLeaseSchema>,
}

/// The lease under which a message was taken.
#[derive(ToSchema)]
#[schema(as = MessageLease)]
pub(crate) struct MessageLeaseSchema {
    #[schema(format = "uuid")]
    id: String,
    #[schema(format = DateTime)]
    from: String,
    #[schema(format = DateTime)]
    until: String,
}

/// What a message reports. Fields that do not apply are left out.
#[derive(ToSchema)]
#[schema(as = MessageBody)]
pub(crate) struct MessageBodySchema {
    /// Of what it informs.
    r#type: MessageKindWord,
    #[schema(format = "uuid")]
    job_id: String,
    kind: String,
    queue: String,
    /// Which attempt of the budget it was, or how many there were.
    attempt: u32,
    max_attempts: u32,
    /// The job's state after the change.
    state: StateWord,
    /// When it happened.
    #[schema(format = DateTime)]
    at: String,
    /// As the caller gave it at enqueue.
    #[schema(required = false)]
    correlation_id: String,
    /// What the handler returned.
    #[schema(required = false)]
    output: Value,
    /// Why it was cancelled or discarded.
    #[schema(required = false)]
    reason: String,
    /// The error of the attempt that ended.
    #[schema(required = false)]
    error: String,
    /// In which way that attempt ended.
    #[schema(required = false)]
    end: EndWord,
    /// When the job runs again.
    #[schema(format = DateTime, required = false)]
    next_attempt_at: String,
    /// What the handler reported.
    #[schema(required = false)]
    progress: ProgressSchema,
    /// The job's labels.
    #[schema(required = false)]
    tags: Vec<String>,
    /// The job's free data.
    #[schema(required = false)]
    meta: BTreeMap<String, String>,
    /// What was too large for the message.
    #[schema(required = false)]
    left_out: Vec<LeftOutSchema>,
}

/// What became of an acknowledgement.
#[derive(Serialize, ToSchema)]
#[schema(as = Acknowledged)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AcknowledgedWord {
    /// The message is never delivered again.
    Done,
    /// The lease had ended; the message is or was delivered again.
    Lost,
}

/// A part of the job that is too large for a message.
#[derive(ToSchema)]
#[schema(as = LeftOut)]
pub(crate) struct LeftOutSchema {
    /// `output`, `tags` or `meta`.
    field: String,
    bytes: usize,
    /// Where to read it.
    read: String,
}

/// An endpoint whose receiver answered that it wants no more callbacks.
#[derive(ToSchema)]
#[schema(as = EndedEndpoint)]
pub(crate) struct EndedEndpointSchema {
    url: String,
    /// What the receiver answered.
    reason: String,
    #[schema(format = DateTime)]
    ended_at: String,
}
