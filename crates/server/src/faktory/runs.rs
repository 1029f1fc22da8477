//! The jobs that workers fetched here and have not finished: by their jid, for which there is no other index.

use std::{collections::HashMap, sync::Arc, time::Duration};

use backroom::{LeaseId, RunKey};

/// Most runs of one worker.
pub(super) const OF_WORKER_MAX: usize = 10_000;
/// Most runs in all.
pub(super) const ALL_MAX: usize = 1_000_000;

/// One job that a worker has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) key: RunKey,
    /// The worker.
    pub(super) wid: Arc<str>,
    /// The reading of the monotonic clock at which its reservation ends.
    pub(super) until: Duration,
    /// Which attempt it is; the first one is 1.
    pub(super) attempt: u32,
    /// What its client chose: attempts after the first one. None for a job that was not pushed by a Faktory client.
    pub(super) retry: Option<i64>,
    /// How many lines of a backtrace are recorded.
    pub(super) backtrace: usize,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// Nearly always one; clients may push two jobs with one jid.
    by_jid: HashMap<String, Vec<Run>>,
    of_worker: HashMap<Arc<str>, usize>,
    count: usize,
}

impl Runs {
    /// Whether a worker may fetch another job.
    pub(super) fn has_place(&self, wid: &str) -> bool {
        self.count < ALL_MAX && self.count_of(wid) < OF_WORKER_MAX
    }

    pub(super) fn add(&mut self, jid: String, run: Run) {
        let runs = self.by_jid.entry(jid).or_default();
        if runs.iter().any(|known| known.key == run.key) {
            return;
        }
        *self.of_worker.entry(Arc::clone(&run.wid)).or_default() += 1;
        self.count += 1;
        runs.push(run);
    }

    /// Takes the run of a jid out: that of this worker before those of others, which may report it over another connection.
    pub(super) fn take(&mut self, jid: &str, wid: Option<&str>) -> Option<Run> {
        let runs = self.by_jid.get_mut(jid)?;
        let own = runs.iter().position(|run| Some(&*run.wid) == wid).unwrap_or(0);
        let run = runs.remove(own);
        if runs.is_empty() {
            self.by_jid.remove(jid);
        }
        self.forget(&run);
        Some(run)
    }

    /// Takes the run of a lease out.
    pub(super) fn drain_one(&mut self, jid: &str, lease: LeaseId) -> Option<Run> {
        let runs = self.by_jid.get_mut(jid)?;
        let at = runs.iter().position(|run| run.key.lease == lease)?;
        let run = runs.remove(at);
        if runs.is_empty() {
            self.by_jid.remove(jid);
        }
        self.forget(&run);
        Some(run)
    }

    /// The run of a jid.
    pub(super) fn get(&self, jid: &str) -> Option<&Run> {
        self.by_jid.get(jid)?.first()
    }

    /// A reservation ends later than it did.
    pub(super) fn extend(&mut self, jid: &str, until: Duration) {
        for run in self.by_jid.get_mut(jid).into_iter().flatten() {
            run.until = run.until.max(until);
        }
    }

    pub(super) fn count_of(&self, wid: &str) -> usize {
        self.of_worker.get(wid).copied().unwrap_or_default()
    }

    /// Takes out what a condition finds.
    pub(super) fn drain(&mut self, mut goes: impl FnMut(&Run) -> bool) -> Vec<(String, Run)> {
        let mut gone = Vec::new();
        self.by_jid.retain(|jid, runs| {
            runs.retain(|run| {
                let goes = goes(run);
                if goes {
                    gone.push((jid.clone(), run.clone()));
                }
                !goes
            });
            !runs.is_empty()
        });
        gone.iter().for_each(|(_, run)| self.forget(run));
        gone
    }

    fn forget(&mut self, run: &Run) {
        self.count -= 1;
        if let Some(count) = self.of_worker.get_mut(&run.wid) {
            *count -= 1;
            if *count == 0 {
                self.of_worker.remove(&run.wid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use backroom::{JobId, LeaseId};

    use super::*;

    fn run(number: u128, wid: &str, until: u64) -> Run {
        let id = uuid::Uuid::from_u128(number);
        Run {
            key: RunKey { job: JobId(id), lease: LeaseId(id) },
            wid: wid.into(),
            until: Duration::from_secs(until),
            attempt: 1,
            retry: None,
            backtrace: 0,
        }
    }

    #[test]
    fn each_run_is_counted_once_and_goes_once() {
        let mut runs = Runs::default();
        for _ in 0..2 {
            runs.add("a".into(), run(1, "w", 10));
        }
        runs.add("a".into(), run(2, "v", 20));
        runs.add("b".into(), run(3, "w", 30));
        assert_eq!((runs.count, runs.count_of("w"), runs.count_of("v")), (3, 2, 1));
        // Two jobs of one jid: each worker finishes its own.
        assert_eq!(runs.take("a", Some("v")), Some(run(2, "v", 20)));
        assert_eq!(
            runs.take("a", Some("v")),
            Some(run(1, "w", 10)),
            "reported over the connection of another"
        );
        assert_eq!(runs.take("a", Some("w")), None);
        runs.extend("b", Duration::from_secs(50));
        runs.extend("b", Duration::from_secs(40));
        let ended = |runs: &mut Runs, now| runs.drain(|run| run.until <= Duration::from_secs(now)).len();
        assert_eq!((ended(&mut runs, 49), ended(&mut runs, 50)), (0, 1));
        assert_eq!((runs.count, runs.of_worker.len(), runs.by_jid.len()), (0, 0, 0));
    }
}
