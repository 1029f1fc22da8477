//! Ids of messages, derived from what they report.

use uuid::{Builder, Uuid};

use super::MessageKind;
use crate::{Change, JobId, JobRow, Progress, Timestamp};

/// Namespace of the ids: any fixed UUID does, as long as it never changes.
const NAMESPACE: Uuid = Uuid::from_u128(0x5d5e_9ab0_2a44_4a3c_9f0a_6f1d_84c1_0b7e);

/// The id of what a change informs of: at most one message per revision.
pub(super) fn of_change(kind: MessageKind, change: &Change, now: Timestamp) -> Uuid {
    of_revision(kind, change.id, change.revision_before, now)
}

/// The id of what a change of this revision informs of.
pub(super) fn of_revision(kind: MessageKind, job: JobId, revision_before: u64, now: Timestamp) -> Uuid {
    derived(job, revision_before, kind, "", now)
}

/// The id of reported progress. It does not change the revision, so its content and its moment distinguish it.
pub(super) fn of_progress(job: &JobRow, progress: &Progress, now: Timestamp) -> Uuid {
    let content = format!("{} {} {}", now.as_microsecond(), progress.percent, progress.message);
    derived(job.id, job.revision, MessageKind::Progress, &content, now)
}

/// A UUIDv7 (RFC 9562) of this moment whose other bits are a hash. So ids sort by time as those of jobs do.
fn derived(job: JobId, revision: u64, kind: MessageKind, content: &str, now: Timestamp) -> Uuid {
    let name = format!("{job} {revision} {kind} {content}");
    let hash = Uuid::new_v5(&NAMESPACE, name.as_bytes());
    let mut bits = [0; 10];
    // The version and the variant of the hash stand in bytes 6 and 8; these have none of them.
    bits[..6].copy_from_slice(&hash.as_bytes()[..6]);
    bits[6..].copy_from_slice(&hash.as_bytes()[12..]);
    let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
    Builder::from_unix_timestamp_millis(millis, &bits).into_uuid()
}
