//! What tests of triggers share: a store in a folder, and waiting for what it has.

#![allow(dead_code, reason = "most test files use a part of it")]

use std::{path::PathBuf, time::Duration};

use backroom::{Backroom, Filter, JobRow};
use backroom_triggers::{RunningTriggers, Status};
use serde_json::Value;
use tempfile::TempDir;

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        Self { folder }
    }

    pub(crate) fn inbox(&self) -> PathBuf {
        self.folder.path().join("in")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.inbox().join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).unwrap();
        }
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) async fn open(&self) -> Backroom {
        Backroom::open(&format!("sqlite:{}", self.folder.path().join("jobs.db").display())).await.unwrap()
    }
}

/// All jobs, the oldest first.
pub(crate) async fn jobs(backroom: &Backroom) -> Vec<JobRow> {
    let mut all = Vec::new();
    let mut before = None;
    loop {
        let page = backroom.list(Filter::default(), before, 1000).await.unwrap();
        all.extend(page.jobs);
        match page.next {
            Some(next) => before = Some(next),
            None => break,
        }
    }
    all.reverse();
    all
}

/// `event relative` of every job, in order of their text.
pub(crate) async fn events(backroom: &Backroom) -> Vec<String> {
    let mut events: Vec<String> = jobs(backroom).await.iter().map(event).collect();
    events.sort();
    events
}

pub(crate) fn event(job: &JobRow) -> String {
    let args: Value = job.args.decode().unwrap();
    format!("{} {}", args["event"].as_str().unwrap(), args["relative"].as_str().unwrap())
}

/// Waits until what is asked for holds.
pub(crate) async fn until(backroom: &Backroom, what: &str, holds: impl AsyncFn() -> bool) {
    let clock = backroom.clock();
    let begun = clock.monotonic();
    while !holds().await {
        assert!(clock.monotonic() - begun < PATIENCE, "waited for a minute until {what}");
        clock.sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn until_events(backroom: &Backroom, wanted: &[&str]) {
    let found = async || events(backroom).await;
    until(backroom, &format!("there are {wanted:?}"), async || found().await.len() >= wanted.len()).await;
    assert_eq!(found().await, wanted);
}

pub(crate) async fn until_status(
    backroom: &Backroom,
    triggers: &RunningTriggers,
    what: &str,
    holds: impl Fn(&Status) -> bool,
) {
    until(backroom, what, async || triggers.status("in").is_some_and(|status| holds(&status))).await;
}
