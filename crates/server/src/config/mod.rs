//! The settings of the server, and where each came from.
//!
//! They come from `backroom.toml`, variables and flags, the later ones stronger. [`load`] reads all of them and reports all that
//! is wrong at once, each with its place. The list of settings is in [`keys`]; it is the only place that names them.

pub(crate) mod brokers;
pub(crate) mod callbacks;
mod file;
mod flags;
mod keys;
pub(crate) mod kinds;
mod nearest;
pub(crate) mod otel;
#[cfg(test)]
mod page;
pub(crate) mod proxy;
pub(crate) mod schedules;
pub(crate) mod sensitive;
mod table;
mod tables;
#[cfg(feature = "triggers")]
pub(crate) mod triggers;
mod value;

use std::{collections::BTreeMap, fmt, path::PathBuf};

use self::file::FileTable;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::value::Bytes;
pub(crate) use self::{
    flags::SettingFlags,
    keys::{Callbacks, KEYS, Limits, Otel, ProxySettings, ServerSettings, Tls},
    kinds::QueueSlots,
    table::{Key, Table, TableKey, Takes},
    tables::{Kind, TABLES},
    value::Raw,
};
#[cfg(test)]
pub(crate) use self::{tables::SecureQueue, value::Secret};
use crate::terminal::Problem;

/// Where the value of a setting came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nothing set it.
    Default,
    /// A settings file.
    File { path: PathBuf, line: usize, column: usize },
    /// A variable of the environment.
    Variable(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line, column: _ } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

impl Origin {
    /// The place for an error: with the column in a file.
    fn place(&self) -> String {
        match self {
            Self::File { path, line, column } => format!("{}:{line}:{column}", path.display()),
            other => other.to_string(),
        }
    }
}

/// Something that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Where.
    pub(crate) place: String,
    /// What, and the remedy.
    pub(crate) why: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.why)
    }
}

/// The settings in effect.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    /// Their values.
    pub(crate) settings: ServerSettings,
    /// The file that was read, if there is one.
    pub(crate) file: Option<PathBuf>,
    pub(crate) origins: BTreeMap<&'static str, Origin>,
    /// Where the tables by name stand, and what they set: sort, name and key; no key for the table itself.
    pub(crate) table_origins: BTreeMap<(&'static str, String, Option<&'static str>), Origin>,
}

#[cfg(any(test, feature = "fuzzing"))]
impl From<ServerSettings> for Loaded {
    /// Settings that came from nowhere.
    fn from(settings: ServerSettings) -> Self {
        Self { settings, file: None, origins: BTreeMap::new(), table_origins: BTreeMap::new() }
    }
}

impl Loaded {
    /// Where the value of a setting came from.
    pub(crate) fn origin(&self, key: &Key) -> &Origin {
        self.origins.get(key.path).unwrap_or(&Origin::Default)
    }

    /// Where the value of a setting of a table by name came from.
    pub(crate) fn table_origin(&self, table: &Table, name: &str, key: &TableKey) -> &Origin {
        let found = self.table_origins.get(&(table.name, name.to_owned(), Some(key.name)));
        found.unwrap_or(&Origin::Default)
    }

    /// The place for an error about a key of a table by name: that of the key, or else that of the table.
    fn place(&self, table: &'static str, name: &str, key: &'static str) -> String {
        let origin = |key| self.table_origins.get(&(table, name.to_owned(), key));
        origin(Some(key)).or_else(|| origin(None)).unwrap_or(&Origin::Default).place()
    }

    /// Whether the file sets a key of a table by name.
    fn is_set(&self, table: &'static str, name: &str, key: &'static str) -> bool {
        self.table_origins.contains_key(&(table, name.to_owned(), Some(key)))
    }

    /// An error about a key of a table by name: the end of "the setting …", with its remedy.
    fn wrong(&self, table: &'static str, name: &str, key: &'static str, why: impl fmt::Display) -> Wrong {
        Wrong { place: self.place(table, name, key), why: format!("`{table}.{name}.{key}` {why}") }
    }
}

/// What the environment and the command line say: an argument, so that a reload and a test can say the same again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given {
    /// The settings file, where it is named.
    pub(crate) config: Option<PathBuf>,
    /// The variables of the environment.
    pub(crate) variables: BTreeMap<String, String>,
    /// Values of flags, by the path of their key.
    pub(crate) flags: Vec<(&'static str, Raw)>,
}

