//! What happens by itself: reservations end, and workers fall silent.

use std::{sync::Arc, time::Duration};

use backroom::{Commit, RunOutcome, Settled};

use super::{
    Faktory, failures,
    liveness::{Fate, fate},
    runs::Run,
};

/// How often it is checked.
const EVERY: Duration = Duration::from_secs(5);
/// Ends that are recorded in one call.
const COMMITS: usize = 500;

impl Faktory {
    /// Checks again and again. Never returns.
    pub(super) async fn watch(self: Arc<Self>) {
        loop {
            self.state.backroom.clock().sleep(EVERY).await;
            self.tick().await;
        }
    }

    pub(super) async fn tick(&self) {
        self.end_reservations().await;
        // The store's decorator reports outages; the next turn comes in time.
        let _ = self.repeat_unanswered(None).await;
        let (now, lease) = (self.now(), self.lease());
        let members = self.workers().all();
        for member in members {
            let signs = member.signs(now, self.runs().count_of(&member.wid));
            match fate(signs, lease) {
                Fate::Lives => {}
                Fate::Reserved => {
                    // The store's decorator reports outages; the next turn comes in time.
                    let _ = self.alive(&member.wid).await;
                }
                Fate::Done => {
                    self.workers().remove(&member.wid);
                    if let Err(error) =
                        self.state.leases.leave(&member.described(&self.kinds, lease, 0)).await
                    {
                        tracing::debug!(%error, worker = member.name(), "the row of a worker was not deleted");
                    }
                }
                Fate::Silent => {
                    self.workers().remove(&member.wid);
                    let gone = self.runs().drain(|run| run.wid == member.wid);
                    member.cut.cancel();
                    tracing::warn!(
                        worker = member.name(),
                        jobs = gone.len(),
                        silent = ?signs.silent,
                        "a worker of a Faktory client is silent, so its connections are closed and its jobs run elsewhere"
                    );
                }
            }
        }
    }

    /// Fails the jobs whose reservation is over.
    async fn end_reservations(&self) {
        let now = self.now();
        let mut over = self.runs().drain(|run| run.until <= now);
        while !over.is_empty() {
            let rest = over.split_off(over.len().min(COMMITS));
            let chance = self.state.ids.chance();
            let commits = over.iter().map(|(_, run)| commit(run, failures::expired(run, chance))).collect();
            match self.state.leases.commit(None, commits).await {
                Ok(answers) => {
                    for ((jid, run), answer) in over.into_iter().zip(answers) {
                        match answer {
                            Settled::Later => self.runs().add(jid, run),
                            Settled::Recorded(state) => {
                                tracing::warn!(job = %run.key.job, jid, worker = &*run.wid, %state, "the reservation of a job is over");
                            }
                            Settled::Lost | Settled::NotYours => {}
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, jobs = over.len(), "the end of reservations was not recorded; it is tried again");
                    over.into_iter().for_each(|(jid, run)| self.runs().add(jid, run));
                }
            }
            over = rest;
        }
    }
}

/// The end of one run.
pub(super) fn commit(run: &Run, outcome: RunOutcome) -> Commit {
    Commit { run: run.key, outcome, ran: None }
}
