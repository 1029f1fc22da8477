//! What became of jobs that were to be enqueued.

use backroom::{EnqueuedMany, Inserted, JobId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The job that is stored now, and what became of the one that was asked for.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub(crate) struct Enqueued {
    /// The job: the new one, or the one that holds the unique key.
    #[schema(value_type = String, format = "uuid")]
    pub(crate) id: JobId,
    pub(crate) outcome: Outcome,
}

/// What became of a job that was to be enqueued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It is stored.
    Created,
    /// An earlier job holds the unique key and stays as it is.
    Deduplicated,
    /// An earlier job holds the unique key and took over the content.
    Replaced,
    /// It was refused, because an earlier job holds the unique key.
    KeyHeld,
}

impl Enqueued {
    /// Of a job with the id `id`.
    pub(crate) fn new(id: JobId, inserted: Inserted) -> Self {
        match inserted {
            Inserted::Created => Self { id, outcome: Outcome::Created },
            Inserted::Duplicate(id) => Self { id, outcome: Outcome::Deduplicated },
            Inserted::Replaced(id) => Self { id, outcome: Outcome::Replaced },
            Inserted::KeyHeld(id) => Self { id, outcome: Outcome::KeyHeld },
        }
    }
}

/// What became of several jobs, in the order of the request.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct EnqueuedBatch {
    /// One entry for each job.
    pub(crate) jobs: Vec<Enqueued>,
}

impl EnqueuedBatch {
    /// How many jobs had which outcome.
    pub(crate) fn sum(&self) -> EnqueuedMany {
        let mut many = EnqueuedMany::default();
        for job in &self.jobs {
            let count = match job.outcome {
                Outcome::Created => &mut many.created,
                Outcome::Deduplicated => &mut many.duplicates,
                Outcome::Replaced => &mut many.replaced,
                Outcome::KeyHeld => &mut many.key_held,
            };
            *count += 1;
        }
        many
    }
}
