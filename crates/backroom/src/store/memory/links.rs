//! Edges and batches of the memory store.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use async_trait::async_trait;
use backroom_core::{
    Change, Effect, JobId, JobRow, LeaseId, Timestamp,
    batch::{Batch, BatchId, Stripe},
    dependency::{EdgeState, OnFailure},
    draft::NewJob,
    links::{ChildEnded, effects_of_deletion, follow},
};

use super::{
    MemoryStore,
    rows::{Ring, Rows},
};
use crate::{
    Error, ErrorKind,
    store::{
        BatchRow, BatchTurn, BatchVerbs, Call, Committed, EdgesOfJob, InsertLinked, Inserted, LinkVerbs,
        Neighbour, NeighbourState, OpenBatch, Record, Side,
        linked::{self, EdgeRow, Facts, Left, LinkRows, NewRows},
    },
};

/// All edges and batches.
#[derive(Debug, Default)]
pub(super) struct Linked {
    /// By dependant and predecessor.
    edges: BTreeMap<(JobId, JobId), (OnFailure, EdgeState)>,
    left: VecDeque<Left>,
    batches: BTreeMap<BatchId, Batch>,
    stripes: BTreeMap<BatchId, Vec<Stripe>>,
}

impl Linked {
    fn rows(&self) -> impl Iterator<Item = EdgeRow> + '_ {
        self.edges.iter().map(|((dependant, predecessor), (on_failure, state))| EdgeRow {
            dependant: *dependant,
            predecessor: *predecessor,
            on_failure: *on_failure,
            state: *state,
        })
    }

    fn batch_row(&self, id: BatchId) -> Option<BatchRow> {
        let batch = self.batches.get(&id)?.clone();
        Some(BatchRow { batch, stripes: self.stripes.get(&id).cloned().unwrap_or_default() })
    }
}

impl Rows {
    /// Writes the decisions of one call, each under its guard, and what follows from them for other jobs.
    pub(super) fn commit_all(&mut self, changes: &[Change]) -> Result<Vec<Committed>, Error> {
        let mut answers = Vec::with_capacity(changes.len());
        let mut for_others = Vec::new();
        for change in changes {
            let before = self.jobs.get(&change.id).map(|job| job.revision);
            let answer = self.commit(change);
            let after = self.jobs.get(&change.id).map(|job| job.revision);
            let is_written = answer == Committed::Done && before != after;
            answers.push(answer);
            if is_written {
                for_others.extend(linked::link_effects(change));
            }
        }
        linked::carry_out(self, for_others)?;
        Ok(answers)
    }

    /// Carries out what follows for other jobs from the delete of a job.
    pub(super) fn carry_out_deletion(&mut self, job: &JobRow, now: Timestamp) -> Result<(), Error> {
        let effects = effects_of_deletion(job, job.links.as_deref());
        linked::carry_out(self, effects.into_iter().map(|effect| (now, effect)))
    }

    /// Forgets the edges that lead to a job. Those that lead from it go with their dependants.
    pub(super) fn forget_edges(&mut self, dependant: JobId) {
        self.linked.edges.retain(|(to, _), _| *to != dependant);
    }

    /// Whether a job that runs after it lives.
    pub(super) fn has_live_dependants(&self, predecessor: JobId) -> bool {
        let lives = |id: JobId| self.job(id).is_some_and(|job| !job.state.is_finished());
        self.linked.rows().any(|edge| edge.predecessor == predecessor && lives(edge.dependant))
    }

    pub(super) fn import_edges(&mut self, record: &Record) {
        for (edge, state) in &record.edges {
            self.linked.edges.insert((record.job.id, edge.predecessor), (edge.on_failure, *state));
        }
        if let Some(left) = linked::left_of_imported(&record.job) {
            self.linked.left.push_back(left);
            self.ring(Ring::Edges);
        }
    }

