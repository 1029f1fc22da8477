//! `/v1/lease`, `/v1/lease/report`, `/v1/lease/commit`: for the holder of the token of one run.

use std::time::Duration;

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{header, request::Parts},
};
use backroom::{Commit, Report, RunKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    HeldView,
    commit::{OutcomeName, Said, SettledView},
    report::ProgressBody,
};
use crate::{
    api::{
        body::JsonBytes,
        problem::{Problem, Problems},
    },
    serve::{AppState, Refusal},
};

/// The run of the token that a request bears.
pub(super) struct OfToken(RunKey);

impl FromRequestParts<AppState> for OfToken {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let sent = parts.headers.get(header::AUTHORIZATION).ok_or(Refusal::NoToken)?;
        let sent = sent.to_str().ok().and_then(|sent| sent.split_once(' '));
        let text =
            sent.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, text)| text.trim());
        let run = text.and_then(|text| state.lease_tokens.read(text)).ok_or(Refusal::UnknownToken)?;
        Ok(Self(run))
    }
}

/// Whether the lease holds.
#[derive(Serialize, ToSchema)]
pub(super) struct LeaseView {
    /// Whether it holds.
    lease: HeldView,
}

/// Read whether the lease of the token holds
///
/// Needs the token of a run: `BACKROOM_TOKEN` of a command, or `token` of a claimed job.
#[utoipa::path(
    get,
    path = "/v1/lease",
    operation_id = "read_lease",
    tag = "work",
    responses((status = 200, description = "Whether it holds.", body = LeaseView), Problems)
)]
pub(super) async fn read(
    State(state): State<AppState>,
    OfToken(run): OfToken,
) -> Result<Json<LeaseView>, Problem> {
    reported(&state, run, Report::default()).await
}

/// Progress and log lines of the run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OwnReport {
    /// How far it is.
    progress: Option<ProgressBody>,
    /// New lines of its log.
    #[serde(default)]
    lines: Vec<String>,
}

/// Report progress and log lines of the token's run
///
/// Needs the token of a run: `BACKROOM_TOKEN` of a command, or `token` of a claimed job.
#[utoipa::path(
    post,
    path = "/v1/lease/report",
    operation_id = "report_own_run",
    tag = "work",
    request_body = OwnReport,
    responses((status = 200, description = "Whether the lease holds.", body = LeaseView), Problems)
)]
pub(super) async fn report(
    State(state): State<AppState>,
    OfToken(run): OfToken,
    body: JsonBytes,
) -> Result<Json<LeaseView>, Problem> {
    let OwnReport { progress, lines } = body.read()?;
    reported(&state, run, Report { progress: progress.map(ProgressBody::read), lines, first_line: None })
        .await
}

async fn reported(state: &AppState, run: RunKey, report: Report) -> Result<Json<LeaseView>, Problem> {
    let held = state.leases.report(None, vec![(run, report)]).await?;
    Ok(Json(LeaseView { lease: held.first().copied().map_or(HeldView::Lost, HeldView::from) }))
}

/// What became of the run.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OwnCommit {
    /// In which way it ended.
    outcome: OutcomeName,
    /// With `done`: the output. Default null.
    #[schema(value_type = Option<serde_json::Value>)]
    output: Option<backroom::Json>,
    /// With `failed`, `timed_out`, `discard` and `cancel`: why.
    error: Option<String>,
    /// With `failed`: the milliseconds until the next attempt, instead of the back-off. With `snooze`: the milliseconds until the job runs again.
    delay_ms: Option<u64>,
    /// How many milliseconds the run took.
    ran_ms: Option<u64>,
}

/// Commit the outcome of the token's run
///
/// For an HTTP endpoint that answered with 202. Needs the token of a run. Safe to repeat.
#[utoipa::path(
    post,
    path = "/v1/lease/commit",
    operation_id = "commit_own_run",
    tag = "work",
    request_body = OwnCommit,
    responses((status = 200, description = "What became of it.", body = SettledView), Problems)
)]
pub(super) async fn commit(
    State(state): State<AppState>,
    OfToken(run): OfToken,
    body: JsonBytes,
) -> Result<Json<SettledView>, Problem> {
    let OwnCommit { outcome, output, error, delay_ms, ran_ms } = body.read()?;
    let outcome = Said { outcome, output, error, delay_ms }.read()?;
    let commit = Commit { run, outcome, ran: ran_ms.map(Duration::from_millis) };
    let settled = state.leases.commit(None, vec![commit]).await?;
    let settled = settled.into_iter().next().unwrap_or(backroom::Settled::Lost);
    Ok(Json(SettledView::from(settled)))
}
