//! Writes administrative acts into the audit log.

use backroom::Json;
use serde::Serialize;

use super::{caller::Caller, problem::Problem};
use crate::serve::AppState;

/// Writes what the caller is about to do, and the address that it calls from. It is written first: no act goes unrecorded because the server died after it.
pub(crate) async fn record(
    state: &AppState,
    caller: &Caller,
    act: &str,
    target: &str,
    detail: Option<&(impl Serialize + Sync)>,
) -> Result<(), Problem> {
    record_as(state, format!("{}{}", caller.said(), caller.said_from()), act, target, detail).await
}

/// The same of a caller that is described already.
pub(crate) async fn record_as(
    state: &AppState,
    who: String,
    act: &str,
    target: &str,
    detail: Option<&(impl Serialize + Sync)>,
) -> Result<(), Problem> {
    let detail = detail.map(Json::encode).transpose()?;
    state.backroom.audit().append(who, act, target, detail).await?;
    Ok(())
}
