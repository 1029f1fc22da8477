//! Who an occurrence is: a schedule and a nominal time, on the job that it becomes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

use crate::JobId;

/// Namespace of the ids: any fixed UUID does, as long as it never changes.
const NAMESPACE: Uuid = Uuid::from_u128(0x8a1e_54c7_61b3_4f0d_b2d9_3c07_e5aa_4416);

/// Of which occurrence a job is the run. Set by schedules alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Occurrence {
    /// The name of the schedule.
    pub schedule: String,
    /// Its time by the timetable; of a run that was triggered by hand, the moment of that.
    pub nominal: Timestamp,
}

impl Occurrence {
    /// The id of the job of an occurrence of the timetable: a UUIDv7 (RFC 9562) of the nominal time whose other bits are a hash. So
    /// every process makes the same job, and a store refuses the second.
    pub fn job_id(&self) -> JobId {
        let name = format!("{}\0{}", self.schedule, self.nominal.as_microsecond());
        let hash = Uuid::new_v5(&NAMESPACE, name.as_bytes());
        let mut bits = [0; 10];
        // The version and the variant of the hash stand in bytes 6 and 8; these have none of them.
        bits[..6].copy_from_slice(&hash.as_bytes()[..6]);
        bits[6..].copy_from_slice(&hash.as_bytes()[12..]);
        let millis = u64::try_from(self.nominal.as_millisecond()).unwrap_or(0);
        JobId(Builder::from_unix_timestamp_millis(millis, &bits).into_uuid())
    }
}

/// What became of a run, written with the change that made it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunReport {
    /// The name of the schedule.
    pub schedule: String,
    /// The job.
    pub job: JobId,
    /// What happened.
    pub became: Became,
    /// When.
    pub at: Timestamp,
    /// Why it was discarded or cancelled.
    pub reason: Option<String>,
}

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Became {
    /// Its job completed.
    Completed,
    /// Its job was discarded: a failure.
    Discarded,
    /// Its job was cancelled, or deleted before it ended.
    Cancelled,
    /// Its job had finished and begins again.
    Live,
}

impl Became {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Completed, Self::Discarded, Self::Cancelled, Self::Live];

    /// The name in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Discarded => "discarded",
            Self::Cancelled => "cancelled",
            Self::Live => "live",
        }
    }
}

impl std::str::FromStr for Became {
    type Err = crate::Invalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|became| became.as_str() == text);
        found.ok_or_else(|| crate::Invalid::new("end of run", format!("{text:?} is unknown")))
    }
}
