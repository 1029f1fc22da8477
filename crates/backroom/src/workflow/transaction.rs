//! Steps that write rows of the application, in one commit with their record.

use std::{future::pending, marker::PhantomData, sync::Arc};

use backroom_core::{
    Json, RetryPolicy,
    workflow::{Answer, Ask, Attempted, Entry, EntryState, VALUE_BYTES_MAX},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    context::WorkflowContext,
    error::WorkflowError,
    flow::{Asked, Lost, Recording, Turn},
    step::{attempted, unexpected},
};
use crate::{
    Failure,
    store::{JournalWrite, Wrote},
};

/// A step whose code writes to the database of the store: its rows and its record are committed together, or neither is. So it runs exactly
/// once.
#[must_use = "a step does nothing until it runs"]
pub struct TransactionStep<'c, T> {
    context: &'c WorkflowContext,
    name: String,
    retry: RetryPolicy,
    max_tries: Option<u32>,
    value: PhantomData<fn() -> T>,
}

impl<'c, T: Serialize + DeserializeOwned + Send> TransactionStep<'c, T> {
    pub(super) fn new(context: &'c WorkflowContext, name: String) -> Self {
        Self { context, name, retry: RetryPolicy::DEFAULT, max_tries: None, value: PhantomData }
    }

    /// How long it waits between tries, as [`Step::retry`](super::Step::retry).
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// How often it is tried, as [`Step::max_tries`](super::Step::max_tries).
    pub fn max_tries(mut self, tries: u32) -> Self {
        self.max_tries = Some(tries.max(1));
        self
    }

    fn ask(&self) -> Result<Asked, WorkflowError> {
        self.retry.check().map_err(|invalid| WorkflowError::Invalid { why: invalid.to_string() })?;
        let max_tries = self.max_tries.unwrap_or_else(|| self.retry.max_attempts_default());
        let ask = Ask::Step { retry: self.retry.clone(), max_tries, is_compensated: false };
        Ok(self.context.ask(&self.name, ask)?)
    }

    fn answered(key: String, answer: Answer) -> Result<T, WorkflowError> {
        match answer {
            Answer::Value { value } => {
                value.decode().map_err(|error| WorkflowError::Decode { key, why: error.why })
            }
            Answer::Failed { error } => Err(WorkflowError::Step { key, error }),
            other => Err(unexpected(key, &other)),
        }
    }

    /// Runs `code` on the store's own SQLite file, inside the transaction that records the step. What it writes is undone if it fails.
    ///
    /// It runs on the thread that does all writes of this process, and other writes wait for it: no network, no computing, a few
    /// statements. It may run again, so it must do nothing outside of the connection. It must not begin or end a transaction.
    ///
    /// Fails as a step that is given up where the store is no SQLite file.
    #[cfg(feature = "sqlite")]
    pub async fn sqlite<F>(self, code: F) -> Result<T, WorkflowError>
    where
        F: FnMut(&rusqlite::Connection) -> Result<T, Failure> + Send + 'static,
    {
        use crate::store::sqlite::Transacted;
        let code = Arc::new(std::sync::Mutex::new(code));
        let mut asked = self.ask()?;
        loop {
            match asked.turn().await {
                Turn::Answer(answer) => return Self::answered(asked.key(), answer),
                Turn::Execute => {}
            }
            let flow = Arc::clone(self.context.flow());
            let Some(store) = flow.context.resources().engine.sqlite.clone() else {
                asked.tried(attempted::<T>(Err(Failure::discard(
                    "the store of the workflow is no SQLite file",
                ))));
                continue;
            };
            let mut place = flow.place.lock().await;
            let (write, bytes_left) = match asked.recording(&place) {
                Recording::Write { write, bytes_left } => (*write, bytes_left),
                Recording::Full(error) => {
                    asked.tried(Attempted::GivenUp(error));
                    continue;
                }
                Recording::Over => continue,
            };
            let code = Arc::clone(&code);
            #[cfg(feature = "sealed")]
            let (of_run, key) = (flow.context.clone(), asked.key());
            let run = move |connection: &rusqlite::Connection| {
                let mut code = code.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let value = code(connection).and_then(|value| encoded(&value, bytes_left));
                #[cfg(feature = "sealed")]
                let value = value.map(|value| {
                    super::sealed::seal_value(of_run.codec(), &of_run.resources().engine.ids, &key, value)
                });
                value
            };
            match store.transact(write, run).await {
                Ok(Transacted::Done(entry)) => {
                    place.revision += 1;
                    #[cfg(feature = "sealed")]
                    let entry = opened(&flow, entry);
                    asked.recorded(entry);
                }
                Ok(Transacted::Failed(failure)) => asked.tried(attempted::<T>(Err(failure))),
                Ok(Transacted::Refused(wrote)) => lose(&flow, wrote).await,
                Err(error) => {
                    flow.lose(Lost::Store(error));
                    pending().await
                }
            }
        }
    }

