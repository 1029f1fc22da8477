//! Runs a list of steps in order, announces each and times it, and stops at the first that fails.

use std::time::Duration;

use crate::clock::Stopwatch;
use crate::failure::Failure;
use crate::say;
use crate::servers::Servers;
use crate::system::Repository;

pub(crate) struct Step {
    /// One word: what a failure is reported under.
    pub(crate) name: &'static str,
    /// What it does, in the words of its announcement.
    pub(crate) what: &'static str,
    pub(crate) run: fn(&Repository, &mut Servers) -> Result<Ended, Failure>,
}

/// How a step ended that did not fail.
pub(crate) enum Ended {
    Passed,
    /// It could not run here and is not a test; the words say why and how to have it run.
    NotRun(String),
}

/// Prints the summary as its last line. The last step announces no end of its own: what it printed (the test
/// runner's closing lines) then stands directly above the summary, where a reader and a build server's log look.
pub(crate) fn run_all(task: &str, steps: &[Step], repository: &Repository) -> Result<(), Failure> {
    let mut servers = Servers::default();
    let mut summary = Summary::default();
    for (index, step) in steps.iter().enumerate() {
        let place = format!("[{}/{}] {}", index + 1, steps.len(), step.name);
        say::line(&format!("{place}: {}", step.what));
        let stopwatch = Stopwatch::start();
        let ended = (step.run)(repository, &mut servers)
            .map_err(|failure| Failure { step: Some(step.name), ..failure })?;
        let took = stopwatch.elapsed();
        if index + 1 < steps.len() {
            say::line(&format!("{place}: {}", ending(&ended, took)));
        }
        summary.add(step.name, ended, took);
    }
    let tested_on = servers.tested_on.join("; ");
    // Before the summary, so that nothing can happen after "passed" has been said.
    drop(servers);
    if !tested_on.is_empty() {
        say::line(&format!("xtask {task}: PostgreSQL {tested_on}"));
    }
    say::line(&summary.text(task));
    Ok(())
}

fn ending(ended: &Ended, took: Duration) -> String {
    match ended {
        Ended::Passed => format!("passed in {}", seconds(took)),
        Ended::NotRun(why) => format!("NOT RUN: {why}"),
    }
}

#[derive(Default)]
struct Summary {
    passed: Vec<String>,
    not_run: Vec<&'static str>,
}

impl Summary {
    fn add(&mut self, name: &'static str, ended: Ended, took: Duration) {
        match ended {
            Ended::Passed => self.passed.push(format!("{name} {}", seconds(took))),
            Ended::NotRun(_) => self.not_run.push(name),
        }
    }

    fn text(&self, task: &str) -> String {
        let passed = self.passed.join(", ");
        match self.not_run.as_slice() {
            [] => format!("xtask {task}: passed: {passed}"),
            names => format!("xtask {task}: passed: {passed}; not run: {}", names.join(", ")),
        }
    }
}

fn seconds(span: Duration) -> String {
    format!("{:.1} s", span.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_tells_what_was_not_run() {
        let mut summary = Summary::default();
        summary.add("tests", Ended::Passed, Duration::from_millis(1_260));
        summary.add("dependencies", Ended::NotRun("not installed".into()), Duration::ZERO);
        assert_eq!(summary.text("test"), "xtask test: passed: tests 1.3 s; not run: dependencies");
    }
}
