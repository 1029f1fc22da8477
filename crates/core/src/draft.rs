//! From what a caller asks for to a job that may be stored.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    Extras, Invalid, JobId, JobRow, Json, RetryPolicy, State, Timestamp,
    bounds::{self, check_name, later, whole_micros},
    unique::{OnConflict, UniqueRule},
};

/// The queue of a job that names none.
pub const QUEUE_DEFAULT: &str = "default";
/// The priority of a job that names none; 0 is served first, 9 last.
pub const PRIORITY_DEFAULT: u8 = 5;
/// How far in the past a start may lie. Clocks of different machines differ by minutes, not more.
pub const PAST_MAX: Duration = Duration::from_secs(5 * 60);

/// A job as asked for, unchecked. [`Draft::check`] turns it into one that may be stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Draft {
    /// Which handler runs it.
    pub kind: String,
    /// Input of the handler.
    pub args: Json,
    /// Where it waits; default `default`.
    pub queue: String,
    /// Key inside the queue for order, limits and fairness.
    pub lane: Option<String>,
    /// 0 (first) to 9 (last); default 5.
    pub priority: u8,
    /// When it may run; default now.
    pub start: When,
    /// If it has not begun by then it is cancelled; default never.
    pub expiry: Option<When>,
    /// Attempts allowed, the first included; default 20, or what a list of retry delays spells out.
    pub max_attempts: Option<u32>,
    /// Refuses duplicates; default none.
    pub unique: Option<UniqueRule>,
    /// Labels to filter by.
    pub tags: Vec<String>,
    /// The name of the key that its args are still to be sealed with; default none. Args that are sealed already need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<String>,
    /// Its identity, where the caller has chosen it because the args are sealed for it; default a fresh one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<JobId>,
    /// Everything else that can be chosen; default nothing.
    #[serde(flatten)]
    pub extras: Extras,
}

/// A moment, or a span from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// At once.
    Now,
    /// This long after enqueue.
    In(Duration),
    /// At this moment.
    At(Timestamp),
}

/// A checked job and what to do when its unique key is held.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// Queued, revision 0.
    pub job: JobRow,
    /// Matters only if the job has a unique key.
    pub on_conflict: OnConflict,
}

impl Draft {
    /// A job of `kind` with everything else at its default.
    pub fn new(kind: impl Into<String>, args: Json) -> Self {
        Self {
            kind: kind.into(),
            args,
            queue: QUEUE_DEFAULT.into(),
            lane: None,
            priority: PRIORITY_DEFAULT,
            start: When::Now,
            expiry: None,
            max_attempts: None,
            unique: None,
            tags: Vec::new(),
            seal: None,
            id: None,
            extras: Extras::default(),
        }
    }

    /// Checks every bound and makes the job that is stored. `json_bytes_max` bounds the args. Kinds, queues and reply
    /// queues of Backroom itself are refused.
    pub fn check(self, id: JobId, now: Timestamp, json_bytes_max: usize) -> Result<NewJob, Invalid> {
        check_is_callers("kind", &self.kind)?;
        check_is_callers("queue", &self.queue)?;
        if let Some(reply) = &self.extras.reply {
            check_is_callers("reply_to", &reply.to)?;
        }
        self.check_ours(id, now, json_bytes_max)
    }

    /// The same for jobs of Backroom itself.
    pub(crate) fn check_ours(
        self,
        id: JobId,
        now: Timestamp,
        json_bytes_max: usize,
    ) -> Result<NewJob, Invalid> {
        let now = whole_micros(now);
        check_name("kind", &self.kind)?;
        check_name("queue", &self.queue)?;
        self.lane.as_deref().map_or(Ok(()), |lane| check_name("lane", lane))?;
        if let Some(key) = &self.seal {
            // A program without the feature that seals must not store them as they are.
            let why = format!(
                "are to be sealed with the key {key:?}, and are not; enable the feature `sealed` of backroom"
            );
            return Err(Invalid::new("args", why));
        }
        check_args(&self.args, json_bytes_max)?;
        check_tags(&self.tags)?;
        check_priority(self.priority)?;
        let scheduled_at = start_at(self.start, now)?;
        let expires_at = self.expiry.map(|expiry| expiry_at(expiry, scheduled_at, now)).transpose()?;
        let extras = self.extras.check()?;
        let max_attempts = check_attempts(self.max_attempts, extras.retry.as_ref())?;
        let unique =
            self.unique.as_ref().map(|rule| rule.resolve(&self.kind, &self.args, now)).transpose()?;
        let (unique_key, unique_while) = unique.map(|u| (u.key, u.hold)).unzip();
        let job = JobRow {
            id,
            kind: self.kind,
            queue: self.queue,
            lane: self.lane,
            priority: self.priority,
            state: State::Queued,
            args: self.args,
            attempt: 0,
            max_attempts,
            crashes: 0,
            scheduled_at,
            expires_at,
            unique_held: unique_key.is_some(),
            unique_key,
            unique_while,
            lease_id: None,
            lease_until: None,
            worker: None,
            progress: None,
            output: None,
            reason: None,
            cancel_requested_at: None,
            woken: false,
            created_at: now,
            started_at: None,
            finished_at: None,
            tags: self.tags,
            extras,
            revision: 0,
            suspicion: None,
            links: None,
        };
        let on_conflict = self.unique.map_or(OnConflict::Keep, |rule| rule.on_conflict);
        Ok(NewJob { job, on_conflict })
    }
}

