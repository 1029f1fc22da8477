//! Enqueueing under ids that the caller chose.

use std::sync::Arc;

use backroom_core::{Draft, JobId, Timestamp, batch::BatchId, dependency::Edge, draft::NewJob, links::Links};

use super::Backroom;
use crate::{
    Error, RunKey,
    store::{Call, InsertLinked, Inserted, NewLinked},
    telemetry::Sending,
};

/// A job to enqueue under an id that the caller chose.
#[derive(Debug, Clone, PartialEq)]
pub struct ChosenJob {
    /// A UUIDv7 of about the moment of the call.
    pub id: JobId,
    /// The job.
    pub draft: Draft,
    /// What it runs after: jobs that are stored, or that stand before it in the same call.
    pub after: Vec<Edge>,
    /// The batch that it is a member of.
    pub batch: Option<BatchId>,
}

impl Backroom {
    /// The job of a draft under an id that the caller chose, checked as an enqueue checks it: args of a sealed kind are sealed, or the draft
    /// is refused. For callers that hand jobs to the [store](Self::store) themselves.
    pub fn check_draft(&self, id: JobId, draft: Draft, at: Timestamp) -> Result<NewJob, Error> {
        self.engine().check(Draft { id: Some(id), ..draft }, at, None)
    }

    /// Enqueues drafts in one transaction, all of them or none, under ids and a moment that the caller chose. It answers for each
    /// in order. So a caller that does not know whether a call took effect makes it again, with `is_repeated` set, and no job
    /// is stored twice. An id must be a UUIDv7 of about that moment, such as [`Ids::job`](crate::ids::Ids::job) makes.
    ///
    /// A draft that breaks a bound fails the call as [`Invalid`](crate::ErrorKind::Invalid); of several drafts, its number is
    /// named, counted from 0.
    pub async fn enqueue_chosen(
        &self,
        drafts: Vec<(JobId, Draft)>,
        at: Timestamp,
        is_repeated: bool,
    ) -> Result<Vec<Inserted>, Error> {
        let plain = |(id, draft)| ChosenJob { id, draft, after: Vec::new(), batch: None };
        self.enqueue_chosen_linked(drafts.into_iter().map(plain).collect(), at, is_repeated).await
    }

    /// The same for jobs that run after others or are in batches.
    pub async fn enqueue_chosen_linked(
        &self,
        chosen: Vec<ChosenJob>,
        at: Timestamp,
        is_repeated: bool,
    ) -> Result<Vec<Inserted>, Error> {
        self.enqueue_chosen_by(None, chosen, at, is_repeated).await
    }

    /// The same for a run of a member of their batch, which may add members to it after its close until it ends.
    pub async fn enqueue_chosen_by(
        &self,
        run: Option<RunKey>,
        chosen: Vec<ChosenJob>,
        at: Timestamp,
        is_repeated: bool,
    ) -> Result<Vec<Inserted>, Error> {
        let (engine, several) = (self.engine(), chosen.len() > 1);
        let sending = Sending::begin(engine, chosen.first().filter(|_| !several).map(|chosen| &chosen.draft));
        let is_linked = chosen.iter().any(|chosen| chosen.batch.is_some() || !chosen.after.is_empty());
        let mut jobs: Vec<(NewJob, Vec<Edge>)> = Vec::with_capacity(chosen.len());
        for (number, ChosenJob { id, mut draft, after, batch }) in chosen.into_iter().enumerate() {
            sending.stamp(&mut draft);
            draft.id = Some(id);
            let mut new = engine.check(draft, at, several.then_some(number))?;
            new.job.links = batch.map(|batch| Box::new(Links { batch: Some(batch), ..Links::default() }));
            jobs.push((new, after));
        }
        match jobs.as_slice() {
            [] => return Ok(Vec::new()),
            [(one, _)] => sending.is_of(one.job.id),
            many => sending.is_of_many(many.len() as u64),
        }
        let call = if is_repeated { Call::Repeated } else { Call::First };
        if is_linked {
            let jobs = jobs.into_iter().map(|(new, edges)| NewLinked { new, edges }).collect();
            let insert = Arc::new(InsertLinked { jobs, by: run.map(|run| (run.job, run.lease)) });
            return sending.around(engine.store.insert_linked(insert, at, call)).await;
        }
        let jobs: Vec<NewJob> = jobs.into_iter().map(|(new, _)| new).collect();
        sending.around(engine.store.insert(Arc::new(jobs), at, call)).await
    }
}
