//! Enqueueing under ids that the caller chose.

use std::sync::Arc;

use backroom_core::{Draft, JobId, Timestamp};

use super::Backroom;
use crate::{
    Error,
    store::{Call, Inserted},
    telemetry::Sending,
};

impl Backroom {
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
        let (engine, several) = (self.engine(), drafts.len() > 1);
        let sending = Sending::begin(engine, drafts.first().filter(|_| !several).map(|(_, draft)| draft));
        let mut jobs = Vec::with_capacity(drafts.len());
        for (number, (id, mut draft)) in drafts.into_iter().enumerate() {
            sending.stamp(&mut draft);
            jobs.push(draft.check(id, at, engine.json_bytes_max).map_err(|mut invalid| {
                if several {
                    invalid.why = format!("of job {number} {}", invalid.why);
                }
                Error::from(invalid)
            })?);
        }
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        match jobs.as_slice() {
            [one] => sending.is_of(one.job.id),
            many => sending.is_of_many(many.len() as u64),
        }
        let call = if is_repeated { Call::Repeated } else { Call::First };
        sending.around(engine.store.insert(Arc::new(jobs), at, call)).await
    }
}
