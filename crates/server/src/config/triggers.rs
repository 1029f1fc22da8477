//! The triggers that the settings define, as the library of triggers takes them. A kind of source is a row of [`SOURCES`].

use backroom::core::bounds::check_name;
use backroom_triggers::{
    BodyFormat, Folder, FolderEvent, Mapping, MappingRule, RowEvent, Source, SqliteTable, Symlinks,
    hooks::{Hook, HookSecret, Scheme},
};

use super::{Loaded, Wrong, tables::Trigger, value::Wait};

#[cfg(any(feature = "azure-queue", feature = "objects", feature = "sqs"))]
mod cloud;

/// The sort of tables.
const TRIGGERS: &str = "triggers";

/// What a table becomes.
pub(crate) enum Made {
    /// A source that is read.
    Source(Box<dyn Source>),
    /// An endpoint that other services send requests to.
    Hook(Hook),
}

/// A kind of source.
struct SourceType {
    /// The value of `type`.
    name: &'static str,
    /// The keys that only it reads.
    keys: &'static [&'static str],
    /// Makes it. Fails with the key that is wrong and why.
    make: fn(&Trigger) -> Result<Made, (&'static str, String)>,
}

/// Every kind of source.
static SOURCES: &[SourceType] = &[
    SourceType {
        name: "folder",
        keys: &["path", "recursive", "names", "ignore", "events", "symlinks", "existing", "settle", "rescan"],
        make: folder,
    },
    #[cfg(feature = "postgres")]
    SourceType { name: "postgres", keys: &["url", "table", "operations", "poll"], make: postgres },
    SourceType { name: "sqlite", keys: &["path", "table", "operations", "poll"], make: sqlite },
    #[cfg(feature = "redis")]
    SourceType {
        name: "redis",
        keys: &[
            "url",
            "stream",
            "group",
            "body_field",
            "readers",
            "existing",
            "redeliver_after",
            "dead_letter_stream",
            "delete",
            "ca_file",
        ],
        make: redis,
    },
    #[cfg(feature = "nats")]
    SourceType {
        name: "nats",
        keys: &[
            "url",
            "stream",
            "subject",
            "consumer",
            "readers",
            "existing",
            "redeliver_after",
            "prefetch",
            "ca_file",
        ],
        make: nats,
    },
    #[cfg(feature = "amqp")]
    SourceType { name: "amqp", keys: &["url", "source_queue", "readers", "prefetch", "ca_file"], make: amqp },
    #[cfg(feature = "mqtt")]
    SourceType {
        name: "mqtt",
        keys: &["url", "topics", "client_id", "session_expiry", "prefetch", "ca_file"],
        make: mqtt,
    },
    #[cfg(feature = "objects")]
    SourceType {
        name: "objects",
        keys: &[
            "url",
            "endpoint",
            "region",
            "access_key",
            "secret_key",
            "account_key",
            "sas",
            "ca_file",
            "names",
            "ignore",
            "events",
            "existing",
            "rescan",
        ],
        make: cloud::objects,
    },
    #[cfg(feature = "sqs")]
    SourceType {
        name: "sqs",
        keys: &["url", "region", "access_key", "secret_key", "ca_file", "redeliver_after"],
        make: cloud::sqs,
    },
    #[cfg(feature = "azure-queue")]
    SourceType {
        name: "azure-queue",
        keys: &["url", "account_key", "sas", "ca_file", "encoding", "poll", "redeliver_after"],
        make: cloud::azure_queue,
    },
    SourceType { name: "hook", keys: &["scheme", "secrets", "tolerance"], make: hook },
];

/// The keys that every kind of source has: those of the mapping.
const COMMON: &[&str] = &[
    "type",
    "kind",
    "kinds",
    "queue",
    "lane",
    "priority",
    "delay",
    "timeout",
    "max_attempts",
    "tags",
    "body",
    "pointer",
    "args",
    "filter",
    "unique_for",
    "reply_to",
    "correlation_id",
];

