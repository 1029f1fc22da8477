//! Registers handlers on a worker: the calls that take the user's functions.

use std::{future::Future, sync::Arc, time::Duration};

use backroom_core::{Json, RetryPolicy, bounds::check_name};
use futures_util::FutureExt;

use super::{build::Worker, context::Context, on_thread::on_thread};
use crate::{
    BadArgs, Error, ErrorKind, Failure, FromState, Job,
    failure::Outcome,
    handler::Handler,
    handler_state::{States, StatesOf},
};

impl Worker {
    /// Runs jobs of type `J` with an async function.
    pub fn handle<J, F, R>(self, handler: F) -> Self
    where
        J: Job,
        F: Fn(J, Context) -> R + Send + Sync + 'static,
        R: Future<Output = Result<J::Output, Failure>> + Send + 'static,
    {
        self.handle_taking::<J, _, _, _>(|_| Ok(()), |_| (), move |job, context, ()| handler(job, context))
    }

    /// Runs jobs of type `J` with an async function that also takes state: an `Arc<T>` of a value given to
    /// [`state`](Worker::state), or a tuple of up to four of them. [`start`](Worker::start) fails if one is missing.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use backroom::{Backroom, Context, Failure, Job, Worker};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Greet;
    /// # impl Job for Greet { const KIND: &'static str = "greet"; type Output = (); }
    /// struct Mailer;
    ///
    /// async fn greet(job: Greet, ctx: Context, mailer: Arc<Mailer>) -> Result<(), Failure> {
    ///     // …
    ///     Ok(())
    /// }
    ///
    /// # #[tokio::main] async fn main() -> Result<(), backroom::Error> {
    /// # let backroom = Backroom::open("memory:").await?;
    /// let worker = Worker::new(&backroom).state(Mailer).handle_with(greet).start().await?;
    /// # worker.stop().await.map(drop)
    /// # }
    /// ```
    pub fn handle_with<J, S, F, R>(self, handler: F) -> Self
    where
        J: Job,
        S: FromState,
        F: Fn(J, Context, S) -> R + Send + Sync + 'static,
        R: Future<Output = Result<J::Output, Failure>> + Send + 'static,
    {
        self.handle_taking::<J, _, _, _>(check_state::<S>, take_state::<S>, handler)
    }

