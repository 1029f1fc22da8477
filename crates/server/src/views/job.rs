//! Jobs.

use backroom::{Backroom, DisplayState, JobId, JobRow, LogLine, Page, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{Attempts, BatchView, JournalView, Reasons, TreeView, rows::JobSchema};

/// A job: the fields of the library's row in their order, and at the end the state that it is shown in.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct JobView {
    #[serde(flatten)]
    pub(crate) job: JobRow,
    pub(crate) shown: DisplayState,
}

impl JobView {
    /// As readers see it now: what is hidden of its kind is hidden.
    pub(crate) fn of(backroom: &Backroom, job: JobRow) -> Self {
        Self::whole(backroom.redacted(job).0, backroom.clock().now())
    }

    /// With nothing hidden, as it is shown at `now`: for callers that may see it.
    pub(crate) fn whole(job: JobRow, now: Timestamp) -> Self {
        let shown = job.shown(now);
        Self { job, shown }
    }
}

impl<'de> Deserialize<'de> for JobView {
    /// Reads the text twice: a field that is flattened cannot have args that stay text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Shown {
            shown: DisplayState,
        }
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let job = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        let Shown { shown } = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        Ok(Self { job, shown })
    }
}

/// A page of jobs, the newest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct JobPage {
    /// The jobs.
    #[schema(value_type = Vec<JobSchema>)]
    pub(crate) jobs: Vec<JobView>,
    /// Pass it as `before` for the next page; null on the last one.
    #[schema(value_type = Option<String>, format = "uuid")]
    pub(crate) next: Option<JobId>,
}

impl JobPage {
    /// As readers see the jobs now.
    pub(crate) fn of(backroom: &Backroom, page: Page) -> Self {
        let jobs = page.jobs.into_iter().map(|job| JobView::of(backroom, job)).collect();
        Self { jobs, next: page.next }
    }
}

/// A job with all that belongs to it.
#[derive(Debug, Serialize)]
pub(crate) struct WholeJob {
    #[serde(flatten)]
    pub(crate) job: JobView,
    #[serde(flatten)]
    pub(crate) reasons: Reasons,
    #[serde(flatten)]
    pub(crate) attempts: Attempts,
    pub(crate) log: Vec<LogLine>,
    /// Of a workflow that has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) journal: Option<JournalView>,
    /// The jobs that are connected with it by edges; missing without edges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tree: Option<TreeView>,
    /// Its batch; missing without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) member_of: Option<BatchView>,
}