/// Reads all settings. Fails with everything that is wrong.
pub(crate) fn load(given: &Given) -> Result<Loaded, Vec<Wrong>> {
    let mut wrong = Vec::new();
    let file = file::read(given.config.as_deref(), &mut wrong);
    merge(file, given, wrong)
}

/// The same of the text of a file, without variables and flags.
#[cfg(feature = "fuzzing")]
pub(crate) fn load_text(text: &str) -> Result<Loaded, Vec<Wrong>> {
    let mut wrong = Vec::new();
    let file = file::of_text(text, &mut wrong);
    merge(file, &Given::default(), wrong)
}

/// All settings, with what is wrong in the file.
fn merge(file: file::FileSettings, given: &Given, mut wrong: Vec<Wrong>) -> Result<Loaded, Vec<Wrong>> {
    let mut loaded = Loaded {
        settings: defaults(),
        file: file.path.clone(),
        origins: BTreeMap::new(),
        table_origins: BTreeMap::new(),
    };
    for key in KEYS {
        // The weakest first: each one replaces the value before it, and all of them must be right.
        let of_file = file.values.iter().filter(|(path, ..)| *path == key.path);
        let of_file = of_file.map(|(_, raw, origin)| (raw.clone(), origin.clone()));
        let variable = key.variable();
        let of_variable = given.variables.get(&variable).filter(|text| !text.is_empty());
        let of_variable =
            of_variable.map(|text| (Raw::Text(text.clone()), Origin::Variable(variable.clone())));
        let of_flag = given.flags.iter().filter(|(path, _)| *path == key.path);
        let of_flag = of_flag.map(|(_, raw)| (raw.clone(), Origin::Flag(key.flag())));
        for (raw, origin) in of_file.chain(of_variable).chain(of_flag) {
            match (key.set)(&mut loaded.settings, &raw) {
                Ok(()) => drop(loaded.origins.insert(key.path, origin)),
                Err(why) => wrong.push(Wrong { place: origin.place(), why: format!("`{}` {why}", key.path) }),
            }
        }
    }
    for table in &file.tables {
        read_table(&mut loaded, table, &mut wrong);
    }
    check(&loaded, &given.variables, &mut wrong);
    kinds::check(&loaded, &mut wrong);
    brokers::check(&loaded, &mut wrong);
    #[cfg(feature = "triggers")]
    triggers::check(&loaded, &mut wrong);
    #[cfg(not(feature = "triggers"))]
    for name in loaded.settings.triggers.keys() {
        let why = "needs a program that was built with the feature `triggers`";
        wrong.push(loaded.wrong("triggers", name, "type", why));
    }
    schedules::check(&loaded, &mut wrong);
    #[cfg(unix)]
    if let Some(path) = &loaded.file
        && let Some(why) = file::readable_by_all(path, &file)
    {
        wrong.push(Wrong { place: path.display().to_string(), why });
    }
    if wrong.is_empty() { Ok(loaded) } else { Err(wrong) }
}

/// Reads one table by name.
fn read_table(loaded: &mut Loaded, found: &FileTable, wrong: &mut Vec<Wrong>) {
    let table = &TABLES[found.of];
    (table.add)(&mut loaded.settings, &found.name);
    loaded.table_origins.insert((table.name, found.name.clone(), None), found.origin.clone());
    for (key, raw, origin) in &found.values {
        let key = &table.keys[*key];
        match (key.set)(&mut loaded.settings, &found.name, raw) {
            Ok(()) => {
                let place = (table.name, found.name.clone(), Some(key.name));
                loaded.table_origins.insert(place, origin.clone());
            }
            Err(why) => {
                let why = format!("`{}.{}.{}` {why}", table.name, found.name, key.name);
                wrong.push(Wrong { place: origin.place(), why });
            }
        }
    }
}

/// Every setting with its default.
pub(crate) fn defaults() -> ServerSettings {
    let mut settings = ServerSettings::default();
    for key in KEYS {
        (key.set)(&mut settings, &Raw::Text(key.default.into()))
            .expect("invariant: a test reads every default");
    }
    settings
}

