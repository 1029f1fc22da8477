//! A job to enqueue, as a request names it.

use std::{collections::BTreeMap, time::Duration};

use backroom::{
    BatchId, ChosenJob, Draft, Extras, Invalid, JobId, Json, OnFailure, RetryPolicy, Timestamp, UniqueRule,
    core::{Callback, Reply, dependency::Edge, draft::When, unique::OnConflict},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::views::{CallbackSchema, OnFailureWord, ReplySchema, RetrySchema};

/// A job to enqueue. Fields have the names that they have on the job; what is left out has its default.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewJob {
    /// Its identity, a UUIDv7 of about now: only for args that are sealed, because they are sealed for it. Default: the server makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    id: Option<JobId>,
    /// Which handler runs it.
    #[schema(example = "send_mail", min_length = 1, max_length = 128)]
    kind: String,
    /// Input of the handler: any JSON, stored as it was written. Default `null`.
    #[serde(default = "Json::null")]
    #[schema(value_type = serde_json::Value)]
    args: Json,
    /// Where it waits. Default `default`.
    #[schema(example = "mail", min_length = 1, max_length = 128)]
    queue: Option<String>,
    /// Key inside the queue for order, limits and fairness.
    lane: Option<String>,
    /// 0 (first) to 9 (last). Default 5.
    #[schema(minimum = 0, maximum = 9)]
    priority: Option<u8>,
    /// It runs at this moment or later.
    #[schema(value_type = Option<String>, format = DateTime)]
    scheduled_at: Option<Timestamp>,
    /// It runs this many milliseconds from now or later; not together with `scheduled_at`.
    delay_ms: Option<u64>,
    /// It is cancelled unless it has begun by then.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// The same as a span from now in milliseconds; not together with `expires_at`.
    expires_in_ms: Option<u64>,
    /// Attempts allowed, the first included. Default 20.
    #[schema(minimum = 1, maximum = 10000)]
    max_attempts: Option<u32>,
    /// Keeps duplicates out.
    #[schema(value_type = Option<UniqueRuleSchema>)]
    unique: Option<UniqueRule>,
    /// Labels to filter by; at most 32.
    #[serde(default)]
    tags: Vec<String>,
    /// Longest run of one attempt in milliseconds.
    timeout_ms: Option<u64>,
    /// The waits between attempts.
    #[schema(value_type = Option<RetrySchema>)]
    retry: Option<RetryPolicy>,
    /// Free data; at most 64 entries.
    #[serde(default)]
    meta: BTreeMap<String, String>,
    /// The caller's span, as the `traceparent` of W3C Trace Context. Default: the one of the request.
    traceparent: Option<String>,
    /// The reply queue that messages about the job go to, and which messages.
    #[schema(value_type = Option<ReplySchema>)]
    reply: Option<Reply>,
    /// The URL that messages about the job go to, and which messages.
    #[schema(value_type = Option<CallbackSchema>)]
    callback: Option<Callback>,
    /// Fields of args and output that are hidden from readers, as JSON pointers such as `/card/number`; at most 64.
    #[serde(default)]
    hidden: Vec<String>,
    /// The jobs that it runs after: it waits until they have completed. At most 10,000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<AfterSchema>)]
    after: Vec<After>,
    /// The batch that it is a member of, which must be open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid")]
    batch: Option<BatchId>,
}

/// A job that another one runs after: its id, or its id with what happens if it does not complete.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(untagged)]
enum After {
    Job(JobId),
    Edge(AfterEdge),
}

/// A job that another one runs after.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AfterEdge {
    job: JobId,
    #[serde(default)]
    on_failure: OnFailure,
}

impl From<After> for Edge {
    fn from(after: After) -> Self {
        match after {
            After::Job(predecessor) => Self { predecessor, on_failure: OnFailure::default() },
            After::Edge(AfterEdge { job: predecessor, on_failure }) => Self { predecessor, on_failure },
        }
    }
}

/// A job that another one runs after: its id, or an object.
#[derive(Serialize, ToSchema)]
#[schema(as = After)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes what is read")]
enum AfterSchema {
    /// Its id. If it is cancelled or discarded, so is this job.
    Job(String),
    /// With what happens if it does not complete.
    Edge(AfterEdgeSchema),
}

/// A job that another one runs after, with what happens if it does not complete.
#[derive(Serialize, ToSchema)]
#[schema(as = AfterEdge)]
struct AfterEdgeSchema {
    /// Its id.
    #[schema(format = "uuid")]
    job: String,
    /// Default `cancel`.
    #[schema(required = false, value_type = OnFailureWord)]
    on_failure: OnFailure,
}

