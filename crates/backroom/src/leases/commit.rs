//! Records the ends of runs of remote workers, in batches, safe to repeat.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use backroom_core::{JobRow, State};

use super::{Leases, RunKey, RunOutcome, claim::waited};
use crate::{
    Ending, Error, ErrorKind,
    ended::Times,
    recorder::{Entry, Verdict},
};

/// Most ends in one call.
const COMMITS_MAX: usize = 1000;

/// The end of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// Which run.
    pub run: RunKey,
    /// In which way it ended.
    pub outcome: RunOutcome,
    /// How long it ran, if the worker says so.
    pub ran: Option<Duration>,
}

/// What became of one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It is recorded, by this call or by an earlier one with the same outcome. The job is in this state now.
    Recorded(State),
    /// It is not recorded: the lease is lost. The job runs elsewhere, is finished or gone.
    Lost,
    /// It is not recorded: another worker has this lease.
    NotYours,
    /// It is not recorded yet: another transaction has locked the row. The caller repeats it.
    Later,
}

impl Leases {
    /// Records the ends of runs, each under its lease and each alone; one answer per commit, in order. Safe to repeat: an end
    /// that is recorded already answers as [`Recorded`](Settled::Recorded) again, and one lease never gets two outcomes.
    ///
    /// `caller` is the worker and its owner; none for a caller that has shown that it has the lease in another way.
    pub async fn commit(
        &self,
        caller: Option<(&str, &str)>,
        commits: Vec<Commit>,
    ) -> Result<Vec<Settled>, Error> {
        if commits.len() > COMMITS_MAX {
            let message = format!(
                "record ends: {} are too many for one call; at most {COMMITS_MAX} are allowed",
                commits.len()
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let is_owner = match caller {
            Some((worker, owner)) => self.is_owner(worker, owner).await?,
            None => true,
        };
        if !is_owner {
            return Ok(vec![Settled::NotYours; commits.len()]);
        }
        let mut answers: Vec<Option<Settled>> = vec![None; commits.len()];
        let (mut entries, mut verdicts) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        for (index, commit) in commits.iter().enumerate() {
            let row = match self.row(commit.run).await? {
                Some(row) => row,
                None => {
                    answers[index] = Some(Settled::Lost);
                    continue;
                }
            };
            if caller.is_some_and(|(worker, _)| row.worker.as_deref() != Some(worker))
                && row.lease_id == Some(commit.run.lease)
            {
                answers[index] = Some(Settled::NotYours);
                continue;
            }
            // The second commit of a run in one call is answered by what the first one did.
            if seen.insert(commit.run) {
                let (entry, verdict) = self.entry(commit, row);
                entries.push(entry);
                verdicts.push((index, verdict));
            }
        }
        let waiting: HashSet<_> = self.inner.recorder.record(entries).await.iter().map(Entry::key).collect();
        for (index, verdict) in verdicts {
            let run = commits[index].run;
            answers[index] = match verdict.state() {
                Some(state) => Some(Settled::Recorded(state)),
                None if waiting.contains(&(run.job, run.lease)) => Some(Settled::Later),
                None => None,
            };
        }
        let mut settled = Vec::with_capacity(commits.len());
        for (commit, answer) in commits.iter().zip(answers) {
            let answer = match answer {
                Some(answer) => answer,
                None => self.recorded_before(commit).await?,
            };
            if answer != Settled::Later {
                self.inner.held().forget(commit.run);
            }
            settled.push(answer);
        }
        self.write_stats_if_due().await;
        Ok(settled)
    }

    /// The row of a run as it was claimed, or as it is now.
    pub(super) async fn row(&self, run: RunKey) -> Result<Option<Arc<JobRow>>, Error> {
        let held = self.inner.held().get(run);
        match held {
            Some(row) => Ok(Some(row)),
            None => Ok(self.inner.engine.store.job(run.job).await?.map(Arc::new)),
        }
    }

    /// The queues of the jobs of runs that exist: for a caller that may use some queues only.
    pub async fn queues_of(&self, runs: &[RunKey]) -> Result<HashMap<RunKey, String>, Error> {
        let mut queues = HashMap::new();
        for run in runs {
            if let Some(row) = self.row(*run).await? {
                queues.insert(*run, row.queue.clone());
            }
        }
        Ok(queues)
    }

    fn entry(&self, commit: &Commit, row: Arc<JobRow>) -> (Entry, Verdict) {
        let engine = &self.inner.engine;
        let lease = commit.run.lease;
        let outcome = bounded(commit.outcome.clone(), engine.json_bytes_max);
        #[cfg(feature = "sealed")]
        let outcome = super::sealed::checked(&engine.seals, &row, outcome);
        let event = outcome.event(lease, Some(&row), engine.ids.chance());
        let ending = Ending::of(&event).unwrap_or(Ending::Released);
        let times = Times { waited: waited(&row), ran: commit.ran };
        let verdict = Verdict::default();
        let entry = Entry::new(commit.run.job, lease, event)
            .known_as(row, ending, times, crate::recorder::LeaseLost::default())
            .answering(verdict.clone());
        (entry, verdict)
    }

    /// Whether an earlier call recorded this outcome.
    async fn recorded_before(&self, commit: &Commit) -> Result<Settled, Error> {
        let store = &self.inner.engine.store;
        let Some(job) = store.job(commit.run.job).await? else { return Ok(Settled::Lost) };
        let attempts = store.attempts(commit.run.job).await?;
        let outcome = bounded(commit.outcome.clone(), self.inner.engine.json_bytes_max);
        #[cfg(feature = "sealed")]
        let outcome = super::sealed::checked(&self.inner.engine.seals, &job, outcome);
        if outcome.was_recorded(commit.run.lease, &job, &attempts) {
            return Ok(Settled::Recorded(job.state));
        }
        Ok(Settled::Lost)
    }
}

/// Every store would refuse an output over the bound, at every attempt.
fn bounded(outcome: RunOutcome, most: usize) -> RunOutcome {
    match outcome {
        RunOutcome::Succeed(output) if output.as_str().len() > most => {
            let bytes = output.as_str().len();
            RunOutcome::Discard(format!("the output is {bytes} bytes of JSON; at most {most} are allowed"))
        }
        other => other,
    }
}
