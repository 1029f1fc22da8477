//! `/v1/schedules`: what the clock starts.
//!
//! A token that is valid for some queues sees and changes only schedules whose jobs wait in those.

mod act;
mod conditions;
mod define;
mod preview;
mod read;

use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::{Caller, Scope},
    codes::Code,
    problem::Problem,
};
use crate::{
    serve::AppState,
    views::schedule::{ScheduleView, WholeSchedule},
};

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(preview::of_specs))
        .routes(routes!(read::list))
        .routes(routes!(read::one, define::put, define::delete))
        .routes(routes!(read::history))
        .routes(routes!(preview::of_schedule))
        .routes(routes!(act::pause))
        .routes(routes!(act::resume))
        .routes(routes!(act::trigger))
        .routes(routes!(act::backfill, act::stop_backfill))
}

/// Whether the caller sees a schedule: its jobs wait in a queue that the token reaches. Of one that cannot be read the queue is unknown.
pub(crate) fn sees(caller: &Caller, schedule: &ScheduleView) -> bool {
    match &schedule.definition {
        Some(definition) => caller.sees(&definition.job.queue),
        None => caller.sees_all(),
    }
}

/// A schedule that there is, as the caller sees it.
async fn find(state: &AppState, caller: &Caller, name: &str) -> Result<WholeSchedule, Problem> {
    let found =
        state.backroom.schedules().get(name).await?.map(|info| WholeSchedule::of(&state.backroom, info));
    found.filter(|found| sees(caller, &found.schedule)).ok_or_else(|| {
        Problem::new(Code::NotFound, format!("there is no schedule {name:?} that this token reaches"))
    })
}

/// The same for a change: the caller must be permitted to make it.
pub(crate) async fn find_to(
    state: &AppState,
    caller: &Caller,
    scope: Scope,
    name: &str,
) -> Result<WholeSchedule, Problem> {
    caller.require(scope)?;
    find(state, caller, name).await
}
