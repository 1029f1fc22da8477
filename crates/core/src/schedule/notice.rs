//! What a schedule reports to the URL of its definition: it is overdue, its runs fail, it is well again.
//!
//! A notice is a callback, so it is a job: durable, retried, visible, signed as any callback. A store inserts it in the
//! transaction that writes what it reports. Its id follows from that, so a notice that is written again is stored once.

use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

use super::{Schedule, turn::News};
use crate::{
    Draft, Extras, JobId, Json, Timestamp,
    bounds::{ERROR_BYTES_MAX, clip, whole_micros},
    draft::NewJob,
    message::callback::{KIND, QUEUE, retry_policy},
};

/// Namespace of the ids: any fixed UUID does, as long as it never changes.
const NAMESPACE: Uuid = Uuid::from_u128(0x2f5b_7d10_93c4_4a52_8a41_0c6e_b1d7_3e95);

/// Of what a schedule informs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// A success was expected, and none came.
    Overdue,
    /// A run failed, or the job of an occurrence could not be made, for the first time since the last success.
    Failing,
    /// A run succeeded after the schedule was overdue or failing.
    Recovered,
}

/// A notice: the `data` of the event that is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Of what it informs.
    #[serde(rename = "type")]
    pub about: About,
    /// The schedule.
    pub schedule: String,
    /// When it happened.
    pub at: Timestamp,
    /// Since when the schedule is overdue or failing; of a schedule that is well again, since when it was.
    pub since: Timestamp,
    /// Why it fails. Longer than 8 KiB it is cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

#[derive(Serialize)]
struct Args<'a> {
    url: &'a str,
    event: &'a Notice,
}

impl About {
    /// The name in events and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Overdue => "overdue",
            Self::Failing => "failing",
            Self::Recovered => "recovered",
        }
    }
}

impl Notice {
    /// The callback jobs for what happened to a schedule: none unless its definition names a URL.
    pub fn of(schedule: &Schedule, news: &[News], now: Timestamp) -> Vec<NewJob> {
        let Some(url) = &schedule.notify else { return Vec::new() };
        let notice = |about: About, since: Timestamp, why: Option<&str>| {
            let (name, why) = (schedule.name.clone(), why.map(str::to_owned));
            Some(Self { about, schedule: name, at: now, since, why })
        };
        let notices = news.iter().filter_map(|news| match news {
            News::Overdue { since } => notice(About::Overdue, *since, None),
            News::Failing(failing) => notice(About::Failing, failing.since, Some(&failing.why)),
            News::FailsNoMore(failing) => notice(About::Recovered, failing.since, None),
            News::Recovered { since } => notice(About::Recovered, *since, None),
            // The log, the history and the counters have them.
            News::Missed(_)
            | News::PausedByFailure { .. }
            | News::DecidedAhead { .. }
            | News::Backfilled(_) => None,
        });
        notices.map(|notice| notice.job(url)).collect()
    }

    /// The callback job that sends it to `url`, which [`Schedule::check`](super::Schedule::check) has accepted.
    pub fn job(&self, url: &str) -> NewJob {
        let at = whole_micros(self.at);
        let why = self.why.as_deref().map(|why| clip(why, ERROR_BYTES_MAX));
        let notice = Self { why, at, ..self.clone() };
        let args = Json::encode(&Args { url, event: &notice }).expect("invariant: a notice is flat JSON");
        let draft = Draft {
            queue: QUEUE.into(),
            extras: Extras { retry: Some(retry_policy()), ..Extras::default() },
            ..Draft::new(KIND, args)
        };
        draft
            .check_ours(JobId(self.id(url)), at, usize::MAX)
            .expect("invariant: what the draft is made of was checked before")
    }

    /// A UUIDv7 of the moment since when; its other bits are a hash of what is reported.
    fn id(&self, url: &str) -> Uuid {
        let name =
            format!("{}\0{}\0{}\0{url}", self.about.as_str(), self.since.as_microsecond(), self.schedule);
        let hash = Uuid::new_v5(&NAMESPACE, name.as_bytes());
        let mut bits = [0; 10];
        // The version and the variant of the hash stand in bytes 6 and 8; these have none of them.
        bits[..6].copy_from_slice(&hash.as_bytes()[..6]);
        bits[6..].copy_from_slice(&hash.as_bytes()[12..]);
        let millis = u64::try_from(self.since.as_millisecond()).unwrap_or(0);
        Builder::from_unix_timestamp_millis(millis, &bits).into_uuid()
    }
}
