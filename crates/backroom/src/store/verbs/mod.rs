//! The verbs of the seam by noun, with what they take and answer: jobs, reads, queues, workers, replies, access, health.
//!
//! A new verb needs one sentence of meaning here, a [`Request`](super::layer::Request), a conformance file and every store.

mod access;
mod batches;
mod endpoints;
mod health;
mod history;
mod jobs;
mod journals;
mod links;
mod queues;
mod reads;
mod replies;
mod samples;
mod schedules;
mod triggers;
mod workers;

pub use access::{AuditVerbs, IdempotencyVerbs, TokenVerbs};
pub use batches::{BatchRow, BatchTurn, BatchVerbs, OpenBatch};
pub use endpoints::{ENDED_ENDPOINTS_MAX, EndedEndpoint, EndpointVerbs};
pub use health::{Durability, Health, HealthCheck};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) use history::PlacedAttempt;
pub use history::{Recorded, Seen};
pub(crate) use history::{in_order, places};
pub use jobs::{
    Call, Claim, Committed, Deleted, Inserted, JobVerbs, LeaseStatus, Note, Prune, Record, Share,
};
pub use journals::{
    DueWakes, JOURNAL_PAGE_BYTES, JournalAfter, JournalHead, JournalPage, JournalRecord, JournalVerbs,
    JournalWrite, Signal, Signalled, Wrote,
};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) use journals::{header_of, stored_header};
pub use links::{EdgesOfJob, InsertLinked, LinkVerbs, Neighbour, NeighbourState, NewLinked, Side};
pub(crate) use queues::apply_setting;
pub use queues::{QueueSetting, QueueVerbs};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) use reads::not_poison_sql;
pub use reads::{Count, Filter, Load, QueuedAs, ReadVerbs, RunningJob};
pub(crate) use replies::DROPPED_REMEMBERED;
pub use replies::{Acknowledged, DropMessages, MessageRow, ReplyQueue, ReplyVerbs, TakeMessages};
pub use samples::SampleVerbs;
pub use schedules::{
    DueAfter, DueSchedule, DueSchedules, Moved, OPEN_MAX, REPORTS_MAX, ScheduleMove, ScheduleVerbs,
};
pub use triggers::{
    DEAD_LETTER_BYTES_MAX, DEAD_LETTERS_MAX, DeadLetter, READERS_FORGOTTEN_AFTER, TriggerHold, TriggerPause,
    TriggerReader, TriggerRow, TriggerVerbs, WriteState,
};
pub use workers::{Beaten, Blocked, Holder, OpenBreaker, WorkerDetails, WorkerRow, WorkerVerbs};
pub(crate) use workers::{DEAD_REMEMBERED, dead_without_a_row};
