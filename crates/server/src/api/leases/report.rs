//! `POST /v1/leases/report`.

use axum::{Json, extract::State};
use backroom::{JobId, LeaseId, Report, RunKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{HeldView, check_queues, too_many};
use crate::{
    api::{
        body::JsonBytes,
        caller::{Caller, Scope},
        problem::{Problem, Problems},
    },
    serve::AppState,
};

/// Most reports of one request.
const REPORTS_MAX: usize = 1000;

/// Progress and log lines of runs.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReportsBody {
    /// The name of the worker that has them.
    worker: String,
    /// One for each run, at most 1000.
    reports: Vec<ReportBody>,
}

/// Progress and log lines of one run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ReportBody {
    /// The job.
    #[schema(value_type = String, format = "uuid")]
    job: JobId,
    /// The lease under which it was claimed.
    #[schema(value_type = String, format = "uuid")]
    lease: LeaseId,
    /// How far it is.
    progress: Option<ProgressBody>,
    /// New lines of its log. A run has at most 1000 lines of 4 KiB.
    #[serde(default)]
    lines: Vec<String>,
    /// The number of the first line within the run, from 0. With it, a request that is sent again adds no line twice.
    first_line: Option<u32>,
}

/// How far a run is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProgressBody {
    /// 0 to 100.
    #[schema(minimum = 0, maximum = 100)]
    percent: u8,
    /// What it does now.
    #[serde(default)]
    message: String,
}

impl ProgressBody {
    pub(super) fn read(self) -> (u8, String) {
        (self.percent, self.message)
    }
}

/// Which leases hold.
#[derive(Serialize, ToSchema)]
pub(super) struct Reported {
    /// One answer for each report, in order. What was reported of a lost lease is dropped.
    leases: Vec<HeldView>,
}

/// Report progress and log lines
#[utoipa::path(
    post,
    path = "/v1/leases/report",
    operation_id = "report_runs",
    tag = "work",
    request_body = ReportsBody,
    responses((status = 200, description = "Which leases hold.", body = Reported), Problems)
)]
pub(super) async fn report(
    State(state): State<AppState>,
    caller: Caller,
    body: JsonBytes,
) -> Result<Json<Reported>, Problem> {
    caller.require(Scope::Work)?;
    let ReportsBody { worker, reports } = body.read()?;
    too_many("reports", reports.len(), REPORTS_MAX)?;
    let reports: Vec<_> = reports
        .into_iter()
        .map(|ReportBody { job, lease, progress, lines, first_line }| {
            let progress = progress.map(ProgressBody::read);
            (RunKey { job, lease }, Report { progress, lines, first_line })
        })
        .collect();
    let runs: Vec<_> = reports.iter().map(|(run, _)| *run).collect();
    check_queues(&state.leases, &caller, &runs).await?;
    let held = state.leases.report(Some((&worker, &caller.id())), reports).await?;
    Ok(Json(Reported { leases: held.into_iter().map(HeldView::from).collect() }))
}
