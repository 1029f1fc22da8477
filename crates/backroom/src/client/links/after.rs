//! What an enqueue says about other jobs.

use std::sync::Arc;

use backroom_core::{
    JobId, LeaseId, Timestamp, batch::BatchId, dependency::Edge, draft::NewJob, links::Links,
};

use crate::{
    Error, ErrorKind,
    client::JobHandle,
    engine::Engine,
    store::{Call, InsertLinked, Inserted, NewLinked},
};

/// What new jobs run after, and the batch that they are members of.
#[derive(Debug, Clone, Default)]
pub(in crate::client) struct Linked {
    pub(in crate::client) after: Vec<Edge>,
    pub(in crate::client) batch: Option<BatchId>,
    /// The running job that enqueues them.
    pub(in crate::client) by: Option<(JobId, LeaseId)>,
}

impl Linked {
    pub(in crate::client) fn is_empty(&self) -> bool {
        self.after.is_empty() && self.batch.is_none()
    }

    /// Stores the jobs, with links if there are any.
    pub(in crate::client) async fn insert(
        self,
        engine: &Engine,
        jobs: Vec<NewJob>,
        now: Timestamp,
    ) -> Result<Vec<Inserted>, Error> {
        if self.is_empty() {
            return engine.store.insert(Arc::new(jobs), now, Call::First).await;
        }
        engine.store.insert_linked(Arc::new(self.of(jobs)), now, Call::First).await
    }

    pub(in crate::client) fn of(self, jobs: Vec<NewJob>) -> InsertLinked {
        let Self { after, batch, by } = self;
        let links = batch.map(|batch| Box::new(Links { batch: Some(batch), ..Links::default() }));
        let linked = |mut new: NewJob| {
            new.job.links.clone_from(&links);
            NewLinked { new, edges: after.clone() }
        };
        InsertLinked { jobs: jobs.into_iter().map(linked).collect(), by }
    }

    /// Fails where links cannot be expressed.
    pub(in crate::client) fn refuse(&self, where_: &str) -> Result<(), Error> {
        if self.is_empty() {
            return Ok(());
        }
        let why = format!(
            "enqueue a job {where_}: that is not possible for one that runs after others or is in a batch"
        );
        Err(Error::new(ErrorKind::Invalid, why))
    }
}

impl<J> From<&JobHandle<J>> for JobId {
    fn from(handle: &JobHandle<J>) -> Self {
        handle.id()
    }
}

/// The options of an enqueue that tie jobs to others, the same for one job and for many.
macro_rules! link_options {
    () => {
        /// Runs after this job has completed. If that is cancelled or discarded instead, this one is cancelled with the reason;
        /// [`after_with`](Self::after_with) says otherwise. A job that has ended counts as what it is.
        ///
        /// The job is `waiting` until then, and the transaction that ends the other job wakes it. Its start, if it has one, and its
        /// expiry count from then on. At most 10,000 jobs.
        pub fn after(self, job: impl Into<backroom_core::JobId>) -> Self {
            self.after_with(job, backroom_core::dependency::OnFailure::Cancel)
        }

        /// Runs after all of these jobs have completed.
        pub fn after_all<I>(mut self, jobs: I) -> Self
        where
            I: IntoIterator,
            I::Item: Into<backroom_core::JobId>,
        {
            for job in jobs {
                self = self.after(job);
            }
            self
        }

        /// The same with what happens if that job is cancelled or discarded.
        pub fn after_with(
            mut self,
            job: impl Into<backroom_core::JobId>,
            on_failure: backroom_core::dependency::OnFailure,
        ) -> Self {
            let predecessor = job.into();
            self.linked.after.push(backroom_core::dependency::Edge { predecessor, on_failure });
            self
        }

        /// As a member of this batch, which must be open. See [`Backroom::open_batch`](crate::Backroom::open_batch).
        pub fn batch(mut self, batch: impl Into<backroom_core::batch::BatchId>) -> Self {
            self.linked.batch = Some(batch.into());
            self
        }

        /// As a member of the batch of a running job, if that is in one: also after the batch was closed, because it cannot end while the
        /// job runs.
        pub fn in_batch_of(mut self, context: &crate::Context) -> Self {
            self.linked.batch = context.batch();
            self.linked.by = Some((context.id(), context.lease()));
            self
        }
    };
}
pub(in crate::client) use link_options;
