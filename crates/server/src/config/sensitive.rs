//! The settings about what is secret: keys, sealed kinds, hidden fields, and queues for some tokens only.

use std::{collections::HashMap, path::PathBuf};

use backroom::{
    Options, TokenId,
    core::{bounds::check_name, redact::Pointer},
    sealed::{KeyCommand, KeyFile, KeyVariable, Keys},
};

use super::{Loaded, ServerSettings, Wrong};
use crate::terminal::Problem;

/// The sorts of tables.
const SENSITIVE: &str = "sensitive";
const SECURE_QUEUES: &str = "secure_queues";

/// Where keys are read from.
enum Source {
    File(PathBuf),
    Variable(String),
    Command(Vec<String>),
}

impl Source {
    fn parse(text: &str) -> Result<Self, String> {
        let (sort, rest) = text.split_once(':').unwrap_or((text, ""));
        match (sort, rest.trim()) {
            (_, "") => Err("names no source; write file:PATH, env:NAME or command:PROGRAM ARGUMENT…".into()),
            ("file", path) => Ok(Self::File(path.into())),
            ("env", name) => Ok(Self::Variable(name.into())),
            ("command", line) => Ok(Self::Command(line.split_whitespace().map(str::to_owned).collect())),
            (sort, _) => {
                Err(format!("begins with {sort:?}; write file:PATH, env:NAME or command:PROGRAM ARGUMENT…"))
            }
        }
    }

    async fn load(self) -> Result<Keys, backroom::Error> {
        match self {
            Self::File(path) => Keys::load(KeyFile(path)).await,
            Self::Variable(name) => Keys::load(KeyVariable(name)).await,
            Self::Command(line) => Keys::load(KeyCommand(line)).await,
        }
    }
}

/// What must hold for them.
pub(super) fn check(loaded: &Loaded, place: impl Fn(&str) -> String, wrong: &mut Vec<Wrong>) {
    if let Some(keys) = &loaded.settings.keys
        && let Err(why) = Source::parse(keys)
    {
        wrong.push(Wrong { place: place("keys"), why: format!("`keys` {why}") });
    }
    for (name, kind) in &loaded.settings.sensitive {
        if let Err(invalid) = check_name("kind", name) {
            wrong.push(Wrong { place: loaded.place(SENSITIVE, name, ""), why: invalid.to_string() });
        }
        if let Some(key) = &kind.sealed
            && let Err(invalid) = check_name("key name", key)
        {
            wrong.push(loaded.wrong(SENSITIVE, name, "sealed", format!("cannot be used: {invalid}")));
        }
        if let Some(queue) = &kind.queue
            && let Err(invalid) = check_name("queue", queue)
        {
            wrong.push(loaded.wrong(SENSITIVE, name, "queue", format!("cannot be used: {invalid}")));
        }
        for pointer in &kind.hide {
            if let Err(invalid) = pointer.parse::<Pointer>() {
                wrong.push(loaded.wrong(SENSITIVE, name, "hide", format!("cannot be used: {invalid}")));
            }
        }
    }
    for (name, trigger) in &loaded.settings.triggers {
        let sealed =
            |kind: &String| loaded.settings.sensitive.get(kind).is_some_and(|kind| kind.sealed.is_some());
        if loaded.settings.keys.is_none() && trigger.kind.as_ref().is_some_and(sealed) {
            // Every delivery would become a dead letter.
            let why = "is sealed, and this program cannot seal what is delivered; set `keys`, or start a job of another kind whose handler enqueues it";
            wrong.push(loaded.wrong("triggers", name, "kind", why));
        }
    }
    for (name, queue) in &loaded.settings.secure_queues {
        if let Err(invalid) = check_name("queue", name) {
            wrong.push(Wrong { place: loaded.place(SECURE_QUEUES, name, ""), why: invalid.to_string() });
        }
        if queue.tokens.is_empty() {
            let why = "names no token, so no worker could serve the queue; write the id of a token, as `backroom tokens` shows it";
            wrong.push(loaded.wrong(SECURE_QUEUES, name, "tokens", why));
        }
        for token in &queue.tokens {
            if token.parse::<TokenId>().is_err() {
                // A caller with the scope `admin` can make a token of any name.
                let why = format!("has {token:?}; write the id of a token, as `backroom tokens` shows it");
                wrong.push(loaded.wrong(SECURE_QUEUES, name, "tokens", why));
            }
        }
    }
}

/// The queues for some tokens only, each with these tokens.
pub(crate) fn secure_queues(settings: &ServerSettings) -> HashMap<String, Vec<TokenId>> {
    let tokens = |tokens: &[String]| tokens.iter().filter_map(|token| token.parse().ok()).collect();
    settings.secure_queues.iter().map(|(name, queue)| (name.clone(), tokens(&queue.tokens))).collect()
}

/// Which kinds are sealed, which fields are hidden, and which queues are secure. A client with these options refuses jobs of sealed kinds unless their args are
/// sealed, or it has the keys.
pub(crate) fn of_kinds(mut options: Options, settings: &ServerSettings) -> Options {
    for (kind, sensitive) in &settings.sensitive {
        if let Some(key) = &sensitive.sealed {
            options = options.seal_kind(kind, key);
        }
        if let Some(queue) = &sensitive.queue {
            options = options.only_in_queue(kind, queue);
        }
        // Those that are wrong were reported when the settings were read.
        let fields = sensitive.hide.iter().filter_map(|field| field.parse::<Pointer>().ok());
        options = options.hide(kind, fields);
    }
    settings.secure_queues.keys().fold(options, |options, queue| options.secure_queue(queue))
}

/// The same, with the keys of the settings.
pub(crate) async fn with_keys(options: Options, settings: &ServerSettings) -> Result<Options, Problem> {
    let options = of_kinds(options, settings);
    match &settings.keys {
        None => Ok(options),
        Some(text) => {
            let source = Source::parse(text).map_err(|why| Problem::new("read the setting `keys`", &why))?;
            Ok(options.keys(source.load().await?))
        }
    }
}
