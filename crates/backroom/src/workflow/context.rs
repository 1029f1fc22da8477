//! What the code of a workflow asks.

use std::{fmt, sync::Arc, time::Duration};

use backroom_core::{
    Draft, JobId, JobRow, Json, Timestamp,
    links::{ChildEnd, ChildPolicy},
    workflow::{Answer, Ask, Derived, Refused, ScopeId, chance},
};
use futures_util::future::join_all;
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{
    error::WorkflowError,
    flow::{Asked, Flow},
    race::Race,
    step::{Step, unexpected},
    transaction::TransactionStep,
};
use crate::{Backroom, Failure, Job, client::draft_of};

/// What the code of a workflow gets beside its args. Cheap to clone.
///
/// All that has an effect, takes time or differs from run to run goes through it: [steps](Self::step), [sleeps](Self::sleep),
/// [signals](Self::wait_signal), the [time](Self::now) and [chance](Self::random). Each has a name, and its answer is recorded. After a
/// crash, a deploy or a long wait the code runs again from the top and gets the recorded answers, so code outside of steps must
/// do nothing else that differs from run to run.
#[derive(Clone)]
pub struct WorkflowContext {
    scope: Arc<Scope>,
}

/// A scope of names, closed with the last context of it.
struct Scope {
    flow: Arc<Flow>,
    id: ScopeId,
}

impl Drop for Scope {
    fn drop(&mut self) {
        self.flow.state().run.close_scope(self.id);
    }
}

impl WorkflowContext {
    /// The context of the handler itself.
    pub(super) fn root(flow: &Arc<Flow>) -> Self {
        Self::of(Arc::clone(flow), ScopeId::ROOT)
    }

    fn of(flow: Arc<Flow>, id: ScopeId) -> Self {
        Self { scope: Arc::new(Scope { flow, id }) }
    }

    pub(super) fn flow(&self) -> &Arc<Flow> {
        &self.scope.flow
    }

    pub(super) fn ask(&self, name: &str, ask: Ask) -> Result<Asked, Refused> {
        self.scope.flow.ask(self.scope.id, name, ask)
    }

    pub(super) fn path(&self) -> String {
        self.scope.flow.state().run.path(self.scope.id).to_owned()
    }

    /// The job of the workflow.
    pub fn job(&self) -> &JobRow {
        self.flow().context.job()
    }

    /// Its id.
    pub fn id(&self) -> JobId {
        self.flow().context.id()
    }

    /// A client on the worker's store. What it does is not recorded: call it in steps.
    pub fn backroom(&self) -> Backroom {
        self.flow().context.backroom()
    }

    /// Whether the code runs over what an earlier run has recorded.
    pub fn is_replaying(&self) -> bool {
        self.flow().state().run.is_replaying()
    }

    /// Writes a line to the log of the job, once: not while the code repeats what an earlier run did.
    pub fn log(&self, line: impl Into<String>) {
        if !self.is_replaying() {
            self.flow().context.log(line);
        }
    }

    /// Reports how far the work is, as [`Context::progress`](crate::Context::progress) does.
    pub fn progress(&self, percent: u8, message: impl Into<String>) {
        if !self.is_replaying() {
            self.flow().context.progress(percent, message);
        }
    }

