//! Verbs for queues.

use async_trait::async_trait;
use backroom_core::{
    Timestamp,
    queue::{PausedBy, Queue},
    retention::Retention,
};

use crate::Error;

/// Lists queues and changes their settings.
#[async_trait]
pub trait QueueVerbs: Send + Sync {
    /// Every queue that a job or a setting ever named, by name.
    async fn queues(&self) -> Result<Vec<Queue>, Error>;

    /// Changes one setting of a queue. Creates the queue if it does not exist.
    async fn set_queue(&self, name: &str, setting: QueueSetting) -> Result<(), Error>;
}

/// One setting of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueSetting {
    /// No jobs are claimed from it from this moment on. A queue that is already paused stays paused since its first moment.
    Pause(Timestamp),
    /// Jobs are claimed from it again, whatever paused it.
    Resume,
    /// Paused while its jobs are moved to another store. A queue that is paused already stays as it is.
    PauseToMove(Timestamp),
    /// The move is done: the queue stays paused if the move paused it.
    Moved,
    /// The move failed: the queue is resumed if the move paused it.
    NotMoved,
    /// Jobs are moved to this store: the queue is resumed if an earlier move away from here paused it.
    MovedHere,
    /// For how long finished jobs are retained.
    Retain(Retention),
    /// Most jobs that may wait; none for any number. Jobs that wait already stay, however many they are.
    DepthMax(Option<u64>),
}

/// The queue after one setting was changed. All stores use it.
pub(crate) fn apply_setting(queue: &mut Queue, setting: &QueueSetting) {
    match setting {
        QueueSetting::Pause(at) => {
            queue.paused_at = queue.paused_at.or(Some(*at));
            queue.paused_by = None;
        }
        QueueSetting::Resume => resume(queue),
        QueueSetting::PauseToMove(at) if queue.paused_at.is_none() => {
            queue.paused_at = Some(*at);
            queue.paused_by = Some(PausedBy::Moving);
        }
        QueueSetting::PauseToMove(_) => {}
        QueueSetting::Moved if queue.paused_by == Some(PausedBy::Moving) => {
            queue.paused_by = Some(PausedBy::Moved);
        }
        QueueSetting::NotMoved if queue.paused_by == Some(PausedBy::Moving) => resume(queue),
        QueueSetting::MovedHere if queue.paused_by.is_some() => resume(queue),
        QueueSetting::Moved | QueueSetting::NotMoved | QueueSetting::MovedHere => {}
        QueueSetting::Retain(retention) => queue.retention = *retention,
        QueueSetting::DepthMax(depth_max) => queue.depth_max = *depth_max,
    }
}

fn resume(queue: &mut Queue) {
    queue.paused_at = None;
    queue.paused_by = None;
}
