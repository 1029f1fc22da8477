//! Workers.

use backroom::WorkerRow;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rows::WorkerSchema;

/// The workers that are alive.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct WorkerList {
    /// Each as it last reported itself.
    #[schema(value_type = Vec<WorkerSchema>)]
    pub(crate) workers: Vec<WorkerRow>,
}
