//! A schedule as it is put: when, where, how, and which job.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Policies, Spec, Timetable,
    rate::FREQUENT_GAP,
    template::{Template, Values},
};
use crate::{
    Draft, Extras, Invalid, JobId, Json,
    bounds::{self, check_name},
    draft::{PRIORITY_DEFAULT, QUEUE_DEFAULT, When},
    http_url::HttpUrl,
    millis,
};

/// Longest JSON of a schedule, in bytes, apart from the args.
pub const BYTES_MAX: usize = 512 * 1024;
/// The zone of a schedule that names none.
pub const ZONE_DEFAULT: &str = "UTC";

/// A schedule. What has happened to it is its [`State`](super::State).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Names it; putting a schedule of the same name replaces the definition.
    pub name: String,
    /// When it fires: the union of these.
    pub specs: Vec<Spec>,
    /// When it does not fire although a spec says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<Spec>,
    /// A name of the IANA time zone database; default `UTC`.
    #[serde(default = "zone_default")]
    pub zone: String,
    /// No occurrence before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// No occurrence after this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// Each occurrence is delayed by less than this span, always by the same one; default not at all.
    #[serde(default, with = "millis", rename = "jitter_ms", skip_serializing_if = "Duration::is_zero")]
    pub jitter: Duration,
    /// It ends after so many runs that the clock started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_runs: Option<u64>,
    /// Must be set if it fires more often than every ten seconds.
    #[serde(default, skip_serializing_if = "is_false")]
    pub frequent: bool,
    /// It does not fire while this is set. An operator's pause is a part of the state, which putting the schedule again does
    /// not change.
    #[serde(default, skip_serializing_if = "is_false")]
    pub paused: bool,
    /// The choices for overlaps, outages, changes of the offset, and failures.
    #[serde(default)]
    pub policies: Policies,
    /// A URL that is called back when the schedule is overdue or failing, and when it is well again; default none. What is sent
    /// is a [`Notice`](super::notice::Notice).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<String>,
    /// The job of each occurrence.
    pub job: ScheduledJob,
}

/// The job of each occurrence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduledJob {
    /// Which handler runs it.
    pub kind: String,
    /// A template of the args; see [`Template`].
    #[serde(default = "Json::null")]
    pub args: Json,
    /// Where it waits; default `default`.
    #[serde(default = "queue_default")]
    pub queue: String,
    /// Key inside the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// 0 (first) to 9 (last); default 5.
    #[serde(default = "priority_default")]
    pub priority: u8,
    /// A job that has not begun this long after it was due is cancelled; default never.
    #[serde(
        default,
        with = "millis::optional",
        rename = "expire_after_ms",
        skip_serializing_if = "Option::is_none"
    )]
    pub expire_after: Option<Duration>,
    /// Attempts allowed, the first included; default as for any job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Labels to filter by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Everything else that can be chosen for a job.
    #[serde(default)]
    pub extras: Extras,
}

impl Schedule {
    /// A schedule with one spec and everything else at its default.
    pub fn new(name: impl Into<String>, spec: Spec, job: ScheduledJob) -> Self {
        Self {
            name: name.into(),
            specs: vec![spec],
            except: Vec::new(),
            zone: zone_default(),
            starts_at: None,
            ends_at: None,
            jitter: Duration::ZERO,
            max_runs: None,
            frequent: false,
            paused: false,
            policies: Policies::default(),
            notify: None,
            job,
        }
    }

    /// Its occurrences.
    pub fn timetable(&self) -> Result<Timetable, Invalid> {
        let timetable = Timetable::new(&self.specs, &self.except, &self.zone, self.policies.dst)?;
        Ok(timetable.between(self.starts_at, self.ends_at))
    }

