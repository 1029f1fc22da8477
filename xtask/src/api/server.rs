//! `backroom serve` for the tester: over a SQLite file in a folder of its own, with a token that permits everything.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::failure::Failure;
use crate::system::{self, Repository};

/// What differs from the defaults. Long polls and event streams are to end while the tester waits for their answers.
const FLAGS: [&str; 4] = ["--limits-wait-time", "100ms", "--limits-stream-time", "200ms"];

/// A server that runs. Dropping it ends it and removes its folder.
pub(super) struct Served {
    child: Child,
    url: String,
    token: String,
    folder: PathBuf,
}

impl Served {
    /// Starts the binary that was built.
    pub(super) fn start(repository: &Repository) -> Result<Self, Failure> {
        let binary = repository.target("debug/backroom");
        let folder = repository.target("oracles").join(format!("api/served-{}", std::process::id()));
        let failed = |why: &dyn std::fmt::Display| {
            Failure::new(
                format!("`backroom serve` could not be started for the tester: {why}"),
                "run it by hand",
            )
        };
        std::fs::create_dir_all(&folder).map_err(|error| failed(&error))?;
        let token = backroom(&binary, &folder)
            .args(["tokens", "create", "--scope", "admin", "tester"])
            .stderr(Stdio::null())
            .output()
            .map_err(|error| failed(&error))?;
        let token = String::from_utf8_lossy(&token.stdout).trim().to_owned();
        let mut child = backroom(&binary, &folder)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(FLAGS)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error))?;
        let log = child.stderr.take();
        let mut served = Self { child, url: String::new(), token, folder };
        let mut lines =
            log.map(|log| BufReader::new(log).lines()).ok_or_else(|| failed(&"it has no stderr"))?;
        let listening = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        served.url = listening.ok_or_else(|| failed(&"it ended before it listened"))?;
        let log = served.folder.join("log");
        std::thread::spawn(move || {
            // A server whose stderr is not read would stop. The log is for people who search for a fault.
            let text: String = lines.map_while(Result::ok).map(|line| line + "\n").collect();
            let _ = std::fs::write(log, text);
        });
        Ok(served)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// A folder for what the tester leaves behind.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The document as the server answers with it, in a file.
    pub(super) fn document(&self) -> Result<PathBuf, Failure> {
        let path = self.folder.join("openapi.json");
        let mut curl = Command::new("curl");
        curl.args(["-fsS", "--output"]).arg(&path).arg(format!("{}/openapi.json", self.url));
        system::run(curl, "read what curl says above")?;
        Ok(path)
    }

    /// Whether the server still runs.
    pub(super) fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

fn backroom(binary: &Path, folder: &Path) -> Command {
    let mut command = Command::new(binary);
    // Variables of the user must not reach the settings.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("BACKROOM_")) {
        command.env_remove(name);
    }
    command.current_dir(folder);
    command
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended, and its folder may be gone: then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
