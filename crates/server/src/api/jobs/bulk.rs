//! Doing the same to every job that matches.

use std::time::Duration;

use axum::{Json, extract::State};
use backroom::{Acted, Action};
use serde::Serialize;

use super::filter;
use crate::{
    api::{
        act::record,
        body::JsonBytes,
        caller::{Caller, Scope},
        codes::Code,
        problem::{Problem, Problems},
    },
    bodies::{Bulk, Select},
    serve::AppState,
    views::{BulkAction, Matched},
};

/// After so long a request answers with how far it came.
const TIME_MAX: Duration = Duration::from_secs(20);
/// Jobs on one page of a count.
const COUNT_PAGE: usize = 1000;

/// Cancel, retry, delete, move or reorder every job that matches
///
/// Page by page, the newest first. After about 20 seconds the request answers with how far it came, and `next` says where to go on.
#[utoipa::path(
    post,
    path = "/v1/jobs/bulk",
    operation_id = "act_on_jobs",
    tag = "jobs",
    request_body = Bulk,
    responses((status = 200, description = "What became of the jobs.", body = Matched), Problems)
)]
pub(super) async fn bulk(
    State(state): State<AppState>,
    caller: Caller,
    body: JsonBytes,
) -> Result<Json<Matched>, Problem> {
    caller.require(Scope::Operate)?;
    let Bulk { action, filter: select, all, reason, to, priority, dry_run, before } = body.read()?;
    if select.is_all() && !all {
        let why = "the filter matches every job; name a condition, or set all to true";
        return Err(Problem::new(Code::Invalid, why));
    }
    let reason = reason.unwrap_or_else(|| "cancelled by a call of the API".into());
    backroom::core::bounds::check_text("reason", &reason, backroom::core::bounds::MESSAGE_BYTES_MAX)?;
    let what = match action {
        BulkAction::Cancel => Action::Cancel { reason },
        BulkAction::Retry => Action::Retry,
        BulkAction::Delete => Action::Delete,
        BulkAction::Move => {
            let queue = to.ok_or_else(|| missing("to"))?;
            caller.require_in(Scope::Operate, &queue)?;
            Action::Move { queue }
        }
        BulkAction::Priority => Action::Prioritize { priority: priority.ok_or_else(|| missing("priority"))? },
    };
    let filter = filter::of(&select, &state, &caller).await?;
    if !dry_run {
        let act = match action {
            BulkAction::Cancel => "jobs.cancel",
            BulkAction::Retry => "jobs.retry",
            BulkAction::Delete => "jobs.delete",
            BulkAction::Move => "jobs.move",
            BulkAction::Priority => "jobs.priority",
        };
        let to = if let Action::Move { queue } = &what { Some(queue.as_str()) } else { None };
        let priority = if let Action::Prioritize { priority } = &what { Some(*priority) } else { None };
        record(&state, &caller, act, "", Some(&Recorded { select: &select, to, priority })).await?;
    }
    let clock = state.backroom.clock();
    let until = clock.monotonic().saturating_add(TIME_MAX);
    let mut acted = Acted::default();
    acted.next = before;
    loop {
        if dry_run {
            let page = state.backroom.list(filter.clone(), acted.next, COUNT_PAGE).await?;
            acted.matched += page.jobs.len() as u64;
            acted.next = page.next;
        } else {
            acted.add(state.backroom.act_on_matching(&filter, &what, acted.next).await?);
        }
        if acted.next.is_none() || clock.monotonic() >= until || state.stopping.is_cancelled() {
            break;
        }
    }
    Ok(Json(Matched::new(action, dry_run, acted)))
}

/// What the audit log says of an action.
#[derive(Serialize)]
struct Recorded<'a> {
    #[serde(flatten)]
    select: &'a Select,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
}

fn missing(field: &str) -> Problem {
    Problem::new(Code::Invalid, format!("the action needs the field {field}"))
}