/// What the names of kinds and queues of Backroom itself begin with.
pub const SYSTEM_PREFIX: &str = "backroom.";

fn check_is_callers(what: &'static str, name: &str) -> Result<(), Invalid> {
    if name.starts_with(SYSTEM_PREFIX) {
        let why = format!(
            "{name:?} begins with {SYSTEM_PREFIX:?}, as names of Backroom itself do; use another name"
        );
        return Err(Invalid::new(what, why));
    }
    Ok(())
}

pub(crate) fn check_priority(priority: u8) -> Result<(), Invalid> {
    if priority > 9 {
        let why = format!("is {priority}; use 0 (first) to 9 (last)");
        return Err(Invalid::new("priority", why));
    }
    Ok(())
}

pub(crate) fn check_args(args: &Json, bytes_max: usize) -> Result<(), Invalid> {
    let bytes = args.as_str().len();
    if bytes > bytes_max {
        let why = format!(
            "are {bytes} bytes of JSON; at most {bytes_max} are allowed. Store the bulk elsewhere and pass where it is"
        );
        return Err(Invalid::new("args", why));
    }
    Ok(())
}

fn check_tags(tags: &[String]) -> Result<(), Invalid> {
    if tags.len() > bounds::TAGS_MAX {
        let why = format!("are {}; at most {} are allowed", tags.len(), bounds::TAGS_MAX);
        return Err(Invalid::new("tags", why));
    }
    for (index, tag) in tags.iter().enumerate() {
        check_name("tag", tag)?;
        if tags[..index].contains(tag) {
            return Err(Invalid::new("tag", format!("{tag:?} is given twice; once is enough")));
        }
    }
    Ok(())
}

pub(crate) fn start_at(start: When, now: Timestamp) -> Result<Timestamp, Invalid> {
    match start {
        When::Now => Ok(now),
        When::In(delay) => {
            bounds::check_span("delay", delay)?;
            Ok(later(now, delay))
        }
        When::At(at) => {
            check_future("start", at, now)?;
            if at < bounds::earlier(now, PAST_MAX) {
                let why = format!("{at} lies in the past (it is {now}); leave the time out to run it now");
                return Err(Invalid::new("start", why));
            }
            // A start a moment ago means now: the job gets the place in line of jobs that are enqueued now.
            Ok(whole_micros(at).max(now))
        }
    }
}

fn expiry_at(expiry: When, scheduled_at: Timestamp, now: Timestamp) -> Result<Timestamp, Invalid> {
    let at = match expiry {
        When::Now => now,
        When::In(span) => {
            bounds::check_span("expiry", span)?;
            later(now, span)
        }
        When::At(at) => {
            check_future("expiry", at, now)?;
            whole_micros(at)
        }
    };
    if at <= scheduled_at {
        let why = format!("{at} is not after the start {scheduled_at}; the job could never run");
        return Err(Invalid::new("expiry", why));
    }
    Ok(at)
}

fn check_future(what: &'static str, at: Timestamp, now: Timestamp) -> Result<(), Invalid> {
    if at > later(now, bounds::SPAN_MAX) {
        return Err(Invalid::new(what, format!("{at} lies more than ten years ahead; check the unit")));
    }
    Ok(())
}

fn check_attempts(asked: Option<u32>, retry: Option<&RetryPolicy>) -> Result<u32, Invalid> {
    let max_attempts = asked.unwrap_or_else(|| retry.unwrap_or(&RetryPolicy::DEFAULT).max_attempts_default());
    if max_attempts == 0 || max_attempts > bounds::ATTEMPTS_MAX {
        let why = format!("is {max_attempts}; use 1 (no retry) to {}", bounds::ATTEMPTS_MAX);
        return Err(Invalid::new("max_attempts", why));
    }
    Ok(max_attempts)
}
