//! Putting jobs in.

use backroom::{Draft, EnqueuedMany, Json};
use hyper::Method;

use super::Target;
use crate::{
    bodies::NewJob,
    terminal::Problem,
    views::{Enqueued, EnqueuedBatch, Outcome},
};

impl Target {
    /// Puts a job in.
    pub(crate) async fn enqueue(&self, draft: Draft) -> Result<Enqueued, Problem> {
        use backroom::core::unique::OnConflict;
        match self {
            Self::Store(backroom) => {
                let on_conflict = draft.unique.as_ref().map(|rule| rule.on_conflict);
                let job = backroom.enqueue_draft(draft).await?;
                let outcome = match (job.is_new(), on_conflict) {
                    (true, _) => Outcome::Created,
                    (false, Some(OnConflict::Replace)) => Outcome::Replaced,
                    (false, Some(OnConflict::Keep | OnConflict::Reject) | None) => Outcome::Deduplicated,
                };
                Ok(Enqueued { id: job.id(), outcome })
            }
            Self::Server(remote) => {
                remote.send(Method::POST, "/v1/jobs", &NewJob::like(&draft, &draft.args)).await
            }
        }
    }

    /// Puts jobs in that are like `template` in all but their args: all of them or none. At most a thousand.
    pub(crate) async fn enqueue_like(
        &self,
        template: &Draft,
        args: Vec<Json>,
    ) -> Result<EnqueuedMany, Problem> {
        match self {
            Self::Store(backroom) => Ok(backroom.enqueue_many_like(template.clone(), args).await?),
            Self::Server(remote) => {
                let jobs: Vec<_> = args.iter().map(|args| NewJob::like(template, args)).collect();
                let batch: EnqueuedBatch = remote.send(Method::POST, "/v1/jobs/batch", &jobs).await?;
                Ok(batch.sum())
            }
        }
    }
}
