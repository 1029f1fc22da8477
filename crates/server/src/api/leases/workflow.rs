//! `POST /v1/leases/workflow`: the journals of workflows whose code runs in remote workers.

use std::time::Duration;

use axum::{Json, extract::State};
use backroom::{
    AskAnswer, JobId, LeaseId, RemoteAsk, RetryPolicy, RunKey, State as JobState, Timestamp, UndoDue,
    WorkflowAnswer, WorkflowCall, WorkflowStatus, WorkflowThen,
    workflow::{Answer, Ask, Attempted, ChildEnd, ChildPolicy, Entry, EntryState},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{check_queues, too_many};
use crate::{
    api::{
        body::JsonBytes,
        caller::{Caller, Scope},
        codes::Code,
        jobs::check_new,
        problem::{Problem, Problems},
    },
    bodies::NewJob,
    serve::AppState,
    views::rows::{RetrySchema, StateWord},
};

/// Most asks of one request.
const ASKS_MAX: usize = 1000;
/// Most versions of the code of one kind.
const VERSIONS_MAX: usize = 100;

/// What the code of a workflow asks and says.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WorkflowBody {
    /// The name of the worker that runs it.
    worker: String,
    /// The job.
    #[schema(value_type = String, format = "uuid")]
    job: JobId,
    /// The lease under which it was claimed.
    #[schema(value_type = String, format = "uuid")]
    lease: LeaseId,
    /// The code begins: the answer holds what is recorded so far.
    #[serde(default)]
    begin: bool,
    /// With `begin` and with `continue`: versions of the code that the worker has, the newest first. A run stays on the version that it
    /// began with. Left out if the kind has no versions.
    #[serde(default)]
    #[schema(max_items = 100)]
    versions: Vec<String>,
    /// Which generation the code belongs to, as the answer to `begin` said. A request of an earlier one is answered `lost`. Left out, it
    /// is not checked.
    generation: Option<u32>,
    /// What the code asks for; at most 1000.
    #[serde(default)]
    asks: Vec<AskBody>,
    /// A compensation that has run.
    undone: Option<UndoneBody>,
    /// What queries are answered with from now on.
    #[schema(value_type = Option<serde_json::Value>)]
    publish: Option<backroom::Json>,
    /// What the code does next. Default `go_on`.
    #[serde(default)]
    then: ThenName,
    /// With `complete`: what the code has returned. Default null.
    #[schema(value_type = Option<serde_json::Value>)]
    output: Option<backroom::Json>,
    /// With `fail` and `block`: why.
    error: Option<String>,
    /// With `continue`: the new args. Default null.
    #[schema(value_type = Option<serde_json::Value>)]
    args: Option<backroom::Json>,
}

/// What the code does next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ThenName {
    /// It goes on.
    #[default]
    GoOn,
    /// It waits for its asks: the workflow is parked unless one of them is answered now.
    Park,
    /// It has returned.
    Complete,
    /// It has failed: what it has done is undone.
    Fail,
    /// It has stopped because the job was cancelled, and its steps are over: what it has done is undone.
    Stop,
    /// It begins again with other args and an empty journal.
    Continue,
    /// The journal does not fit it: the workflow is parked as blocked, and tried again later.
    Block,
}

/// Something that the code asks for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AskBody {
    /// Its scopes and its name: `order/charge`, and `order/charge#2` where the code uses it a second time.
    key: String,
    /// What.
    kind: AskKind,
    /// Of a step: the waits between tries.
    #[schema(value_type = Option<RetrySchema>)]
    retry: Option<RetryPolicy>,
    /// Of a step: tries allowed, the first included. Default 20.
    #[schema(minimum = 1)]
    max_tries: Option<u32>,
    /// Of a step: it has a compensation.
    #[serde(default)]
    compensated: bool,
    /// Of a step: a try has ended.
    tried: Option<TriedBody>,
    /// Of a timer: its span in milliseconds.
    ms: Option<u64>,
    /// Of a timer: its moment, instead of a span.
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// Of a wait: the name of the signal.
    signal: Option<String>,
    /// Of a wait: it ends after so many milliseconds without the signal.
    within_ms: Option<u64>,
    /// Of a child: the job. It has no unique key.
    job: Option<NewJob>,
    /// Of a child: what becomes of it if the workflow ends first. Default `cancel`.
    #[schema(value_type = Option<ChildPolicyName>)]
    policy: Option<ChildPolicy>,
    /// Of a race: the scope of each branch, as `quote/bank/`. What has begun below it and is open ends when another branch wins.
    branches: Option<Vec<String>>,
    /// Of a race: which branch has ended first, from 0.
    won: Option<u32>,
}