    /// Runs `code` in a transaction of `client`, which records the step as well. The client must be connected to the database of the store.
    /// What it writes is rolled back if it fails.
    ///
    /// Fails as a step that is given up where the store is no PostgreSQL.
    #[cfg(feature = "postgres")]
    pub async fn postgres<F>(
        self,
        client: &mut tokio_postgres::Client,
        mut code: F,
    ) -> Result<T, WorkflowError>
    where
        F: for<'t> FnMut(
                &'t tokio_postgres::Transaction<'_>,
            ) -> futures_util::future::BoxFuture<'t, Result<T, Failure>>
            + Send,
    {
        use crate::store::postgres::PostgresStore;
        let mut asked = self.ask()?;
        loop {
            match asked.turn().await {
                Turn::Answer(answer) => return Self::answered(asked.key(), answer),
                Turn::Execute => {}
            }
            let flow = Arc::clone(self.context.flow());
            let engine = &flow.context.resources().engine;
            let Some(within) = engine.postgres_within.clone() else {
                asked.tried(attempted::<T>(Err(Failure::discard(
                    "the store of the workflow is no PostgreSQL",
                ))));
                continue;
            };
            let mut place = flow.place.lock().await;
            let (mut write, bytes_left) = match asked.recording(&place) {
                Recording::Write { write, bytes_left } => (*write, bytes_left),
                Recording::Full(error) => {
                    asked.tried(Attempted::GivenUp(error));
                    continue;
                }
                Recording::Over => continue,
            };
            if place.revision == 0 {
                // The job may share a row with others of its claim: the first write through the store gives it one of its own.
                #[cfg_attr(not(feature = "sealed"), expect(unused_mut, reason = "only sealing changes it"))]
                let mut first = JournalWrite { entries: Vec::new(), ..write.clone() };
                #[cfg(feature = "sealed")]
                super::sealed::seal(flow.context.codec(), &engine.ids, &mut first);
                match engine.store.write_journals(Arc::new(vec![first])).await {
                    Ok(wrote) if wrote == [Wrote::Done] => place.revision += 1,
                    Ok(wrote) => lose(&flow, wrote.first().copied().unwrap_or(Wrote::Fenced)).await,
                    Err(error) => {
                        flow.lose(Lost::Store(error));
                        pending().await
                    }
                }
                write.revision_before = place.revision;
            }
            let transaction = match client.transaction().await {
                Ok(transaction) => transaction,
                Err(error) => {
                    asked.tried(attempted::<T>(Err(Failure::retry(error))));
                    continue;
                }
            };
            let value = code(&transaction).await.and_then(|value| encoded(&value, bytes_left));
            match value {
                Ok(value) => set_value(&mut write.entries, value),
                Err(failure) => {
                    // Dropped, it is rolled back as well.
                    _ = transaction.rollback().await;
                    asked.tried(attempted::<T>(Err(failure)));
                    continue;
                }
            }
            #[cfg(feature = "sealed")]
            let stored = {
                let mut stored = write.clone();
                super::sealed::seal(flow.context.codec(), &engine.ids, &mut stored);
                stored
            };
            #[cfg(not(feature = "sealed"))]
            let stored = &write;
            #[cfg(feature = "sealed")]
            let stored = &stored;
            let wrote = PostgresStore::write_journal_in(&transaction, &within, stored).await;
            match wrote {
                Ok(Wrote::Done) => {}
                Ok(refused) => lose(&flow, refused).await,
                Err(error) => {
                    flow.lose(Lost::Store(error));
                    pending().await
                }
            }
            match transaction.commit().await {
                Ok(()) => {
                    place.revision += 1;
                    write.entries.into_iter().for_each(|entry| asked.recorded(entry));
                }
                // It may be committed: the journal says so.
                Err(_) => {
                    flow.lose(Lost::Journal);
                    pending().await
                }
            }
        }
    }
}

impl<T> std::fmt::Debug for TransactionStep<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransactionStep").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The run cannot go on: its driver ends it, and drops this future.
async fn lose(flow: &super::flow::Flow, wrote: Wrote) {
    flow.lose(match wrote {
        Wrote::Moved | Wrote::Done => Lost::Journal,
        Wrote::Fenced => Lost::Lease,
    });
    pending().await
}

/// The entry as the run knows it, with its value open.
#[cfg(all(feature = "sealed", feature = "sqlite"))]
fn opened(flow: &super::flow::Flow, mut entry: Entry) -> Entry {
    if let Some(codec) = flow.context.codec() {
        super::sealed::open_entry(codec, &mut entry).expect("invariant: the run has sealed it just now");
    }
    entry
}

/// The value of a step, if the journal can hold it: then its rows and its record are committed.
fn encoded<T: Serialize>(value: &T, bytes_left: usize) -> Result<Json, Failure> {
    let value = Json::encode(value).map_err(|error| Failure::discard(format!("the value {}", error.why)))?;
    let bytes = value.as_str().len();
    if bytes > VALUE_BYTES_MAX {
        let why = format!("the value is {bytes} bytes long; at most {VALUE_BYTES_MAX} are allowed");
        return Err(Failure::discard(why));
    }
    if bytes > bytes_left {
        let why = format!(
            "the value is {bytes} bytes long, and the journal of this run can hold {bytes_left} more; end it with continue_as_new, \
             which begins an empty one"
        );
        return Err(Failure::discard(why));
    }
    Ok(value)
}

/// Puts the value into the entry that was made without it.
pub(crate) fn set_value(entries: &mut [Entry], new: Json) {
    for entry in entries {
        if let EntryState::Closed { answer: Answer::Value { value }, .. } = &mut entry.state {
            *value = new.clone();
        }
    }
}