fn folder(trigger: &Trigger) -> Result<Made, (&'static str, String)> {
    let Some(path) = &trigger.path else {
        return Err(("path", "is missing; name the folder".into()));
    };
    let event = |name: &String| {
        let all = [FolderEvent::Created, FolderEvent::Changed, FolderEvent::Removed];
        all.into_iter()
            .find(|event| event.as_str() == name)
            .ok_or_else(|| ("events", format!("has {name:?}; there are created, changed and removed")))
    };
    let events = trigger.events.iter().map(event).collect::<Result<Vec<_>, _>>()?;
    let symlinks = match trigger.symlinks.as_str() {
        "ignore" => Symlinks::Ignore,
        "follow" => Symlinks::Follow,
        other => return Err(("symlinks", format!("is {other:?}; write \"ignore\" or \"follow\""))),
    };
    let folder = Folder::new(path)
        .recursive(trigger.recursive)
        .names(&trigger.names)
        .ignore(&trigger.ignore)
        .events(&events)
        .symlinks(symlinks)
        .existing(trigger.existing)
        .settle(trigger.settle.0)
        .rescan(trigger.rescan);
    Ok(Made::Source(Box::new(folder)))
}

/// The table of a database, and what counts.
fn table(trigger: &Trigger) -> Result<(&str, Vec<RowEvent>), (&'static str, String)> {
    let Some(table) = &trigger.table else {
        return Err(("table", "is missing; name the table whose changes start jobs".into()));
    };
    let event = |name: &String| {
        RowEvent::ALL
            .into_iter()
            .find(|event| event.as_str() == name)
            .ok_or_else(|| ("operations", format!("has {name:?}; there are insert, update and delete")))
    };
    let events = trigger.operations.iter().map(event).collect::<Result<Vec<_>, _>>()?;
    if events.is_empty() {
        return Err(("operations", "is empty; name insert, update or delete".into()));
    }
    Ok((table, events))
}

#[cfg(feature = "postgres")]
fn postgres(trigger: &Trigger) -> Result<Made, (&'static str, String)> {
    let Some(url) = &trigger.url else {
        return Err(("url", "is missing; name the database".into()));
    };
    let (table, events) = table(trigger)?;
    let source = backroom_triggers::PostgresTable::new(url, table).events(&events).poll(trigger.poll);
    Ok(Made::Source(Box::new(source)))
}

fn sqlite(trigger: &Trigger) -> Result<Made, (&'static str, String)> {
    let Some(path) = &trigger.path else {
        return Err(("path", "is missing; name the SQLite file".into()));
    };
    let (table, events) = table(trigger)?;
    let source = SqliteTable::new(path, table).events(&events).poll(trigger.poll);
    Ok(Made::Source(Box::new(source)))
}

/// How many servers read a broker.
#[cfg(any(feature = "amqp", feature = "nats", feature = "redis"))]
fn readers(trigger: &Trigger) -> Result<backroom_triggers::Readers, (&'static str, String)> {
    use backroom_triggers::Readers;
    let known =
        [Readers::One, Readers::Every].into_iter().find(|readers| readers.as_str() == trigger.readers);
    known.ok_or_else(|| ("readers", format!("is {:?}; write \"one\" or \"every\"", trigger.readers)))
}

/// The URL of a broker, with one of these schemes.
#[cfg(any(feature = "amqp", feature = "mqtt", feature = "nats", feature = "redis"))]
fn broker_url<'a>(trigger: &'a Trigger, schemes: &[&str]) -> Result<&'a str, (&'static str, String)> {
    let Some(url) = &trigger.url else {
        return Err((
            "url",
            format!("is missing; name the broker, as {}://USER:PASSWORD@HOST:PORT", schemes.join(":// or ")),
        ));
    };
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    match scheme {
        Some(scheme) if schemes.contains(&scheme) => Ok(url),
        // The URL may have a password.
        _ => Err(("url", format!("does not begin with {}://", schemes.join(":// or ")))),
    }
}

/// A name that a type needs.
#[cfg(any(feature = "amqp", feature = "nats", feature = "redis"))]
fn needed<'a>(
    value: &'a Option<String>,
    key: &'static str,
    what: &str,
) -> Result<&'a str, (&'static str, String)> {
    value.as_deref().ok_or_else(|| (key, format!("is missing; name {what}")))
}