/// What the code asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum AskKind {
    /// Code that runs once.
    Step,
    /// A time to wait for.
    Timer,
    /// A wait for a signal.
    Signal,
    /// Another job.
    Child,
    /// The time.
    Now,
    /// Branches of which the first one counts.
    Race,
    /// A change of the code: the run takes its new path from now on. Code that repeats what was recorded behind the change takes the
    /// old path, and does not ask.
    Patch,
}

/// What becomes of a child whose workflow ends before it.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "it describes what the library reads")]
enum ChildPolicyName {
    /// It is cancelled.
    Cancel,
    /// It is cancelled unless the workflow completes.
    CancelOnFailure,
    /// It runs on.
    Abandon,
}

/// How a try of a step ended: with a value, or with an error.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TriedBody {
    /// Which try, as the answer `execute` said.
    r#try: u32,
    /// What it returned. Default null.
    #[schema(value_type = Option<serde_json::Value>)]
    value: Option<backroom::Json>,
    /// Why it failed.
    error: Option<String>,
    /// With `error`: no retry helps.
    #[serde(default)]
    gives_up: bool,
}

/// How a compensation ended.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UndoneBody {
    /// The key of its step.
    key: String,
    /// Which try, as the answer said.
    r#try: u32,
    /// Why it failed; left out if it succeeded.
    error: Option<String>,
}

/// What the code learns.
#[derive(Serialize, ToSchema)]
pub(super) struct WorkflowSays {
    /// Whether the run goes on.
    status: StatusName,
    /// With `ended`: the state of the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<StateWord>)]
    state: Option<JobState>,
    /// With `blocked`: why the journal does not fit the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// How often the workflow began again with an empty journal.
    generation: u32,
    /// The version of the code that the run began with.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// One answer for each ask, in order.
    asks: Vec<AskView>,
    /// With `undoing`: the compensation that is to run. Without it, the next one is not due yet, so the worker parks the workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    undo: Option<UndoDueView>,
    /// With `begin`: what has an answer, in the order of the answers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    recorded: Vec<RecordedView>,
}

/// Whether a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum StatusName {
    /// It does.
    Running,
    /// The workflow has failed or was cancelled: the code stops, and compensations run.
    Undoing,
    /// It is parked: this run is over.
    Parked,
    /// The journal does not fit the code. The workflow is parked: this run is over.
    Blocked,
    /// The job has ended: this run is over.
    Ended,
    /// The lease is lost: this run is over.
    Lost,
    /// Another worker has this lease: this run is over.
    NotYours,
    /// It cannot be recorded now: send it again.
    Later,
}

/// The answer to one ask.
#[derive(Serialize, ToSchema)]
struct AskView {
    /// Where it stands.
    state: AskState,
    /// With `done`: the value of a step, what a signal carries, the output of a child, the time, the branch that won, or whether the new
    /// path is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    value: Option<backroom::Json>,
    /// With `failed` and `refused`: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// With `execute`: which try, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    r#try: Option<u32>,
    /// Of an answer that is recorded: its place among all answers. What has a smaller one was answered before.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    /// With `waiting`: when there is an answer at the latest, or when the step is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
}

/// Where an ask stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum AskState {
    /// It is answered.
    Done,
    /// A step or a child failed for good.
    Failed,
    /// A signal did not come in time.
    TimedOut,
    /// The code of the step is to run, and its try is reported with the same ask.
    Execute,
    /// It has no answer yet.
    Waiting,
    /// It cannot be asked for.
    Refused,
}

/// A compensation that is to run.
#[derive(Serialize, ToSchema)]
#[schema(as = WorkflowUndo)]
struct UndoDueView {
    /// The key of the step.
    key: String,
    /// The value of the step.
    #[schema(value_type = serde_json::Value)]
    value: backroom::Json,
    /// Which try it is, from 1.
    r#try: u32,
}

