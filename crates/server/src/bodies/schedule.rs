//! A schedule as the API takes and answers it: the fields of the definition, with short forms for expressions.

use std::{fmt, time::Duration};

use backroom::{
    BackfillOptions, Invalid, Json, Timestamp,
    core::schedule::{Policies, Schedule, ScheduledJob, Spec, ZONE_DEFAULT, policy::Dst},
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, MapAccess, Visitor},
};
use utoipa::ToSchema;

use crate::views::{
    preview::NEXT_DEFAULT,
    rows::schedule::{DstSchema, ExpressionSchema, PoliciesSchema, ScheduledJobSchema},
};

/// When a schedule fires: an expression such as `0 2 * * *`, or an object with one field: `cron`, `quartz`, `every`, `calendar`, `rrule`
/// or `at`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum SpecBody {
    /// As people write it.
    Short(String),
    /// As it is stored.
    Whole(Spec),
}

// By hand, and not untagged: the error of an object then names the field that is wrong.
impl<'de> Deserialize<'de> for SpecBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = SpecBody;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "an expression, or an object with one field: cron, quartz, every, calendar, rrule or at",
                )
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SpecBody, E> {
                Ok(SpecBody::Short(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SpecBody, A::Error> {
                let Some(name) = map.next_key::<String>()? else {
                    return Err(A::Error::custom(
                        "a spec has no field; name one of cron, quartz, every, calendar, rrule or at",
                    ));
                };
                let value = serde_json::json!({ name: map.next_value::<serde_json::Value>()? });
                if let Some(other) = map.next_key::<String>()? {
                    return Err(A::Error::custom(format!(
                        "a spec has one field, and this one has `{other}`, too"
                    )));
                }
                serde_json::from_value(value).map(SpecBody::Whole).map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl SpecBody {
    fn spec(self) -> Result<Spec, Invalid> {
        match self {
            Self::Short(text) => text.parse(),
            Self::Whole(spec) => Ok(spec),
        }
    }
}

fn specs(bodies: Vec<SpecBody>) -> Result<Vec<Spec>, Invalid> {
    bodies.into_iter().map(SpecBody::spec).collect()
}

/// A schedule to put. What `GET` answers as `definition` may be put as it is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScheduleBody {
    /// Its name; may be left out, and must be that of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// When it fires: the union of these.
    #[schema(value_type = Vec<ExpressionSchema>, min_items = 1, max_items = 32)]
    specs: Vec<SpecBody>,
    /// When it does not fire although a spec says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<ExpressionSchema>, max_items = 32)]
    except: Vec<SpecBody>,
    /// A name of the IANA time zone database. Default `UTC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "Europe/Oslo")]
    zone: Option<String>,
    /// No occurrence before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    starts_at: Option<Timestamp>,
    /// No occurrence after this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    ends_at: Option<Timestamp>,
    /// Each occurrence is delayed by less than so many milliseconds, always by the same span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jitter_ms: Option<u64>,
    /// It ends after so many runs that the clock started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    max_runs: Option<u64>,
    /// Must be true if it fires more often than every ten seconds.
    #[serde(default)]
    frequent: bool,
    /// It does not fire while this is true. `pause` and `resume` are apart from it.
    #[serde(default)]
    paused: bool,
    /// The choices for overlaps, outages, changes of the offset, and failures.
    #[serde(default)]
    #[schema(value_type = PoliciesSchema)]
    policies: Policies,
    /// A URL that is called back when it is overdue or failing, and when it is well again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notify: Option<String>,
    /// The job of each occurrence.
    #[schema(value_type = ScheduledJobSchema)]
    job: ScheduledJob,
}

impl ScheduleBody {
    /// The body that puts this definition.
    pub(crate) fn new(schedule: &Schedule) -> Self {
        let whole = |specs: &[Spec]| specs.iter().cloned().map(SpecBody::Whole).collect();
        Self {
            name: Some(schedule.name.clone()),
            specs: whole(&schedule.specs),
            except: whole(&schedule.except),
            zone: Some(schedule.zone.clone()),
            starts_at: schedule.starts_at,
            ends_at: schedule.ends_at,
            jitter_ms: Some(u64::try_from(schedule.jitter.as_millis()).unwrap_or(u64::MAX)),
            max_runs: schedule.max_runs,
            frequent: schedule.frequent,
            paused: schedule.paused,
            policies: schedule.policies,
            notify: schedule.notify.clone(),
            job: schedule.job.clone(),
        }
    }

    /// The definition, under this name.
    pub(crate) fn schedule(self, name: &str) -> Result<Schedule, Invalid> {
        if let Some(other) = self.name.filter(|other| other != name) {
            return Err(Invalid::new(
                "schedule name",
                format!("is {other:?} in the body and {name:?} in the path"),
            ));
        }
        Ok(Schedule {
            specs: specs(self.specs)?,
            except: specs(self.except)?,
            zone: self.zone.unwrap_or_else(|| ZONE_DEFAULT.to_owned()),
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            jitter: Duration::from_millis(self.jitter_ms.unwrap_or_default()),
            max_runs: self.max_runs,
            frequent: self.frequent,
            paused: self.paused,
            policies: self.policies,
            notify: self.notify,
            ..Schedule::new(name, Spec::At(Vec::new()), self.job)
        })
    }
}

/// What to preview.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PreviewBody {
    /// As for a schedule.
    #[schema(value_type = Vec<ExpressionSchema>, min_items = 1, max_items = 32)]
    specs: Vec<SpecBody>,
    /// As for a schedule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<ExpressionSchema>, max_items = 32)]
    except: Vec<SpecBody>,
    /// Default `UTC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "Europe/Oslo")]
    zone: Option<String>,
    /// No occurrence before this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    starts_at: Option<Timestamp>,
    /// No occurrence after this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    ends_at: Option<Timestamp>,
    /// What an occurrence does where the offset of the zone changes. Default `once`.
    #[serde(default)]
    #[schema(value_type = Option<DstSchema>)]
    dst: Dst,
    /// From this moment on. Default now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) at: Option<Timestamp>,
    /// How many of the next occurrences. Default 10.
    #[serde(default = "next_default")]
    #[schema(maximum = 1000)]
    pub(crate) next: usize,
    /// How many of the previous occurrences. Default none.
    #[serde(default)]
    #[schema(maximum = 1000)]
    pub(crate) previous: usize,
}

/// What to start instead of what the schedule says.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TriggerBody {
    /// The args of this run, instead of those of the schedule; a template as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub(crate) args: Option<Json>,
}

/// The occurrences to run after the fact.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackfillBody {
    /// No occurrence before this moment.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) from: Timestamp,
    /// No occurrence after this moment, which has passed.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) until: Timestamp,
    /// Only count them.
    #[serde(default)]
    pub(crate) dry_run: bool,
    /// A range with more occurrences than this is refused. Default 1000, at most 100,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 100_000)]
    pub(crate) allow: Option<u64>,
    /// So many of its runs go on at once. Default 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000)]
    pub(crate) at_once: Option<u32>,
}

