//! The journals of workflows whose code runs outside of this program.
//!
//! The code asks by key, as often as it likes: what is recorded is answered from the journal, and what is not recorded begins. Each
//! call reads the journal, lets core decide as for every run, and writes what follows under the lease. Nothing is remembered between
//! two calls, so any server answers the next one. `call` has what is asked and answered, `turn` decides what a call leads to, `asked`
//! carries its asks through the run of core, and `written` writes.

mod asked;
mod call;
mod turn;
mod written;

use backroom_core::{JobRow, State};

pub use self::call::{
    AskAnswer, RemoteAsk, UndoDue, WorkflowAnswer, WorkflowCall, WorkflowStatus, WorkflowThen,
};
use self::turn::Turn;
use super::{Commit, Leases, RunKey, Settled};
use crate::{
    Error, ErrorKind,
    store::Wrote,
    workflow::{last_end, read_journal},
};

/// Most asks of one call.
const ASKS_MAX: usize = 1000;
/// How often a call begins again because another call of the same run has written meanwhile.
const TURNS_MAX: u32 = 10;

impl Leases {
    /// Answers the code of a workflow that a remote worker runs, and writes to its journal. `caller` is the worker and its owner, as for
    /// [`commit`](Self::commit).
    ///
    /// Safe to repeat. The end of the code, its parking and the end of its compensations are recorded by this call: the caller commits
    /// nothing else for the run.
    pub async fn workflow(
        &self,
        caller: Option<(&str, &str)>,
        run: RunKey,
        call: WorkflowCall,
    ) -> Result<WorkflowAnswer, Error> {
        if call.asks.len() > ASKS_MAX {
            let message = format!(
                "ask: {} asks are too many for one call; at most {ASKS_MAX} are allowed",
                call.asks.len()
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        if let Some((worker, owner)) = caller
            && !self.is_owner(worker, owner).await?
        {
            return Ok(WorkflowAnswer::over(WorkflowStatus::NotYours));
        }
        let engine = &self.inner.engine;
        for _ in 0..TURNS_MAX {
            let job = engine.store.job(run.job).await?;
            let Some(job) = job else { return Ok(WorkflowAnswer::over(WorkflowStatus::Lost)) };
            if let Some(over) = over(&job, run, caller) {
                return Ok(WorkflowAnswer::over(over));
            }
            if let Some(key) = engine.seal_of(&job.kind, None) {
                let why = format!(
                    "write the journal of job {}: kind {:?} is sealed with the key {key:?}, and a remote worker would store its steps in the clear; \
                     run it with the library",
                    job.id, job.kind
                );
                return Err(Error::new(ErrorKind::Refused, why));
            }
            let page = read_journal(engine, job.id).await?;
            let ended = last_end(engine, &job, &page).await?;
            let Some(turn) = Turn::take(engine, &job, (page, ended), &call)? else {
                return Ok(WorkflowAnswer::over(WorkflowStatus::Lost));
            };
            match turn.write(engine, &job, run).await? {
                Wrote::Done => {}
                Wrote::Moved => continue,
                Wrote::Fenced => return Ok(WorkflowAnswer::over(WorkflowStatus::Lost)),
            }
            return self.end(caller, run, turn).await;
        }
        let message = "write the journal: other calls of the same run write to it all the time";
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    /// Records the end of the run, if it has come.
    async fn end(
        &self,
        caller: Option<(&str, &str)>,
        run: RunKey,
        turn: Turn,
    ) -> Result<WorkflowAnswer, Error> {
        let (mut answer, outcome) = turn.into_end();
        let Some(outcome) = outcome else { return Ok(answer) };
        let settled = self.commit(caller, vec![Commit { run, outcome, ran: None }]).await?;
        answer.status = match (settled.first(), answer.status) {
            (Some(Settled::Recorded(_)), blocked @ WorkflowStatus::Blocked(_)) => blocked,
            (Some(Settled::Recorded(state)), _) if state.is_finished() => WorkflowStatus::Ended(*state),
            (Some(Settled::Recorded(_)), _) => WorkflowStatus::Parked,
            // Another call at the same time may have ended the run.
            (Some(Settled::Lost) | None, _) => match self.inner.engine.store.job(run.job).await? {
                Some(job) => over(&job, run, caller).unwrap_or(WorkflowStatus::Later),
                None => WorkflowStatus::Lost,
            },
            (Some(Settled::NotYours), _) => WorkflowStatus::NotYours,
            (Some(Settled::Later), _) => WorkflowStatus::Later,
        };
        Ok(answer)
    }
}

/// Why the run is over already, if it is. The answer of the call that ended it may have been lost.
fn over(job: &JobRow, run: RunKey, caller: Option<(&str, &str)>) -> Option<WorkflowStatus> {
    if job.lease_id != Some(run.lease) {
        return Some(WorkflowStatus::Lost);
    }
    match job.state {
        State::Running if caller.is_some_and(|(worker, _)| job.worker.as_deref() != Some(worker)) => {
            Some(WorkflowStatus::NotYours)
        }
        State::Running => None,
        State::Queued | State::Waiting => Some(WorkflowStatus::Parked),
        State::Completed | State::Cancelled | State::Discarded => Some(WorkflowStatus::Ended(job.state)),
    }
}
