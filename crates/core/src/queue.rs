//! What workers subscribe to.

use serde::{Deserialize, Serialize};

use crate::{Timestamp, retention::Retention};

/// A queue and its settings. A queue exists from the first job or setting that names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Since when its jobs are not claimed; none while it is served. Running jobs finish.
    pub paused_at: Option<Timestamp>,
    /// How long its finished jobs are kept.
    pub retention: Retention,
}

impl Queue {
    /// A queue with default settings.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), paused_at: None, retention: Retention::default() }
    }
}