/// Something that is recorded.
#[derive(Serialize, ToSchema)]
struct RecordedView {
    /// Its scopes and its name.
    key: String,
    /// `step`, `timer`, `signal`, `child`, `now`, `race` or `patch`.
    kind: String,
    /// Its answer.
    #[serde(flatten)]
    answer: AskView,
}

impl AskView {
    const fn of(state: AskState) -> Self {
        Self { state, value: None, error: None, r#try: None, seq: None, until: None }
    }

    fn new(answer: AskAnswer) -> Self {
        match answer {
            AskAnswer::Answer { answer, seq } => Self { seq, ..Self::answered(answer) },
            AskAnswer::Execute { try_number } => {
                Self { r#try: Some(try_number), ..Self::of(AskState::Execute) }
            }
            AskAnswer::Waits { until } => Self { until, ..Self::of(AskState::Waiting) },
            AskAnswer::Refused(error) => Self { error: Some(error), ..Self::of(AskState::Refused) },
        }
    }

    fn answered(answer: Answer) -> Self {
        let done = |value| Self { value, ..Self::of(AskState::Done) };
        let failed = |error| Self { error: Some(error), ..Self::of(AskState::Failed) };
        match answer {
            Answer::Value { value } | Answer::Signal { value } => done(Some(value)),
            Answer::Child { end: ChildEnd::Completed { output } } => done(Some(output)),
            Answer::Child { end: ChildEnd::Cancelled { reason } | ChildEnd::Discarded { reason } } => {
                failed(reason)
            }
            Answer::Failed { error } => failed(error),
            Answer::TimedOut => Self::of(AskState::TimedOut),
            Answer::Fired => done(None),
            Answer::Now { at } => done(backroom::Json::encode(&at).ok()),
            Answer::Won { branch } => done(backroom::Json::encode(&branch).ok()),
            Answer::Patched { is_new } => done(backroom::Json::encode(&is_new).ok()),
        }
    }
}

impl RecordedView {
    fn new(entry: Entry) -> Option<Self> {
        let EntryState::Closed { seq, answer, .. } = entry.state else { return None };
        let kind = entry.kind.as_str().to_owned();
        let answer = AskView { seq: Some(seq), ..AskView::answered(answer) };
        Some(Self { key: entry.key, kind, answer })
    }
}

impl From<WorkflowAnswer> for WorkflowSays {
    fn from(answer: WorkflowAnswer) -> Self {
        let (status, state, why) = match answer.status {
            WorkflowStatus::Running => (StatusName::Running, None, None),
            WorkflowStatus::Undoing => (StatusName::Undoing, None, None),
            WorkflowStatus::Parked => (StatusName::Parked, None, None),
            WorkflowStatus::Blocked(why) => (StatusName::Blocked, None, Some(why)),
            WorkflowStatus::Ended(state) => (StatusName::Ended, Some(state), None),
            WorkflowStatus::Lost => (StatusName::Lost, None, None),
            WorkflowStatus::NotYours => (StatusName::NotYours, None, None),
            WorkflowStatus::Later => (StatusName::Later, None, None),
        };
        let undo = answer.undo.map(|UndoDue { key, value, try_number }| UndoDueView {
            key,
            value,
            r#try: try_number,
        });
        Self {
            status,
            state,
            why,
            generation: answer.generation,
            version: answer.version,
            asks: answer.asks.into_iter().map(AskView::new).collect(),
            undo,
            recorded: answer.recorded.into_iter().filter_map(RecordedView::new).collect(),
        }
    }
}

impl AskBody {
    fn read(self, state: &AppState, caller: &Caller) -> Result<RemoteAsk, Problem> {
        let key = self.key;
        let missing = |field: &str| {
            Problem::new(Code::Invalid, format!("the ask {key:?} has no `{field}`, which its kind needs"))
        };
        let (mut child, mut tried) = (None, None);
        let ask = match self.kind {
            AskKind::Step => {
                tried = self.tried.map(TriedBody::read);
                let retry = self.retry.unwrap_or(RetryPolicy::DEFAULT);
                let max_tries = self.max_tries.unwrap_or_else(|| retry.max_attempts_default()).max(1);
                retry.check().map_err(backroom::Error::from)?;
                Ask::Step { retry, max_tries, is_compensated: self.compensated }
            }
            AskKind::Timer => match (self.ms, self.until) {
                (_, Some(until)) => Ask::SleepUntil(until),
                (Some(ms), None) => Ask::Sleep(Duration::from_millis(ms)),
                (None, None) => return Err(missing("ms")),
            },
            AskKind::Signal => {
                let name = self.signal.ok_or_else(|| missing("signal"))?;
                Ask::Signal { name, within: self.within_ms.map(Duration::from_millis) }
            }
            AskKind::Child => {
                let job = self.job.ok_or_else(|| missing("job"))?;
                check_new(state, caller, &job)?;
                let draft = job.alone(None, state.backroom.clock().now())?;
                if draft.unique.is_some() {
                    let why = format!(
                        "the child {key:?} has a unique key; a child has none, because its workflow names it"
                    );
                    return Err(Problem::new(Code::Invalid, why));
                }
                child = Some(draft);
                Ask::Child { policy: self.policy.unwrap_or_default() }
            }
            AskKind::Now => Ask::Now,
            AskKind::Race => Ask::Race { branches: self.branches.ok_or_else(|| missing("branches"))? },
            AskKind::Patch => Ask::Patch,
        };
        Ok(RemoteAsk { key, ask, child, tried, won: self.won })
    }
}

impl TriedBody {
    fn read(self) -> (u32, Attempted) {
        let attempted = match (self.error, self.gives_up) {
            (Some(error), true) => Attempted::GivenUp(error),
            (Some(error), false) => Attempted::Failed(error),
            (None, _) => Attempted::Value(self.value.unwrap_or_else(backroom::Json::null)),
        };
        (self.r#try, attempted)
    }
}

/// Ask for a workflow
///
/// The code of a workflow that a remote worker runs asks here, under keys that are the same in every run. What is recorded is answered
/// from the journal, which the server holds; a step that is not recorded is to run, and the worker reports how its try ended with the
/// same ask. The end of the code, its parking and its compensations are recorded here, too: the worker commits nothing else for such a
/// run. Safe to repeat.
///
/// A child needs the scope `enqueue` for its queue, too.
#[utoipa::path(
    post,
    path = "/v1/leases/workflow",
    operation_id = "ask_for_workflow",
    tag = "work",
    request_body = WorkflowBody,
    responses((status = 200, description = "The answers, and whether the run goes on.", body = WorkflowSays), Problems)
)]
pub(super) async fn workflow(
    State(state): State<AppState>,
    caller: Caller,
    body: JsonBytes,
) -> Result<Json<WorkflowSays>, Problem> {
    caller.require(Scope::Work)?;
    let body: WorkflowBody = body.read()?;
    too_many("asks", body.asks.len(), ASKS_MAX)?;
    too_many("versions", body.versions.len(), VERSIONS_MAX)?;
    let run = RunKey { job: body.job, lease: body.lease };
    check_queues(&state.leases, &caller, &[run]).await?;
    let why = body.error.unwrap_or_else(|| "the code gave no reason".into());
    let then = match body.then {
        ThenName::GoOn => WorkflowThen::GoOn,
        ThenName::Park => WorkflowThen::Park,
        ThenName::Complete => WorkflowThen::Complete(body.output.unwrap_or_else(backroom::Json::null)),
        ThenName::Fail => WorkflowThen::Fail(why),
        ThenName::Block => WorkflowThen::Block(why),
        ThenName::Stop => WorkflowThen::Stop,
        ThenName::Continue => WorkflowThen::ContinueAsNew(body.args.unwrap_or_else(backroom::Json::null)),
    };
    let undone = body.undone.map(|UndoneBody { key, r#try, error }| {
        let attempted = error.map_or_else(|| Attempted::Value(backroom::Json::null()), Attempted::Failed);
        (key, r#try, attempted)
    });
    let asks =
        body.asks.into_iter().map(|ask| ask.read(&state, &caller)).collect::<Result<Vec<_>, Problem>>()?;
    let call = WorkflowCall {
        begins: body.begin,
        versions: body.versions,
        generation: body.generation,
        asks,
        undone,
        publish: body.publish,
        then,
    };
    let answer = state.leases.workflow(Some((&body.worker, &caller.id())), run, call).await?;
    Ok(Json(answer.into()))
}
