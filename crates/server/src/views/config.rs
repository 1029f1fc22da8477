//! The settings of a server that are in effect, and where each came from.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::{KEYS, Loaded, Origin, TABLES};

/// All settings.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Config)]
pub(crate) struct ConfigView {
    /// The settings file that was read; null if there is none.
    pub(crate) file: Option<String>,
    /// Every setting, and of the tables by name what the file sets.
    pub(crate) settings: Vec<SettingView>,
}

/// One setting.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Setting)]
pub(crate) struct SettingView {
    /// Its name in the file, with its section before a dot.
    pub(crate) key: String,
    /// Its value as text. A secret is hidden.
    pub(crate) value: String,
    /// Where the value came from.
    pub(crate) from: FromView,
}

/// Where a value came from.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = SettingFrom)]
pub(crate) struct FromView {
    /// `default`, `file`, `variable` or `flag`.
    pub(crate) place: String,
    /// The file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    /// The line of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
    /// The variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variable: Option<String>,
    /// The flag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) flag: Option<String>,
}

impl FromView {
    fn new(origin: &Origin) -> Self {
        let none = Self { place: "default".into(), file: None, line: None, variable: None, flag: None };
        match origin {
            Origin::Default => none,
            Origin::File { path, line, column: _ } => Self {
                place: "file".into(),
                file: Some(path.display().to_string()),
                line: Some(*line),
                ..none
            },
            Origin::Variable(name) => Self { place: "variable".into(), variable: Some(name.clone()), ..none },
            Origin::Flag(name) => Self { place: "flag".into(), flag: Some(format!("--{name}")), ..none },
        }
    }

    /// The place on one line, for people.
    pub(crate) fn said(&self) -> String {
        match (&self.file, self.line, &self.variable, &self.flag) {
            (Some(file), Some(line), _, _) => format!("{file}:{line}"),
            (_, _, Some(variable), _) => format!("variable {variable}"),
            (_, _, _, Some(flag)) => format!("flag {flag}"),
            _ => self.place.clone(),
        }
    }
}

impl ConfigView {
    pub(crate) fn new(loaded: &Loaded) -> Self {
        let view = |key: String, value: String, origin: &Origin| SettingView {
            key,
            value,
            from: FromView::new(origin),
        };
        let plain =
            KEYS.iter().map(|key| view(key.path.to_owned(), key.show(&loaded.settings), loaded.origin(key)));
        let mut settings: Vec<_> = plain.collect();
        for table in TABLES {
            for name in (table.names)(&loaded.settings) {
                let set = table.keys.iter().filter_map(|key| {
                    let origin = loaded.table_origin(table, &name, key);
                    let path = format!("{}.{name}.{}", table.name, key.name);
                    (*origin != Origin::Default)
                        .then(|| view(path, key.show(&loaded.settings, &name), origin))
                });
                settings.extend(set);
            }
        }
        Self { file: loaded.file.as_ref().map(|file| file.display().to_string()), settings }
    }
}
