//! Random numbers and ids of a workflow. They are derived from the workflow and the key, so every run gets the same and no entry is
//! written. They are no secrets.

use uuid::{Builder, Uuid};

use super::Header;
use crate::{JobId, Timestamp};

/// Namespace of what is derived: any fixed UUID does, as long as it never changes.
const NAMESPACE: Uuid = Uuid::from_u128(0x3d1f_0c6a_77b9_4f02_8e4d_5c1b_90aa_62f3);

/// A random number.
pub fn random(workflow: JobId, header: &Header, key: &str) -> u64 {
    let (high, low) = hash(workflow, header, "random", key).as_u64_pair();
    // The version and the variant stand in fixed bits of each half; together the halves have none.
    high ^ low.rotate_left(32)
}

/// A random number in `[0, 1)`.
pub fn chance(workflow: JobId, header: &Header, key: &str) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what the number has")]
    let bits = (random(workflow, header, key) >> 11) as f64;
    bits / (1u64 << 53) as f64
}

/// A UUID, version 4 in form.
pub fn uuid(workflow: JobId, header: &Header, key: &str) -> Uuid {
    Builder::from_random_bytes(hash(workflow, header, "uuid", key).into_bytes()).into_uuid()
}

/// The id of a child, which sorts by the time of its start.
pub(super) fn child(workflow: JobId, header: &Header, key: &str, at: Timestamp) -> JobId {
    // One that is begun again after a retry is another job.
    let again = format!("child {}", header.resumes);
    let hash = hash(workflow, header, if header.resumes == 0 { "child" } else { &again }, key);
    let mut bits = [0; 10];
    bits[..6].copy_from_slice(&hash.as_bytes()[..6]);
    bits[6..].copy_from_slice(&hash.as_bytes()[12..]);
    let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
    JobId(Builder::from_unix_timestamp_millis(millis, &bits).into_uuid())
}

fn hash(workflow: JobId, header: &Header, what: &str, key: &str) -> Uuid {
    let name = format!("{workflow} {} {what} {key}", header.generation);
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}
