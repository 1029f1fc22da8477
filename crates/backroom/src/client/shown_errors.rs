//! Jobs by the text of their errors, for readers from whom fields are hidden.
//!
//! The store finds what stands in an error as it is stored. A reader who could filter by a hidden value would learn it by guessing, so jobs
//! that match only by what is hidden of them are left out here, and the next page begins below a job that the reader has seen.

use backroom_core::{JobId, JobRow};

use super::{Backroom, read::Page};
use crate::{Error, ErrorKind, Filter};

/// Jobs that are read for one page. More that match only by what is hidden of them end with an error.
const READ_MAX: usize = 20_000;
/// At least so many are read at once.
const READ_MIN: usize = 200;

impl Backroom {
    /// As [`list`](Self::list), where the text of the error must stand in what readers see.
    pub(super) async fn list_as_shown(
        &self,
        filter: Filter,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<Page, Error> {
        let (mut jobs, mut before, mut read) = (Vec::new(), before, 0);
        loop {
            let page = self.list_stored(filter.clone(), before, limit.max(READ_MIN)).await?;
            read += page.jobs.len();
            for job in page.jobs {
                if self.error_is_shown(&filter, &job).await? {
                    jobs.push(job);
                }
                if jobs.len() >= limit {
                    let next = jobs.last().map(|job| job.id);
                    return Ok(Page { jobs, next });
                }
            }
            let bytes: usize = jobs.iter().map(JobRow::bytes).sum();
            before = page.next;
            if before.is_none() || bytes >= self.engine().bytes_max {
                let next = before.and(jobs.last()).map(|job| job.id);
                return Ok(Page { jobs, next });
            }
            if read >= READ_MAX {
                let why = "list jobs by the text of their errors: too many jobs hide fields that could have it; name a kind or a time, too";
                return Err(Error::new(ErrorKind::Invalid, why));
            }
        }
    }

    /// Whether readers see the text of the filter in an error of the job.
    pub(super) async fn error_is_shown(&self, filter: &Filter, job: &JobRow) -> Result<bool, Error> {
        let Some(text) = filter.error.as_deref().filter(|_| filter.error_as_shown) else { return Ok(true) };
        if !self.hides_fields(job) {
            return Ok(true);
        }
        let (shown, redacted) = self.redacted(job.clone());
        if shown.reason.is_some_and(|reason| reason.contains(text)) {
            return Ok(true);
        }
        let attempts = self.attempts(job.id).await?;
        Ok(attempts.into_iter().any(|attempt| redacted.attempt(attempt).error.contains(text)))
    }
}
