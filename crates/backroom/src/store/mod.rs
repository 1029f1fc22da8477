//! The seam between the engine and the stores.
//!
//! About thirty coarse verbs, grouped by noun in `verbs`. Each is atomic and safe to repeat: a caller that lost the answer
//! makes the call again and gets the same outcome. `now` is always an argument. No SQL, no transaction and no driver type
//! appears here. No store decides anything about a job's life: [`backroom_core`] decides, and stores write its changes under
//! their guards. The conformance file of a verb defines what it must do: see [`testing::conformance`](crate::testing).

use std::sync::Arc;

use async_trait::async_trait;

mod answered;
mod backup;
pub mod layer;
mod linked;
mod memory;
mod migrations;
mod moving;
mod notifier;
mod observed;
mod outage;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod unreadable;
mod url;
mod verbs;

pub use answered::Answered;
pub(crate) use answered::CallHook;
pub use backup::{BackedUp, BackupProgress, backup};
pub use memory::MemoryStore;
pub use migrations::{Migration, migrations, version};
pub use moving::{
    Compared, Copied, copy_batches, copy_jobs, copy_messages, copy_queues, copy_schedules, copy_triggers,
};
pub use notifier::{Listener, Notifier};
pub use observed::{INSERT_TIMEOUT, Observed, REPEAT_AFTER, REPEATS_MAX};
pub(crate) use outage::is_outage;
pub(crate) use url::StoreUrl;
#[cfg(feature = "sqlite")]
pub use url::sqlite_file;
pub use verbs::{
    Acknowledged, AuditVerbs, BatchRow, BatchTurn, BatchVerbs, Beaten, Blocked, Call, Claim, Committed,
    Count, DEAD_LETTER_BYTES_MAX, DEAD_LETTERS_MAX, DeadLetter, Deleted, DropMessages, DueAfter, DueSchedule,
    DueSchedules, DueWakes, Durability, ENDED_ENDPOINTS_MAX, EdgesOfJob, EndedEndpoint, EndpointVerbs,
    Filter, Health, HealthCheck, Holder, IdempotencyVerbs, InsertLinked, Inserted, JOURNAL_PAGE_BYTES,
    JobVerbs, JournalAfter, JournalHead, JournalPage, JournalRecord, JournalVerbs, JournalWrite, LeaseStatus,
    LinkVerbs, Load, MessageRow, Moved, Neighbour, NeighbourState, NewLinked, Note, OPEN_MAX, OpenBatch,
    OpenBreaker, Prune, QueueSetting, QueueVerbs, QueuedAs, READERS_FORGOTTEN_AFTER, REPORTS_MAX, ReadVerbs,
    Record, Recorded, ReplyQueue, ReplyVerbs, RunningJob, SampleVerbs, ScheduleMove, ScheduleVerbs, Seen,
    Share, Side, Signal, Signalled, TakeMessages, TokenVerbs, TriggerHold, TriggerPause, TriggerReader,
    TriggerRow, TriggerVerbs, WorkerDetails, WorkerRow, WorkerVerbs, WriteState, Wrote,
};
pub(crate) use verbs::{DEAD_REMEMBERED, DROPPED_REMEMBERED, apply_setting, dead_without_a_row};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) use verbs::{header_of, stored_header};

use crate::Error;

/// Stores jobs: all verbs, and the store as a whole.
#[async_trait]
pub trait Store:
    JobVerbs
    + ReadVerbs
    + QueueVerbs
    + WorkerVerbs
    + ReplyVerbs
    + TokenVerbs
    + AuditVerbs
    + IdempotencyVerbs
    + EndpointVerbs
    + TriggerVerbs
    + ScheduleVerbs
    + JournalVerbs
    + SampleVerbs
    + LinkVerbs
    + BatchVerbs
    + 'static
{
    /// What an operator wants to know: versions, durability, size, and checks that may take seconds.
    async fn health(&self) -> Result<Health, Error>;

    /// Where to listen for hints that something happened. Polling is the truth; a lost hint costs time only.
    fn notifier(&self) -> &Arc<Notifier>;

    /// Finishes the calls that it has accepted, then closes files and connections. Later calls answer
    /// [`Closed`](crate::ErrorKind::Closed). To close a closed store is no error.
    async fn close(&self) -> Result<(), Error>;
}
