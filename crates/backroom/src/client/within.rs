//! Enqueueing inside a transaction of the caller: the job exists exactly if the order does.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlx")]
mod sqlx;
#[cfg(feature = "sqlx-sqlite")]
mod sqlx_sqlite;

use backroom_core::JobId;

use super::{Backroom, JobHandle};
use crate::{Error, ErrorKind, store::Inserted};

/// The handle to what was answered for the one job `id`.
fn handle<J>(backroom: &Backroom, id: JobId, answers: &[Inserted]) -> Result<JobHandle<J>, Error> {
    let answer = answers
        .first()
        .copied()
        .ok_or_else(|| Error::new(ErrorKind::Internal, "enqueue: the store gave no answer for a job"))?;
    JobHandle::from_answer(backroom, id, answer)
}
