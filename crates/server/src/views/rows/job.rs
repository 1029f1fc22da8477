//! The schema of a job.

use std::{borrow::Cow, collections::BTreeMap};

use backroom::Extras;
use serde::Serialize;
use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::{MessageKindWord, ShownWord, StateWord};

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
    /// Of which occurrence it is the run, if a schedule made it.
    occurrence: Option<OccurrenceSchema>,
    /// Fields of args and output that are hidden from readers, as JSON pointers.
    hidden: Vec<String>,
    /// +1 at every change of state or mark.
    revision: u64,
    /// The evidence of its crashes; set exactly if there are any.
    suspicion: Option<SuspicionSchema>,
    /// What ties it to other jobs; missing if nothing does.
    #[schema(required = false)]
    links: LinksSchema,
    /// As people see it: queued is split into scheduled, retrying and available.
    shown: ShownWord,
}

/// What else the caller of a job chose: those fields of the job that no list filters by.
pub(crate) enum ExtrasSchema {}

impl PartialSchema for ExtrasSchema {
    fn schema() -> RefOr<Schema> {
        let RefOr::T(Schema::Object(mut of_job)) = JobSchema::schema() else {
            unreachable!("a job is an object");
        };
        let extras = serde_json::to_value(Extras::default()).unwrap_or_default();
        of_job.properties.retain(|name, _| extras.get(name).is_some());
        of_job.required.clear();
        of_job.description = Some("What else its caller chose.".into());
        of_job.into()
    }
}

impl ToSchema for ExtrasSchema {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Extras")
    }
}

/// What ties a job to others. What does not apply is left out.
#[derive(ToSchema)]
#[schema(as = Links)]
pub(crate) struct LinksSchema {
    /// Other jobs were enqueued after this one.
    #[schema(required = false)]
    followed: bool,
    /// It was enqueued after others: `held` until they have ended, then `released`.
    #[schema(required = false)]
    after: String,
    /// The batch that it is a member of.
    #[schema(required = false, format = "uuid")]
    batch: String,
    /// The workflow that started it as a child.
    #[schema(required = false)]
    parent: Value,
    /// The batch whose end job it is, with the counts at the end.
    #[schema(required = false)]
    ends: Value,
    /// Its handler is a workflow.
    #[schema(required = false)]
    journal: bool,
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
    /// Until the job is finished, at most until this moment.
    LiveUntil(String),
    /// Until the job is claimed for the first time, at most until this moment.
    QueuedUntil(String),
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

/// One occurrence of a schedule.
#[derive(ToSchema)]
#[schema(as = Occurrence)]
pub(crate) struct OccurrenceSchema {
    /// The name of the schedule.
    schedule: String,
    /// Its time by the timetable; of a run that was triggered by hand, the moment of that.
    #[schema(format = DateTime)]
    nominal: String,
}
