//! Doing the same to every job that matches a filter, a page at a time.
//!
//! A job is decided on as it was read, and written under its revision. One that changed meanwhile (a worker claimed it,
//! or another client changed it) is read again, and left alone if it no longer matches.

use std::sync::Arc;

use backroom_core::{Amendment, Event, JobId, JobRow, Timestamp, transition};

use super::{Backroom, read::PAGE_JOBS_MAX};
use crate::{
    Error, Filter,
    store::{Committed, Deleted},
    workflow::refuses_retry,
};

/// What to do to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// As [`Backroom::retry`].
    Retry,
    /// As [`Backroom::cancel_because`].
    Cancel {
        /// Why; shown to people.
        reason: String,
    },
    /// As [`Backroom::delete`].
    Delete,
    /// As [`Amend::queue`](crate::Amend::queue); of queued jobs.
    Move {
        /// To which queue.
        queue: String,
    },
    /// As [`Amend::priority`](crate::Amend::priority); of queued jobs.
    Prioritize {
        /// 0 (served first) to 9 (last).
        priority: u8,
    },
}

impl Action {
    /// What is applied to each job; none if the jobs are deleted.
    fn event(&self, now: Timestamp) -> Result<Option<Event>, Error> {
        let amendment = |priority| Amendment::check(None, priority, None, now, usize::MAX);
        Ok(match self {
            Self::Retry => Some(Event::Retry),
            Self::Cancel { reason } => Some(Event::Cancel { reason: reason.clone() }),
            Self::Delete => None,
            Self::Move { queue } => Some(Event::Amend { to: amendment(None)?.to_queue(queue)? }),
            Self::Prioritize { priority } => Some(Event::Amend { to: amendment(Some(*priority))? }),
        })
    }
}

/// What became of the jobs of one page, or of several together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acted {
    /// Jobs that matched when they were read.
    pub matched: u64,
    /// Of them those that were changed or deleted; a running job counts here when it was asked to stop.
    pub done: u64,
    /// There was nothing to do: the job is finished already, or due already.
    pub unneeded: u64,
    /// It moved on while this ran, and no longer matches.
    pub moved: u64,
    /// It could not be done: the job runs, its unique key is held, or another transaction has locked it.
    pub refused: u64,
    /// Why the first of those was refused.
    pub refusal: Option<String>,
    /// Pass it as `before` for the next page; none after the last one.
    pub next: Option<JobId>,
}

impl Acted {
    /// Adds the next page.
    pub fn add(&mut self, page: Acted) {
        self.matched += page.matched;
        self.done += page.done;
        self.unneeded += page.unneeded;
        self.moved += page.moved;
        self.refused += page.refused;
        self.refusal = self.refusal.take().or(page.refusal);
        self.next = page.next;
    }

    fn refuse(&mut self, why: impl FnOnce() -> String) {
        self.refused += 1;
        self.refusal.get_or_insert_with(why);
    }
}

/// Jobs on one page: one transaction.
const PAGE_JOBS: usize = 500;
const _: () = assert!(PAGE_JOBS <= PAGE_JOBS_MAX);
/// How often a job that keeps moving is read and decided on again.
const DECISIONS_MAX: usize = 10;

impl Backroom {
    /// Does the same to one page of the jobs that match, the newest first, below `before`. Call it again with
    /// [`Acted::next`] until that is none; each call is one transaction or a few, so it can be stopped between any two.
    ///
    /// A job that is enqueued after the first call is not met by the later ones.
    pub async fn act_on_matching(
        &self,
        filter: &Filter,
        action: &Action,
        before: Option<JobId>,
    ) -> Result<Acted, Error> {
        let event = action.event(self.engine().clock.now())?;
        let page = self.list(filter.clone(), before, PAGE_JOBS).await?;
        let mut acted = Acted { matched: page.jobs.len() as u64, next: page.next, ..Acted::default() };
        let mut jobs = page.jobs;
        if let Action::Move { queue } = action {
            jobs.retain(|job| {
                let may = self.engine().check_queue(&job.kind, queue);
                may.map_err(|invalid| acted.refuse(|| format!("job {}: {invalid}", job.id))).is_ok()
            });
        }
        if matches!(action, Action::Retry) {
            let mut may = Vec::with_capacity(jobs.len());
            for job in jobs {
                match refuses_retry(self.engine(), &job).await? {
                    Some(why) => acted.refuse(|| format!("job {}: {why}", job.id)),
                    None => may.push(job),
                }
            }
            jobs = may;
        }
        for _ in 0..DECISIONS_MAX {
            let moved = match &event {
                Some(event) => self.change(jobs, event, &mut acted).await?,
                None => self.delete_page(jobs, &mut acted).await?,
            };
            jobs = Vec::new();
            for id in moved {
                match self.engine().store.job(id).await? {
                    Some(job) if filter.matches(&job) && self.error_is_shown(filter, &job).await? => {
                        jobs.push(job);
                    }
                    Some(_) | None => acted.moved += 1,
                }
            }
            if jobs.is_empty() {
                return Ok(acted);
            }
        }
        for job in jobs {
            acted.refuse(|| format!("job {}: it changed at every try; try again", job.id));
        }
        Ok(acted)
    }

    /// Applies an event to jobs as they were read; answers those that have moved on since.
    async fn change(&self, jobs: Vec<JobRow>, event: &Event, acted: &mut Acted) -> Result<Vec<JobId>, Error> {
        let now = self.engine().clock.now();
        let (mut ids, mut changes) = (Vec::new(), Vec::new());
        for job in jobs {
            match transition::apply(&job, event.clone(), now) {
                Ok(Some(change)) => {
                    ids.push(job.id);
                    changes.push(change);
                }
                Ok(None) => acted.unneeded += 1,
                Err(_) => acted.refuse(|| format!("job {}: it is {}", job.id, job.state)),
            }
        }
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let mut moved = Vec::new();
        for (id, answer) in ids.into_iter().zip(self.engine().store.commit(Arc::new(changes)).await?) {
            match answer {
                Committed::Done => acted.done += 1,
                Committed::Stale => moved.push(id),
                Committed::KeyHeld(holder) => {
                    acted.refuse(|| format!("job {id}: job {holder} holds its unique key"));
                }
                Committed::RowLocked => {
                    acted.refuse(|| format!("job {id}: another transaction has locked its row; try again"));
                }
            }
        }
        Ok(moved)
    }

    async fn delete_page(&self, jobs: Vec<JobRow>, acted: &mut Acted) -> Result<Vec<JobId>, Error> {
        let asked: Vec<_> = jobs.iter().map(|job| (job.id, job.revision)).collect();
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let mut moved = Vec::new();
        let now = self.engine().clock.now();
        let answers = self.engine().store.delete_unmoved(Arc::new(asked), now).await?;
        for (job, answer) in jobs.iter().zip(answers) {
            match answer {
                Deleted::Yes => acted.done += 1,
                Deleted::Moved => moved.push(job.id),
                Deleted::NotFound => acted.moved += 1,
                Deleted::Running => {
                    acted.refuse(|| format!("job {}: it is running; cancel it first", job.id))
                }
                Deleted::RowLocked => acted
                    .refuse(|| format!("job {}: another transaction has locked its row; try again", job.id)),
            }
        }
        Ok(moved)
    }
}
