//! One measurement: a peer's program in a process of its own, asked by environment, answering with a line of JSON,
//! bounded in time.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::install::Installed;
use super::peers::Peer;

/// The batch size at which everybody is compared.
pub(crate) const BATCH: u32 = 1_000;
/// Callers that enqueue single jobs at the same time.
const CALLERS: u32 = 20;
/// Jobs that the workers run at once.
pub(crate) const SLOTS: u32 = 50;
/// Pickups that are timed.
const SAMPLES: u32 = 200;
/// How long a program waits for what does not happen. It then tells how far it came.
const WAIT_LIMIT: Duration = Duration::from_secs(120);
/// How long a program may take in all: one that polls twice a second needs two minutes for its pickups.
const RUN_LIMIT: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// All jobs are enqueued in batches of [`BATCH`], then run.
    Lifecycle,
    /// All jobs are enqueued in larger batches.
    BulkLarge,
    Single,
    Pickup,
}

impl Scenario {
    pub(crate) const ALL: [Self; 4] = [Self::Lifecycle, Self::BulkLarge, Self::Single, Self::Pickup];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lifecycle => "lifecycle",
            Self::BulkLarge => "bulk",
            Self::Single => "single",
            Self::Pickup => "pickup",
        }
    }
}

/// What a program is asked to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) scenario: Scenario,
    pub(crate) jobs: u32,
    pub(crate) batch: u32,
}

impl Request {
    pub(crate) fn of(peer: &Peer, scenario: Scenario, jobs_max: Option<u32>) -> Self {
        let at_most = |jobs: u32| jobs_max.map_or(jobs, |most| jobs.min(most));
        let (jobs, batch) = match scenario {
            Scenario::Lifecycle => (at_most(peer.jobs), BATCH),
            Scenario::BulkLarge => (at_most(peer.jobs), peer.batch_large),
            Scenario::Single => (at_most(peer.singles), 1),
            Scenario::Pickup => (SAMPLES, 1),
        };
        Self { scenario, jobs, batch }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, jobs, batch } = self;
        write!(f, "{}, {jobs} jobs", scenario.name())?;
        if *batch > 1 { write!(f, " in batches of {batch}") } else { Ok(()) }
    }
}

/// Runs the program on the store and answers with the object it printed, or with the reason why there is none. What it
/// says besides goes to a log of its own.
pub(crate) fn run(
    installed: &Installed,
    request: &Request,
    peer: &Peer,
    store: &str,
    work: &Path,
) -> Result<Value, String> {
    let logs = work.join("logs");
    let said = logs.join(format!("{}-{}.log", peer.name, request.scenario.name()));
    let answered = logs.join(format!("{}-{}.json", peer.name, request.scenario.name()));
    let file = |path: &Path| File::create(path).map_err(|error| format!("{}: {error}", path.display()));
    std::fs::create_dir_all(&logs).map_err(|error| format!("{}: {error}", logs.display()))?;

    let mut command = Command::new(&installed.program);
    command.args(&installed.args).stdin(Stdio::null()).stdout(file(&answered)?).stderr(file(&said)?);
    command
        .env("COMPARE_SCENARIO", request.scenario.name())
        .env("COMPARE_STORE", store)
        .env("COMPARE_JOBS", request.jobs.to_string())
        .env("COMPARE_BATCH", request.batch.to_string())
        .env("COMPARE_CALLERS", CALLERS.to_string())
        .env("COMPARE_SLOTS", SLOTS.to_string())
        .env("COMPARE_VARIANT", peer.variant)
        .env("COMPARE_LIMIT_SECS", WAIT_LIMIT.as_secs().to_string());
    let mut child = command.spawn().map_err(|error| format!("its program did not start: {error}"))?;
    let ended = wait(&mut child);
    let text = std::fs::read_to_string(&answered).map_err(|error| format!("its answer: {error}"))?;
    match ended {
        Ok(status) if status.success() => answer(&text),
        Ok(status) => Err(format!("its program ended with {status}: {}", last_line(&said))),
        Err(why) => Err(why),
    }
}

/// Ends it by its number when it takes too long.
fn wait(child: &mut Child) -> Result<std::process::ExitStatus, String> {
    match backroom_testbed::wait_until(RUN_LIMIT, || child.try_wait().transpose()) {
        Some(Ok(status)) => Ok(status),
        Some(Err(error)) => Err(format!("its program could not be waited for: {error}")),
        None => {
            let ended = child.kill().and_then(|()| child.wait());
            let besides = ended.err().map(|error| format!(" (badly: {error})")).unwrap_or_default();
            Err(format!("it was ended after {} s{besides}", RUN_LIMIT.as_secs()))
        }
    }
}

/// The last line is the answer: a library may print something of its own before it.
fn answer(text: &str) -> Result<Value, String> {
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).ok_or("it answered nothing")?;
    match serde_json::from_str(line) {
        Ok(Value::Object(object)) => Ok(Value::Object(object)),
        Ok(_) => Err("its answer is no object".to_owned()),
        Err(error) => Err(format!("its answer is no JSON: {error}")),
    }
}

fn last_line(log: &Path) -> String {
    // The reason is then missing, and the failure is reported all the same.
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::peers::PEERS;
    use super::*;

    #[test]
    fn answer_is_the_last_line() {
        assert_eq!(answer("a banner\n{\"bulk_per_s\": 5}\n\n").unwrap()["bulk_per_s"], 5);
        assert_eq!(answer("").unwrap_err(), "it answered nothing");
        assert_eq!(answer("[]").unwrap_err(), "its answer is no object");
        assert!(answer("done").unwrap_err().starts_with("its answer is no JSON"));
    }

    #[test]
    fn number_of_jobs_is_bounded_and_that_of_samples_is_not() {
        let jobs = |scenario| Request::of(&PEERS[0], scenario, Some(2_000)).jobs;
        assert_eq!(Scenario::ALL.map(jobs), [2_000, 2_000, 2_000, SAMPLES]);
    }
}