impl NewJob {
    /// The request for a job like `draft`, with these args.
    pub(crate) fn like(draft: &Draft, args: &Json) -> Self {
        // The command line seals args before they are sent.
        let Draft {
            kind,
            args: _,
            queue,
            lane,
            priority,
            start,
            expiry,
            max_attempts,
            unique,
            tags,
            seal: _,
            id,
            extras,
        } = draft.clone();
        // An occurrence is set by schedules, and the API takes none.
        let Extras { timeout, retry, meta, traceparent, reply, callback, occurrence: _, hidden } = extras;
        let (scheduled_at, delay_ms) = at_or_in(Some(start));
        let (expires_at, expires_in_ms) = at_or_in(expiry);
        Self {
            id,
            kind,
            args: args.clone(),
            queue: Some(queue),
            lane,
            priority: Some(priority),
            scheduled_at,
            delay_ms,
            expires_at,
            expires_in_ms,
            max_attempts,
            unique,
            tags,
            timeout_ms: timeout.map(millis),
            retry,
            meta,
            traceparent,
            reply,
            callback,
            hidden,
            after: Vec::new(),
            batch: None,
        }
    }

    /// Its queue.
    pub(crate) fn queue(&self) -> &str {
        self.queue.as_deref().unwrap_or(backroom::core::draft::QUEUE_DEFAULT)
    }

    /// Whether messages about it leave for a URL, or for a reply queue of which that is true.
    pub(crate) fn informs(&self, is_elsewhere: impl Fn(&str) -> bool) -> bool {
        self.callback.is_some() || self.reply.as_ref().is_some_and(|reply| is_elsewhere(&reply.to))
    }

    /// The reply queue that messages about it go to.
    pub(crate) fn reply_to(&self) -> Option<&str> {
        self.reply.as_ref().map(|reply| reply.to.as_str())
    }

    /// The batch that it is to be a member of.
    pub(crate) fn batch(&self) -> Option<BatchId> {
        self.batch
    }

    /// Whether it takes the place of a job that holds its unique key, in whichever queue that is.
    pub(crate) fn replaces(&self) -> bool {
        self.unique.as_ref().is_some_and(|rule| rule.on_conflict == OnConflict::Replace)
    }

    /// As the library takes it at `now`: under the id that it brings, or else under this one.
    pub(crate) fn chosen(
        mut self,
        id: JobId,
        traceparent: Option<&str>,
        now: Timestamp,
    ) -> Result<ChosenJob, Invalid> {
        let after = std::mem::take(&mut self.after).into_iter().map(Edge::from).collect();
        let batch = self.batch.take();
        let draft = self.draft(traceparent, now)?;
        Ok(ChosenJob { id: draft.id.unwrap_or(id), draft, after, batch })
    }

    /// A job of a graph or at the end of a batch, which says elsewhere what it runs after.
    pub(crate) fn alone(self, traceparent: Option<&str>, now: Timestamp) -> Result<Draft, Invalid> {
        if !self.after.is_empty() || self.batch.is_some() {
            let why = "after and batch cannot stand in this job; the request says both for it";
            return Err(Invalid::new("job", why));
        }
        if self.id.is_some() {
            let why = "cannot stand in this job: its id follows from that of the graph or of the batch";
            return Err(Invalid::new("id", why));
        }
        self.draft(traceparent, now)
    }

    /// The same after these jobs and in this batch.
    pub(crate) fn tied(mut self, after: &[Edge], batch: Option<BatchId>) -> Self {
        let edge =
            |edge: &Edge| After::Edge(AfterEdge { job: edge.predecessor, on_failure: edge.on_failure });
        (self.after, self.batch) = (after.iter().map(edge).collect(), batch);
        self
    }

