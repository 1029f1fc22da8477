//! The kinds of jobs that the settings define, as the library takes them.

use std::time::Duration;

#[cfg(target_os = "linux")]
use backroom::command::{CommandSpec, Output};
use backroom::{
    EndpointSpec, SigningSecret,
    core::{bounds::check_name, http_url::HttpUrl},
};

use super::{
    Loaded, Wrong,
    tables::Kind,
    value::{Raw, Value},
};
use crate::terminal::Problem;

/// How long a request to an endpoint may take unless its settings say something else.
const ENDPOINT_TIMEOUT: Duration = Duration::from_secs(60);
/// The sort of tables.
const KINDS: &str = "kinds";

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CommandLine(pub(crate) Vec<String>);

impl Value for CommandLine {
    fn expected() -> &'static str {
        "an array of strings, such as [\"python3\", \"resize.py\"]"
    }

    /// JSON, as [`text`](Value::text) writes it.
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let words = serde_json::from_str(text);
        words
            .map(Self)
            .map_err(|_| format!("is a string; write {}, because no shell reads it", Self::expected()))
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        let word = |raw: &Raw| match raw {
            Raw::Text(word) => Ok(word.clone()),
            other => Err(format!("has {}; write {}", other.sort(), Self::expected())),
        };
        match raw {
            Raw::List(words) => words.iter().map(word).collect::<Result<_, _>>().map(Self),
            Raw::Text(text) => Self::parse(text),
            other => Err(format!("is {}; write {}", other.sort(), Self::expected())),
        }
    }

    fn text(&self) -> String {
        if self.0.is_empty() { String::new() } else { serde_json::json!(self.0).to_string() }
    }
}

/// What of a command's stdout is the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum OutputChoice {
    #[default]
    Whole,
    LastLine,
    Text,
    Ignored,
}

impl OutputChoice {
    const ALL: [(Self, &str); 4] = [
        (Self::Whole, "whole"),
        (Self::LastLine, "last-line"),
        (Self::Text, "text"),
        (Self::Ignored, "ignored"),
    ];
}

impl Value for OutputChoice {
    fn expected() -> &'static str {
        "\"whole\" (one JSON value), \"last-line\" (its last line is one), \"text\" or \"ignored\""
    }

    fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|(_, name)| *name == text);
        found.map(|(choice, _)| choice).ok_or_else(|| format!("is {text:?}; write {}", Self::expected()))
    }

    fn text(&self) -> String {
        Self::ALL
            .into_iter()
            .find(|(choice, _)| choice == self)
            .map(|(_, name)| name.into())
            .unwrap_or_default()
    }
}

/// A queue with its slots.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct QueueSlots {
    pub(crate) queue: String,
    pub(crate) slots: u32,
}

/// The slots of a queue that is named without a number.
const SLOTS_DEFAULT: u32 = 10;

impl Value for QueueSlots {
    fn expected() -> &'static str {
        "a queue and its slots, such as \"images=4\""
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (queue, slots) = match text.split_once('=') {
            None => (text, SLOTS_DEFAULT),
            Some((queue, slots)) => {
                let slots = slots.trim().parse().ok().filter(|slots| (1..=100_000).contains(slots));
                let refused =
                    || format!("has no number of slots from 1 to 100000; write {}", Self::expected());
                (queue, slots.ok_or_else(refused)?)
            }
        };
        let queue = queue.trim().to_owned();
        check_name("queue", &queue).map_err(|invalid| invalid.to_string())?;
        Ok(Self { queue, slots })
    }

    fn text(&self) -> String {
        format!("{}={}", self.queue, self.slots)
    }
}

/// What must hold for each kind.
pub(super) fn check(loaded: &Loaded, wrong: &mut Vec<Wrong>) {
    for (name, kind) in &loaded.settings.kinds {
        if let Err(invalid) = check_name("kind", name) {
            wrong.push(Wrong { place: loaded.place(KINDS, name, ""), why: invalid.to_string() });
        }
        if kind.url.is_some() {
            check_endpoint(loaded, name, kind, wrong);
        } else if kind.command.0.first().is_none_or(String::is_empty) {
            let why = "names no program; write one such as [\"python3\", \"resize.py\"]";
            wrong.push(loaded.wrong(KINDS, name, "command", why));
        }
    }
}