#[cfg(feature = "redis")]
fn redis(trigger: &Trigger) -> Result<Made, (&'static str, String)> {
    let url = broker_url(trigger, &["redis", "rediss"])?;
    let stream = needed(&trigger.stream, "stream", "the stream that is read")?;
    let mut source = backroom_triggers::RedisStream::new(url, stream)
        .group(&trigger.group)
        .body_field(&trigger.body_field)
        .readers(readers(trigger)?)
        .existing(trigger.existing)
        .claim_after(trigger.redeliver_after)
        .delete(trigger.delete);
    if let Some(letters) = &trigger.dead_letter_stream {
        source = source.dead_letters(letters);
    }
    if let Some(path) = &trigger.ca_file {
        source = source.ca_file(path);
    }
    Ok(Made::Source(Box::new(source)))
}

#[cfg(feature = "nats")]
fn nats(trigger: &Trigger) -> Result<Made, (&'static str, String)> {
    let url = broker_url(trigger, &["nats", "tls"])?;
    let stream = needed(&trigger.stream, "stream", "the stream that is read")?;
    let mut source = backroom_triggers::JetStream::new(url, stream)
        .subject(trigger.subject.as_deref().unwrap_or_default())
        .readers(readers(trigger)?)
        .existing(trigger.existing)
        .ack_wait(trigger.redeliver_after)
        .prefetch(prefetch(trigger)?);
    if let Some(consumer) = &trigger.consumer {
        source = source.consumer(consumer);
    }
    if let Some(path) = &trigger.ca_file {
        source = source.ca_file(path);
    }
    Ok(Made::Source(Box::new(source)))
}

#[cfg(feature = "amqp")]
fn amqp(trigger: &Trigger) -> Result<Made, (&'static str, String)> {
    let url = broker_url(trigger, &["amqp", "amqps"])?;
    let queue = needed(&trigger.source_queue, "source_queue", "the queue that is read")?;
    let mut source =
        backroom_triggers::AmqpQueue::new(url, queue).readers(readers(trigger)?).prefetch(prefetch(trigger)?);
    if let Some(path) = &trigger.ca_file {
        source = source.ca_file(path);
    }
    Ok(Made::Source(Box::new(source)))
}

#[cfg(feature = "mqtt")]
fn mqtt(trigger: &Trigger) -> Result<Made, (&'static str, String)> {
    let url = broker_url(trigger, &["mqtt", "mqtts"])?;
    if trigger.topics.is_empty() {
        return Err(("topics", "is missing; name the topics, such as [\"sensors/#\"]".into()));
    }
    let mut source = backroom_triggers::MqttTopics::new(url, &trigger.topics)
        .session_expiry(trigger.session_expiry)
        .prefetch(prefetch(trigger)?);
    if let Some(id) = &trigger.client_id {
        source = source.client_id(id);
    }
    if let Some(path) = &trigger.ca_file {
        source = source.ca_file(path);
    }
    Ok(Made::Source(Box::new(source)))
}

/// How many messages a broker delivers ahead.
#[cfg(any(feature = "amqp", feature = "mqtt", feature = "nats"))]
fn prefetch(trigger: &Trigger) -> Result<usize, (&'static str, String)> {
    match u16::try_from(trigger.prefetch) {
        Ok(messages) if messages > 0 => Ok(usize::from(messages)),
        _ => Err(("prefetch", format!("is {}; allowed are 1 to 65535", trigger.prefetch))),
    }
}

fn hook(trigger: &Trigger) -> Result<Made, (&'static str, String)> {
    let Some(scheme) = &trigger.scheme else {
        return Err((
            "scheme",
            "is missing; name how the sender signs, such as \"github\", or \"none\"".into(),
        ));
    };
    let scheme = Scheme::named(scheme).map_err(|invalid| ("scheme", invalid.why))?;
    let secrets = trigger.secrets.iter().map(|secret| HookSecret::new(scheme, &secret.0));
    let secrets = secrets.collect::<Result<Vec<_>, _>>().map_err(|invalid| ("secrets", invalid.why))?;
    let hook = Hook::new(scheme, secrets).map_err(|invalid| ("secrets", invalid.why))?;
    Ok(Made::Hook(hook.tolerance(trigger.tolerance)))
}

