//! What can be done to one job by a form on its page.

use axum::{
    Router,
    extract::{Path, State},
    routing::post,
};
use backroom::{JobRow, Scope};

use super::{Answer, Fields, Posted, Trouble, bulk, frame, selection};
use crate::{api::jobs::find, serve::AppState};

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/jobs/{id}/{act}", post(act))
}

async fn act(
    State(state): State<AppState>,
    Path((id, act)): Path<(String, String)>,
    posted: Posted,
) -> Answer {
    let Posted { visitor, fields } = posted;
    let job = find(&state, &visitor.caller, Scope::Operate, &id).await?;
    if !visitor.may_in(Scope::Operate, &job.queue) {
        visitor.caller.require_in(Scope::Operate, &job.queue)?;
    }
    let Some((name, run)) = known(&act) else {
        return Err(Trouble::invalid("the act is none that can be done to a job"));
    };
    if name == "job.move" {
        visitor.caller.require_in(Scope::Operate, fields.get("to").unwrap_or_default())?;
    }
    let detail = fields.only(&["reason", bulk::NEW_PRIORITY, "at", "to"]);
    let detail = detail.pairs();
    visitor.record(&state, name, &job.id.to_string(), (!detail.is_empty()).then_some(&detail)).await?;
    let said = run(&state, &job, &fields).await?;
    state.pages.counted.changed();
    let path = if name == "job.delete" { "/jobs".to_owned() } else { format!("/jobs/{}", job.id) };
    Ok(frame::done(&path, said))
}

/// An act by the last part of its path.
type Run = for<'a> fn(
    &'a AppState,
    &'a JobRow,
    &'a Fields,
) -> futures_util::future::BoxFuture<'a, Result<&'static str, Trouble>>;

fn known(act: &str) -> Option<(&'static str, Run)> {
    let known: (&'static str, Run) = match act {
        "retry" => ("job.retry", |state, job, _| {
            Box::pin(async {
                state.backroom.retry(job.id).await?;
                Ok("retried")
            })
        }),
        "cancel" => ("job.cancel", |state, job, fields| {
            Box::pin(async {
                let reason = fields.get("reason").unwrap_or("cancelled by hand");
                backroom::core::bounds::check_text(
                    "reason",
                    reason,
                    backroom::core::bounds::MESSAGE_BYTES_MAX,
                )?;
                state.backroom.cancel_because(job.id, reason).await?;
                Ok("cancelled")
            })
        }),
        "delete" => ("job.delete", |state, job, _| {
            Box::pin(async {
                state.backroom.delete(job.id).await?;
                Ok("deleted")
            })
        }),
        "priority" => ("job.priority", |state, job, fields| {
            Box::pin(async {
                state.backroom.amend(job.id).priority(bulk::priority(fields, bulk::NEW_PRIORITY)?).await?;
                Ok("changed")
            })
        }),
        "time" => ("job.time", |state, job, fields| {
            Box::pin(async {
                let text = fields.get("at").unwrap_or_default();
                let at = selection::moment_ahead("when", text, state.backroom.clock().now())?;
                state.backroom.amend(job.id).at(at).await?;
                Ok("changed")
            })
        }),
        "move" => ("job.move", |state, job, fields| {
            Box::pin(async {
                let queue = fields.get("to").unwrap_or_default();
                state.backroom.amend(job.id).queue(queue).await?;
                Ok("moved")
            })
        }),
        _ => return None,
    };
    Some(known)
}
