//! The schedules that the settings define, as the library takes them.

use std::collections::BTreeMap;

use backroom::{
    Invalid, Json, RetryPolicy,
    core::{
        bounds::{JSON_BYTES_MAX, check_name},
        schedule::{
            Schedule, Spec,
            policy::{CatchUp, Dst, OnFailure, Overlap},
            zone,
        },
    },
};

use super::{
    Loaded, Wrong,
    tables::ScheduleTable,
    value::{Raw, Value},
};
use crate::{
    schedules::{
        form::{self, Bound, Form},
        short,
    },
    terminal::now,
};

/// The sort of tables.
const SCHEDULES: &str = "schedules";

/// Expressions that say when a schedule fires: one, or an array. Commas belong to the expressions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Expressions(Vec<String>);

impl Expressions {
    fn specs(&self) -> Result<Vec<Spec>, Invalid> {
        self.0.iter().map(|text| text.parse()).collect()
    }
}

impl Value for Expressions {
    fn expected() -> &'static str {
        "an expression or an array of them: \"0 2 * * *\", \"@daily\", \"every 15m\", \"at 2026-12-24T18:00\", \"quartz 0 0 2 * * ?\" or a \
         recurrence rule"
    }

    /// One expression, or a JSON array as [`text`](Value::text) writes it.
    fn parse(text: &str) -> Result<Self, String> {
        let texts = match text {
            "" => Vec::new(),
            text if text.starts_with('[') => {
                serde_json::from_str(text).map_err(|_| format!("is no array; write {}", Self::expected()))?
            }
            text => vec![text.to_owned()],
        };
        let read = Self(texts);
        read.specs().map_err(|invalid| format!("has a mistake: {invalid}"))?;
        Ok(read)
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        let Raw::List(items) = raw else {
            return match raw {
                Raw::Text(text) => Self::parse(text.trim()),
                other => Err(format!("is {}; write {}", other.sort(), Self::expected())),
            };
        };
        let mut read = Self::default();
        for item in items {
            let Raw::Text(text) = item else {
                return Err(format!("has {}; write {}", item.sort(), Self::expected()));
            };
            read.0.extend(Self::parse(text.trim())?.0);
        }
        Ok(read)
    }

    fn text(&self) -> String {
        match self.0.as_slice() {
            [] => String::new(),
            [one] if !one.starts_with('[') => one.clone(),
            several => serde_json::json!(several).to_string(),
        }
    }
}

/// A name of the IANA time zone database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Zone(String);

impl Value for Zone {
    fn expected() -> &'static str {
        "a name of the IANA time zone database, such as \"Europe/Oslo\""
    }

    fn parse(text: &str) -> Result<Self, String> {
        zone::find(text).map_err(|mistake| mistake.why)?;
        Ok(Self(text.into()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// JSON for the args: a table of TOML, or JSON in a string, which keeps every digit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Args(Json);

impl Default for Args {
    fn default() -> Self {
        Self(Json::null())
    }
}

impl Value for Args {
    fn expected() -> &'static str {
        "a table or an array, such as { day = \"{{nominal | date}}\" }, or JSON in a string"
    }

    fn parse(text: &str) -> Result<Self, String> {
        Json::parse(text)
            .map(Self)
            .map_err(|invalid| format!("is wrong: {invalid}; write {}", Self::expected()))
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        match raw {
            Raw::Text(text) => Self::parse(text),
            other => Json::encode(&serde_json::Value::read(other)?)
                .map(Self)
                .map_err(|invalid| invalid.to_string()),
        }
    }

    fn text(&self) -> String {
        self.0.as_str().to_owned()
    }
}

/// A start or an end.
impl Value for Bound {
    fn expected() -> &'static str {
        "a moment: \"2026-12-24T18:00\" in the schedule's zone, or \"2026-12-24T18:00:00Z\""
    }

    fn parse(text: &str) -> Result<Self, String> {
        form::bound(text)
    }

    fn text(&self) -> String {
        match self {
            Self::Exact(at) => at.to_string(),
            Self::Local(at) => at.to_string(),
        }
    }
}

/// A policy with its short form.
macro_rules! policy {
    ($policy:ty, $expected:literal, $read:path, $text:expr) => {
        impl Value for $policy {
            fn expected() -> &'static str {
                $expected
            }

            fn parse(text: &str) -> Result<Self, String> {
                $read(text)
            }

            fn text(&self) -> String {
                let text: fn(Self) -> String = $text;
                text(*self)
            }
        }
    };
}

policy!(
    Overlap,
    "\"skip\", \"buffer_one\", \"buffer_all N\" (such as \"buffer_all 50\"), \"cancel_other\" or \"allow_all\"",
    short::overlap,
    short::overlap_text
);
policy!(
    CatchUp,
    "\"once\" or \"once WINDOW\" (such as \"once 2h\"), \"all WINDOW\" or \"all WINDOW MAX\" (such as \"all 6h 50\"), or \"none\"",
    short::catch_up,
    short::catch_up_text
);
policy!(Dst, "\"once\" or \"literal\"", short::dst, |dst| match dst {
    Dst::Once => "once".into(),
    Dst::Literal => "literal".into(),
});
policy!(OnFailure, "\"go_on\" or \"pause\"", short::on_failure, |choice| match choice {
    OnFailure::GoOn => "go_on".into(),
    OnFailure::Pause => "pause".into(),
});

