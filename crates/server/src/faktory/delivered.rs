//! A job as a worker gets it.

use std::{borrow::Cow, time::Duration};

use backroom::{Attempt, AttemptEnd, DisplayState, JobRow, State, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{compact::compact, failures, jid, pushed::Rest};

/// For how long a job is reserved that says nothing about it.
const RESERVE_DEFAULT: Duration = Duration::from_secs(1800);
/// The shortest and the longest reservation.
const RESERVE_MIN: Duration = Duration::from_secs(60);
const RESERVE_MAX: Duration = Duration::from_secs(86_400);

#[derive(Serialize)]
struct Delivered<'a> {
    jid: &'a str,
    queue: &'a str,
    jobtype: &'a str,
    args: &'a RawValue,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    enqueued_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reserve_for: Option<u64>,
    retry: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    backtrace: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureOf<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom: Option<Cow<'a, backroom::Json>>,
}

#[derive(Serialize)]
struct FailureOf<'a> {
    retry_count: i64,
    remaining: i64,
    failed_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    errtype: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    backtrace: Vec<&'a str>,
}

/// For how long a worker may have the job.
pub(super) fn reserved_for(job: &JobRow) -> Duration {
    job.extras.timeout.unwrap_or(RESERVE_DEFAULT).clamp(RESERVE_MIN, RESERVE_MAX)
}

/// How often the job has failed.
pub(super) fn failures_of(job: &JobRow) -> u32 {
    // The attempt that runs has not failed.
    if job.state == State::Running { job.attempt.saturating_sub(1) } else { job.attempt }
}

/// The job as JSON without a line break. `attempts` are those that failed, the oldest first.
pub(super) fn json(job: &JobRow, attempts: &[Attempt], now: Timestamp) -> String {
    let jid = jid::of(job);
    let rest = Rest::read(&job.extras.meta);
    let retry = rest.retry.unwrap_or_else(|| i64::from(job.max_attempts) - 1);
    let args = args(job.args.as_str());
    let is_scheduled = job.shown(now) == DisplayState::Scheduled;
    let delivered = Delivered {
        jid: &jid,
        queue: &job.queue,
        jobtype: &job.kind,
        args: &args,
        created_at: job.created_at,
        enqueued_at: (!is_scheduled).then_some(job.scheduled_at),
        at: is_scheduled.then_some(job.scheduled_at),
        reserve_for: job.extras.timeout.map(|timeout| timeout.as_secs()),
        retry,
        backtrace: rest.backtrace,
        failure: failure(job, retry, attempts),
        custom: custom(job, rest.custom.as_ref()),
    };
    serde_json::to_string(&delivered).expect("invariant: a job is JSON")
}

/// The free data. Handlers find there the batch of their job, and a job at the end of a batch which batch that was.
fn custom<'a>(job: &JobRow, chosen: Option<&'a backroom::Json>) -> Option<Cow<'a, backroom::Json>> {
    let links = job.links.as_deref();
    let of_batch = links.and_then(|links| links.batch).map(|batch| ("bid", batch));
    let ends = links.and_then(|links| links.ends).map(|ends| ("_bid", ends.batch));
    if of_batch.is_none() && ends.is_none() {
        return chosen.map(Cow::Borrowed);
    }
    let mut custom: serde_json::Map<String, serde_json::Value> = match chosen {
        Some(custom) => custom.decode().unwrap_or_default(),
        None => serde_json::Map::new(),
    };
    let mut is_added = false;
    for (name, batch) in of_batch.into_iter().chain(ends) {
        if !custom.contains_key(name) {
            custom.insert(name.into(), batch.to_string().into());
            is_added = true;
        }
    }
    if !is_added {
        return chosen.map(Cow::Borrowed);
    }
    backroom::Json::encode(&custom).ok().map(Cow::Owned)
}

/// The args as a list. Those of a job that no Faktory client pushed may be another value: then they are its only item.
fn args(text: &str) -> Box<RawValue> {
    let compacted = compact(text);
    let list = if compacted.starts_with('[') { compacted } else { Cow::Owned(format!("[{compacted}]")) };
    RawValue::from_string(list.into_owned()).expect("invariant: args are JSON")
}

fn failure<'a>(job: &JobRow, retry: i64, attempts: &'a [Attempt]) -> Option<FailureOf<'a>> {
    let failed = i64::from(failures_of(job));
    if failed == 0 {
        return None;
    }
    let is_failure = |attempt: &&Attempt| match attempt.end {
        AttemptEnd::Failed | AttemptEnd::Panicked | AttemptEnd::TimedOut | AttemptEnd::Discarded => true,
        AttemptEnd::Crashed | AttemptEnd::Lost | AttemptEnd::Cancelled => false,
    };
    let last = attempts.iter().rev().find(is_failure)?;
    let (errtype, message, backtrace) = failures::split(&last.error);
    Some(FailureOf {
        retry_count: failed - 1,
        remaining: (retry - (failed - 1)).max(0),
        failed_at: last.ended_at,
        next_at: (!job.state.is_finished()).then_some(job.scheduled_at),
        message,
        errtype,
        backtrace,
    })
}

#[cfg(test)]
mod tests {
    use backroom::{Draft, JobId, Json, LeaseId};
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-27T08:00:00Z".parse().unwrap()
    }

    fn job(draft: Draft) -> JobRow {
        draft.check(JobId(Uuid::from_u128(7)), now(), 1000).expect("allowed").job
    }

    fn shown(job: &JobRow, attempts: &[Attempt]) -> Value {
        let text = json(job, attempts, now());
        assert!(!text.contains(['\r', '\n']), "{text}");
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_job_of_another_client_is_one_that_workers_understand() {
        let draft = Draft::new("resize", Json::parse("{\"width\":\r\n 3}").unwrap());
        let shown = shown(&job(draft), &[]);
        assert_eq!(shown["jid"], "00000000-0000-0000-0000-000000000007");
        assert_eq!(
            (&shown["args"], &shown["jobtype"], &shown["queue"]),
            (&json!([{"width": 3}]), &json!("resize"), &json!("default"))
        );
        assert_eq!((&shown["retry"], &shown["created_at"]), (&json!(19), &json!("2026-11-27T08:00:00Z")));
        assert!(shown.get("failure").is_none() && shown.get("custom").is_none());
    }

    #[test]
    fn a_job_that_failed_says_how_often_and_why() {
        let mut draft = Draft::new("work", Json::parse("[1]").unwrap());
        draft.max_attempts = Some(11);
        let mut job = job(draft);
        (job.attempt, job.state) = (3, State::Running);
        let attempt = |error: &str| Attempt {
            lease_id: LeaseId(Uuid::nil()),
            attempt: 2,
            end: AttemptEnd::Failed,
            error: error.into(),
            worker: None,
            started_at: None,
            ended_at: now(),
        };
        let crashed = Attempt { end: AttemptEnd::Crashed, ..attempt("worker x died") };
        let attempts = [attempt("A: first"), attempt("IOError: no disk\na.rb:1\na.rb:2"), crashed];
        assert_eq!(
            shown(&job, &attempts)["failure"],
            json!({
                "retry_count": 1, "remaining": 9, "failed_at": "2026-11-27T08:00:00Z", "next_at": "2026-11-27T08:00:00Z",
                "message": "no disk", "errtype": "IOError", "backtrace": ["a.rb:1", "a.rb:2"]
            })
        );
    }
}
