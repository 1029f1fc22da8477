//! Workers as processes of their own: this test program again, as one that works.

use std::{
    fs::{File, OpenOptions},
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{
    ended,
    shift::{PROCESS, URL_VARIABLE},
};

/// A worker lets its jobs finish before it ends.
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Crew {
    url: String,
    members: Vec<Option<Child>>,
    folder: tempfile::TempDir,
}

impl Crew {
    pub(crate) fn start(url: &str, members: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut crew = Self { url: url.into(), members: (0..members).map(|_| None).collect(), folder };
        (0..members).for_each(|member| crew.begin(member));
        crew
    }

    /// Starts this member's process.
    pub(crate) fn begin(&mut self, member: usize) {
        assert!(self.members[member].is_none(), "it works already");
        let mut process = Command::new(std::env::current_exe().unwrap());
        process.args([PROCESS, "--exact", "--nocapture"]).env(URL_VARIABLE, &self.url);
        process.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(self.log(member));
        self.members[member] = Some(process.spawn().unwrap());
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self, member: usize) {
        self.check();
        let mut process = self.members[member].take().expect("it works");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// No worker ended by itself.
    pub(crate) fn check(&mut self) {
        for (number, member) in self.members.iter_mut().enumerate() {
            if let Some(status) = member.as_mut().and_then(|process| process.try_wait().unwrap()) {
                panic!("worker {number} ended by itself ({status}); they said:\n{}", self.said().join("\n"));
            }
        }
    }

    /// Ends all in order, and returns every line that any of them logged.
    pub(crate) async fn stop(mut self) -> Vec<String> {
        self.check();
        for process in self.members.iter_mut().flatten() {
            // Its standard input ends, which is the sign.
            drop(process.stdin.take());
        }
        for member in 0..self.members.len() {
            let Some(mut process) = self.members[member].take() else { continue };
            let status = ended("a worker", &mut process, LIMIT).await;
            assert!(status.success(), "a worker ended with {status}; they said:\n{}", self.said().join("\n"));
        }
        self.said()
    }

    fn log(&self, member: usize) -> File {
        let path = self.folder.path().join(member.to_string());
        OpenOptions::new().create(true).append(true).open(path).unwrap()
    }

    fn said(&self) -> Vec<String> {
        let text = |member: usize| {
            std::fs::read_to_string(self.folder.path().join(member.to_string())).unwrap_or_default()
        };
        let lines = (0..self.members.len())
            .map(|member| text(member).lines().map(|line| format!("worker {member}: {line}")).collect());
        lines.collect::<Vec<Vec<String>>>().concat()
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for process in self.members.iter_mut().flatten() {
            _ = process.kill();
            _ = process.wait();
        }
    }
}
