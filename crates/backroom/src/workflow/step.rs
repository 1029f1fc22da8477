//! Steps: code that runs once, and whose value is recorded.

use std::{marker::PhantomData, pin::pin, time::Duration};

use backroom_core::{
    Json, RetryPolicy,
    workflow::{Answer, Ask, Attempted},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    context::WorkflowContext,
    error::WorkflowError,
    flow::{Compensation, Turn},
};
use crate::{Failure, failure::Outcome, worker::caught_in};

/// A step before it runs: its name, and how it is tried.
#[must_use = "a step does nothing until it runs"]
pub struct Step<'c, T> {
    context: &'c WorkflowContext,
    name: String,
    retry: RetryPolicy,
    max_tries: Option<u32>,
    timeout: Option<Duration>,
    compensation: Option<Compensation>,
    value: PhantomData<fn() -> T>,
}

impl<'c, T> Step<'c, T> {
    pub(super) fn new(context: &'c WorkflowContext, name: String) -> Self {
        let retry = RetryPolicy::DEFAULT;
        Self { context, name, retry, max_tries: None, timeout: None, compensation: None, value: PhantomData }
    }

    /// How long it waits between tries. Default: as jobs do, `try⁴` seconds.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// How often it is tried, the first try included. Default 20, or what a list of retry delays spells out.
    pub fn max_tries(mut self, tries: u32) -> Self {
        self.max_tries = Some(tries.max(1));
        self
    }

    /// The longest time of one try. A try that takes longer has failed. Default unlimited.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Undoes the step if the workflow fails or is cancelled after it. It gets the value of the step, runs after the compensations of
    /// later steps, and is tried until it succeeds. It may run in another process than the step, days later, and more than once.
    pub fn compensate<F, R>(mut self, mut undo: F) -> Self
    where
        T: DeserializeOwned + Send + 'static,
        F: FnMut(T) -> R + Send + 'static,
        R: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.compensation = Some(Box::new(move |value: Json| match value.decode::<T>() {
            Ok(value) => Box::pin(undo(value)),
            Err(error) => {
                let failure = Failure::retry(format!("the value of the step does not decode: {error}"));
                Box::pin(async { Err(failure) })
            }
        }));
        self
    }

    /// Runs `code` unless the step is recorded, and answers with its value. The value is in the store before this returns; every later
    /// run gets it from there. A process that dies in between leaves a step that runs again, so what it does should be safe to
    /// repeat: pass [`WorkflowContext::uuid`] as an idempotency key.
    ///
    /// An error of the code is tried again as [`retry`](Self::retry) says; [`Failure::discard`] and [`Failure::cancel`] are not.
    /// When no try is left, the step has failed for good, which is recorded like a value.
    pub async fn run<F, R>(mut self, mut code: F) -> Result<T, WorkflowError>
    where
        T: Serialize + DeserializeOwned + Send,
        F: FnMut() -> R + Send,
        R: Future<Output = Result<T, Failure>> + Send,
    {
        let max_tries = self.max_tries.unwrap_or_else(|| self.retry.max_attempts_default());
        self.retry.check().map_err(|invalid| WorkflowError::Invalid { why: invalid.to_string() })?;
        let is_compensated = self.compensation.is_some();
        let ask = Ask::Step { retry: self.retry, max_tries, is_compensated };
        let mut asked = self.context.ask(&self.name, ask)?;
        loop {
            let answer = match asked.turn().await {
                Turn::Answer(answer) => answer,
                Turn::Execute => {
                    let clock = &*self.context.flow().context.resources().engine.clock;
                    let tried = pin!(async { code().await });
                    let limited = async {
                        match self.timeout {
                            None => tried.await,
                            Some(timeout) => tokio::select! {
                                biased;
                                result = tried => result,
                                () = clock.sleep(timeout) => {
                                    Err(Failure::retry(format!("the try ran longer than its timeout of {timeout:?}")))
                                }
                            },
                        }
                    };
                    let result =
                        caught_in(pin!(limited)).await.unwrap_or_else(|panic| Err(panic.into_failure()));
                    asked.tried(attempted(result));
                    continue;
                }
            };
            let key = asked.key();
            return match answer {
                Answer::Value { value } => {
                    if let Some(compensation) = self.compensation.take() {
                        self.context.flow().state().compensations.insert(key.clone(), compensation);
                    }
                    value.decode().map_err(|error| WorkflowError::Decode { key, why: error.why })
                }
                Answer::Failed { error } => Err(WorkflowError::Step { key, error }),
                other => Err(unexpected(key, &other)),
            };
        }
    }
}

impl<T> std::fmt::Debug for Step<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Step").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How the try of a step or of a compensation is recorded.
pub(super) fn attempted<T: Serialize>(result: Result<T, Failure>) -> Attempted {
    match result {
        Ok(value) => match Json::encode(&value) {
            Ok(value) => Attempted::Value(value),
            Err(error) => Attempted::GivenUp(format!("the value {}", error.why)),
        },
        Err(failure) => match failure.outcome {
            Outcome::Discard | Outcome::Cancel | Outcome::UndecodedForGood => {
                Attempted::GivenUp(failure.message)
            }
            _ => Attempted::Failed(failure.message),
        },
    }
}

/// The kind of an entry is compared before it is answered, so this is a bug of ours.
pub(super) fn unexpected(key: String, answer: &Answer) -> WorkflowError {
    WorkflowError::Decode { key, why: format!("the answer {answer:?} is of another kind") }
}
