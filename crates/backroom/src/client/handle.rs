//! Following one job to its end.

use std::{fmt, marker::PhantomData, time::Duration};

use backroom_core::{JobId, JobRow, Json, Progress, State};
use futures_util::{Stream, stream};

use super::{Backroom, Job, Untyped, job};
use crate::{Error, ErrorKind, store::Listener};

/// One job of a known type (or [`Untyped`]).
pub struct JobHandle<J> {
    backroom: Backroom,
    id: JobId,
    is_new: bool,
    typed: PhantomData<fn() -> J>,
}

/// How often a waiting caller looks when no hint comes: soon at first, then less and less.
const LOOKS: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
];

impl Backroom {
    /// A handle to a job that was enqueued elsewhere. [`NotFound`](ErrorKind::NotFound) if there is no such job, and
    /// [`Refused`](ErrorKind::Refused) if it is of another kind than `J`: its args and output would be read as what
    /// they are not.
    pub async fn handle<J: Job>(&self, id: JobId) -> Result<JobHandle<J>, Error> {
        let kind = self.job(id).await?.kind;
        if !job::is_of::<J>(&kind) {
            let message = format!("follow job {id} as {:?}: it is of kind {kind:?}", J::KIND);
            return Err(Error::new(ErrorKind::Refused, message));
        }
        Ok(JobHandle::new(self, id, false))
    }

    /// A handle to a job whose type is not known. Whether the job exists shows when the handle is used.
    pub fn handle_untyped(&self, id: JobId) -> JobHandle<Untyped> {
        JobHandle::new(self, id, false)
    }
}

impl<J> JobHandle<J> {
    pub(super) fn new(backroom: &Backroom, id: JobId, is_new: bool) -> Self {
        Self { backroom: backroom.clone(), id, is_new, typed: PhantomData }
    }

    pub(crate) fn backroom(&self) -> &Backroom {
        &self.backroom
    }

    /// The job's id.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// Whether the enqueue that gave this handle stored a new job; false if an earlier one holds its unique key.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The job as it is now.
    pub async fn status(&self) -> Result<JobRow, Error> {
        self.backroom.job(self.id).await
    }

    /// Asks for the job to stop. See [`Backroom::cancel`].
    pub async fn cancel(&self) -> Result<(), Error> {
        self.backroom.cancel(self.id).await
    }

    /// Returns when the job is finished, however it ended.
    pub async fn finished(&self) -> Result<JobRow, Error> {
        let mut watch = Watch::new(&self.backroom, self.id);
        loop {
            let job = self.status().await?;
            if job.state.is_finished() {
                return Ok(job);
            }
            watch.changed().await;
        }
    }

    /// As [`finished`](JobHandle::finished), but none if the job is not finished after `span`. The job goes on.
    pub async fn finished_timeout(&self, span: Duration) -> Result<Option<JobRow>, Error> {
        self.within(span, self.finished()).await
    }

    /// What `waiting` answers, or none after `span`. The span counts by the clock of the client.
    async fn within<T>(
        &self,
        span: Duration,
        waiting: impl Future<Output = Result<T, Error>>,
    ) -> Result<Option<T>, Error> {
        tokio::select! {
            biased;
            done = waiting => done.map(Some),
            () = self.backroom.clock().sleep(span) => Ok(None),
        }
    }

    /// The job's progress whenever it changes, until it is finished.
    pub fn progress(&self) -> impl Stream<Item = Result<Progress, Error>> + Send + Unpin + use<J> {
        let watch = Watch::new(&self.backroom, self.id);
        Box::pin(stream::unfold(Some((watch, None)), |state| async move {
            let (mut watch, mut last) = state?;
            loop {
                let job = match watch.backroom.job(watch.id).await {
                    Ok(job) => job,
                    Err(error) => return Some((Err(error), None)),
                };
                let finished = job.state.is_finished();
                if let Some(progress) = job.progress.filter(|now| last.as_ref() != Some(now)) {
                    last = Some(progress.clone());
                    return Some((Ok(progress), Some((watch, last))));
                }
                if finished {
                    return None;
                }
                watch.changed().await;
            }
        }))
    }

    /// The output; `seal` is the key that the type says it is sealed with.
    async fn output(&self, seal: Option<&str>) -> Result<Json, Error> {
        let mut job = self.finished().await?;
        let why = job.reason.clone().unwrap_or_else(|| "no reason was given".into());
        let why = backroom_core::sealed::shown(&why);
        match job.state {
            State::Completed => {
                let output = job.output.take().unwrap_or_else(Json::null);
                #[cfg(feature = "sealed")]
                let output = self.backroom.engine().seals.output(&job, output, seal)?;
                #[cfg(not(feature = "sealed"))]
                let _ = seal;
                Ok(output)
            }
            state => {
                let message = format!("get the output of job {}: it was {state} ({why})", self.id);
                Err(Error::new(ErrorKind::Unsuccessful, message))
            }
        }
    }
}

impl<J: Job> JobHandle<J> {
    /// Returns the output once the job has completed; [`Unsuccessful`](ErrorKind::Unsuccessful) if it was cancelled
    /// or discarded, [`NotFound`](ErrorKind::NotFound) if it was deleted. Retries are waited for.
    pub async fn wait(&self) -> Result<J::Output, Error> {
        Ok(self.output(J::SEALED).await?.decode()?)
    }

    /// As [`wait`](JobHandle::wait), but none if the job is not finished after `span`. The job goes on.
    pub async fn wait_timeout(&self, span: Duration) -> Result<Option<J::Output>, Error> {
        self.within(span, self.wait()).await
    }
}

impl JobHandle<Untyped> {
    /// Returns the output as JSON once the job has completed; [`Unsuccessful`](ErrorKind::Unsuccessful) if it was
    /// cancelled or discarded, [`NotFound`](ErrorKind::NotFound) if it was deleted. Retries are waited for.
    pub async fn wait(&self) -> Result<Json, Error> {
        self.output(None).await
    }

    /// As [`wait`](JobHandle::wait), but none if the job is not finished after `span`. The job goes on.
    pub async fn wait_timeout(&self, span: Duration) -> Result<Option<Json>, Error> {
        self.within(span, self.wait()).await
    }
}

/// Waits for a hint that one job changed, or for the time to look anyway.
struct Watch {
    backroom: Backroom,
    id: JobId,
    listener: Listener,
    looks: usize,
}

impl Watch {
    fn new(backroom: &Backroom, id: JobId) -> Self {
        let listener = backroom.store().notifier().subscribe_job(id);
        Self { backroom: backroom.clone(), id, listener, looks: 0 }
    }

    async fn changed(&mut self) {
        let pause = LOOKS[self.looks.min(LOOKS.len() - 1)];
        self.looks += 1;
        tokio::select! {
            () = self.listener.notified() => {}
            () = self.backroom.clock().sleep(pause) => {}
        }
    }
}

impl<J> Clone for JobHandle<J> {
    fn clone(&self) -> Self {
        Self { backroom: self.backroom.clone(), id: self.id, is_new: self.is_new, typed: PhantomData }
    }
}

impl<J> fmt::Debug for JobHandle<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobHandle")
            .field("id", &self.id)
            .field("is_new", &self.is_new)
            .finish_non_exhaustive()
    }
}
