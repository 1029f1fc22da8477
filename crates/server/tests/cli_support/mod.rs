//! Runs the real binary in a folder of its own, on a real SQLite file.

#![allow(
    dead_code,
    reason = "every test file uses its own part; one that used all could not expect any to be dead"
)]

use std::{
    ffi::OsStr,
    io::Write as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// A folder with (perhaps) a `backroom.db` in it.
pub(crate) struct Place {
    dir: tempfile::TempDir,
    /// The store of its commands, where it is not the file.
    store: Option<String>,
}

/// What one run of the binary said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), store: None }
    }

    /// A folder whose commands use this store, because its settings file names it.
    pub(crate) fn of(store: String) -> Self {
        let place = Self { store: Some(store), ..Self::new() };
        let settings = format!("store = {}\n", serde_json::to_string(&place.store()).unwrap());
        std::fs::write(place.path("backroom.toml"), settings).unwrap();
        place
    }

    /// The URL of its store.
    pub(crate) fn store(&self) -> String {
        let file = || format!("sqlite:{}", self.path("backroom.db").display());
        self.store.clone().unwrap_or_else(file)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_backroom"));
        command.current_dir(self.dir.path());
        // Variables of the tests, and of the user who runs them, must not reach the settings.
        for (name, _) in std::env::vars_os() {
            if ["BACKROOM_", "OTEL_"].iter().any(|ours| name.to_string_lossy().starts_with(ours)) {
                command.env_remove(name);
            }
        }
        command.env_remove("NO_COLOR");
        command.stdin(Stdio::null());
        command
    }

    /// Runs `backroom ARGS…`.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Said {
        said(self.command().args(args).output().unwrap())
    }

    /// Runs it with a text on stdin.
    pub(crate) fn run_with(&self, stdin: &[u8], args: &[&str]) -> Said {
        let mut child = self
            .command()
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may have seen enough and be gone before all is written.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        said(child.wait_with_output().unwrap())
    }

    /// Runs it and reads the one JSON document of its answer.
    pub(crate) fn json<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Value {
        let said = said(self.command().args(args).arg("--json").output().unwrap());
        assert_eq!(said.code, 0, "{said:?}");
        said.json()
    }

    /// Enqueues a job and answers with its id.
    pub(crate) fn enqueue(&self, args: &[&str]) -> String {
        let answer = self.json(["enqueue"].iter().chain(args));
        answer["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn job(&self, id: &str) -> Value {
        self.json(["job", id])
    }
}

impl Said {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// It failed as a command (not as a panic), on stderr, in our words, and named `what`.
    #[track_caller]
    pub(crate) fn failed_naming(&self, what: &str) {
        assert_eq!(self.code, 1, "{self:?}");
        assert!(self.err.starts_with("error: failed to "), "{self:?}");
        assert!(self.err.contains(what), "{what:?} is not named: {self:?}");
    }

    /// It was refused as wrong usage and named `what`.
    #[track_caller]
    pub(crate) fn refused_naming(&self, what: &str) {
        assert_eq!(self.code, 2, "{self:?}");
        assert!(self.err.starts_with("error: "), "{self:?}");
        assert!(self.err.contains(what), "{what:?} is not named: {self:?}");
    }

    #[track_caller]
    pub(crate) fn succeeded(&self) -> &Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }
}

pub(crate) fn said(output: Output) -> Said {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let said = Said {
        // A process ended by a signal has no code.
        code: output.status.code().unwrap_or(-1),
        out: text(output.stdout),
        err: text(output.stderr),
    };
    assert!(!said.err.contains("panicked"), "{said:?}");
    said
}
