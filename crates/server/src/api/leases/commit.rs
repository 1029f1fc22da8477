//! `POST /v1/leases/commit`.

use std::time::Duration;

use axum::{Json, extract::State};
use backroom::{Commit, JobId, LeaseId, RetryPolicy, RunKey, RunOutcome, Settled, State as JobState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{check_queues, too_many};
use crate::{
    api::{
        body::JsonBytes,
        caller::{Caller, Scope},
        codes::Code,
        problem::{Problem, Problems},
    },
    serve::AppState,
    views::rows::StateWord,
};

/// Most commits of one request.
const COMMITS_MAX: usize = 1000;

/// What became of runs.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CommitsBody {
    /// The name of the worker that has them.
    worker: String,
    /// One for each run, at most 1000.
    commits: Vec<CommitBody>,
}

/// What became of one run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CommitBody {
    /// The job.
    #[schema(value_type = String, format = "uuid")]
    job: JobId,
    /// The lease under which it was claimed.
    #[schema(value_type = String, format = "uuid")]
    lease: LeaseId,
    /// In which way the run ended.
    outcome: OutcomeName,
    /// With `done`: the output. Default null.
    #[schema(value_type = Option<serde_json::Value>)]
    output: Option<backroom::Json>,
    /// With `failed`, `timed_out`, `discard` and `cancel`: why.
    error: Option<String>,
    /// With `failed`: the milliseconds until the next attempt, instead of the back-off. With `snooze`: the milliseconds until the job runs again.
    delay_ms: Option<u64>,
    /// How many milliseconds the run took.
    ran_ms: Option<u64>,
}

/// In which way a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OutcomeName {
    /// It did what the job asks for.
    Done,
    /// It failed, and is tried again.
    Failed,
    /// It ran out of time, and is tried again.
    TimedOut,
    /// Trying again cannot help.
    Discard,
    /// The job is no longer wanted.
    Cancel,
    /// It is to run again later. No attempt is charged.
    Snooze,
    /// It was not finished and may run elsewhere at once. No attempt is charged.
    Release,
}

/// What one commit says beside the run.
pub(super) struct Said {
    pub(super) outcome: OutcomeName,
    pub(super) output: Option<backroom::Json>,
    pub(super) error: Option<String>,
    pub(super) delay_ms: Option<u64>,
}

impl Said {
    /// The outcome as the library takes it.
    pub(super) fn read(self) -> Result<RunOutcome, Problem> {
        let Self { outcome, output, error, delay_ms } = self;
        let refused = |field: &str, with: &str| {
            Err(Problem::new(Code::Invalid, format!("`{field}` is for outcome {with}")))
        };
        let is_about_an_error = matches!(
            outcome,
            OutcomeName::Failed | OutcomeName::TimedOut | OutcomeName::Discard | OutcomeName::Cancel
        );
        if output.is_some() && outcome != OutcomeName::Done {
            return refused("output", "`done`");
        }
        if error.is_some() && !is_about_an_error {
            return refused("error", "`failed`, `timed_out`, `discard` and `cancel`");
        }
        if delay_ms.is_some()
            && !matches!(outcome, OutcomeName::Failed | OutcomeName::TimedOut | OutcomeName::Snooze)
        {
            return refused("delay_ms", "`failed`, `timed_out` and `snooze`");
        }
        let why = error.unwrap_or_else(|| "the worker gave no reason".into());
        let delay = delay_ms.map(Duration::from_millis);
        let fail = |timed_out| RunOutcome::Fail {
            error: why.clone(),
            timed_out,
            delay,
            retry: RetryPolicy::DEFAULT,
        };
        Ok(match outcome {
            OutcomeName::Done => RunOutcome::Succeed(output.unwrap_or_else(backroom::Json::null)),
            OutcomeName::Failed => fail(false),
            OutcomeName::TimedOut => fail(true),
            OutcomeName::Discard => RunOutcome::Discard(why),
            OutcomeName::Cancel => RunOutcome::Cancel(why),
            OutcomeName::Snooze => RunOutcome::Snooze(delay.unwrap_or_default()),
            OutcomeName::Release => RunOutcome::Release,
        })
    }
}

/// What became of the commits.
#[derive(Serialize, ToSchema)]
pub(super) struct Committed {
    /// One answer for each, in the order of the request.
    commits: Vec<SettledView>,
}

/// What became of one commit.
#[derive(Serialize, ToSchema)]
pub(super) struct SettledView {
    /// What became of it.
    status: StatusName,
    /// With `recorded`: the state of the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<StateWord>)]
    state: Option<JobState>,
}

/// What became of one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum StatusName {
    /// It is recorded, by this request or by an earlier one with the same outcome.
    Recorded,
    /// The lease is lost. Nothing is recorded.
    Lost,
    /// Another worker has this lease. Nothing is recorded.
    NotYours,
    /// It cannot be recorded now: send it again.
    Later,
}

impl From<Settled> for SettledView {
    fn from(settled: Settled) -> Self {
        let (status, state) = match settled {
            Settled::Recorded(state) => (StatusName::Recorded, Some(state)),
            Settled::Lost => (StatusName::Lost, None),
            Settled::NotYours => (StatusName::NotYours, None),
            Settled::Later => (StatusName::Later, None),
        };
        Self { status, state }
    }
}

/// Commit outcomes
///
/// Records what became of runs, each by itself. Safe to repeat: a commit whose answer was lost answers `recorded` again. A lease
/// never gets two outcomes.
#[utoipa::path(
    post,
    path = "/v1/leases/commit",
    operation_id = "commit_outcomes",
    tag = "work",
    request_body = CommitsBody,
    responses((status = 200, description = "What became of each.", body = Committed), Problems)
)]
pub(super) async fn commit(
    State(state): State<AppState>,
    caller: Caller,
    body: JsonBytes,
) -> Result<Json<Committed>, Problem> {
    caller.require(Scope::Work)?;
    let CommitsBody { worker, commits } = body.read()?;
    too_many("commits", commits.len(), COMMITS_MAX)?;
    let commits = commits
        .into_iter()
        .map(|CommitBody { job, lease, outcome, output, error, delay_ms, ran_ms }| {
            let outcome = Said { outcome, output, error, delay_ms }.read()?;
            Ok(Commit { run: RunKey { job, lease }, outcome, ran: ran_ms.map(Duration::from_millis) })
        })
        .collect::<Result<Vec<_>, Problem>>()?;
    let runs: Vec<_> = commits.iter().map(|commit| commit.run).collect();
    check_queues(&state.leases, &caller, &runs).await?;
    let settled = state.leases.commit(Some((&worker, &caller.id())), commits).await?;
    Ok(Json(Committed { commits: settled.into_iter().map(SettledView::from).collect() }))
}
