//! A place with a settings file, and workers that run there.

use std::{fs, process::Command};

use serde_json::Value;

use crate::{
    cli_support::Place,
    serve_support::{PATIENCE, Server},
};

/// A place whose settings file has these lines.
pub(crate) fn place(settings: &str) -> Place {
    let place = Place::new();
    fs::write(place.path("backroom.toml"), settings).unwrap();
    place
}

/// A kind whose jobs `sh` runs.
pub(crate) fn kind(name: &str, script: &str) -> String {
    format!("[kinds.{name}]\ncommand = [\"sh\", \"-c\", '''{script}''']\ngrace = \"1s\"\n")
}

/// A program that runs until the test ends it. What it writes to stderr is read.
pub(crate) struct Working {
    child: std::process::Child,
}

impl Working {
    /// Starts `backroom work`, for a server if one is named.
    pub(crate) fn start(place: &Place, args: &[&str]) -> Self {
        let mut command = place.command();
        command.arg("work").args(args);
        Self::spawn(command)
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let child =
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
        Self { child }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and expects it to end well.
    pub(crate) fn stop(mut self) {
        let ended = Command::new("kill").args(["-s", "TERM", &self.id().to_string()]).status().unwrap();
        assert!(ended.success());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// The job once it has ended.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "another process is waited for, on the machine's clock")]
pub(crate) fn finished(server: &Server, id: &str) -> Value {
    let began = std::time::Instant::now();
    loop {
        let job = server.get(&format!("/v1/jobs/{id}?wait=20s")).json();
        if job["finished_at"].is_string() {
            return job;
        }
        assert!(began.elapsed() < PATIENCE * 2, "it does not end: {job}");
    }
}

#[track_caller]
pub(crate) fn enqueue(server: &Server, body: Value) -> String {
    let answer = server.post("/v1/jobs", &body);
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// Waits until something is so.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "another process is waited for, on the machine's clock")]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE * 2, "waited in vain: {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// How many processes have this text in their command line.
pub(crate) fn processes_with(text: &str) -> usize {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let own = std::process::id().to_string();
    all.filter(|entry| entry.file_name().to_string_lossy() != own)
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(text))
        .count()
}
