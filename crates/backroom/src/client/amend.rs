//! Changing one job that waits for its turn.

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    time::Duration,
};

use backroom_core::{Amendment, Event, JobId, Json, Timestamp, draft::When};
use serde::Serialize;

use super::{Backroom, JobHandle};
use crate::Error;

impl Backroom {
    /// Changes a queued job: `backroom.amend(id).delay(Duration::from_secs(60)).priority(1).await?`. What is not named
    /// stays; attempts and their record stay in any case.
    ///
    /// [`Refused`](crate::ErrorKind::Refused) if the job runs, waits for a signal or is finished. Also if it would
    /// expire before its new time, or if its unique key was made from the args that would change. The kind cannot
    /// change: cancel the job and enqueue another.
    pub fn amend(&self, id: JobId) -> Amend<'_> {
        Amend { backroom: self, id, start: None, priority: None, args: None, queue: None }
    }
}

impl<J> JobHandle<J> {
    /// Changes the job while it is queued. See [`Backroom::amend`].
    pub fn amend(&self) -> Amend<'_> {
        self.backroom().amend(self.id())
    }
}

/// A change about to be made: name what changes, then `.await` it.
#[must_use = "nothing is changed until this is awaited"]
#[derive(Debug)]
pub struct Amend<'a> {
    backroom: &'a Backroom,
    id: JobId,
    start: Option<When>,
    priority: Option<u8>,
    args: Option<Result<Json, Error>>,
    queue: Option<String>,
}

impl<'a> Amend<'a> {
    /// May run this long from now.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.start = Some(When::In(delay));
        self
    }

    /// May run at this moment; not more than five minutes ago, not more than ten years ahead.
    pub fn at(mut self, at: Timestamp) -> Self {
        self.start = Some(When::At(at));
        self
    }

    /// 0 (served first) to 9 (last).
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Other args: a job of the same kind, or a [`Json`]. Whether they fit the handler shows when it runs.
    pub fn args<T: Serialize + ?Sized>(mut self, args: &T) -> Self {
        self.args = Some(Json::encode(args).map_err(Error::from));
        self
    }

    /// Waits in another queue, which comes into being if no job or setting named it before. Its depth limit does not hold the job back.
    /// [`Invalid`](crate::ErrorKind::Invalid) for queues of the system.
    pub fn queue(mut self, queue: impl Into<String>) -> Self {
        self.queue = Some(queue.into());
        self
    }

    async fn send(self) -> Result<(), Error> {
        let engine = self.backroom.engine();
        let args = self.args.transpose()?;
        #[cfg(feature = "sealed")]
        let args = match args {
            None => None,
            Some(args) => {
                let job = self.backroom.job(self.id).await?;
                Some(engine.seals.amended(&job, args, &engine.ids)?)
            }
        };
        let mut to =
            Amendment::check(self.start, self.priority, args, engine.clock.now(), engine.json_bytes_max)?;
        if let Some(queue) = self.queue {
            if !engine.bound.is_empty() {
                engine.check_queue(&self.backroom.job(self.id).await?.kind, &queue)?;
            }
            to = to.to_queue(queue)?;
        }
        engine.apply(self.id, Event::Amend { to }).await.map(drop)
    }
}

impl<'a> IntoFuture for Amend<'a> {
    type Output = Result<(), Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