/// Most occurrences of one backfill that a caller of the API or the command line may allow.
pub(crate) const BACKFILL_MAX: u64 = 100_000;

impl BackfillBody {
    /// As the library takes it.
    pub(crate) fn options(&self) -> Result<BackfillOptions, Invalid> {
        let mut options = BackfillOptions::default();
        if let Some(allow) = self.allow {
            if allow > BACKFILL_MAX {
                let why = format!(
                    "allows {allow} occurrences; at most {BACKFILL_MAX} are possible, so split the range"
                );
                return Err(Invalid::new("backfill", why));
            }
            options = options.allow(allow);
        }
        if let Some(at_once) = self.at_once {
            options = options.at_once(at_once);
        }
        Ok(options)
    }
}

const fn next_default() -> usize {
    NEXT_DEFAULT
}

impl PreviewBody {
    /// The question that a command asks a server.
    pub(crate) fn new(schedule: &Schedule, at: Option<Timestamp>, next: usize, previous: usize) -> Self {
        let whole = |specs: &[Spec]| specs.iter().cloned().map(SpecBody::Whole).collect();
        Self {
            specs: whole(&schedule.specs),
            except: whole(&schedule.except),
            zone: Some(schedule.zone.clone()),
            starts_at: schedule.starts_at,
            ends_at: schedule.ends_at,
            dst: schedule.policies.dst,
            at,
            next,
            previous,
        }
    }

    /// A definition that fires as the one to preview.
    pub(crate) fn schedule(self) -> Result<Schedule, Invalid> {
        let job = ScheduledJob::new("preview", Json::null());
        Ok(Schedule {
            specs: specs(self.specs)?,
            except: specs(self.except)?,
            zone: self.zone.unwrap_or_else(|| ZONE_DEFAULT.to_owned()),
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            policies: Policies { dst: self.dst, ..Policies::default() },
            ..Schedule::new("preview", Spec::At(Vec::new()), job)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_as_it_is_stored_is_a_body_as_it_is() {
        let mut schedule = Schedule::new(
            "nightly",
            "0 2 * * *".parse().expect("a spec"),
            ScheduledJob::new(
                "report",
                Json::parse(r#"{"n":123456789012345678901234567890}"#).expect("JSON"),
            ),
        );
        schedule.jitter = Duration::from_secs(3);
        schedule.policies.deadman = Some(Duration::from_secs(3600));
        schedule.notify = Some("https://example.com/hook".into());
        let text = serde_json::to_string(&schedule).expect("JSON");
        let body: ScheduleBody = serde_json::from_str(&text).expect("a body");
        assert_eq!(body.schedule("nightly").expect("a schedule"), schedule);
        let body: ScheduleBody = serde_json::from_str(&text).expect("a body");
        assert!(body.schedule("other").expect_err("another name").to_string().contains("in the path"));
    }

    #[test]
    fn expressions_may_be_short_and_unknown_fields_are_refused() {
        let body = r#"{"specs":["0 2 * * *",{"every":{"interval_ms":60000}}],"job":{"kind":"k"}}"#;
        let body: ScheduleBody = serde_json::from_str(body).expect("a body");
        let specs = body.schedule("s").expect("a schedule").specs;
        assert_eq!(specs, [Spec::cron("0 2 * * *"), Spec::every(Duration::from_secs(60))]);
        for wrong in [
            r#"{"specs":["@daily"],"job":{"kind":"k"},"zon":"UTC"}"#,
            r#"{"specs":[{"cron":"@daily","zone":"UTC"}],"job":{"kind":"k"}}"#,
            r#"{"specs":["@daily"],"job":{"kind":"k","arg":1}}"#,
            r#"{"specs":["@daily"]}"#,
        ] {
            assert!(serde_json::from_str::<ScheduleBody>(wrong).is_err(), "{wrong}");
        }
    }
}