fn rule(trigger: &Trigger) -> Result<MappingRule, (&'static str, String)> {
    let Some(kind) = trigger.kind.clone() else {
        return Err(("kind", "is missing; name the kind of the jobs".into()));
    };
    let body = match trigger.body.as_str() {
        "json" => BodyFormat::Json,
        "text" => BodyFormat::Text,
        "base64" => BodyFormat::Base64,
        other => return Err(("body", format!("is {other:?}; write \"json\", \"text\" or \"base64\""))),
    };
    let args = trigger.args.as_ref().map(backroom::Json::encode).transpose();
    let some = |wait: &Wait| (!wait.0.is_zero()).then_some(wait.0);
    let attempts = trigger.max_attempts.map(|attempts| u32::try_from(attempts).unwrap_or(u32::MAX));
    Ok(MappingRule {
        kind,
        kinds: trigger.kinds.clone(),
        queue: trigger.queue.clone(),
        lane: trigger.lane.clone(),
        priority: trigger.priority.map(|priority| priority.0),
        delay: some(&trigger.delay),
        timeout: trigger.timeout,
        max_attempts: attempts,
        tags: trigger.tags.clone(),
        body,
        pointer: trigger.pointer.clone(),
        args: args.map_err(|invalid| ("args", invalid.why))?,
        filter: trigger.filter.clone(),
        unique_for: Some(trigger.unique_for.0),
        reply_to: trigger.reply_to.clone(),
        correlation_id: Some(trigger.correlation_id.clone()),
    })
}

/// What one table becomes. Fails with the key that is wrong and why; a secret is not repeated.
pub(crate) fn make(trigger: &Trigger) -> Result<(Made, Mapping), (&'static str, String)> {
    let names = || SOURCES.iter().map(|source| source.name).collect::<Vec<_>>().join(", ");
    let Some(kind) = &trigger.r#type else {
        return Err(("type", format!("is missing; there are {}", names())));
    };
    let Some(source) = SOURCES.iter().find(|source| source.name == kind) else {
        return Err(("type", format!("is {kind:?}; there are {}", names())));
    };
    let made = (source.make)(trigger)?;
    let mapping = Mapping::new(rule(trigger)?).map_err(|invalid| {
        let key = COMMON.iter().find(|key| **key == invalid.what);
        (
            *key.unwrap_or(&"kind"),
            format!(
                "{}{}",
                if key.is_some() { "" } else { "gives a job whose " },
                match key {
                    Some(_) => invalid.why,
                    None => invalid.to_string(),
                }
            ),
        )
    })?;
    if let Made::Hook(hook) = &made {
        hook.check_mapping(&mapping).map_err(|invalid| (invalid.what, invalid.why))?;
    }
    Ok((made, mapping))
}

/// What must hold for each trigger.
pub(super) fn check(loaded: &Loaded, wrong: &mut Vec<Wrong>) {
    for (name, trigger) in &loaded.settings.triggers {
        if let Err(invalid) = check_name("trigger", name) {
            wrong.push(Wrong { place: loaded.place(TRIGGERS, name, ""), why: invalid.to_string() });
        }
        if let Err((key, why)) = make(trigger) {
            wrong.push(loaded.wrong(TRIGGERS, name, key, why));
        }
        let Some(kind) = &trigger.r#type else { continue };
        let Some(own) = SOURCES.iter().find(|source| source.name == kind) else { continue };
        let set = loaded.table_origins.keys().filter(|(table, of, _)| *table == TRIGGERS && of == name);
        for key in set.filter_map(|(.., key)| *key) {
            if COMMON.contains(&key) || own.keys.contains(&key) {
                continue;
            }
            let of: Vec<_> = SOURCES
                .iter()
                .filter(|source| source.keys.contains(&key))
                .map(|source| source.name)
                .collect();
            let why =
                format!("is a setting of the type {}, and this trigger has the type {kind}", of.join(" or "));
            wrong.push(loaded.wrong(TRIGGERS, name, key, why));
        }
    }
}
