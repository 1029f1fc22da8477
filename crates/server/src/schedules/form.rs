//! A schedule in the short form of settings and command lines, and how it becomes a definition.

use std::{collections::BTreeMap, time::Duration};

use backroom::{
    Extras, Invalid, Json, RetryPolicy, Timestamp,
    core::schedule::{
        Policies, Schedule, ScheduledJob, Spec, ZONE_DEFAULT,
        calendar::Moment,
        policy::{CatchUp, Dst, OnFailure, Overlap},
        zone,
    },
};
use jiff::civil::DateTime;

/// A schedule as it was written; none is the default.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Form {
    pub(crate) when: Vec<Spec>,
    pub(crate) except: Vec<Spec>,
    pub(crate) zone: Option<String>,
    pub(crate) starts_at: Option<Bound>,
    pub(crate) ends_at: Option<Bound>,
    pub(crate) jitter: Option<Duration>,
    pub(crate) max_runs: Option<u64>,
    pub(crate) frequent: bool,
    pub(crate) paused: bool,
    pub(crate) overlap: Option<Overlap>,
    pub(crate) catch_up: Option<CatchUp>,
    pub(crate) dst: Option<Dst>,
    pub(crate) on_failure: Option<OnFailure>,
    pub(crate) deadman: Option<Duration>,
    pub(crate) notify: Option<String>,
    pub(crate) kind: String,
    pub(crate) args: Option<Json>,
    pub(crate) queue: Option<String>,
    pub(crate) lane: Option<String>,
    pub(crate) priority: Option<u8>,
    pub(crate) expire_after: Option<Duration>,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) tags: Vec<String>,
    pub(crate) meta: BTreeMap<String, String>,
}

/// A start or an end: exact, or on the wall clock of the schedule's zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    Exact(Timestamp),
    Local(DateTime),
}

/// Reads a start or an end.
pub(crate) fn bound(text: &str) -> Result<Bound, String> {
    let exact = text.parse().map(Bound::Exact);
    // A text with an offset of its own must not be read as a local time.
    let local = || text.parse().map(Bound::Local);
    let has_offset = text.ends_with(['Z', 'z', ']']) || text.contains('+') || text.matches('-').count() > 2;
    let read = if has_offset { exact } else { exact.or_else(|_| local()) };
    read.map_err(|_| {
        "is no moment between the years -9999 and 9999; write 2026-12-24T18:00 for the schedule's zone, or \
         2026-12-24T18:00:00Z"
            .into()
    })
}

impl Bound {
    fn resolve(self, what: &'static str, zone_name: &str) -> Result<Timestamp, Invalid> {
        let local = match self {
            Self::Exact(at) => return Ok(at),
            Self::Local(local) => local,
        };
        let zone = zone::find(zone_name).map_err(|mistake| Invalid::new("zone", mistake.to_string()))?;
        let at = Moment::Local(local).resolve(&zone);
        at.map_err(|_| Invalid::new(what, "is out of range; use the years -9998 to 9998"))
    }
}

impl Form {
    /// The definition. [`Schedule::check`] checks the rest.
    pub(crate) fn schedule(self, name: &str) -> Result<Schedule, Invalid> {
        let zone = self.zone.unwrap_or_else(|| ZONE_DEFAULT.to_owned());
        let bound = |what, at: Option<Bound>| at.map(|at| at.resolve(what, &zone)).transpose();
        let (starts_at, ends_at) = (bound("starts_at", self.starts_at)?, bound("ends_at", self.ends_at)?);
        let defaults = ScheduledJob::new(self.kind, self.args.unwrap_or_else(Json::null));
        let job = ScheduledJob {
            queue: self.queue.unwrap_or(defaults.queue),
            lane: self.lane,
            priority: self.priority.unwrap_or(defaults.priority),
            expire_after: self.expire_after,
            max_attempts: self.max_attempts,
            tags: self.tags,
            extras: Extras { timeout: self.timeout, retry: self.retry, meta: self.meta, ..defaults.extras },
            ..defaults
        };
        let policies = Policies {
            overlap: self.overlap.unwrap_or_default(),
            catch_up: self.catch_up.unwrap_or_default(),
            dst: self.dst.unwrap_or_default(),
            on_failure: self.on_failure.unwrap_or_default(),
            deadman: self.deadman,
        };
        // The first spec is replaced at once: `new` sets what this form does not name.
        let made = Schedule::new(name, Spec::At(Vec::new()), job);
        Ok(Schedule {
            specs: self.when,
            except: self.except,
            zone,
            starts_at,
            ends_at,
            jitter: self.jitter.unwrap_or_default(),
            max_runs: self.max_runs,
            frequent: self.frequent,
            paused: self.paused,
            policies,
            notify: self.notify,
            ..made
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_without_choices_is_a_schedule_with_the_defaults() {
        let spec: Spec = "0 2 * * *".parse().expect("a spec");
        let form = Form { when: vec![spec.clone()], kind: "report".into(), ..Form::default() };
        let plain = Schedule::new("nightly", spec, ScheduledJob::new("report", Json::null()));
        assert_eq!(form.schedule("nightly").expect("a schedule"), plain);
    }

    #[test]
    fn a_start_without_an_offset_is_in_the_zone_of_the_schedule() {
        let of = |text: &str| {
            let form = Form {
                zone: Some("Europe/Oslo".into()),
                starts_at: Some(bound(text).expect(text)),
                ..Form::default()
            };
            form.schedule("s").expect(text).starts_at.map(|at| at.to_string())
        };
        assert_eq!(of("2026-12-24T18:00").as_deref(), Some("2026-12-24T17:00:00Z"));
        assert_eq!(of("2026-12-24").as_deref(), Some("2026-12-23T23:00:00Z"));
        assert_eq!(of("2026-12-24T18:00:00Z").as_deref(), Some("2026-12-24T18:00:00Z"));
        assert_eq!(of("2026-12-24T18:00:00-05:00").as_deref(), Some("2026-12-24T23:00:00Z"));
    }

    #[test]
    fn moments_beyond_the_calendar_are_refused() {
        for text in ["10000-01-01T00:00:00Z", "-10000-01-01T00:00:00Z", "2026-13-01", "tomorrow", ""] {
            assert!(bound(text).is_err(), "{text}");
        }
        let edge = Form {
            ends_at: bound("9999-12-31T23:59:59").ok(),
            zone: Some("Pacific/Honolulu".into()),
            ..Form::default()
        };
        let refused = edge.schedule("s").expect_err("out of range");
        assert!(refused.to_string().contains("-9998 to 9998"), "{refused}");
    }
}