    /// A piece of code that runs once: `ctx.step("charge").run(|| async { … }).await?`.
    ///
    /// A name may be used again once the step before is over; then the key is counted (`charge`, `charge#2`). Two steps of one name
    /// at the same time are refused, because after a crash they could be exchanged: give each a [scope](Self::scope), or another name.
    pub fn step<T>(&self, name: impl Into<String>) -> Step<'_, T> {
        Step::new(self, name.into())
    }

    /// A step that writes rows of the application in one commit with its record: see [`TransactionStep`].
    pub fn transaction<T: Serialize + DeserializeOwned + Send>(
        &self,
        name: impl Into<String>,
    ) -> TransactionStep<'_, T> {
        TransactionStep::new(self, name.into())
    }

    /// Waits for `span`. A wait of a second or more holds no slot and no memory.
    pub async fn sleep(&self, name: &str, span: Duration) -> Result<(), WorkflowError> {
        self.timer(name, Ask::Sleep(span)).await
    }

    /// Waits until `at`.
    pub async fn sleep_until(&self, name: &str, at: Timestamp) -> Result<(), WorkflowError> {
        self.timer(name, Ask::SleepUntil(at)).await
    }

    async fn timer(&self, name: &str, ask: Ask) -> Result<(), WorkflowError> {
        let mut asked = self.ask(name, ask)?;
        match asked.answer().await {
            Answer::Fired => Ok(()),
            other => Err(unexpected(asked.key(), &other)),
        }
    }

    /// Waits for a signal of this name, which may have come before. Signals of one name are taken in the order in which they came, each
    /// by one wait.
    pub async fn wait_signal<T: DeserializeOwned>(&self, name: &str) -> Result<T, WorkflowError> {
        let mut asked = self.ask(name, Ask::Signal { name: name.to_owned(), within: None })?;
        let (answer, key) = (asked.answer().await, asked.key());
        match answer {
            Answer::Signal { value } => decoded(key, &value),
            other => Err(unexpected(key, &other)),
        }
    }

    /// The same, for `within` at most. None if the signal has not come by then, which is recorded: a signal that comes later is left to
    /// the next wait.
    pub async fn wait_signal_within<T: DeserializeOwned>(
        &self,
        name: &str,
        within: Duration,
    ) -> Result<Option<T>, WorkflowError> {
        let mut asked = self.ask(name, Ask::Signal { name: name.to_owned(), within: Some(within) })?;
        let (answer, key) = (asked.answer().await, asked.key());
        match answer {
            Answer::Signal { value } => decoded(key, &value).map(Some),
            Answer::TimedOut => Ok(None),
            other => Err(unexpected(key, &other)),
        }
    }

    /// Runs another job and waits for its output. The job is cancelled if the workflow ends first.
    pub async fn child<J: Job>(&self, name: &str, job: &J) -> Result<J::Output, WorkflowError> {
        self.child_with(name, job, ChildPolicy::Cancel).await
    }

    /// The same with another policy for what becomes of the job if the workflow ends first.
    pub async fn child_with<J: Job>(
        &self,
        name: &str,
        job: &J,
        policy: ChildPolicy,
    ) -> Result<J::Output, WorkflowError> {
        let draft = draft_of(job).map_err(|error| WorkflowError::Invalid { why: error.to_string() })?;
        let (key, output) = self.child_of(name, draft, policy).await?;
        if let Some(seal) = backroom_core::sealed::key_id(output.as_str()) {
            // It is sealed for the job of the child and for the run that ended it.
            let why = format!(
                "the output of child {key:?} is sealed with the key {seal}, and a workflow opens no output of a child; read it by a handle to the job"
            );
            return Err(WorkflowError::Invalid { why });
        }
        decoded(key, &output)
    }

    /// Runs a job of any kind and waits for its output. It must not have a unique key.
    pub async fn child_draft(
        &self,
        name: &str,
        draft: Draft,
        policy: ChildPolicy,
    ) -> Result<Json, WorkflowError> {
        self.child_of(name, draft, policy).await.map(|(_, output)| output)
    }

    async fn child_of(
        &self,
        name: &str,
        draft: Draft,
        policy: ChildPolicy,
    ) -> Result<(String, Json), WorkflowError> {
        if draft.unique.is_some() {
            let why =
                format!("child {name:?} has a unique key; a child has none, because its workflow names it");
            return Err(WorkflowError::Invalid { why });
        }
        let mut asked = self.ask(name, Ask::Child { policy })?;
        let key = asked.key();
        self.flow().state().drafts.insert(key.clone(), draft);
        let answer = asked.answer().await;
        match answer {
            Answer::Child { end: ChildEnd::Completed { output } } => Ok((key, output)),
            Answer::Child { end: ChildEnd::Cancelled { reason } | ChildEnd::Discarded { reason } } => {
                Err(WorkflowError::Child { key, reason })
            }
            other => Err(unexpected(key, &other)),
        }
    }

    /// The time, the same in every run.
    pub async fn now(&self) -> Result<Timestamp, WorkflowError> {
        let mut asked = self.ask("now", Ask::Now)?;
        match asked.answer().await {
            Answer::Now { at } => Ok(at),
            other => Err(unexpected(asked.key(), &other)),
        }
    }

    /// A random number, the same in every run. It is no secret.
    pub fn random(&self, name: &str) -> Result<u64, WorkflowError> {
        self.derived(Derived::Random, name, |id, state, key| chance::random(id, &state.journal().header, key))
    }

    /// A UUID, the same in every run: an idempotency key for what a step calls.
    pub fn uuid(&self, name: &str) -> Result<Uuid, WorkflowError> {
        self.derived(Derived::Uuid, name, |id, state, key| chance::uuid(id, &state.journal().header, key))
    }

    fn derived<T>(
        &self,
        what: Derived,
        name: &str,
        derive: impl FnOnce(JobId, &backroom_core::workflow::Run, &str) -> T,
    ) -> Result<T, WorkflowError> {
        let mut state = self.flow().state();
        let key = state.run.derived_key(self.scope.id, what, name).map_err(|error| {
            let refused = Refused::Name(error);
            state.note(&refused);
            refused
        })?;
        Ok(derive(self.id(), &state.run, &key))
    }

    /// Names of its own for a part of the code: `ctx.scope("refund")?.step("charge")` has the key `refund/charge`.
    pub fn scope(&self, name: &str) -> Result<Self, WorkflowError> {
        let mut state = self.flow().state();
        let opened = state.run.open_scope(self.scope.id, name).map_err(|error| {
            let refused = Refused::Name(error);
            state.note(&refused);
            refused
        });
        drop(state);
        Ok(Self::of(Arc::clone(self.flow()), opened?))
    }

    /// Runs a branch for each item beside each other, each in a scope of its own, and answers with their outputs in order.
    pub async fn join_all<I, F, R>(
        &self,
        name: &str,
        items: impl IntoIterator<Item = I>,
        branch: F,
    ) -> Result<Vec<R::Output>, WorkflowError>
    where
        F: Fn(Self, I) -> R,
        R: Future,
    {
        let scope = self.scope(name)?;
        let mut branches = Vec::new();
        for (place, item) in items.into_iter().enumerate() {
            branches.push(branch(scope.scope(&place.to_string())?, item));
        }
        Ok(join_all(branches).await)
    }

    /// Runs branches beside each other until one of them has ended. Which one it was is recorded.
    pub fn race<'a, T>(&self, name: impl Into<String>) -> Race<'a, T> {
        Race::new(self.clone(), name.into())
    }

    /// Whether to take the new path of a change: `false` for runs that had passed this place before the change was deployed, `true` for
    /// all others. Remove it once no run is left from before.
    pub async fn patched(&self, name: &str) -> Result<bool, WorkflowError> {
        let mut asked = self.ask(name, Ask::Patch)?;
        match asked.answer().await {
            Answer::Patched { is_new } => Ok(is_new),
            other => Err(unexpected(asked.key(), &other)),
        }
    }

    /// Publishes a value for queries, in the place of the one before: [`Backroom::journal`](crate::Backroom::journal) shows it, also
    /// while the workflow is parked, and no worker has to be asked.
    pub fn publish<T: Serialize>(&self, value: &T) -> Result<(), WorkflowError> {
        let value = Json::encode(value).map_err(|error| WorkflowError::Invalid { why: error.to_string() })?;
        Ok(self.flow().state().run.publish(value)?)
    }

    /// Ends this run and begins the workflow again with these args and an empty journal, under the same id:
    /// `return Err(ctx.continue_as_new(&args)?)`. Signals that no wait has taken stay. For workflows that would go on for ever.
    pub fn continue_as_new<J: Serialize>(&self, args: &J) -> Result<Failure, WorkflowError> {
        let args = Json::encode(args).map_err(|error| WorkflowError::Invalid { why: error.to_string() })?;
        self.flow().state().next_args = Some(args);
        Ok(Failure::snooze(Duration::ZERO))
    }
}

impl fmt::Debug for WorkflowContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkflowContext").field("job", &self.id()).field("scope", &self.path()).finish()
    }
}

fn decoded<T: DeserializeOwned>(key: String, value: &Json) -> Result<T, WorkflowError> {
    value.decode().map_err(|error| WorkflowError::Decode { key, why: error.why })
}
