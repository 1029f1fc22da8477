//! `backroom keys`: the keys that seal args and outputs. They are in files; a store or a server never has them.

use std::{collections::BTreeMap, path::PathBuf};

use backroom::{
    Filter,
    sealed::{Key, KeyAlgorithm, KeyFile, KeySet, KeySource as _},
};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::bodies::Select;
use crate::settings::{Need, Settings};
use crate::target::{Selection, Target};
use crate::terminal::{
    Problem, out,
    table::{self, Column, cell},
};

/// Jobs on one page, while all of them are read.
const PAGE: usize = 1000;

/// Make, list and replace the keys that seal args and outputs
///
/// Keys are in a file, a JWK Set (RFC 7517) that only its owner may read. Clients that enqueue sealed kinds and workers that run them
/// get it; a store and a server need no keys. docs/sealed.md describes what is sealed and how keys are replaced.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom keys make payroll                       a key, in keys.json
  backroom keys make --public-private letters      producers get its public part, and cannot open
  backroom keys public --out producers.json
  backroom keys rotate payroll                     new jobs use a new key; old ones still open
  backroom keys needed                             which keys do the jobs of the store still need?
  backroom keys remove payroll.1                   what is sealed with it can never be opened again

With --json: make and rotate answer {\"key\"}, list {\"keys\": [{\"id\", \"algorithm\", \"opens\", \"seals\"}]}, needed {\"keys\": [{\"id\", \
\"live\", \"finished\", \"here\"}]}.")]
pub(crate) struct KeysArgs {
    /// The file with the keys
    #[arg(long, global = true, env = "BACKROOM_KEY_FILE", value_name = "FILE", default_value = "keys.json")]
    file: PathBuf,

    #[command(subcommand)]
    command: KeysCommand,
}

impl KeysArgs {
    /// Whether the command reads a store.
    pub(crate) fn needs_a_store(&self) -> bool {
        matches!(self.command, KeysCommand::Needed)
    }
}

/// What can be done with keys.
#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make the first key of a name; the file is made if it does not exist
    Make {
        /// The name, as kinds are sealed with
        name: String,

        /// Make a pair: its public part seals, only its private part opens
        #[arg(long)]
        public_private: bool,
    },
    /// List the keys of the file, without their secrets
    List,
    /// Make the next key of a name: it seals from now on, and the keys before it still open
    Rotate {
        /// The name
        name: String,
    },
    /// Take a key out of the file: what is sealed with it cannot be opened any more
    Remove {
        /// Its id, such as payroll.1
        id: String,
    },
    /// Write the public parts of the keys, for producers that may seal and must not open
    Public {
        /// The file to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Read all jobs of the store and count which keys they are sealed with
    Needed,
}

#[derive(Serialize)]
struct Made<'a> {
    key: &'a str,
}

#[derive(Serialize)]
struct KeyView<'a> {
    id: &'a str,
    algorithm: &'static str,
    /// Whether it opens; a public part does not.
    opens: bool,
    /// Whether it is the one of its name that seals.
    seals: bool,
}

#[derive(Serialize)]
struct KeyList<'a> {
    keys: Vec<KeyView<'a>>,
}

#[derive(Serialize)]
struct NeededKey {
    id: String,
    /// Jobs that are not finished.
    live: u64,
    /// Jobs that are finished.
    finished: u64,
    /// Whether the file has it and opens with it; none without a file.
    here: Option<bool>,
}

#[derive(Serialize)]
struct NeededKeys {
    keys: Vec<NeededKey>,
}

pub(crate) async fn run(args: KeysArgs, settings: &Settings) -> Result<(), Problem> {
    let file = KeyFile(args.file);
    match args.command {
        KeysCommand::Make { name, public_private } => {
            let mut set = if file.0.exists() { file.load().await? } else { KeySet::new() };
            if let Some(key) = set.current(&name) {
                let why = format!("the {} has the key {}", file.describe(), key.id());
                return Err(Problem::new(format_args!("make the first key {name:?}"), &why)
                    .hint(format!("`backroom keys rotate {name}` makes the next one")));
            }
            let algorithm =
                if public_private { KeyAlgorithm::PublicPrivate } else { KeyAlgorithm::Symmetric };
            make(&file, &mut set, &name, algorithm, settings)
        }
        KeysCommand::Rotate { name } => {
            let mut set = file.load().await?;
            let Some(algorithm) = set.current(&name).map(Key::algorithm) else {
                let why = format!("the {} has no key of this name", file.describe());
                return Err(Problem::new(format_args!("make the next key {name:?}"), &why)
                    .hint("`backroom keys list` lists the keys"));
            };
            make(&file, &mut set, &name, algorithm, settings)
        }
        KeysCommand::List => list(&file.load().await?, settings),
        KeysCommand::Remove { id } => {
            let mut set = file.load().await?;
            if !set.remove(&id) {
                let why = format!("the {} has no key of this id", file.describe());
                return Err(Problem::new(format_args!("remove key {id:?}"), &why)
                    .hint("`backroom keys list` lists the keys"));
            }
            file.write(&set)?;
            if settings.json {
                return out::json(&Made { key: &id }, settings.terminal);
            }
            out::line(format_args!(
                "removed key {id}; copies of the file and running programs may still have it"
            ))
        }
        KeysCommand::Public { out } => {
            let public = file.load().await?.for_producers();
            if public.keys().is_empty() {
                let why = "the file has no pair of a public and a private key";
                return Err(Problem::new("write the public keys", &why)
                    .hint("`backroom keys make --public-private NAME` makes one"));
            }
            KeyFile(out.clone()).write(&public)?;
            if settings.json {
                return list(&public, settings);
            }
            out::line(format_args!("wrote {} public keys to {}", public.keys().len(), out.display()))
        }
        KeysCommand::Needed => {
            let set = if file.0.exists() { Some(file.load().await?) } else { None };
            let found = settings.with_target(Need::Read, async |target| needed(target).await).await?;
            show_needed(found, set.as_ref(), settings)
        }
    }
}