/// What must hold between settings, and for the files that they name.
fn check(loaded: &Loaded, variables: &BTreeMap<String, String>, wrong: &mut Vec<Wrong>) {
    let place = |path: &str| {
        let key = KEYS.iter().find(|key| key.path == path).expect("invariant: a setting of the table");
        loaded.origin(key).place()
    };
    let tls = &loaded.settings.tls;
    for (path, file) in [("tls.certificate", &tls.certificate), ("tls.key", &tls.key)] {
        if let Some(file) = file
            && let Err(error) = std::fs::File::open(file)
        {
            let why = format!("`{path}` names the file {}, which cannot be read: {error}", file.display());
            wrong.push(Wrong { place: place(path), why });
        }
    }
    match (&tls.certificate, &tls.key) {
        (Some(_), None) => wrong.push(Wrong {
            place: place("tls.certificate"),
            why: "`tls.certificate` needs `tls.key`, the file with its private key".into(),
        }),
        (None, Some(_)) => wrong.push(Wrong {
            place: place("tls.key"),
            why: "`tls.key` needs `tls.certificate`, the file with the certificate".into(),
        }),
        (Some(_), Some(_)) | (None, None) => {}
    }
    if loaded.settings.callbacks.send
        && let Err((key, why)) = callbacks::options(&loaded.settings.callbacks)
    {
        wrong.push(Wrong { place: place(key), why: format!("`{key}` {why}") });
    }
    for (key, why) in proxy::wrong(&loaded.settings.proxy) {
        wrong.push(Wrong { place: place(key), why: format!("`{key}` {why}") });
    }
    sensitive::check(loaded, place, wrong);
    otel::check(&loaded.settings, variables, place, wrong);
    if loaded.settings.listen.is_empty() {
        let why = "`listen` names no address; write one such as \"127.0.0.1:8080\"".into();
        wrong.push(Wrong { place: place("listen"), why });
    }
}

/// All that is wrong as one error.
pub(crate) fn problem(wrong: &[Wrong]) -> Problem {
    let listed: Vec<_> = wrong.iter().map(ToString::to_string).collect();
    Problem::new(
        format_args!("read the settings: {} wrong", if wrong.len() == 1 { "one is".into() } else { format!("{} are", wrong.len()) }),
        &format_args!("\n{}", listed.join("\n")),
    )
    .hint("docs/settings.md lists every setting; `backroom config --check` checks them without starting a server")
}

/// What a reload changes: for each setting that differs, its key.
pub(crate) fn differing<'a>(
    old: &'a ServerSettings,
    new: &'a ServerSettings,
) -> impl Iterator<Item = &'static Key> + 'a {
    KEYS.iter().filter(|key| (key.text)(old) != (key.text)(new))
}

/// One difference between the tables by name of two settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableChange {
    /// The table, as `kinds.resize`, or its key, as `kinds.resize.folder`.
    pub(crate) path: String,
    /// The old value as it may be shown; none if there was no such table.
    pub(crate) from: Option<String>,
    /// The new value as it may be shown; none if there is no such table any more.
    pub(crate) to: Option<String>,
    /// What the change asks for.
    pub(crate) takes: Takes,
}

/// What a reload changes in the tables by name.
pub(crate) fn differing_tables(old: &ServerSettings, new: &ServerSettings) -> Vec<TableChange> {
    let mut changes = Vec::new();
    for table in TABLES {
        let (before, after) = ((table.names)(old), (table.names)(new));
        let change = |path: String, from, to| TableChange { path, from, to, takes: table.takes };
        for name in before.iter().filter(|name| !after.contains(name)) {
            changes.push(change(format!("{}.{name}", table.name), Some("set".into()), None));
        }
        for name in &after {
            if !before.contains(name) {
                changes.push(change(format!("{}.{name}", table.name), None, Some("set".into())));
                continue;
            }
            for key in table.keys.iter().filter(|key| (key.text)(old, name) != (key.text)(new, name)) {
                let path = format!("{}.{name}.{}", table.name, key.name);
                changes.push(change(path, Some(key.show(old, name)), Some(key.show(new, name))));
            }
        }
    }
    changes
}

/// The new settings, but with the old values of what needs a restart.
pub(crate) fn reloaded(old: &ServerSettings, new: &ServerSettings) -> ServerSettings {
    let mut merged = new.clone();
    for key in KEYS.iter().filter(|key| key.takes == Takes::Restart) {
        (key.set)(&mut merged, &Raw::Text((key.text)(old)))
            .expect("invariant: a value is read from the text that it shows");
    }
    for table in TABLES.iter().filter(|table| table.takes == Takes::Restart) {
        (table.copy)(&mut merged, old);
    }
    merged
}