    /// Checks every bound before the schedule is stored, and answers its occurrences. Refused are also schedules that never
    /// fire, and those that fire so often that it must be a mistake.
    pub fn check(&self, now: Timestamp, json_bytes_max: usize) -> Result<Timetable, Invalid> {
        check_name("schedule name", &self.name)?;
        self.policies.check()?;
        bounds::check_span("jitter", self.jitter)?;
        if self.max_runs == Some(0) {
            return Err(Invalid::new(
                "max_runs",
                "is zero; leave it out for no limit, or pause the schedule",
            ));
        }
        if let (Some(start), Some(end)) = (self.starts_at, self.ends_at)
            && start > end
        {
            return Err(Invalid::new("ends_at", format!("is {end}, before starts_at, which is {start}")));
        }
        if let Some(url) = &self.notify {
            HttpUrl::parse(url)?;
        }
        let timetable = self.timetable()?;
        self.check_rate(&timetable, now)?;
        self.job.check(&self.name, timetable.zone(), now, json_bytes_max)?;
        self.check_bytes()?;
        Ok(timetable)
    }

    fn check_rate(&self, timetable: &Timetable, now: Timestamp) -> Result<(), Invalid> {
        let fires = timetable.next_after(now).or_else(|| timetable.previous_before(now));
        if fires.is_none() {
            let why = "never fires: nothing is left between start and end without the exclusions";
            return Err(Invalid::new("schedule", why));
        }
        let Some(gap) = timetable.rate(now).shortest_gap else { return Ok(()) };
        if gap < FREQUENT_GAP && !self.frequent {
            let why = format!(
                "fires again after {}; if that is meant, set `frequent`, otherwise see whether the expression has a field \
                 too many",
                super::describe::span(gap)
            );
            return Err(Invalid::new("schedule", why));
        }
        if self.jitter > gap {
            let why = format!(
                "of {} is longer than the shortest span between two occurrences, {}",
                super::describe::span(self.jitter),
                super::describe::span(gap)
            );
            return Err(Invalid::new("jitter", why));
        }
        Ok(())
    }

    fn check_bytes(&self) -> Result<(), Invalid> {
        let bytes = self.stored()?.len() - self.job.args.as_str().len();
        if bytes > BYTES_MAX {
            let why = format!(
                "has {bytes} bytes; at most {BYTES_MAX} are allowed. Split it into several schedules"
            );
            return Err(Invalid::new("schedule", why));
        }
        Ok(())
    }
}

impl ScheduledJob {
    /// A job of `kind` with everything else at its default.
    pub fn new(kind: impl Into<String>, args: Json) -> Self {
        Self {
            kind: kind.into(),
            args,
            queue: queue_default(),
            lane: None,
            priority: priority_default(),
            expire_after: None,
            max_attempts: None,
            tags: Vec::new(),
            extras: Extras::default(),
        }
    }

    /// The job of one occurrence.
    pub fn draft(&self, values: &Values<'_>) -> Result<Draft, Invalid> {
        let args = Template::parse(&self.args)?.fill(values)?;
        Ok(Draft {
            queue: self.queue.clone(),
            lane: self.lane.clone(),
            priority: self.priority,
            expiry: self.expire_after.map(When::In),
            max_attempts: self.max_attempts,
            tags: self.tags.clone(),
            extras: self.extras.clone(),
            ..Draft::new(self.kind.clone(), args)
        })
    }

    fn check(
        &self,
        schedule: &str,
        zone: &jiff::tz::TimeZone,
        now: Timestamp,
        json_bytes_max: usize,
    ) -> Result<(), Invalid> {
        let values = Values { schedule, zone, nominal: now, last_success: Some(now), run_number: u64::MAX };
        self.draft(&values)?.check(JobId(Uuid::nil()), now, json_bytes_max).map(drop)
    }
}

fn zone_default() -> String {
    ZONE_DEFAULT.to_owned()
}

fn queue_default() -> String {
    QUEUE_DEFAULT.to_owned()
}

const fn priority_default() -> u8 {
    PRIORITY_DEFAULT
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}