    fn neighbours(&self, of: EdgesOfJob, after: Option<JobId>, limit: usize) -> Vec<Neighbour> {
        let mut found: Vec<Neighbour> = self
            .linked
            .rows()
            .filter(|edge| !of.only_open || edge.state == EdgeState::Open)
            .filter_map(|edge| {
                let (own, job) = match of.side {
                    Side::Predecessors => (edge.dependant, edge.predecessor),
                    Side::Dependants => (edge.predecessor, edge.dependant),
                };
                let of_job = |job: &JobRow| NeighbourState { kind: job.kind.clone(), state: job.state };
                let found = self.job(job).map(of_job);
                (own == of.job).then_some(Neighbour {
                    job,
                    on_failure: edge.on_failure,
                    edge: edge.state,
                    found,
                })
            })
            .filter(|neighbour| after.is_none_or(|after| neighbour.job > after))
            .collect();
        found.sort_by_key(|neighbour| neighbour.job);
        found.truncate(limit);
        found
    }

    fn prune_batches(&mut self, ended_before: Timestamp, limit: usize) -> u64 {
        let is_old =
            |batch: &&Batch| batch.has_ended() && batch.finished_at.is_some_and(|at| at < ended_before);
        let is_empty = |batch: &&Batch| {
            !self.jobs.values().any(|job| job.batch() == Some(batch.id))
                && !self.linked.batches.values().any(|nested| nested.parent == Some(batch.id))
        };
        let old = self.linked.batches.values().filter(is_old).filter(is_empty);
        let ids: Vec<BatchId> = old.map(|batch| batch.id).take(limit).collect();
        for id in &ids {
            self.linked.batches.remove(id);
            self.linked.stripes.remove(id);
        }
        ids.len() as u64
    }
}

impl NewRows for Rows {
    type Fault = Error;

    fn facts(&mut self, id: JobId) -> Result<Option<Facts>, Error> {
        Ok(self.jobs.get(&id).map(|job| Facts {
            kind: job.kind.clone(),
            state: job.state,
            reason: job.reason.clone(),
            is_followed: job.links.as_ref().is_some_and(|links| links.followed),
        }))
    }

    fn mark_followed(&mut self, id: JobId) -> Result<(), Self::Fault> {
        match self.job(id)?.as_ref().and_then(follow) {
            Some(change) => self.write(&change),
            None => Ok(()),
        }
    }

    fn is_running_member(&mut self, id: JobId, lease: LeaseId, batch: BatchId) -> Result<bool, Self::Fault> {
        Ok(self.job(id)?.is_some_and(|job| linked::is_running_member(&job, lease, batch)))
    }

    fn insert(&mut self, jobs: &[NewJob], now: Timestamp) -> Result<Result<Vec<Inserted>, Error>, Error> {
        Ok(self.insert_all(jobs, now))
    }

    fn insert_end_job(&mut self, new: &NewJob) -> Result<(), Error> {
        if !self.jobs.contains_key(&new.job.id) {
            self.add(new.job.clone());
        }
        Ok(())
    }

    fn carry_out_of_new(&mut self, id: JobId, effects: &[Effect]) -> Result<(), Error> {
        effects.iter().for_each(|effect| self.carry_out(id, effect));
        Ok(())
    }

    fn put_edge(&mut self, edge: &EdgeRow) -> Result<(), Error> {
        self.linked.edges.insert((edge.dependant, edge.predecessor), (edge.on_failure, edge.state));
        Ok(())
    }

    fn batch(&mut self, id: BatchId) -> Result<Option<Batch>, Error> {
        Ok(self.linked.batches.get(&id).cloned())
    }

    fn put_batch(&mut self, batch: &Batch) -> Result<(), Error> {
        self.linked.batches.insert(batch.id, batch.clone());
        Ok(())
    }

    fn stripes(&mut self, id: BatchId) -> Result<Vec<Stripe>, Error> {
        Ok(self.linked.stripes.get(&id).cloned().unwrap_or_default())
    }

    fn put_stripe(&mut self, id: BatchId, number: u16, stripe: &Stripe) -> Result<(), Error> {
        let stripes = self.linked.stripes.entry(id).or_default();
        match stripes.get_mut(usize::from(number)) {
            Some(stored) => *stored = *stripe,
            None => stripes.push(*stripe),
        }
        Ok(())
    }
}

impl LinkRows for Rows {
    fn job(&mut self, id: JobId) -> Result<Option<JobRow>, Error> {
        Ok(self.jobs.get(&id).cloned())
    }

    fn write(&mut self, change: &Change) -> Result<(), Error> {
        match self.commit(change) {
            Committed::Done => Ok(()),
            Committed::Stale | Committed::KeyHeld(_) | Committed::RowLocked => {
                let why = format!("change job {}: its row changed within the transaction", change.id);
                Err(Error::new(ErrorKind::Internal, why))
            }
        }
    }

