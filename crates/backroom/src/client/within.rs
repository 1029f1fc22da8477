//! Enqueueing inside a transaction of the caller: the job exists exactly if the order does.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlx")]
mod sqlx;
#[cfg(feature = "sqlx-sqlite")]
mod sqlx_sqlite;

#[cfg(feature = "postgres")]
use std::sync::Arc;

use backroom_core::JobId;
#[cfg(feature = "postgres")]
use backroom_core::links::follow;
#[cfg(any(feature = "postgres", feature = "sqlx-sqlite"))]
use backroom_core::{Timestamp, draft::NewJob};

use super::{Backroom, JobHandle};
#[cfg(any(feature = "postgres", feature = "sqlx-sqlite"))]
use super::{Enqueue, EnqueueMany, EnqueuedMany, links::Linked, many::after};
use crate::{Error, ErrorKind, store::Inserted};
#[cfg(any(feature = "postgres", feature = "sqlx-sqlite"))]
use crate::{engine::Engine, store::InsertLinked};

#[cfg(any(feature = "postgres", feature = "sqlx-sqlite"))]
/// A transaction of an asynchronous driver, with what its store needs to insert into it.
trait CallersTransaction: Send {
    /// Stores jobs; one answer per job, in order.
    fn insert(
        &mut self,
        jobs: &[NewJob],
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<Inserted>, Error>> + Send;

    /// The same for jobs that run after others or are members of batches.
    fn insert_linked(
        &mut self,
        engine: &Engine,
        jobs: &InsertLinked,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<Inserted>, Error>> + Send;
}

/// Stores the one job.
#[cfg(any(feature = "postgres", feature = "sqlx-sqlite"))]
async fn enqueue<J>(
    mut enqueue: Enqueue<'_, J>,
    mut transaction: impl CallersTransaction,
) -> Result<JobHandle<J>, Error> {
    let backroom = enqueue.backroom;
    let linked = std::mem::take(&mut enqueue.linked);
    let (new, sending) = enqueue.check()?;
    let (id, now) = (new.job.id, new.job.created_at);
    let answers = sending.around(insert(&mut transaction, backroom.engine(), linked, vec![new], now)).await?;
    handle(backroom, id, &answers)
}

/// Stores the jobs, chunk by chunk.
#[cfg(any(feature = "postgres", feature = "sqlx-sqlite"))]
async fn enqueue_many(
    mut many: EnqueueMany<'_>,
    mut transaction: impl CallersTransaction,
) -> Result<EnqueuedMany, Error> {
    let engine = many.backroom.engine().clone();
    let sending = many.begin(&engine);
    let mut sum = EnqueuedMany::default();
    loop {
        let chunk = many.chunk(&engine, &sending).map_err(|error| after(&sum, error))?;
        if chunk.is_empty() {
            sending.is_of_many(sum.jobs());
            return Ok(sum);
        }
        let (linked, now) = (many.linked.clone(), engine.clock.now());
        let answers = sending.around(insert(&mut transaction, &engine, linked, chunk, now)).await;
        sum.count(&answers.map_err(|error| after(&sum, error))?);
    }
}

/// Stores jobs, with links if there are any.
#[cfg(any(feature = "postgres", feature = "sqlx-sqlite"))]
async fn insert(
    transaction: &mut impl CallersTransaction,
    engine: &Engine,
    linked: Linked,
    jobs: Vec<NewJob>,
    now: Timestamp,
) -> Result<Vec<Inserted>, Error> {
    if linked.is_empty() {
        return transaction.insert(&jobs, now).await;
    }
    transaction.insert_linked(engine, &linked.of(jobs), now).await
}

/// Marks jobs as followed by a connection of ours. The mark of a job that the caller's transaction has locked, or has stored itself, is
/// left to that transaction.
#[cfg(feature = "postgres")]
async fn mark_followed(engine: &Engine, jobs: Vec<JobId>) -> Result<(), Error> {
    let mut changes = Vec::new();
    for id in jobs {
        changes.extend(
            engine.store.job(id).await?.as_ref().filter(|job| !job.state.is_finished()).and_then(follow),
        );
    }
    if !changes.is_empty() {
        engine.store.commit(Arc::new(changes)).await?;
    }
    Ok(())
}

/// The handle of the one job `id`, from what the store answered.
fn handle<J>(backroom: &Backroom, id: JobId, answers: &[Inserted]) -> Result<JobHandle<J>, Error> {
    let answer = answers
        .first()
        .copied()
        .ok_or_else(|| Error::new(ErrorKind::Internal, "enqueue: the store gave no answer for a job"))?;
    JobHandle::from_answer(backroom, id, answer)
}
