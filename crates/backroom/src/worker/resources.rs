//! What a run needs while its handler runs.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{neighbours::Neighbours, notes::Notes};
use crate::{engine::Engine, handler_state::States};

/// What the runs of one worker share.
pub(crate) struct Resources {
    pub(crate) engine: Engine,
    /// The values that handlers take beside their job.
    pub(crate) state: States,
    /// One permit for each blocking handler that may run at once.
    pub(crate) threads: Arc<Semaphore>,
    /// All handlers of this process.
    pub(crate) neighbours: Arc<Neighbours>,
    /// Progress and log lines that are not written yet.
    pub(crate) notes: Notes,
}
