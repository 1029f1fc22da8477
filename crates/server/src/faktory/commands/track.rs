//! `TRACK`: the progress of jobs.

use std::time::Duration;

use backroom::{ErrorKind, Filter, JobRow, Report, RunKey, State, Timestamp, core::bounds::span_until};
use serde_json::{Map, Value, json};

use super::super::{
    Faktory,
    command::Progress,
    jid,
    reply::{Refusal, Reply},
};

/// A reservation cannot be made to end later than that from now on.
const RESERVE_MAX: Duration = Duration::from_secs(86_400);

/// The progress of a job that is tracked.
pub(in super::super) async fn get(faktory: &Faktory, jid: &str) -> Result<Reply, Refusal> {
    let Some(job) = find(faktory, jid).await?.filter(|job| job.tags.contains(&jid::tag(jid))) else {
        return Ok(Reply::Bulk(json!({ "jid": jid, "state": "unknown", "updated_at": "" }).to_string()));
    };
    let state = match job.state {
        State::Queued | State::Waiting if job.attempt > 0 => "failed",
        State::Queued | State::Waiting => "enqueued",
        State::Running => "working",
        State::Completed => "success",
        State::Cancelled => "failed",
        State::Discarded => "dead",
    };
    let updated_at = job.finished_at.or(job.started_at).unwrap_or(job.created_at);
    let mut answer = Map::new();
    answer.insert("jid".into(), jid.into());
    answer.insert("state".into(), state.into());
    answer.insert("updated_at".into(), updated_at.to_string().into());
    if let Some(progress) = faktory.state.backroom.redacted(job).0.progress {
        answer.insert("percent".into(), progress.percent.into());
        answer.insert("desc".into(), progress.message.into());
    }
    Ok(Reply::Bulk(Value::Object(answer).to_string()))
}

/// Writes the progress of a job that runs, and lets its reservation end later. Of other jobs there is nothing to report.
pub(in super::super) async fn set(faktory: &Faktory, progress: Progress) -> Result<Reply, Refusal> {
    let Progress { jid, percent, desc, reserve_until } = progress;
    if jid.is_empty() {
        return Err(Refusal::new("invalid TRACK: it names no jid"));
    }
    let Some(job) = find(faktory, &jid).await? else { return Ok(Reply::Ok) };
    let (State::Running, Some(lease)) = (job.state, job.lease_id) else { return Ok(Reply::Ok) };
    if let Some(text) = reserve_until.filter(|text| !text.is_empty()) {
        let at: Timestamp = text.parse().map_err(|error| {
            Refusal::new(format!("invalid timestamp for 'reserve_until': {text:?}: {error}"))
        })?;
        let span = span_until(faktory.state.backroom.clock().now(), at).min(RESERVE_MAX);
        faktory.runs().extend(&jid, faktory.now().saturating_add(span));
    }
    if percent.is_some() || desc.is_some() {
        let before = job.progress.unwrap_or(backroom::Progress { percent: 0, message: String::new() });
        let percent =
            percent.map_or(before.percent, |percent| u8::try_from(percent.clamp(0, 100)).unwrap_or(0));
        let report =
            Report { progress: Some((percent, desc.unwrap_or(before.message))), ..Report::default() };
        let run = RunKey { job: job.id, lease };
        faktory.state.leases.report(None, vec![(run, report)]).await?;
    }
    Ok(Reply::Ok)
}

/// The newest job of a jid: one that was fetched here, one that is tracked, or one that the jid names by itself. Not one of a queue for
/// some tokens only.
async fn find(faktory: &Faktory, jid: &str) -> Result<Option<JobRow>, Refusal> {
    Ok(newest(faktory, jid).await?.filter(|job| !faktory.is_secure(&job.queue)))
}

async fn newest(faktory: &Faktory, jid: &str) -> Result<Option<JobRow>, Refusal> {
    let backroom = &faktory.state.backroom;
    let fetched = faktory.runs().get(jid).map(|run| run.key.job);
    if let Some(id) = fetched.or_else(|| jid::job_id(jid)) {
        match backroom.job(id).await {
            Ok(job) if jid::of(&job) == jid => return Ok(Some(job)),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    if jid::check("jid", jid).is_err() {
        return Ok(None);
    }
    let filter = Filter { tag: Some(jid::tag(jid)), ..Filter::default() };
    Ok(backroom.list(filter, None, 1).await?.jobs.into_iter().next())
}