    fn child_ended(&mut self, ended: &ChildEnded, at: Timestamp) -> Result<(), Error> {
        Self::child_ended(self, ended, at);
        Ok(())
    }

    fn edges_from(
        &mut self,
        predecessor: JobId,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<EdgeRow>, Error> {
        let is_wanted = |edge: &EdgeRow| {
            edge.predecessor == predecessor && after.is_none_or(|after| edge.dependant > after)
        };
        Ok(self.linked.rows().filter(is_wanted).take(limit).collect())
    }

    fn edges_to(&mut self, dependant: JobId) -> Result<Vec<EdgeRow>, Error> {
        Ok(self.linked.rows().filter(|edge| edge.dependant == dependant).collect())
    }

    fn has_other_open_edge(&mut self, dependant: JobId, predecessor: JobId) -> Result<bool, Error> {
        let is_open = |edge: EdgeRow| {
            edge.dependant == dependant && edge.predecessor != predecessor && edge.state == EdgeState::Open
        };
        Ok(self.linked.rows().any(is_open))
    }

    fn leave(&mut self, left: &Left) -> Result<(), Error> {
        self.linked.left.push_back(left.clone());
        self.ring(Ring::Edges);
        Ok(())
    }

    fn take_left(&mut self) -> Result<Option<Left>, Error> {
        Ok(self.linked.left.pop_front())
    }

    fn has_left(&mut self) -> Result<bool, Error> {
        Ok(!self.linked.left.is_empty())
    }
}

#[async_trait]
impl LinkVerbs for MemoryStore {
    async fn insert_linked(
        &self,
        insert: Arc<InsertLinked>,
        now: Timestamp,
        _call: Call,
    ) -> Result<Vec<Inserted>, Error> {
        self.write(|rows| linked::insert_linked(rows, &insert, now))??
    }

    async fn settle_left(&self, now: Timestamp) -> Result<bool, Error> {
        self.write(|rows| linked::settle_left(rows, now))?
    }

    async fn edges(
        &self,
        of: EdgesOfJob,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<Neighbour>, Error> {
        self.read(|rows| rows.neighbours(of, after, limit))
    }
}

#[async_trait]
impl BatchVerbs for MemoryStore {
    async fn open_batch(&self, open: Arc<OpenBatch>, now: Timestamp) -> Result<BatchRow, Error> {
        self.write(|rows| linked::open_batch(rows, &open, now))??
    }

    async fn turn_batch(
        &self,
        id: BatchId,
        turn: BatchTurn,
        now: Timestamp,
    ) -> Result<Option<BatchRow>, Error> {
        self.write(|rows| linked::turn_batch(rows, id, turn, now))?
    }

    async fn batch(&self, id: BatchId) -> Result<Option<BatchRow>, Error> {
        self.read(|rows| rows.linked.batch_row(id))
    }

    async fn batches(
        &self,
        parent: Option<BatchId>,
        before: Option<BatchId>,
        limit: usize,
    ) -> Result<Vec<BatchRow>, Error> {
        self.read(|rows| {
            let wanted = |batch: &&Batch| {
                before.is_none_or(|before| batch.id < before) && (parent.is_none() || batch.parent == parent)
            };
            let found = rows.linked.batches.values().rev().filter(wanted);
            found.take(limit).filter_map(|batch| rows.linked.batch_row(batch.id)).collect()
        })
    }

    async fn import_batches(&self, batches: Arc<Vec<BatchRow>>) -> Result<u64, Error> {
        self.write(|rows| {
            let mut new = 0;
            for imported in batches.iter() {
                let id = imported.batch.id;
                let stored = rows.linked.batch_row(id);
                if stored.is_some_and(|stored| !linked::is_newer(imported, &stored)) {
                    continue;
                }
                let (batch, stripe) = linked::in_one_stripe(imported);
                rows.linked.batches.insert(id, batch);
                rows.linked.stripes.insert(id, vec![stripe]);
                new += 1;
            }
            new
        })
    }

    async fn prune_batches(&self, ended_before: Timestamp, limit: usize) -> Result<u64, Error> {
        self.write(|rows| rows.prune_batches(ended_before, limit))
    }
}