/// The waits between attempts.
impl Value for RetryPolicy {
    fn expected() -> &'static str {
        "\"quartic\", \"constant 30s\", \"linear 1m\", \"exponential 10s\" or \"list 1s 10s 1m\"; `cap 1h` and `jitter 20` may follow"
    }

    fn parse(text: &str) -> Result<Self, String> {
        short::retry(text)
    }

    fn text(&self) -> String {
        short::retry_text(self)
    }
}

/// A schedule of the settings as the library takes it.
pub(crate) fn schedule(name: &str, table: &ScheduleTable) -> Result<Schedule, Invalid> {
    let small = |number: Option<u64>| number.map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    let form = Form {
        when: table.when.specs()?,
        except: table.except.specs()?,
        zone: Some(table.zone.0.clone()),
        starts_at: table.starts_at,
        ends_at: table.ends_at,
        jitter: table.jitter,
        max_runs: table.max_runs,
        frequent: table.frequent,
        paused: table.paused,
        overlap: Some(table.overlap),
        catch_up: Some(table.catch_up),
        dst: Some(table.dst),
        on_failure: Some(table.on_failure),
        deadman: table.deadman,
        notify: table.notify.clone(),
        kind: table.kind.clone().unwrap_or_default(),
        args: Some(table.args.0.clone()),
        queue: Some(table.queue.clone()),
        lane: table.lane.clone(),
        priority: Some(table.priority.0),
        expire_after: table.expire_after,
        max_attempts: small(table.max_attempts),
        retry: table.retry.clone(),
        timeout: table.timeout,
        tags: table.tags.clone(),
        meta: table.meta.0.iter().cloned().collect::<BTreeMap<_, _>>(),
    };
    form.schedule(name)
}

/// All schedules of the settings, which [`check`] has accepted.
pub(crate) fn schedules(tables: &BTreeMap<String, ScheduleTable>) -> Result<Vec<Schedule>, Invalid> {
    tables.iter().map(|(name, table)| schedule(name, table)).collect()
}

/// What must hold for each schedule.
pub(super) fn check(loaded: &Loaded, wrong: &mut Vec<Wrong>) {
    for (name, table) in &loaded.settings.schedules {
        // A value that was refused is not there, and what follows from that is no mistake of its own.
        let of_this = format!("`{SCHEDULES}.{name}.");
        if wrong.iter().any(|wrong| wrong.why.starts_with(&of_this)) {
            continue;
        }
        if let Err(invalid) = check_name("schedule name", name) {
            wrong.push(Wrong { place: loaded.place(SCHEDULES, name, ""), why: invalid.to_string() });
        }
        if table.when.0.is_empty() {
            let why = "names no expression; write one such as \"0 2 * * *\"";
            wrong.push(loaded.wrong(SCHEDULES, name, "when", why));
        }
        if table.kind.is_none() {
            let why = "names no kind; write the kind of the jobs that the schedule starts";
            wrong.push(loaded.wrong(SCHEDULES, name, "kind", why));
        }
        if table.when.0.is_empty() || table.kind.is_none() {
            continue;
        }
        let checked = schedule(name, table).and_then(|schedule| schedule.check(now(), JSON_BYTES_MAX));
        if let Err(invalid) = checked {
            let (key, why) = (key_of(invalid.what), format!("has a mistake: {invalid}"));
            wrong.push(loaded.wrong(SCHEDULES, name, key, why));
        }
    }
}

/// The key that sets the part of a schedule that was refused; the expressions, if it is the schedule as a whole.
fn key_of(what: &str) -> &'static str {
    match what {
        "zone" => "zone",
        "starts_at" => "starts_at",
        "ends_at" => "ends_at",
        "jitter" => "jitter",
        "max_runs" => "max_runs",
        "buffer" => "overlap",
        "catch-up" | "catch-up window" => "catch_up",
        "deadman" => "deadman",
        "callback url" => "notify",
        "kind" => "kind",
        "args" | "args template" | "JSON" => "args",
        "queue" => "queue",
        "lane" => "lane",
        "max_attempts" => "max_attempts",
        "retry policy" | "retry cap" | "retry delay" => "retry",
        "timeout" => "timeout",
        "tag" | "tags" => "tags",
        "meta" | "meta key" | "meta value" => "meta",
        _ => "when",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_keep_their_commas_and_are_read_from_the_text_that_they_show() {
        let one = Expressions::read(&Raw::Text("0,30 2 * * *".into())).expect("an expression");
        assert_eq!(one.text(), "0,30 2 * * *");
        let texts = ["0,30 2 * * *", "every 6h"].map(|text| Raw::Text(text.into()));
        let two = Expressions::read(&Raw::List(texts.to_vec())).expect("two expressions");
        assert_eq!(Expressions::parse(&two.text()), Ok(two));
        let refused = Expressions::read(&Raw::Text("every 3 parsecs".into())).expect_err("no span");
        assert!(refused.contains("at character 7"), "{refused}");
    }

    #[test]
    fn args_keep_every_digit_of_a_string_and_are_read_from_a_table() {
        let long = r#"{"n":123456789012345678901234567890}"#;
        assert_eq!(Args::read(&Raw::Text(long.into())).expect("JSON").text(), long);
        let table = Raw::Table(vec![("day".into(), Raw::Text("{{nominal | date}}".into()))]);
        assert_eq!(Args::read(&table).expect("a table").text(), r#"{"day":"{{nominal | date}}"}"#);
        assert!(Args::read(&Raw::Text("{".into())).is_err());
    }
}
