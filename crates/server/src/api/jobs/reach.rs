//! What a new job names besides its queue must be within reach of the caller, too.

use backroom::{JobId, core::dependency::Edge};

use crate::{
    api::{
        caller::{Caller, Scope},
        codes::Code,
        problem::Problem,
    },
    bodies::NewJob,
    serve::AppState,
};

/// Whether a caller may name what `new` names: where messages go, a batch, and a job to replace.
pub(super) fn check_named(caller: &Caller, new: &NewJob) -> Result<(), Problem> {
    if let Some(reply_to) = new.reply_to() {
        caller.require_in(Scope::Enqueue, reply_to)?;
    }
    if new.batch().is_some() {
        check_batch(caller)?;
    }
    if new.replaces() && !caller.sees_all() {
        let why = "the token is not valid for every queue, and the job that holds the unique key may be in another one; leave `replace` out";
        return Err(Problem::new(Code::Forbidden, why));
    }
    Ok(())
}

/// A batch counts jobs of any queue, and its end waits for all of them.
pub(in crate::api) fn check_batch(caller: &Caller) -> Result<(), Problem> {
    if caller.is_limited() {
        let why = "the token is valid for some queues only, and a batch is about all of them";
        return Err(Problem::new(Code::Forbidden, why));
    }
    Ok(())
}

/// Whether the caller may see the jobs that a new one runs after: it learns how they end.
pub(in crate::api) async fn check_predecessors(
    state: &AppState,
    caller: &Caller,
    after: &[Edge],
) -> Result<(), Problem> {
    if caller.sees_all() {
        return Ok(());
    }
    for edge in after {
        check_predecessor(state, caller, edge.predecessor).await?;
    }
    Ok(())
}

/// The same for one job.
pub(in crate::api) async fn check_predecessor(
    state: &AppState,
    caller: &Caller,
    id: JobId,
) -> Result<(), Problem> {
    if caller.sees_all() || caller.sees(&state.backroom.job(id).await?.queue) {
        return Ok(());
    }
    Err(Problem::new(Code::NotFound, format!("there is no job {id} that this token reaches")))
}
