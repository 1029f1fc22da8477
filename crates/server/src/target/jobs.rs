//! Jobs: to list, to read whole, to change one by one or all that match.

use backroom::{Acted, Action, Backroom, Filter, JobId, JobRow, Json, Redacted};
use hyper::Method;

use super::{Target, access::append};
use crate::{
    bodies::{Amendment, Bulk, Cancel, Select, Signal},
    terminal::Problem,
    views::{
        Attempts, BatchView, JobJournal, JobPage, JobView, JournalView, Logs, Matched, Reasons, SignalSent,
        TreeView, WholeJob,
    },
};

/// Which jobs: as the library takes it, and as the API does.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    pub(crate) filter: Filter,
    pub(crate) asked: Select,
}

/// Most jobs of the tree that is shown with a job.
const TREE_JOBS: usize = 50;
/// Most lines of a log that are shown.
const LOG_LINES_MAX: usize = backroom::core::bounds::JOB_LOG_LINES_MAX as usize;

impl Target {
    /// A page of jobs, the newest first.
    pub(crate) async fn list(
        &self,
        selection: &Selection,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<JobPage, Problem> {
        match self {
            Self::Store(backroom) => {
                let page = backroom.list(selection.filter.clone(), before, limit).await?;
                Ok(JobPage::of(backroom, page))
            }
            Self::Server(remote) => {
                remote.get(&format!("/v1/jobs?{}", selection.asked.query(limit, before))).await
            }
        }
    }

    /// One job.
    pub(crate) async fn job(&self, id: JobId) -> Result<JobView, Problem> {
        match self {
            Self::Store(backroom) => Ok(view(backroom, backroom.job(id).await?)),
            Self::Server(remote) => remote.get(&format!("/v1/jobs/{id}")).await,
        }
    }

    /// One job, once it has ended.
    pub(crate) async fn ended(&self, id: JobId) -> Result<JobView, Problem> {
        loop {
            let view: JobView = match self {
                Self::Store(backroom) => {
                    // The end is read below, whatever it is.
                    drop(backroom.handle_untyped(id).wait().await);
                    self.job(id).await?
                }
                Self::Server(remote) => remote.get(&format!("/v1/jobs/{id}?wait=30s")).await?,
            };
            if view.job.state.is_finished() {
                return Ok(view);
            }
        }
    }

    /// One job, if it is there.
    pub(crate) async fn find(&self, id: JobId) -> Result<Option<JobView>, Problem> {
        match self {
            Self::Store(backroom) => Ok(backroom.store().job(id).await?.map(|job| view(backroom, job))),
            Self::Server(remote) => remote.find(&format!("/v1/jobs/{id}")).await,
        }
    }

    /// One job with all that belongs to it; also with what is hidden from readers, if that is asked for.
    pub(crate) async fn whole(&self, id: JobId, reveal: bool) -> Result<WholeJob, Problem> {
        match self {
            Self::Store(backroom) => {
                let explained = backroom.explain(id).await?;
                let (tree, member_of) = self.around(&explained.job).await?;
                let (job, redacted) = if reveal {
                    append(backroom, "job.reveal", &id.to_string()).await?;
                    (explained.job, Redacted::default())
                } else {
                    backroom.redacted(explained.job)
                };
                let log = backroom.log(id, 0).await?.into_iter().map(|line| redacted.line(line)).collect();
                Ok(WholeJob {
                    tree,
                    member_of,
                    job: JobView::whole(job, self.now()),
                    reasons: Reasons::of(&explained.reasons, &redacted),
                    attempts: Attempts::of(backroom.attempts(id).await?, &redacted),
                    log,
                    journal: backroom
                        .journal(id)
                        .await?
                        .map(|journal| JournalView::new(redacted.journal(journal))),
                })
            }
            Self::Server(remote) => {
                let (asked, also) = if reveal { ("?reveal=true", "&reveal=true") } else { ("", "") };
                let job: JobView = remote.get(&format!("/v1/jobs/{id}{asked}")).await?;
                let reasons: Reasons = remote.get(&format!("/v1/jobs/{id}/explain{asked}")).await?;
                let attempts: Attempts = remote.get(&format!("/v1/jobs/{id}/attempts{asked}")).await?;
                let mut log = Vec::new();
                while log.len() < LOG_LINES_MAX {
                    let path = format!("/v1/jobs/{id}/logs?skip={}{also}", log.len());
                    let page: Logs = remote.get(&path).await?;
                    log.extend(page.log);
                    if page.next.is_none() {
                        break;
                    }
                }
                let journal: JobJournal = remote.get(&format!("/v1/jobs/{id}/journal{asked}")).await?;
                let (tree, member_of) = self.around(&job.job).await?;
                Ok(WholeJob { job, reasons, attempts, log, journal: journal.journal, tree, member_of })
            }
        }
    }

    /// Sends a signal to a workflow.
    pub(crate) async fn signal(&self, id: JobId, name: &str, value: &Json) -> Result<(), Problem> {
        match self {
            Self::Store(backroom) => Ok(backroom.signal(id, name, value).await?),
            Self::Server(remote) => {
                let (path, value) = (format!("/v1/jobs/{id}/signals"), Some(value.clone()));
                let signal = Signal { name: name.to_owned(), value, id: None };
                remote.send::<SignalSent>(Method::POST, &path, &signal).await.map(drop)
            }
        }
    }

    /// The jobs around a job, and its batch. A token that does not reach all queues sees neither.
    async fn around(&self, job: &JobRow) -> Result<(Option<TreeView>, Option<BatchView>), Problem> {
        let Some(links) = &job.links else { return Ok((None, None)) };
        let has_edges = links.followed || links.after.is_some();
        let (tree, batch) = match self {
            Self::Store(_) => {
                let tree = if has_edges { Some(self.tree(job.id, TREE_JOBS).await?) } else { None };
                let batch = match links.batch {
                    Some(batch) => Some(self.batch(batch).await?),
                    None => None,
                };
                (tree, batch)
            }
            Self::Server(_) => {
                let tree = if has_edges { self.tree(job.id, TREE_JOBS).await.ok() } else { None };
                let batch = match links.batch {
                    Some(batch) => self.batch(batch).await.ok(),
                    None => None,
                };
                (tree, batch)
            }
        };
        Ok((tree, batch))
    }

    /// Does it to one job.
    pub(crate) async fn act(&self, id: JobId, action: &Action) -> Result<(), Problem> {
        match (self, action) {
            (_, Action::Move { queue }) => {
                let changes = Amendment { queue: Some(queue.clone()), ..Amendment::default() };
                self.amend(id, &changes).await.map(drop)
            }
            (_, Action::Prioritize { priority }) => {
                let changes = Amendment { priority: Some(*priority), ..Amendment::default() };
                self.amend(id, &changes).await.map(drop)
            }
            (Self::Store(backroom), Action::Retry) => Ok(backroom.retry(id).await?),
            (Self::Store(backroom), Action::Cancel { reason }) => {
                Ok(backroom.cancel_because(id, reason).await?)
            }
            (Self::Store(backroom), Action::Delete) => Ok(backroom.delete(id).await?),
            (Self::Server(remote), Action::Retry) => {
                remote.send::<JobView>(Method::POST, &format!("/v1/jobs/{id}/retry"), &()).await.map(drop)
            }
            (Self::Server(remote), Action::Cancel { reason }) => {
                let path = format!("/v1/jobs/{id}/cancel");
                let cancel = Cancel { reason: Some(reason.clone()) };
                remote.send::<JobView>(Method::POST, &path, &cancel).await.map(drop)
            }
            (Self::Server(remote), Action::Delete) => {
                remote.send::<()>(Method::DELETE, &format!("/v1/jobs/{id}"), &()).await
            }
        }
    }

    /// Does it to a page of the jobs that match, or to several pages.
    pub(crate) async fn act_on_matching(
        &self,
        selection: &Selection,
        action: &Action,
        before: Option<JobId>,
    ) -> Result<Acted, Problem> {
        match self {
            Self::Store(backroom) => Ok(backroom.act_on_matching(&selection.filter, action, before).await?),
            Self::Server(remote) => {
                let (reason, to, priority) = match action {
                    Action::Retry | Action::Delete => (None, None, None),
                    Action::Cancel { reason } => (Some(reason.clone()), None, None),
                    Action::Move { queue } => (None, Some(queue.clone()), None),
                    Action::Prioritize { priority } => (None, None, Some(*priority)),
                };
                let (action, filter) = (action.into(), selection.asked.clone());
                let bulk = Bulk { action, filter, all: false, reason, to, priority, dry_run: false, before };
                let matched: Matched = remote.send(Method::POST, "/v1/jobs/bulk", &bulk).await?;
                Ok(matched.acted())
            }
        }
    }

    /// Changes a queued job.
    pub(crate) async fn amend(&self, id: JobId, changes: &Amendment) -> Result<JobView, Problem> {
        match self {
            Self::Store(backroom) => {
                let mut amend = backroom.amend(id);
                if let Some(ms) = changes.delay_ms {
                    amend = amend.delay(std::time::Duration::from_millis(ms));
                }
                if let Some(at) = changes.scheduled_at {
                    amend = amend.at(at);
                }
                if let Some(priority) = changes.priority {
                    amend = amend.priority(priority);
                }
                if let Some(args) = &changes.args {
                    amend = amend.args(args);
                }
                if let Some(queue) = &changes.queue {
                    amend = amend.queue(queue);
                }
                amend.await?;
                self.job(id).await
            }
            Self::Server(remote) => remote.send(Method::PATCH, &format!("/v1/jobs/{id}"), changes).await,
        }
    }
}

fn view(backroom: &Backroom, job: JobRow) -> JobView {
    JobView::of(backroom, job)
}
