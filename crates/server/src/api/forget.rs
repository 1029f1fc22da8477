//! `/v1/forget`: deletes all that is stored about one subject.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    act::record,
    body::JsonBytes,
    caller::{Caller, Scope},
    problem::{Problem, Problems},
};
use crate::{serve::AppState, views::ForgottenView};

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(forget))
}

/// Whom to forget.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Subject {
    /// The tag that all jobs about the subject have.
    #[schema(min_length = 1, max_length = 128, example = "customer-7")]
    tag: String,
}

/// Forget a subject
///
/// Deletes every job with the tag, with its args, output, attempts, log and journal, the messages about it in reply queues, and callbacks about it. Of
/// a batch it deletes the description and the end jobs, if one of these has the tag or if no members are left. A running job is asked to
/// stop and counted as `left`: send the request again until that is 0. The audit log shows that a subject was forgotten, and not which.
#[utoipa::path(
    post,
    path = "/v1/forget",
    operation_id = "forget_subject",
    tag = "jobs",
    request_body = Subject,
    responses((status = 200, description = "What was deleted.", body = ForgottenView), Problems)
)]
async fn forget(
    State(state): State<AppState>,
    caller: Caller,
    body: JsonBytes,
) -> Result<Json<ForgottenView>, Problem> {
    caller.require_everywhere(Scope::Admin)?;
    let Subject { tag } = body.read()?;
    backroom::core::bounds::check_name("tag", &tag)?;
    // The tag names the subject, so the log must not have it.
    record(&state, &caller, "subject.forget", "a subject", None::<&()>).await?;
    Ok(Json(state.backroom.forget(&tag).await?.into()))
}
