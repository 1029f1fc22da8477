//! Finds the settings file and reads what it sets, each with its place.

use std::path::{Path, PathBuf};

use toml_span::{Span, value::ValueInner};

use super::{
    Origin, Wrong,
    keys::KEYS,
    nearest::nearest,
    table::{Key, Shown, Table, TableKey},
    tables::TABLES,
    value::Raw,
};

/// The file in the working directory.
const HERE: &str = "backroom.toml";
/// The file of the machine.
const MACHINE: &str = "/etc/backroom/backroom.toml";
/// Largest settings file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What a file sets.
#[derive(Debug, Default)]
pub(super) struct FileSettings {
    /// The file; none if there is none.
    pub(super) path: Option<PathBuf>,
    /// The key, its value, and its place.
    pub(super) values: Vec<(&'static str, Raw, Origin)>,
    /// The tables by name.
    pub(super) tables: Vec<FileTable>,
}

/// One table by name.
#[derive(Debug)]
pub(super) struct FileTable {
    /// Of which sort it is: the index in [`TABLES`].
    pub(super) of: usize,
    /// Its name.
    pub(super) name: String,
    /// Where its name stands.
    pub(super) origin: Origin,
    /// What it sets: the index of the key in its sort, its value, and its place.
    pub(super) values: Vec<(usize, Raw, Origin)>,
}

/// Reads the named file, or else the first that exists of the usual places. Adds what is wrong to `wrong`.
pub(super) fn read(named: Option<&Path>, wrong: &mut Vec<Wrong>) -> FileSettings {
    let usual = || [HERE, MACHINE].into_iter().map(PathBuf::from).find(|path| path.exists());
    let Some(path) = named.map(Path::to_path_buf).or_else(usual) else {
        return FileSettings::default();
    };
    let mut found = FileSettings::default();
    match text_of(&path) {
        Ok(text) => parse(&path, &text, &mut found, wrong),
        Err(why) => wrong.push(Wrong { place: path.display().to_string(), why }),
    }
    FileSettings { path: Some(path), ..found }
}

/// What a text sets.
#[cfg(feature = "fuzzing")]
pub(super) fn of_text(text: &str, wrong: &mut Vec<Wrong>) -> FileSettings {
    let mut found = FileSettings::default();
    parse(Path::new(HERE), text, &mut found, wrong);
    found
}

fn text_of(path: &Path) -> Result<String, String> {
    let bytes = std::fs::metadata(path)
        .and_then(|found| if found.len() > FILE_BYTES_MAX { Ok(Vec::new()) } else { std::fs::read(path) });
    match bytes {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err("there is no such file; --config and BACKROOM_CONFIG name it".into())
        }
        Err(error) => Err(format!("cannot be read: {error}")),
        Ok(bytes) if bytes.is_empty() && std::fs::metadata(path).is_ok_and(|found| found.len() > 0) => {
            Err("is larger than 1 MiB".into())
        }
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| "is no UTF-8 text".into()),
    }
}

/// Where things stand in a text.
struct Places<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Places<'_> {
    /// Line and column of a byte, from 1.
    fn line_and_column(&self, byte: usize) -> (usize, usize) {
        let before = self.text.get(..byte.min(self.text.len())).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }

    fn name(&self, span: Span) -> String {
        let (line, column) = self.line_and_column(span.start);
        format!("{}:{line}:{column}", self.path.display())
    }

    fn origin(&self, span: Span) -> Origin {
        let (line, column) = self.line_and_column(span.start);
        Origin::File { path: self.path.to_path_buf(), line, column }
    }
}

fn parse(path: &Path, text: &str, found: &mut FileSettings, wrong: &mut Vec<Wrong>) {
    let places = Places { path, text };
    let mut root = match toml_span::parse(text) {
        Ok(root) => root,
        Err(error) => {
            wrong.push(Wrong { place: places.name(error.span), why: format!("is no TOML: {}", error.kind) });
            return;
        }
    };
    let ValueInner::Table(table) = root.take() else { return };
    for (name, mut value) in table {
        if let Some(of) = TABLES.iter().position(|table| table.name == name.name) {
            add_tables(of, value.take(), name.span, &places, found, wrong);
            continue;
        }
        let section: Vec<_> = KEYS.iter().filter(|key| in_section(key, &name.name)).collect();
        let span = value.span;
        match value.take() {
            ValueInner::Table(inner) if !section.is_empty() => {
                for (inner_name, mut value) in inner {
                    let path = format!("{}.{}", name.name, inner_name.name);
                    let span = value.span;
                    let raw = raw(value.take());
                    add(&path, raw, span, inner_name.span, &places, &mut found.values, wrong);
                }
            }
            _ if !section.is_empty() => {
                let why = format!("`{0}` is a section; write [{0}] and its keys below", name.name);
                wrong.push(Wrong { place: places.name(name.span), why });
            }
            other => add(&name.name, raw(other), span, name.span, &places, &mut found.values, wrong),
        }
    }
}

