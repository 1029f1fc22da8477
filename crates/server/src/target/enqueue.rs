//! Putting jobs in.

use backroom::{BatchId, Draft, EnqueuedMany, Json, core::dependency::Edge};
use hyper::Method;

use super::Target;
use crate::{
    bodies::NewJob,
    terminal::Problem,
    views::{Enqueued, EnqueuedBatch, Outcome},
};

/// What jobs run after, and the batch that they are members of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ties {
    pub(crate) after: Vec<Edge>,
    pub(crate) batch: Option<BatchId>,
}

impl Target {
    /// Puts a job in.
    pub(crate) async fn enqueue(&self, draft: Draft, ties: &Ties) -> Result<Enqueued, Problem> {
        use backroom::core::unique::OnConflict;
        match self {
            Self::Store(backroom) => {
                let on_conflict = draft.unique.as_ref().map(|rule| rule.on_conflict);
                let mut enqueue = backroom.enqueue_draft(draft);
                for edge in &ties.after {
                    enqueue = enqueue.after_with(edge.predecessor, edge.on_failure);
                }
                if let Some(batch) = ties.batch {
                    enqueue = enqueue.batch(batch);
                }
                let job = enqueue.await?;
                let outcome = match (job.is_new(), on_conflict) {
                    (true, _) => Outcome::Created,
                    (false, Some(OnConflict::Replace)) => Outcome::Replaced,
                    (false, Some(OnConflict::Keep | OnConflict::Reject) | None) => Outcome::Deduplicated,
                };
                Ok(Enqueued { id: job.id(), outcome })
            }
            Self::Server(remote) => {
                let new = NewJob::like(&draft, &draft.args).tied(&ties.after, ties.batch);
                remote.send(Method::POST, "/v1/jobs", &new).await
            }
        }
    }

    /// Puts jobs in that are like `template` in all but their args: all of them or none. At most a thousand.
    pub(crate) async fn enqueue_like(
        &self,
        template: &Draft,
        args: Vec<Json>,
        ties: &Ties,
    ) -> Result<EnqueuedMany, Problem> {
        match self {
            Self::Store(backroom) => {
                let mut many = backroom.enqueue_many_like(template.clone(), args);
                for edge in &ties.after {
                    many = many.after_with(edge.predecessor, edge.on_failure);
                }
                if let Some(batch) = ties.batch {
                    many = many.batch(batch);
                }
                Ok(many.await?)
            }
            Self::Server(remote) => {
                let job = |args| NewJob::like(template, args).tied(&ties.after, ties.batch);
                let jobs: Vec<_> = args.iter().map(job).collect();
                let batch: EnqueuedBatch = remote.send(Method::POST, "/v1/jobs/batch", &jobs).await?;
                Ok(batch.sum())
            }
        }
    }
}
