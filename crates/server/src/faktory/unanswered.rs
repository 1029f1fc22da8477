//! Calls of the store whose answers were lost, for jobs that no client was sent: a claim may have taken one, or one was to go back.
//!
//! Such a call is repeated until the store answers it, and the job goes back. Otherwise it would stay reserved while its worker lives.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use backroom::{ClaimOrder, Commit, ErrorKind, RunKey, RunOutcome, Settled};

use super::{Faktory, reply::Refusal};

/// Most calls that wait for their answers. While there are so many, no job is fetched.
const CALLS_MAX: usize = 10_000;

/// What was called for a worker.
#[derive(Debug, Clone)]
struct Unanswered {
    wid: Arc<str>,
    call: Called,
}

#[derive(Debug, Clone)]
enum Called {
    Claim(ClaimOrder),
    GiveBack(RunKey),
}

/// Whether a call that was repeated is over.
enum Ended {
    Yes,
    RowLocked,
}

/// All of them, the oldest first.
#[derive(Debug, Default)]
pub(super) struct UnansweredCalls(VecDeque<Unanswered>);

impl UnansweredCalls {
    fn take(&mut self, wid: Option<&str>) -> Vec<Unanswered> {
        let all = std::mem::take(&mut self.0);
        let (taken, left) = all.into_iter().partition(|call| wid.is_none_or(|wid| *call.wid == *wid));
        self.0 = left;
        taken.into()
    }
}

impl Faktory {
    /// Refuses to claim while too many calls wait for their answers.
    pub(super) fn may_claim(&self) -> Result<(), Refusal> {
        if self.unanswered().0.len() < CALLS_MAX {
            return Ok(());
        }
        Err(Refusal::new(format!("the store did not answer {CALLS_MAX} calls; fetch again when it answers")))
    }

    /// The answer of a claim was lost.
    pub(super) fn claim_unanswered(&self, wid: &str, order: &ClaimOrder) {
        let order = ClaimOrder { is_repeated: true, wait: Duration::ZERO, ..order.clone() };
        self.unanswered().0.push_back(Unanswered { wid: wid.into(), call: Called::Claim(order) });
    }

    /// The answer was lost when a job was given back.
    pub(super) fn give_back_unanswered(&self, wid: Arc<str>, run: RunKey) {
        self.unanswered().0.push_back(Unanswered { wid, call: Called::GiveBack(run) });
    }

    /// Repeats the calls for one worker, or for all, and gives back what its claims took. Ends at the first that is not answered
    /// again. One whose row another transaction has locked waits for the next time.
    pub(super) async fn repeat_unanswered(&self, wid: Option<&str>) -> Result<(), backroom::Error> {
        let mut calls = VecDeque::from(self.unanswered().take(wid));
        while let Some(call) = calls.pop_front() {
            match self.repeat(&call).await {
                Ok(Ended::Yes) => {}
                Ok(Ended::RowLocked) => self.unanswered().0.push_back(call),
                Err(error) => {
                    calls.push_front(call);
                    self.unanswered().0.extend(calls);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn repeat(&self, Unanswered { wid, call }: &Unanswered) -> Result<Ended, backroom::Error> {
        let runs = match call {
            Called::GiveBack(run) => vec![*run],
            Called::Claim(order) => self.taken_by(wid, order).await?,
        };
        if !runs.is_empty() {
            let release = |run| Commit { run, outcome: RunOutcome::Release, ran: None };
            let answers = self.state.leases.commit(None, runs.into_iter().map(release).collect()).await?;
            if answers.contains(&Settled::Later) {
                return Ok(Ended::RowLocked);
            }
            tracing::info!(worker = &**wid, "a job that was not sent to its client was given back");
        }
        Ok(Ended::Yes)
    }

    /// What a claim took whose answer was lost.
    async fn taken_by(&self, wid: &str, order: &ClaimOrder) -> Result<Vec<RunKey>, backroom::Error> {
        // The jobs of a worker that is gone are rescued.
        let Some(worker) = self.described(wid) else { return Ok(Vec::new()) };
        match self.state.leases.claim(&worker, order.clone()).await {
            Ok(jobs) => Ok(jobs.iter().map(|job| RunKey { job: job.id, lease: order.id }).collect()),
            // Its name was declared dead, and its jobs run elsewhere.
            Err(error) if error.kind() == ErrorKind::Refused => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}
