//! Finds the settings file and reads what it sets, each with its place.

use std::path::{Path, PathBuf};

use toml_span::{Span, value::ValueInner};

use super::{
    Origin, Wrong,
    keys::KEYS,
    nearest::nearest,
    table::{Key, Shown},
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
}

/// Reads the named file, or else the first that exists of the usual places. Adds what is wrong to `wrong`.
pub(super) fn read(named: Option<&Path>, wrong: &mut Vec<Wrong>) -> FileSettings {
    let usual = || [HERE, MACHINE].into_iter().map(PathBuf::from).find(|path| path.exists());
    let Some(path) = named.map(Path::to_path_buf).or_else(usual) else {
        return FileSettings::default();
    };
    let mut values = Vec::new();
    match text_of(&path) {
        Ok(text) => parse(&path, &text, &mut values, wrong),
        Err(why) => wrong.push(Wrong { place: path.display().to_string(), why }),
    }
    FileSettings { path: Some(path), values }
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

fn parse(path: &Path, text: &str, values: &mut Vec<(&'static str, Raw, Origin)>, wrong: &mut Vec<Wrong>) {
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
        let section: Vec<_> = KEYS.iter().filter(|key| in_section(key, &name.name)).collect();
        let span = value.span;
        match value.take() {
            ValueInner::Table(inner) if !section.is_empty() => {
                for (inner_name, mut value) in inner {
                    let path = format!("{}.{}", name.name, inner_name.name);
                    let span = value.span;
                    let raw = raw(value.take());
                    add(&path, raw, span, inner_name.span, &places, values, wrong);
                }
            }
            _ if !section.is_empty() => {
                let why = format!("`{0}` is a section; write [{0}] and its keys below", name.name);
                wrong.push(Wrong { place: places.name(name.span), why });
            }
            other => add(&name.name, raw(other), span, name.span, &places, values, wrong),
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
            let near = nearest(path, KEYS.iter().map(|key| key.path));
            let remedy = match near {
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

fn raw(value: ValueInner<'_>) -> Raw {
    match value {
        ValueInner::String(text) => Raw::Text(text.into_owned()),
        ValueInner::Integer(number) => Raw::Integer(number),
        ValueInner::Boolean(value) => Raw::Boolean(value),
        ValueInner::Array(items) => Raw::List(items.into_iter().map(|mut item| raw(item.take())).collect()),
        ValueInner::Float(_) => Raw::Other("a fraction"),
        ValueInner::Table(_) => Raw::Other("a table"),
    }
}

/// Whether a file may hold the secret of a key for others to read; the remedy then.
#[cfg(unix)]
pub(super) fn readable_by_all(path: &Path, keys: &[&str]) -> Option<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let secret = KEYS.iter().find(|key| key.shown == Shown::Secret && keys.contains(&key.path))?;
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o004 != 0).then(|| {
        format!(
            "{} holds the secret `{}` and every user can read it; chmod o-r mends that",
            path.display(),
            secret.path
        )
    })
}