    fn handle_taking<J, S, F, R>(
        self,
        check: fn(&States) -> Result<(), &'static str>,
        take: fn(&Context) -> S,
        handler: F,
    ) -> Self
    where
        J: Job,
        S: Send + 'static,
        F: Fn(J, Context, S) -> R + Send + Sync + 'static,
        R: Future<Output = Result<J::Output, Failure>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let run = move |context: Context| {
            let handler = Arc::clone(&handler);
            async move {
                let (job, state) = (decode::<J>(&context)?, take(&context));
                encode(&handler(job, context, state).await?)
            }
            .boxed()
        };
        self.register(
            &names_of::<J>(),
            Handler {
                retry: J::retry(),
                is_blocking: false,
                timeout: None,
                seal: J::SEALED,
                wind_up: Duration::ZERO,
                check_state: check,
                run: Box::new(run),
            },
        )
    }

    /// Runs jobs of type `J` with a plain function on a thread of its own: for work that computes or blocks. In an async
    /// function such work would block everything else.
    ///
    /// At most [`blocking_threads`](Worker::blocking_threads) of all blocking handlers of this worker run at once, one
    /// per core unless you set another number. That is right for work that *computes* (pictures, compression, hashes):
    /// more threads than cores would only slow each other down. Work that *waits* in a blocking call (a driver without
    /// async, a lock, a slow disk) leaves its core idle meanwhile. Let as many wait at once as the other side can
    /// serve, and set `blocking_threads` to that. The slots of its queue must allow as many.
    ///
    /// Nothing can stop a thread from outside: see [`RunningWorker::stop`](super::RunningWorker::stop) for a handler that does not
    /// end.
    pub fn handle_blocking<J, F>(self, handler: F) -> Self
    where
        J: Job,
        F: Fn(J, Context) -> Result<J::Output, Failure> + Send + Sync + 'static,
    {
        self.handle_blocking_taking::<J, _, _>(
            |_| Ok(()),
            |_| (),
            move |job, context, ()| handler(job, context),
        )
    }

    /// [`handle_blocking`](Worker::handle_blocking) with state, as of [`handle_with`](Worker::handle_with).
    pub fn handle_blocking_with<J, S, F>(self, handler: F) -> Self
    where
        J: Job,
        S: FromState,
        F: Fn(J, Context, S) -> Result<J::Output, Failure> + Send + Sync + 'static,
    {
        self.handle_blocking_taking::<J, _, _>(check_state::<S>, take_state::<S>, handler)
    }

    fn handle_blocking_taking<J, S, F>(
        self,
        check: fn(&States) -> Result<(), &'static str>,
        take: fn(&Context) -> S,
        handler: F,
    ) -> Self
    where
        J: Job,
        S: Send + 'static,
        F: Fn(J, Context, S) -> Result<J::Output, Failure> + Send + Sync + 'static,
    {
        let handler = Arc::new(handler);
        let run = move |context: Context| {
            let handler = Arc::clone(&handler);
            async move {
                let (job, state) = (decode::<J>(&context)?, take(&context));
                on_thread(context, move |context| encode(&handler(job, context, state)?)).await
            }
            .boxed()
        };
        self.register(
            &names_of::<J>(),
            Handler {
                retry: J::retry(),
                is_blocking: true,
                timeout: None,
                seal: J::SEALED,
                wind_up: Duration::ZERO,
                check_state: check,
                run: Box::new(run),
            },
        )
    }

    /// Runs jobs of a kind that is known by name only, with args and output as JSON.
    pub fn handle_untyped<F, R>(self, kind: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Json, Context) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Json, Failure>> + Send + 'static,
    {
        let run = move |context: Context| handler(context.job().args.clone(), context).boxed();
        self.register(
            &[&kind.into()],
            Handler {
                retry: RetryPolicy::DEFAULT,
                is_blocking: false,
                timeout: None,
                seal: None,
                wind_up: Duration::ZERO,
                check_state: |_| Ok(()),
                run: Box::new(run),
            },
        )
    }

    pub(crate) fn register(mut self, kinds: &[&str], handler: Handler) -> Self {
        let checked = handler.retry.check().map_err(Error::from);
        self.check(checked);
        let handler = Arc::new(handler);
        for kind in kinds {
            self.check(check_name("kind", kind).map_err(Error::from));
            if self.plan.handlers.insert((*kind).into(), Arc::clone(&handler)).is_some() {
                let message = format!(
                    "build the worker: kind {kind:?} has two handlers; give each kind one, and list each alias once"
                );
                self.check(Err(Error::new(ErrorKind::Invalid, message)));
            }
        }
        self
    }
}

/// The kind's name and its older ones.
pub(crate) fn names_of<J: Job>() -> Vec<&'static str> {
    [J::KIND].into_iter().chain(J::ALIASES.iter().copied()).collect()
}

pub(crate) fn check_state<S: FromState>(states: &States) -> Result<(), &'static str> {
    S::from_state(&StatesOf(states)).map(drop)
}

pub(crate) fn take_state<S: FromState>(context: &Context) -> S {
    S::from_state(&StatesOf(&context.resources().state))
        .expect("invariant: start checks that every handler finds its state")
}

/// A newer version of the program may have enqueued the job, so by default it is tried again.
pub(crate) fn decode<J: Job>(context: &Context) -> Result<J, Failure> {
    context.job().args.decode().map_err(|error| {
        let why = error.why.strip_prefix("does not fit the expected type: ").unwrap_or(&error.why);
        let message = format!("args do not decode as {}: {why}", std::any::type_name::<J>());
        match J::BAD_ARGS {
            BadArgs::Retry => {
                let message = format!("{message}; a newer version of the program may be able to decode them");
                Failure::new(Outcome::Undecoded, message)
            }
            BadArgs::Discard => Failure::new(Outcome::UndecodedForGood, message),
        }
    })
}

pub(crate) fn encode<T: serde::Serialize>(output: &T) -> Result<Json, Failure> {
    Json::encode(output).map_err(|error| Failure::discard(format!("the output {}", error.why)))
}
