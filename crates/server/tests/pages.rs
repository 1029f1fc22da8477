//! Every line of every `sh` block in the README and in `docs/` is run against the real binary, or stands in a table with the
//! reason why it is not.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

mod cli_support;
mod serve_support;

/// The address of the server in the pages. Its lines are run against a server on a free port.
const SERVER: &str = "127.0.0.1:8080";

/// Beginnings of lines that are not run, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("cargo new ", "it needs no test"),
    ("cargo add ", "it asks the registry for a crate that is not published yet"),
    ("cargo run ", "it builds the release; other tests run the commands"),
    ("cargo xtask ", "it is the test command"),
    ("cargo install ", "it builds the release"),
    ("pg_dump ", "it is PostgreSQL's own"),
    ("backroom migrate --store 'postgres", "it names a server that does not exist; postgres_cli.rs runs it"),
    (
        "backroom move --from sqlite:backroom.db --to 'postgres",
        "it names a server that does not exist; postgres_cli.rs runs it",
    ),
];

/// Lines that end with exit code 1, and why.
const ENDS_WITH_1: &[(&str, &str)] = &[("backroom doctor", "no worker is alive that could run the job")];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn pages() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> = docs.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    pages.push(root().join("README.md"));
    pages.sort();
    pages
}

/// The lines of the page's `sh` blocks.
fn commands(page: &str) -> Vec<&str> {
    let mut is_in = false;
    let mut found = Vec::new();
    for line in page.lines() {
        match line.trim_end() {
            "```sh" => is_in = true,
            "```" => is_in = false,
            line if is_in && !line.is_empty() && !line.starts_with('#') => found.push(line),
            _ => {}
        }
    }
    found
}

fn reason<'a>(table: &'a [(&str, &str)], line: &str) -> Option<&'a str> {
    table.iter().find(|(begins, _)| line.starts_with(begins)).map(|(begins, _)| *begins)
}

/// A folder with a store that has one job, in which a page's lines run one after the other.
struct Shell {
    folder: tempfile::TempDir,
    id: String,
    /// What earlier lines of the page put into variables, by `name=$(command)`.
    variables: Vec<(String, String)>,
}

impl Shell {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut shell = Self { folder, id: String::new(), variables: Vec::new() };
        let (code, answer) = shell.run("backroom enqueue send_mail '{\"to\":\"ada\"}' --queue mail --json");
        assert_eq!(code, 0, "{answer}");
        let marker = "\"id\":";
        let from = answer.find(marker).unwrap() + marker.len();
        shell.id = answer[from..].trim_start_matches([' ', '"']).chars().take_while(|c| *c != '"').collect();
        shell
    }

    /// A server over the store.
    fn serve(&self) -> serve_support::Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_backroom"));
        command.args(["serve", "--listen", "127.0.0.1:0"]).current_dir(self.folder.path());
        command.env_remove("BACKROOM_STORE");
        serve_support::Server::spawn(command)
    }

    /// Runs a line, or what stands in `name=$(command)`, and keeps what that prints for the lines after it.
    fn line(&mut self, line: &str) -> (i32, String) {
        let assigned = line.split_once("=$(").and_then(|(name, rest)| Some((name, rest.strip_suffix(')')?)));
        let Some((name, command)) = assigned else { return self.run(line) };
        let (code, said) = self.run(command);
        self.variables.push((name.to_owned(), said.trim_end().to_owned()));
        (code, said)
    }

    /// Exit code, and what the line printed.
    fn run(&self, line: &str) -> (i32, String) {
        let binary = Path::new(env!("CARGO_BIN_EXE_backroom"));
        let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh")
            .args(["-c", line])
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("ID", &self.id)
            .envs(self.variables.iter().cloned())
            .env_remove("BACKROOM_STORE")
            .output()
            .unwrap();
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap_or(-1), text)
    }
}

#[test]
fn every_command_of_the_pages_runs() {
    let (mut used, mut ran) = (BTreeSet::new(), 0);
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        let mut shell = Shell::new();
        let mut server = None;
        for line in commands(&text) {
            let line = &if line.starts_with("curl ") {
                let server = server.get_or_insert_with(|| shell.serve());
                line.replace(SERVER, &server.address.to_string())
            } else {
                line.to_owned()
            };
            if let Some(begins) = reason(NOT_RUN, line) {
                used.insert(begins.to_owned());
                continue;
            }
            assert!(
                ["backroom ", "curl ", "printf "].iter().any(|begins| line.starts_with(begins))
                    || line.contains("=$(backroom "),
                "{}: `{line}` is neither ours nor in the table",
                page.display()
            );
            let (code, said) = shell.line(line);
            let wanted = match reason(ENDS_WITH_1, line) {
                Some(begins) if !said.contains("everything is as it should be") => {
                    used.insert(begins.to_owned());
                    1
                }
                _ => 0,
            };
            assert_eq!(code, wanted, "{}: `{line}` said:\n{said}", page.display());
            ran += 1;
        }
    }
    let unused: Vec<_> = NOT_RUN
        .iter()
        .chain(ENDS_WITH_1)
        .map(|(begins, _)| *begins)
        .filter(|begins| !used.contains(*begins))
        .collect();
    assert!(unused.is_empty(), "no page has a line that begins with {unused:?}");
    assert!(ran >= 20, "only {ran} lines ran");
}

#[test]
fn every_settings_file_of_the_pages_about_schedules_is_valid() {
    let text = std::fs::read_to_string(root().join("docs/schedules.md")).unwrap();
    let mut files = 0;
    for block in text.split("```toml\n").skip(1) {
        let place = cli_support::Place::new();
        std::fs::write(place.path("backroom.toml"), block.split("```").next().unwrap()).unwrap();
        place.run(["config", "--check"]).succeeded();
        files += 1;
    }
    assert!(files > 0, "the page has no settings file");
}