fn make(
    file: &KeyFile,
    set: &mut KeySet,
    name: &str,
    algorithm: KeyAlgorithm,
    settings: &Settings,
) -> Result<(), Problem> {
    let id = set.make(name, algorithm)?;
    file.write(set)?;
    if settings.json {
        return out::json(&Made { key: &id }, settings.terminal);
    }
    out::line(format_args!("made key {id} in the {}", file.describe()))
}

fn list(set: &KeySet, settings: &Settings) -> Result<(), Problem> {
    let view = |key: &'_ Key| {
        let seals = set.current(key.name()).is_some_and(|current| current.id() == key.id());
        (key.algorithm().name(), key.opens(), seals)
    };
    if settings.json {
        let keys = set.keys().iter().map(|key| {
            let (algorithm, opens, seals) = view(key);
            KeyView { id: key.id(), algorithm, opens, seals }
        });
        return out::json(&KeyList { keys: keys.collect() }, settings.terminal);
    }
    if set.keys().is_empty() {
        return out::line("no keys; `backroom keys make NAME` makes one");
    }
    let columns = [Column::Whole("KEY"), Column::Text("ALGORITHM"), Column::Text("USE")];
    let mut rows = table::table(settings.style(), &columns);
    for key in set.keys() {
        let (algorithm, opens, seals) = view(key);
        let used = match (seals, opens) {
            (true, true) => "seals and opens",
            (true, false) => "seals",
            (false, true) => "opens what was sealed before",
            (false, false) => "replaced",
        };
        rows.add_row(vec![cell(key.id()), cell(algorithm), cell(used)]);
    }
    table::show(&rows)
}

/// How many live and finished jobs are sealed with each key.
async fn needed(target: &Target) -> Result<BTreeMap<String, (u64, u64)>, Problem> {
    let all = Selection { filter: Filter::default(), asked: Select::default() };
    let (mut found, mut before) = (BTreeMap::<String, (u64, u64)>::new(), None);
    loop {
        let page = target.list(&all, before, PAGE).await?;
        for view in &page.jobs {
            let job = &view.job;
            let texts = [
                Some(job.args.as_str()),
                job.output.as_ref().map(backroom::Json::as_str),
                job.reason.as_deref(),
            ];
            let mut keys: Vec<_> =
                texts.into_iter().flatten().filter_map(backroom::core::sealed::key_id).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                let (live, finished) = found.entry(key).or_default();
                *(if job.state.is_finished() { finished } else { live }) += 1;
            }
        }
        match page.next {
            Some(next) => before = Some(next),
            None => return Ok(found),
        }
    }
}

fn show_needed(
    found: BTreeMap<String, (u64, u64)>,
    set: Option<&KeySet>,
    settings: &Settings,
) -> Result<(), Problem> {
    let is_here = |id: &str| set.map(|set| set.get(id).is_some_and(Key::opens));
    let keys: Vec<_> = found
        .into_iter()
        .map(|(id, (live, finished))| NeededKey { here: is_here(&id), id, live, finished })
        .collect();
    if settings.json {
        return out::json(&NeededKeys { keys }, settings.terminal);
    }
    if keys.is_empty() {
        return out::line("no job of the store is sealed");
    }
    let columns = [
        Column::Whole("KEY"),
        Column::Number("LIVE"),
        Column::Number("FINISHED"),
        Column::Text("IN THE FILE"),
    ];
    let mut rows = table::table(settings.style(), &columns);
    for key in &keys {
        let here = match key.here {
            Some(true) => "yes",
            Some(false) => "no",
            None => "there is no file",
        };
        rows.add_row(vec![
            cell(key.id.clone()),
            cell(key.live.to_string()),
            cell(key.finished.to_string()),
            cell(here),
        ]);
    }
    table::show(&rows)
}
