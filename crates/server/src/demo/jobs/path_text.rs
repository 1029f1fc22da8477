//! A path in a job's args.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// A path as JSON: text where it is text, so that people can read it in `backroom job`; else the system's own
/// bytes, so that a file with an odd name is not passed by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Spelled", into = "Spelled")]
pub(crate) struct PathText(PathBuf);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Spelled {
    Text(String),
    Raw(OsString),
}

impl PathText {
    pub(crate) fn as_path(&self) -> &Path {
        &self.0
    }
}

impl From<&Path> for PathText {
    fn from(path: &Path) -> Self {
        Self(path.to_path_buf())
    }
}

impl From<Spelled> for PathText {
    fn from(spelled: Spelled) -> Self {
        Self(match spelled {
            Spelled::Text(text) => text.into(),
            Spelled::Raw(raw) => raw.into(),
        })
    }
}

impl From<PathText> for Spelled {
    fn from(path: PathText) -> Self {
        path.0.into_os_string().into_string().map_or_else(Self::Raw, Self::Text)
    }
}
