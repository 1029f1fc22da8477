//! Looking for jobs that may be rare among very many.

use std::time::Duration;

use backroom_core::{
    JobId, JobRow, Timestamp,
    bounds::{earlier, later},
};
use uuid::Builder;

use super::Backroom;
use crate::{Error, Filter};

/// How far the first step goes back. Each further one goes back twice as far as the one before.
const FIRST_STEP: Duration = Duration::from_secs(1);
/// Ids of clients whose clock is fast are newer than now.
const AHEAD: Duration = Duration::from_secs(3600);

/// What was found within a time.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Found {
    /// The jobs, the newest first.
    pub jobs: Vec<JobRow>,
    /// Pass it as `before` to go on; none if there are no more.
    pub next: Option<JobId>,
    /// The time was over: only jobs that were enqueued since this moment were looked at.
    pub looked_to: Option<Timestamp>,
}

impl Backroom {
    /// As [`list`](Self::list), but for about `patience` at most, however many jobs there are and however few match. It goes back
    /// in steps, each twice as long as the one before, and answers with what it has found when the time is over. A step that has
    /// begun is ended.
    pub async fn search(
        &self,
        filter: Filter,
        before: Option<JobId>,
        limit: usize,
        patience: Duration,
    ) -> Result<Found, Error> {
        let clock = self.clock();
        let until = clock.monotonic().saturating_add(patience);
        let newest = before.map_or_else(|| later(clock.now(), AHEAD), moment_of);
        let (mut jobs, mut below) = (Vec::new(), before);
        let mut step = FIRST_STEP.saturating_add(if before.is_none() { AHEAD } else { Duration::ZERO });
        let (mut to, mut is_first) = (newest, before.is_none());
        loop {
            to = earlier(to, step);
            let is_last = to <= Timestamp::UNIX_EPOCH;
            let from_id = (!is_last).then(|| first_of(to));
            let page = self.list(Filter { from_id, ..filter.clone() }, below, limit - jobs.len()).await?;
            jobs.extend(page.jobs);
            if page.next.is_some() || is_last {
                return Ok(Found { jobs, next: page.next, looked_to: None });
            }
            if clock.monotonic() >= until {
                return Ok(Found { jobs, next: from_id, looked_to: Some(to) });
            }
            below = from_id;
            step = if is_first { FIRST_STEP } else { step.saturating_mul(2) };
            is_first = false;
        }
    }
}

/// The first id of a moment.
fn first_of(at: Timestamp) -> JobId {
    let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
    JobId(Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid())
}

/// The moment of an id. Ids that are no UUIDv7 count as the newest.
fn moment_of(id: JobId) -> Timestamp {
    let bytes = id.0.as_bytes();
    let millis = bytes[..6].iter().fold(0_i64, |millis, byte| millis << 8 | i64::from(*byte));
    Timestamp::from_millisecond(millis.saturating_add(1)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_back_to_its_moment() {
        let at: Timestamp = "2026-11-27T08:00:00.123Z".parse().unwrap();
        assert_eq!(moment_of(first_of(at)), "2026-11-27T08:00:00.124Z".parse().unwrap());
        assert!(first_of(at) < first_of("2026-11-27T08:00:00.124Z".parse().unwrap()));
    }
}
