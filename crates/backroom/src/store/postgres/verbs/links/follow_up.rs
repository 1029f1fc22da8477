//! What follows for other jobs, in the transaction of the changes that it follows from.

use std::collections::VecDeque;

use backroom_core::{
    Change, Effect, JobId, Timestamp, dependency::SETTLED_MAX, draft::NewJob, links::LinkEffect,
};

use super::{
    batches::{Members, write_members},
    edges::{leave, reopen, settle},
};
use crate::store::{
    linked::{Left, link_effects},
    postgres::{
        Core,
        verbs::{
            effects::{self, StoredEffects},
            insert::name_queues,
            journals::{cancel_child, child_ended},
        },
        wire::{error::Fault, session::Session},
    },
};

/// What a transaction has done to other jobs, and what is still to be written and reported of that.
#[derive(Default)]
pub(crate) struct FollowUp {
    /// Effects of changes of other jobs. They are not written yet.
    pub(super) effects: Vec<(JobId, Effect)>,
    /// Jobs that were changed.
    pub(super) jobs: Vec<JobId>,
    /// Edges are left for later transactions.
    pub(super) leaves_edges: bool,
}

impl FollowUp {
    /// The effects that the transaction still has to write, beside `others`.
    pub(crate) fn stored<'a>(
        &'a self,
        core: &Core,
        others: impl Iterator<Item = (JobId, &'a Effect)>,
    ) -> Result<StoredEffects<'a>, Fault> {
        StoredEffects::of(core, others.chain(self.effects.iter().map(|(id, effect)| (*id, effect))))
    }

    /// Writes the effects in a transaction of the caller, and answers with the jobs among them.
    pub(super) async fn write_theirs(self, session: &mut Session<'_>) -> Result<Vec<NewJob>, Fault> {
        let jobs = self.effects.iter().filter_map(|(_, effect)| match effect {
            Effect::Enqueue(new) => Some((**new).clone()),
            Effect::RecordAttempt(_)
            | Effect::Message(_)
            | Effect::ReportRun(_)
            | Effect::Link { .. }
            | Effect::NotifyQueue { .. }
            | Effect::NotifyCancel => None,
        });
        let jobs: Vec<NewJob> = jobs.collect();
        let mut queues: Vec<String> = jobs.iter().map(|new| new.job.queue.clone()).collect();
        queues.sort_unstable();
        queues.dedup();
        if !queues.is_empty() {
            name_queues(session, &queues).await?;
        }
        let effects = StoredEffects::theirs(self.effects.iter().map(|(id, effect)| (*id, effect)))?;
        for (sql, params) in effects.statements() {
            session.query(sql, &params).await?;
        }
        drop(effects);
        Ok(jobs)
    }

    /// Notifies those who wait. The transaction is committed.
    pub(crate) fn notify(&self, core: &Core) {
        core.hints.jobs(self.jobs.iter().copied());
        effects::notify(core, self.effects.iter().map(|(_, effect)| effect));
        if self.leaves_edges {
            core.hints.edges();
        }
    }

    /// Takes over a change that was written: what follows for further jobs is answered, the rest is remembered.
    pub(super) fn take(&mut self, change: Change) -> Vec<(Timestamp, LinkEffect)> {
        let for_others = link_effects(&change);
        let id = change.id;
        self.jobs.push(id);
        let own = change.effects.into_iter().filter(|effect| !matches!(effect, Effect::Link { .. }));
        self.effects.extend(own.map(|effect| (id, effect)));
        for_others
    }
}

/// What follows for other jobs from these changes.
pub(crate) fn effects_of<'a>(changes: impl Iterator<Item = &'a Change>) -> Vec<(Timestamp, LinkEffect)> {
    changes.flat_map(link_effects).collect()
}

/// Carries out what follows for other jobs from changes that are written in this transaction.
pub(crate) async fn carry_out(
    session: &mut Session<'_>,
    effects: Vec<(Timestamp, LinkEffect)>,
) -> Result<FollowUp, Fault> {
    let mut work = Work { budget: SETTLED_MAX, ..Work::default() };
    work.take(session, effects).await?;
    work.finish(session).await
}

/// Carries out the settlement of edges that were left.
pub(super) async fn carry_out_left(
    session: &mut Session<'_>,
    left: Left,
    now: Timestamp,
) -> Result<FollowUp, Fault> {
    let mut work = Work { budget: SETTLED_MAX, ..Work::default() };
    work.edges.push_back((now, left));
    work.finish(session).await
}

/// What is still to be carried out in a transaction.
#[derive(Default)]
struct Work {
    edges: VecDeque<(Timestamp, Left)>,
    members: Members,
    done: FollowUp,
    /// How many edges may still be settled.
    budget: usize,
}

impl Work {
    async fn take(
        &mut self,
        session: &mut Session<'_>,
        effects: Vec<(Timestamp, LinkEffect)>,
    ) -> Result<(), Fault> {
        let mut effects = VecDeque::from(effects);
        while let Some((at, effect)) = effects.pop_front() {
            match effect {
                LinkEffect::Edges(edges) => self.edges.push_back((at, Left { edges, after: None })),
                // A release has no effects for further jobs.
                LinkEffect::Reopen(id) => reopen(session, id, at, &mut self.done).await?,
                LinkEffect::Member(member) => self.members.changed(at, member),
                LinkEffect::Child(ended) => {
                    if let Some(change) = child_ended(session, &ended, at).await? {
                        // A wake has no effects for further jobs.
                        self.done.take(change);
                    } else {
                        self.done.jobs.push(ended.workflow);
                    }
                }
                LinkEffect::Cancel(cancel) => {
                    if let Some(change) = cancel_child(session, &cancel, at).await? {
                        effects.extend(self.done.take(change));
                    }
                }
            }
        }
        Ok(())
    }

    async fn finish(mut self, session: &mut Session<'_>) -> Result<FollowUp, Fault> {
        while !self.edges.is_empty() {
            let round: Vec<_> = self.edges.drain(..).collect();
            if self.budget == 0 {
                self.done.leaves_edges = true;
                let left: Vec<Left> = round.into_iter().map(|(_, left)| left).collect();
                leave(session, &left).await?;
                continue;
            }
            let settled = settle(session, round, self.budget, &mut self.done).await?;
            self.budget -= settled.edges.min(self.budget);
            if !settled.left.is_empty() {
                self.done.leaves_edges = true;
                leave(session, &settled.left).await?;
            }
            self.take(session, settled.effects).await?;
        }
        write_members(session, self.members, &mut self.done).await?;
        Ok(self.done)
    }
}
