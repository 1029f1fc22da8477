//! Enqueueing inside a transaction of the caller: the job exists exactly if the order does.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlx")]
mod sqlx;
#[cfg(feature = "sqlx-sqlite")]
mod sqlx_sqlite;

use backroom_core::{JobId, Timestamp, draft::NewJob};

use super::{Backroom, Enqueue, EnqueueMany, EnqueuedMany, JobHandle, many::after};
use crate::{Error, ErrorKind, store::Inserted};

#[cfg(any(feature = "postgres", feature = "sqlx-sqlite"))]
/// A transaction of an asynchronous driver, with what its store needs to insert into it.
trait CallersTransaction: Send {
    /// Stores jobs; one answer per job, in order.
    fn insert(
        &mut self,
        jobs: &[NewJob],
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<Inserted>, Error>> + Send;
}

/// Stores the one job.
#[cfg(any(feature = "postgres", feature = "sqlx-sqlite"))]
async fn enqueue<J>(
    enqueue: Enqueue<'_, J>,
    mut transaction: impl CallersTransaction,
) -> Result<JobHandle<J>, Error> {
    let backroom = enqueue.backroom;
    enqueue.linked.refuse("in a transaction of the caller")?;
    let (new, sending) = enqueue.check()?;
    let (id, now) = (new.job.id, new.job.created_at);
    let jobs = [new];
    let answers = sending.around(transaction.insert(&jobs, now)).await?;
    handle(backroom, id, &answers)
}

/// Stores the jobs, chunk by chunk.
#[cfg(any(feature = "postgres", feature = "sqlx-sqlite"))]
async fn enqueue_many(
    mut many: EnqueueMany<'_>,
    mut transaction: impl CallersTransaction,
) -> Result<EnqueuedMany, Error> {
    many.linked.refuse("in a transaction of the caller")?;
    let engine = many.backroom.engine().clone();
    let sending = many.begin(&engine);
    let mut sum = EnqueuedMany::default();
    loop {
        let chunk = many.chunk(&engine, &sending).map_err(|error| after(&sum, error))?;
        if chunk.is_empty() {
            sending.is_of_many(sum.jobs());
            return Ok(sum);
        }
        let answers = sending.around(transaction.insert(&chunk, engine.clock.now())).await;
        sum.count(&answers.map_err(|error| after(&sum, error))?);
    }
}

/// The handle of the one job `id`, from what the store answered.
fn handle<J>(backroom: &Backroom, id: JobId, answers: &[Inserted]) -> Result<JobHandle<J>, Error> {
    let answer = answers
        .first()
        .copied()
        .ok_or_else(|| Error::new(ErrorKind::Internal, "enqueue: the store gave no answer for a job"))?;
    JobHandle::from_answer(backroom, id, answer)
}