/// Keys that mean nothing for an endpoint.
const OF_COMMANDS: [&str; 11] = [
    "command",
    "folder",
    "env",
    "pass_env",
    "user",
    "output",
    "grace",
    "memory",
    "cpu_secs",
    "processes",
    "open_files",
];

fn check_endpoint(loaded: &Loaded, name: &str, kind: &Kind, wrong: &mut Vec<Wrong>) {
    for key in OF_COMMANDS {
        if loaded.is_set(KINDS, name, key) {
            wrong.push(loaded.wrong(
                KINDS,
                name,
                key,
                "is for commands, and this kind has a `url`; remove one of the two",
            ));
        }
    }
    if let Some(url) = &kind.url
        && let Err(invalid) = HttpUrl::parse(url)
    {
        wrong.push(loaded.wrong(KINDS, name, "url", format!("cannot be used: {invalid}")));
    }
    for secret in &kind.secrets {
        if let Err(invalid) = secret.0.parse::<SigningSecret>() {
            wrong.push(loaded.wrong(KINDS, name, "secrets", invalid));
        }
    }
    if kind.secrets.is_empty() && !kind.allow_unsigned {
        let why = "names an endpoint, but there is no secret to sign with; set `secrets`, or `allow_unsigned = true`";
        wrong.push(loaded.wrong(KINDS, name, "url", why));
    }
}

/// The endpoint of a kind, as the library takes it.
pub(crate) fn endpoint(name: &str, kind: &Kind, url: &str, source: &str) -> Result<EndpointSpec, Problem> {
    let mut spec = EndpointSpec::new(url)
        .source(source)
        .timeout(kind.timeout.unwrap_or(ENDPOINT_TIMEOUT))
        .report_within(kind.report_within)
        .snooze(kind.snooze)
        .connections(usize::try_from(kind.connections).unwrap_or(usize::MAX))
        .output_bytes_max(kind.output_bytes.as_usize())
        .breaker(u32::try_from(kind.breaker_failures).unwrap_or(u32::MAX), kind.breaker_pause);
    if kind.allow_unsigned {
        spec = spec.allow_unsigned();
    }
    for secret in &kind.secrets {
        let secret: SigningSecret = secret
            .0
            .parse()
            .map_err(|invalid| Problem::new(format_args!("read the secrets of kind {name:?}"), &invalid))?;
        spec = spec.secret(secret);
    }
    Ok(spec)
}

/// The command of a kind, as the library takes it.
#[cfg(target_os = "linux")]
pub(crate) fn command(kind: &Kind) -> CommandSpec {
    let mut words = kind.command.0.iter();
    let mut spec = CommandSpec::new(words.next().map(String::as_str).unwrap_or_default())
        .arguments(words)
        .pass_env(&kind.pass_env)
        .output(match kind.output {
            OutputChoice::Whole => Output::Whole,
            OutputChoice::LastLine => Output::LastLine,
            OutputChoice::Text => Output::Text,
            OutputChoice::Ignored => Output::Ignored,
        })
        .output_bytes_max(kind.output_bytes.as_usize())
        .grace(kind.grace)
        .snooze(kind.snooze);
    if let Some(folder) = &kind.folder {
        spec = spec.folder(folder);
    }
    if let Some(timeout) = kind.timeout {
        spec = spec.timeout(timeout);
    }
    if let Some(user) = &kind.user {
        spec = spec.user(user);
    }
    if let Some(cgroup) = &kind.cgroup {
        spec = spec.cgroup(cgroup);
    }
    for (name, value) in &kind.env.0 {
        spec = spec.env(name, value);
    }
    if let Some(bytes) = &kind.memory {
        spec = spec.memory_max(bytes.0);
    }
    if let Some(secs) = kind.cpu_secs {
        spec = spec.cpu_secs_max(secs);
    }
    if let Some(processes) = kind.processes {
        spec = spec.processes_max(processes);
    }
    if let Some(files) = kind.open_files {
        spec = spec.open_files_max(files);
    }
    spec
}
