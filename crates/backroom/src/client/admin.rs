//! Changing jobs and queues by hand.

use backroom_core::{Event, JobId, bounds::check_name, retention::Retention};

use super::Backroom;
use crate::{
    Error, ErrorKind,
    store::{Deleted, QueueSetting},
    workflow::refuses_retry,
};

impl Backroom {
    /// Asks for a job to stop. A queued or waiting job is cancelled at once; a running one is marked and its handler
    /// asked to stop. It ends as cancelled unless the handler succeeds first. Nothing happens to a finished job.
    pub async fn cancel(&self, id: JobId) -> Result<(), Error> {
        self.cancel_because(id, "cancelled by hand").await
    }

    /// [`Backroom::cancel`] with a reason to show to people.
    pub async fn cancel_because(&self, id: JobId, reason: &str) -> Result<(), Error> {
        self.engine().apply(id, Event::Cancel { reason: reason.into() }).await.map(drop)
    }

    /// Makes a queued job due now, or gives a finished one another attempt.
    /// [`Refused`](ErrorKind::Refused) while it runs or waits;
    /// [`KeyHeld`](ErrorKind::KeyHeld) when another live job holds its unique key.
    ///
    /// A workflow that has failed goes on where it stood, and what failed last runs again. [`Refused`](ErrorKind::Refused) if it has
    /// undone what it had done.
    pub async fn retry(&self, id: JobId) -> Result<(), Error> {
        if let Some(job) = self.engine().store.job(id).await?
            && let Some(why) = refuses_retry(self.engine(), &job).await?
        {
            return Err(Error::new(ErrorKind::Refused, format!("retry job {id}: {why}")));
        }
        self.engine().apply(id, Event::Retry).await.map(drop)
    }

    /// Gives up a job that does not run: it ends as discarded, as after its last attempt, and a [retry](Self::retry) revives it.
    /// [`Refused`](ErrorKind::Refused) while it runs. Nothing happens to a finished job.
    pub async fn give_up(&self, id: JobId, reason: &str) -> Result<(), Error> {
        self.engine().apply(id, Event::GiveUp { reason: reason.into() }).await.map(drop)
    }

    /// Deletes a job with its attempts and log. For jobs that run after it that is as if it had failed.
    /// [`Refused`](ErrorKind::Refused) while it runs: cancel it first.
    pub async fn delete(&self, id: JobId) -> Result<(), Error> {
        let now = self.engine().clock.now();
        match self.engine().store.delete(id, now).await? {
            Deleted::Yes => Ok(()),
            Deleted::NotFound => Err(Error::not_found(id)),
            Deleted::Moved | Deleted::Running | Deleted::RowLocked => Err(Error::new(
                ErrorKind::Refused,
                format!("delete job {id}: it is running; cancel it first"),
            )),
        }
    }

    /// Stops claiming from a queue, everywhere. Jobs that run finish; enqueueing goes on.
    pub async fn pause(&self, queue: &str) -> Result<(), Error> {
        let now = self.engine().clock.now();
        self.set_queue(queue, QueueSetting::Pause(now)).await
    }

    /// Claims from a paused queue again.
    pub async fn resume(&self, queue: &str) -> Result<(), Error> {
        self.set_queue(queue, QueueSetting::Resume).await
    }

    /// Sets how long a queue keeps its finished jobs.
    pub async fn retain(&self, queue: &str, retention: Retention) -> Result<(), Error> {
        self.set_queue(queue, QueueSetting::Retain(retention)).await
    }

    /// Sets how many jobs may wait in a queue; none for any number. Jobs that run, and jobs that wait in the state `waiting`, do not
    /// count. An enqueue beyond the limit fails with [`QueueFull`](ErrorKind::QueueFull) and stores nothing; retries, rescues and
    /// snoozes are never refused. Processes that use the same store follow within a second.
    ///
    /// Fails as [`Invalid`](ErrorKind::Invalid) for queues of the system, whose names begin with `backroom.`.
    pub async fn limit_depth(&self, queue: &str, depth_max: Option<u64>) -> Result<(), Error> {
        if queue.starts_with("backroom.") && depth_max.is_some() {
            let why = format!(
                "limit queue {queue:?}: it belongs to Backroom itself, which must be able to enqueue"
            );
            return Err(Error::new(ErrorKind::Invalid, why));
        }
        if depth_max.is_some_and(|depth_max| i64::try_from(depth_max).is_err()) {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("limit queue {queue:?}: the limit is too large"),
            ));
        }
        self.set_queue(queue, QueueSetting::DepthMax(depth_max)).await
    }

    async fn set_queue(&self, queue: &str, setting: QueueSetting) -> Result<(), Error> {
        check_name("queue", queue)?;
        self.engine().store.set_queue(queue, setting).await
    }
}