    fn draft(self, traceparent: Option<&str>, now: Timestamp) -> Result<Draft, Invalid> {
        self.id.map_or(Ok(()), |id| check_id(id, &self.args, now))?;
        let queue = self.queue().to_owned();
        let start = when("scheduled_at", self.scheduled_at, "delay_ms", self.delay_ms)?;
        let expiry = when("expires_at", self.expires_at, "expires_in_ms", self.expires_in_ms)?;
        let defaults = Draft::new(self.kind, self.args);
        Ok(Draft {
            queue,
            lane: self.lane,
            priority: self.priority.unwrap_or(defaults.priority),
            start: start.unwrap_or(When::Now),
            expiry,
            max_attempts: self.max_attempts,
            unique: self.unique,
            tags: self.tags,
            id: self.id,
            extras: Extras {
                timeout: self.timeout_ms.map(Duration::from_millis),
                retry: self.retry,
                meta: self.meta,
                traceparent: self.traceparent.or_else(|| traceparent.map(str::to_owned)),
                reply: self.reply,
                callback: self.callback,
                occurrence: None,
                hidden: self.hidden,
            },
            ..defaults
        })
    }
}

/// How far the moment of an id may lie from now.
const ID_SPAN: Duration = Duration::from_secs(600);

/// Ids sort by their moments, so a caller's must be of about now. Of args that are not sealed nothing depends on the id.
fn check_id(id: JobId, args: &Json, now: Timestamp) -> Result<(), Invalid> {
    let refuse = |why: &str| Err(Invalid::new("id", format!("{id} {why}")));
    if backroom::core::sealed::key_id(args.as_str()).is_none() {
        return refuse("is for jobs whose args are sealed; leave it out");
    }
    check_id_is_new(id, now, ID_SPAN)
}

/// An id that a caller chose was made within this span of now: jobs are listed in the order of their ids.
pub(crate) fn check_id_is_new(id: JobId, now: Timestamp, span: Duration) -> Result<(), Invalid> {
    let millis = i64::try_from(id.0.as_u128() >> 80).unwrap_or(i64::MAX);
    let far = now.as_millisecond().abs_diff(millis);
    if id.0.get_version_num() != 7 || u128::from(far) > span.as_millis() {
        return Err(Invalid::new("id", format!("{id} is no UUIDv7 of about now")));
    }
    Ok(())
}

/// A moment, or a span from now.
pub(crate) fn when(
    at_name: &'static str,
    at: Option<Timestamp>,
    in_name: &str,
    in_ms: Option<u64>,
) -> Result<Option<When>, Invalid> {
    match (at, in_ms) {
        (Some(_), Some(_)) => {
            Err(Invalid::new(at_name, format!("and {in_name} stand there together; leave one out")))
        }
        (Some(at), None) => Ok(Some(When::At(at))),
        (None, Some(ms)) => Ok(Some(When::In(Duration::from_millis(ms)))),
        (None, None) => Ok(None),
    }
}

fn at_or_in(when: Option<When>) -> (Option<Timestamp>, Option<u64>) {
    match when {
        None | Some(When::Now) => (None, None),
        Some(When::At(at)) => (Some(at), None),
        Some(When::In(span)) => (None, Some(millis(span))),
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// What makes two jobs duplicates, for how long, and what happens to the second one. [`UniqueRule`] reads it.
#[derive(ToSchema)]
#[schema(as = UniqueRule)]
#[expect(dead_code, reason = "it describes what the library reads")]
struct UniqueRuleSchema {
    /// What makes two jobs the same.
    by: UniqueBySchema,
    /// How long the key is held. Default `live`.
    #[schema(required = false)]
    r#while: UniqueHoldSchema,
    /// What happens to the second job. Default `keep`.
    #[schema(required = false)]
    on_conflict: OnConflictSchema,
}

/// What makes two jobs the same.
#[derive(Serialize, ToSchema)]
#[schema(as = UniqueBy)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "it describes what the library reads")]
enum UniqueBySchema {
    /// Equal args.
    Args,
    /// Equal values of these fields of the args.
    Fields(Vec<String>),
    /// This key.
    Key(String),
}

/// How long a unique key is held.
#[derive(Serialize, ToSchema)]
#[schema(as = UniqueHold)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "it describes what the library reads")]
enum UniqueHoldSchema {
    /// Until the job is finished.
    Live,
    /// Until the job is claimed for the first time.
    Queued,
    /// For so many seconds.
    ForSecs(u64),
    /// Until the job is finished, for so many seconds at most.
    LiveForSecs(u64),
    /// Until the job is claimed for the first time, for so many seconds at most.
    QueuedForSecs(u64),
}

/// What happens to the second job.
#[derive(Serialize, ToSchema)]
#[schema(as = OnConflict)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "it describes what the library reads")]
enum OnConflictSchema {
    /// The first one stays.
    Keep,
    /// If the first one is still queued, it takes over what the second one brings.
    Replace,
    /// The enqueue is refused.
    Reject,
}
