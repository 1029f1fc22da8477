//! Fields that are hidden from readers, for those who may see them.

use backroom::{Backroom, JobRow, Redacted};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    api::{
        act,
        caller::{Caller, Scope},
        problem::Problem,
    },
    serve::AppState,
    views::JobView,
};

/// Whether hidden fields are asked for.
#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RevealQuery {
    /// Show fields that are hidden from readers. It takes the scope `admin`, and is written into the audit log. Default false.
    #[serde(default)]
    pub(super) reveal: bool,
}

/// Whether a caller sees the hidden fields of one job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reveal(bool);

impl Reveal {
    /// Permits what is asked for, and records it before anything is shown.
    pub(super) async fn asked(
        state: &AppState,
        caller: &Caller,
        asked: bool,
        job: &JobRow,
    ) -> Result<Self, Problem> {
        if asked {
            caller.require_in(Scope::Admin, &job.queue)?;
            act::record(state, caller, "job.reveal", &job.id.to_string(), None::<&()>).await?;
        }
        Ok(Self(asked))
    }

    /// The job as the caller sees it.
    pub(super) fn view(self, backroom: &Backroom, job: JobRow) -> JobView {
        if self.0 { JobView::whole(job, backroom.clock().now()) } else { JobView::of(backroom, job) }
    }

    /// What is hidden from the caller in texts about the job, and the job.
    pub(super) fn redacted(self, backroom: &Backroom, job: JobRow) -> (JobRow, Redacted) {
        if self.0 { (job, Redacted::default()) } else { backroom.redacted(job) }
    }
}