fn in_section(key: &Key, section: &str) -> bool {
    key.path.split_once('.').is_some_and(|(found, _)| found == section)
}

fn add(
    path: &str,
    raw: Raw,
    span: Span,
    name: Span,
    places: &Places<'_>,
    values: &mut Vec<(&'static str, Raw, Origin)>,
    wrong: &mut Vec<Wrong>,
) {
    match KEYS.iter().find(|key| key.path == path) {
        Some(key) => values.push((key.path, raw, places.origin(span))),
        None => {
            let known = KEYS.iter().map(|key| key.path).chain(TABLES.iter().map(|table| table.name));
            let remedy = match nearest(path, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "docs/settings.md and `backroom config` list the keys".into(),
            };
            wrong.push(Wrong {
                place: places.name(name),
                why: format!("there is no setting `{path}`; {remedy}"),
            });
        }
    }
}

/// Adds all tables by name of one sort.
fn add_tables(
    of: usize,
    value: ValueInner<'_>,
    span: Span,
    places: &Places<'_>,
    found: &mut FileSettings,
    wrong: &mut Vec<Wrong>,
) {
    let sort = TABLES[of].name;
    let not_named = format!("`{sort}` needs a name; write [{sort}.NAME] and its keys below");
    let ValueInner::Table(named) = value else {
        wrong.push(Wrong { place: places.name(span), why: not_named });
        return;
    };
    for (name, mut value) in named {
        let ValueInner::Table(keys) = value.take() else {
            let why = match key_of(&TABLES[of], &name.name) {
                Some(_) => not_named.clone(),
                None => format!("`{sort}.{0}` is a table; write [{sort}.{0}] and its keys below", name.name),
            };
            wrong.push(Wrong { place: places.name(name.span), why });
            continue;
        };
        let origin = places.origin(name.span);
        let mut table = FileTable { of, name: name.name.into_owned(), origin, values: Vec::new() };
        for (key, mut value) in keys {
            let span = value.span;
            let raw = raw(value.take());
            match key_of(&TABLES[of], &key.name) {
                Some(index) => table.values.push((index, raw, places.origin(span))),
                None => {
                    let why = no_such_key(&TABLES[of], &table.name, &key.name, &raw);
                    wrong.push(Wrong { place: places.name(key.span), why });
                }
            }
        }
        found.tables.push(table);
    }
}

fn key_of(table: &Table, name: &str) -> Option<usize> {
    table.keys.iter().position(|key| key.name == name)
}

fn no_such_key(table: &Table, name: &str, key: &str, raw: &Raw) -> String {
    let sort = table.name;
    let remedy = match nearest(key, table.keys.iter().map(|key: &TableKey| key.name)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if matches!(raw, Raw::Table(_)) => {
            format!("a name with a dot needs quotes: [{sort}.\"{name}.{key}\"]")
        }
        None => "docs/settings.md lists the keys".into(),
    };
    format!("there is no setting `{key}` in [{sort}.{name}]; {remedy}")
}

fn raw(value: ValueInner<'_>) -> Raw {
    match value {
        ValueInner::String(text) => Raw::Text(text.into_owned()),
        ValueInner::Integer(number) => Raw::Integer(number),
        ValueInner::Boolean(value) => Raw::Boolean(value),
        ValueInner::Array(items) => Raw::List(items.into_iter().map(|mut item| raw(item.take())).collect()),
        ValueInner::Float(number) => Raw::Fraction(number),
        ValueInner::Table(table) => {
            let pair = |(name, mut value): (toml_span::value::Key<'_>, toml_span::Value<'_>)| {
                (name.name.into_owned(), raw(value.take()))
            };
            Raw::Table(table.into_iter().map(pair).collect())
        }
    }
}

/// Whether every user may read a file that holds a secret; the remedy then.
#[cfg(unix)]
pub(super) fn readable_by_all(path: &Path, found: &FileSettings) -> Option<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let secret = secret_of(found)?;
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o004 != 0).then(|| {
        format!(
            "{} holds the secret `{secret}` and every user can read it; chmod o-r mends that",
            path.display(),
        )
    })
}

/// The first secret that is set, by its key.
#[cfg(unix)]
fn secret_of(found: &FileSettings) -> Option<String> {
    let is_secret = |path: &str| KEYS.iter().any(|key| key.path == path && key.shown == Shown::Secret);
    let plain = found.values.iter().find(|(path, ..)| is_secret(path)).map(|(path, ..)| (*path).to_owned());
    plain.or_else(|| {
        found.tables.iter().find_map(|table| {
            let sort = &TABLES[table.of];
            let key = table
                .values
                .iter()
                .map(|(key, ..)| &sort.keys[*key])
                .find(|key| key.shown == Shown::Secret)?;
            Some(format!("{}.{}.{}", sort.name, table.name, key.name))
        })
    })
}
