//! `/v1/jobs`: put jobs in, read them, change them.

mod act;
mod answer;
mod bulk;
mod enqueue;
pub(crate) mod filter;
mod lines;
mod reach;
mod read;
mod reveal;
mod stream;
mod wait;
mod workflow;

pub(crate) use self::enqueue::check_queue;

use backroom::{JobId, JobRow};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) use self::{
    enqueue::{check_new, traceparent},
    reach::{check_batch, check_predecessor},
};

use super::{
    caller::{Caller, Scope},
    codes::Code,
    problem::Problem,
};
use crate::serve::AppState;

/// The routes of this noun.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(enqueue::one, read::list))
        .routes(routes!(enqueue::batch))
        .routes(routes!(bulk::bulk))
        .routes(routes!(read::one, act::amend, act::delete))
        .routes(routes!(read::output))
        .routes(routes!(read::attempts))
        .routes(routes!(read::logs))
        .routes(routes!(read::explain))
        .routes(routes!(stream::events))
        .routes(routes!(act::cancel))
        .routes(routes!(act::retry))
        .routes(routes!(workflow::journal))
        .routes(routes!(workflow::signal))
}

/// The id in a path.
fn id(text: &str) -> Result<JobId, Problem> {
    text.parse().map_err(|error| Problem::new(Code::Malformed, format!("{error}")))
}

/// A job that the caller may do this to. One in a queue that the caller does not see does not exist for the caller.
pub(crate) async fn find(
    state: &AppState,
    caller: &Caller,
    wanted: Scope,
    text: &str,
) -> Result<JobRow, Problem> {
    require(caller, wanted)?;
    let job = state.backroom.job(id(text)?).await?;
    if caller.sees(&job.queue) {
        return Ok(job);
    }
    Err(Problem::new(Code::NotFound, format!("there is no job {} that this token reaches", job.id)))
}

/// Callers that may enqueue may read the jobs that they may enqueue.
fn require(caller: &Caller, wanted: Scope) -> Result<(), Problem> {
    match wanted {
        Scope::Read if caller.require(Scope::Enqueue).is_ok() => Ok(()),
        _ => caller.require(wanted),
    }
}
