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
    /// Set if a move to another store paused it. None if it is served, or if an operator paused it.
    #[serde(default)]
    pub paused_by: Option<PausedBy>,
    /// How long its finished jobs are retained.
    pub retention: Retention,
    /// Most jobs that may wait in it: an enqueue beyond that is refused. None for any number.
    #[serde(default)]
    pub depth_max: Option<u64>,
}

impl Queue {
    /// A queue with default settings.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            paused_at: None,
            paused_by: None,
            retention: Retention::default(),
            depth_max: None,
        }
    }

    /// Whether `created` new jobs are too many for a queue in which `depth` jobs wait with them.
    pub fn is_over(depth_max: u64, depth: u64, created: u64) -> bool {
        created > 0 && depth > depth_max
    }
}

/// Why a queue is paused that no operator paused. Such a pause is no setting of the queue, so a move does not copy it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PausedBy {
    /// Its jobs are being moved to another store. If that fails or is refused, the queue is served again.
    Moving,
    /// Its jobs were moved to another store, where they run.
    Moved,
}

impl PausedBy {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Moving, Self::Moved];

    /// The name in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Moving => "moving",
            Self::Moved => "moved",
        }
    }
}
