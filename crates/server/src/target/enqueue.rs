//! Putting jobs in.

use std::{collections::BTreeMap, time::Duration};

use backroom::{
    Callback, Draft, EnqueuedMany, Extras, Json, RetryPolicy, Timestamp, UniqueRule,
    core::{Reply, draft::When},
};
use hyper::Method;
use serde::Serialize;

use super::Target;
use crate::{
    terminal::Problem,
    views::{Enqueued, EnqueuedBatch, Outcome},
};

/// A job as the API takes it.
#[derive(Serialize)]
struct NewJob<'a> {
    kind: &'a str,
    args: &'a Json,
    queue: &'a str,
    lane: Option<&'a str>,
    priority: u8,
    scheduled_at: Option<Timestamp>,
    delay_ms: Option<u64>,
    expires_at: Option<Timestamp>,
    expires_in_ms: Option<u64>,
    max_attempts: Option<u32>,
    unique: Option<&'a UniqueRule>,
    tags: &'a [String],
    timeout_ms: Option<u64>,
    retry: Option<&'a RetryPolicy>,
    meta: &'a BTreeMap<String, String>,
    traceparent: Option<&'a str>,
    reply: Option<&'a Reply>,
    callback: Option<&'a Callback>,
}

impl<'a> NewJob<'a> {
    fn new(draft: &'a Draft, args: &'a Json) -> Self {
        let Draft { kind, args: _, queue, lane, priority, start, expiry, max_attempts, unique, tags, extras } =
            draft;
        // An occurrence is set by schedules, and the API takes none.
        let Extras { timeout, retry, meta, traceparent, reply, callback, occurrence: _ } = extras;
        let (scheduled_at, delay_ms) = at_or_in(Some(*start));
        let (expires_at, expires_in_ms) = at_or_in(*expiry);
        Self {
            kind,
            args,
            queue,
            lane: lane.as_deref(),
            priority: *priority,
            scheduled_at,
            delay_ms,
            expires_at,
            expires_in_ms,
            max_attempts: *max_attempts,
            unique: unique.as_ref(),
            tags,
            timeout_ms: timeout.map(millis),
            retry: retry.as_ref(),
            meta,
            traceparent: traceparent.as_deref(),
            reply: reply.as_ref(),
            callback: callback.as_ref(),
        }
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

impl Target {
    /// Puts a job in.
    pub(crate) async fn enqueue(&self, draft: Draft) -> Result<Enqueued, Problem> {
        use backroom::core::unique::OnConflict;
        match self {
            Self::Store(backroom) => {
                let on_conflict = draft.unique.as_ref().map(|rule| rule.on_conflict);
                let job = backroom.enqueue_draft(draft).await?;
                let outcome = match (job.is_new(), on_conflict) {
                    (true, _) => Outcome::Created,
                    (false, Some(OnConflict::Replace)) => Outcome::Replaced,
                    (false, Some(OnConflict::Keep | OnConflict::Reject) | None) => Outcome::Deduplicated,
                };
                Ok(Enqueued { id: job.id(), outcome })
            }
            Self::Server(remote) => {
                remote.send(Method::POST, "/v1/jobs", &NewJob::new(&draft, &draft.args)).await
            }
        }
    }

    /// Puts jobs in that are like `template` in all but their args: all of them or none. At most a thousand.
    pub(crate) async fn enqueue_like(
        &self,
        template: &Draft,
        args: Vec<Json>,
    ) -> Result<EnqueuedMany, Problem> {
        match self {
            Self::Store(backroom) => Ok(backroom.enqueue_many_like(template.clone(), args).await?),
            Self::Server(remote) => {
                let jobs: Vec<_> = args.iter().map(|args| NewJob::new(template, args)).collect();
                let batch: EnqueuedBatch = remote.send(Method::POST, "/v1/jobs/batch", &jobs).await?;
                Ok(batch.sum())
            }
        }
    }
}
