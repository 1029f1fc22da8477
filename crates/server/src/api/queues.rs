//! `/v1/queues`: the queues and how many jobs they hold.

use axum::{Json, extract::State};
use backroom::{Count, PausedBy, Queue, Retention, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    caller::{Caller, Scope},
    problem::{Problem, Problems},
};
use crate::serve::AppState;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list))
}

/// All queues that the token is valid for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueList {
    queues: Vec<QueueItem>,
}

/// A queue and how many of its jobs are shown in which state.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueItem {
    /// Its name.
    name: String,
    /// Since when its jobs are not claimed; null while it is served.
    #[schema(value_type = Option<String>, format = DateTime)]
    paused_at: Option<Timestamp>,
    /// `moving` or `moved` if a move to another store paused it.
    #[schema(value_type = Option<String>)]
    paused_by: Option<PausedBy>,
    /// How long its finished jobs are retained.
    #[schema(value_type = Object)]
    retention: Retention,
    /// Jobs by the state that they are shown in. States without jobs are left out.
    counts: std::collections::BTreeMap<String, u64>,
}

impl QueueItem {
    fn new(queue: Queue, counts: &[Count]) -> Self {
        let of_this = counts.iter().filter(|count| count.queue == queue.name);
        Self {
            counts: of_this.map(|count| (count.state.as_str().to_owned(), count.jobs)).collect(),
            name: queue.name,
            paused_at: queue.paused_at,
            paused_by: queue.paused_by,
            retention: queue.retention,
        }
    }
}

/// List the queues
///
/// Every queue that a job or a setting ever named, by name, with the number of its jobs by state.
#[utoipa::path(
    get,
    path = "/v1/queues",
    tag = "queues",
    responses((status = 200, description = "The queues.", body = QueueList), Problems)
)]
async fn list(State(state): State<AppState>, caller: Caller) -> Result<Json<QueueList>, Problem> {
    caller.require(Scope::Read)?;
    let (queues, counts) = (state.backroom.queues().await?, state.backroom.counts().await?);
    let seen = queues.into_iter().filter(|queue| caller.sees(&queue.name));
    Ok(Json(QueueList { queues: seen.map(|queue| QueueItem::new(queue, &counts)).collect() }))
}