/// The variables of the environment that begin with ours, or with those of OpenTelemetry.
pub(crate) fn variables() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .filter(|(name, _)| name.starts_with("BACKROOM_") || name.starts_with("OTEL_"))
        .collect()
}

/// Variables that begin with ours and set nothing, with the name that may be meant. They are reported, not refused: the
/// environment of a container holds variables such as `BACKROOM_PORT` that an orchestrator put there.
pub(crate) fn unknown_variables(given: &Given) -> Vec<Wrong> {
    /// Variables that are no settings.
    const OTHERS: [&str; 5] =
        ["BACKROOM_CONFIG", "BACKROOM_LOG", "BACKROOM_SERVER", "BACKROOM_TOKEN", "BACKROOM_TOKEN_FILE"];
    let known: Vec<String> = KEYS.iter().map(Key::variable).collect();
    let ours = given.variables.keys().filter(|name| name.starts_with("BACKROOM_"));
    let unknown = ours.filter(|name| !known.contains(name) && !OTHERS.contains(&name.as_str()));
    unknown
        .map(|name| {
            let near = nearest::nearest(name, known.iter().map(String::as_str));
            let remedy = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            Wrong { place: format!("variable {name}"), why: format!("it sets nothing{remedy}") }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_read_and_shown_as_it_is_written() {
        let settings = defaults();
        for key in KEYS {
            let shown = (key.text)(&settings);
            let mut again = ServerSettings::default();
            (key.set)(&mut again, &Raw::Text(shown.clone()))
                .unwrap_or_else(|why| panic!("{}: {why}", key.path));
            assert_eq!((key.text)(&again), shown, "{}", key.path);
            assert!(key.described().ends_with('.'), "{} is not described in a sentence", key.path);
        }
    }

    #[test]
    fn every_default_of_a_table_by_name_is_read_and_shown_as_it_is_written() {
        let mut settings = defaults();
        for table in TABLES {
            (table.add)(&mut settings, "one");
            for key in table.keys {
                let shown = (key.text)(&settings, "one");
                (key.set)(&mut settings, "one", &Raw::Text(shown.clone()))
                    .unwrap_or_else(|why| panic!("{}.{}: {why}", table.name, key.name));
                assert_eq!((key.text)(&settings, "one"), shown, "{}.{}", table.name, key.name);
                let described = key.doc.concat();
                assert!(described.trim_end().ends_with('.'), "{} is not described in a sentence", key.name);
            }
        }
    }

    #[test]
    fn a_reload_says_which_tables_came_and_went_and_which_of_their_keys_changed() {
        let kinds = TABLES.iter().find(|table| table.name == "kinds").expect("the kinds");
        let (mut old, mut new) = (defaults(), defaults());
        for (settings, names) in [(&mut old, ["gone", "same"]), (&mut new, ["came", "same"])] {
            for name in names {
                (kinds.add)(settings, name);
            }
        }
        let folder = kinds.keys.iter().find(|key| key.name == "folder").expect("a folder");
        (folder.set)(&mut new, "same", &Raw::Text("/srv".into())).expect("a path");
        let changes: Vec<_> = differing_tables(&old, &new)
            .into_iter()
            .map(|change| (change.path, change.from, change.to))
            .collect();
        let set = || Some("set".to_owned());
        assert_eq!(
            changes,
            [
                ("kinds.gone".to_owned(), set(), None),
                ("kinds.came".to_owned(), None, set()),
                ("kinds.same.folder".to_owned(), Some(String::new()), Some("/srv".to_owned())),
            ]
        );
    }

    #[test]
    fn no_two_settings_share_a_variable_or_a_flag() {
        let variables: std::collections::BTreeSet<_> = KEYS.iter().map(Key::variable).collect();
        let flags: std::collections::BTreeSet<_> = KEYS.iter().map(Key::flag).collect();
        assert_eq!((variables.len(), flags.len()), (KEYS.len(), KEYS.len()));
    }

    #[test]
    fn a_reload_takes_what_may_change_and_leaves_what_needs_a_restart() {
        let old = defaults();
        let mut new = old.clone();
        new.store = "sqlite:other.db".into();
        new.drain = std::time::Duration::from_secs(1);
        let paths: Vec<_> = differing(&old, &new).map(|key| key.path).collect();
        assert_eq!(paths, ["store", "drain"]);
        let merged = reloaded(&old, &new);
        assert_eq!((merged.store.as_str(), merged.drain), ("sqlite:backroom.db", new.drain));
    }
}
