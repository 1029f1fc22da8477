//! What follows for other jobs, as stores with one writer carry it out: row by row, in the transaction of the change.
//!
//! [`LinkRows`] is what such a store offers. Core decides; here the rows are read that a decision needs, and its answer is written.
//! PostgreSQL has many writers, so it reads and writes sets of rows under locks (`store/postgres/verbs/links`).

mod batches;
mod edges;
mod insert;

use std::collections::{BTreeMap, VecDeque, btree_map::Entry};

use backroom_core::{
    Change, Invalid, JobId, JobRow, LeaseId, State, Timestamp,
    batch::{Batch, BatchId, Gate, MemberState, STRIPES_OF_ONE_WRITER, Stripe, Tally},
    dependency::{EdgeState, EdgesOf, Happening, OnFailure, SETTLED_MAX},
    draft::NewJob,
    links::{ChildEnded, LinkEffect, Links},
};

use self::edges::{Page, settle_page};
#[cfg(feature = "postgres")]
pub(crate) use self::{
    batches::{decide, unknown_batch},
    insert::{Known, check},
};
pub(crate) use self::{
    batches::{open_batch, turn_batch},
    insert::insert_linked,
};
use crate::{
    Error, ErrorKind,
    store::{BatchRow, Inserted},
};

/// An edge, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EdgeRow {
    pub(crate) dependant: JobId,
    pub(crate) predecessor: JobId,
    pub(crate) on_failure: OnFailure,
    pub(crate) state: EdgeState,
}

/// What is read of a predecessor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Facts {
    pub(crate) kind: String,
    pub(crate) state: State,
    pub(crate) reason: Option<String>,
    pub(crate) is_followed: bool,
}

/// Edges that are left for a later transaction.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Left {
    pub(crate) edges: EdgesOf,
    /// The last dependant that was settled.
    pub(crate) after: Option<JobId>,
}

/// The rows of a store with one writer, within a transaction: what new jobs with edges and batches need.
pub(crate) trait NewRows {
    type Fault: From<Error> + From<Invalid>;

    fn facts(&mut self, id: JobId) -> Result<Option<Facts>, Self::Fault>;
    /// Marks a job as followed: others run after it.
    fn mark_followed(&mut self, id: JobId) -> Result<(), Self::Fault>;
    /// Whether this job runs under this lease and is a member of this batch.
    fn is_running_member(&mut self, id: JobId, lease: LeaseId, batch: BatchId) -> Result<bool, Self::Fault>;
    /// Stores new jobs, all or none; a refusal is an answer.
    fn insert(
        &mut self,
        jobs: &[NewJob],
        now: Timestamp,
    ) -> Result<Result<Vec<Inserted>, Error>, Self::Fault>;
    /// Stores a job unless its id is stored already, and notifies its queue.
    fn insert_end_job(&mut self, new: &NewJob) -> Result<(), Self::Fault>;
    /// Carries out what follows from a job that was cancelled as it was stored, except for what follows for jobs that run after it.
    fn carry_out_of_new(&mut self, id: JobId, effects: &[backroom_core::Effect]) -> Result<(), Self::Fault>;
    /// Stores an edge; one that is stored already takes this state.
    fn put_edge(&mut self, edge: &EdgeRow) -> Result<(), Self::Fault>;

    fn batch(&mut self, id: BatchId) -> Result<Option<Batch>, Self::Fault>;
    fn put_batch(&mut self, batch: &Batch) -> Result<(), Self::Fault>;
    /// All stripes of a batch, in their order.
    fn stripes(&mut self, id: BatchId) -> Result<Vec<Stripe>, Self::Fault>;
    fn put_stripe(&mut self, id: BatchId, number: u16, stripe: &Stripe) -> Result<(), Self::Fault>;
}

/// The rows of a store with one writer, within a transaction.
pub(crate) trait LinkRows: NewRows {
    fn job(&mut self, id: JobId) -> Result<Option<JobRow>, Self::Fault>;
    /// Writes a change that was decided on the row as it is, and its effects except for those for other jobs.
    fn write(&mut self, change: &Change) -> Result<(), Self::Fault>;

    /// The end of a child arrives at its workflow, and wakes it.
    fn child_ended(&mut self, ended: &ChildEnded, at: Timestamp) -> Result<(), Self::Fault>;

    /// Edges from a predecessor, by their dependants.
    fn edges_from(
        &mut self,
        predecessor: JobId,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<EdgeRow>, Self::Fault>;
    /// All edges to a dependant.
    fn edges_to(&mut self, dependant: JobId) -> Result<Vec<EdgeRow>, Self::Fault>;
    fn has_other_open_edge(&mut self, dependant: JobId, predecessor: JobId) -> Result<bool, Self::Fault>;
    fn leave(&mut self, left: &Left) -> Result<(), Self::Fault>;
    /// Takes out the oldest edges that are left.
    fn take_left(&mut self) -> Result<Option<Left>, Self::Fault>;
    fn has_left(&mut self) -> Result<bool, Self::Fault>;
}

/// Carries out what follows for other jobs from changes that are written in this transaction.
pub(crate) fn carry_out<R: LinkRows>(
    rows: &mut R,
    effects: impl IntoIterator<Item = (Timestamp, LinkEffect)>,
) -> Result<(), R::Fault> {
    let mut work = Work { budget: SETTLED_MAX, ..Work::default() };
    for (at, effect) in effects {
        work.take(rows, at, effect)?;
    }
    work.finish(rows)
}

/// Settles a page of the edges that are left. Answers whether more are left.
pub(crate) fn settle_left<R: LinkRows>(rows: &mut R, now: Timestamp) -> Result<bool, R::Fault> {
    let Some(left) = rows.take_left()? else { return Ok(false) };
    let predecessor = rows.job(left.edges.predecessor)?;
    let edges = left.edges.read_again(predecessor.as_ref());
    let mut work = Work { budget: SETTLED_MAX, ..Work::default() };
    work.edges.push_back((now, Left { edges, after: left.after }));
    work.finish(rows)?;
    rows.has_left()
}

/// What is still to be carried out in a transaction.
#[derive(Default)]
struct Work {
    edges: VecDeque<(Timestamp, Left)>,
    tally: Tally,
    /// Batches of members, read once: what counts a member never changes.
    batches: BTreeMap<BatchId, Option<Batch>>,
    at: Option<Timestamp>,
    /// How many edges may still be settled.
    budget: usize,
}

impl Work {
    fn take<R: LinkRows>(&mut self, rows: &mut R, at: Timestamp, effect: LinkEffect) -> Result<(), R::Fault> {
        self.at = Some(at);
        match effect {
            LinkEffect::Edges(edges) => self.edges.push_back((at, Left { edges, after: None })),
            LinkEffect::Reopen(id) => {
                let effects = edges::reopen(rows, id, at)?;
                self.take_all(rows, effects)?;
            }
            LinkEffect::Member(member) => {
                let batch = match self.batches.entry(member.batch) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(place) => place.insert(rows.batch(member.batch)?),
                };
                // A batch that was deleted counts nothing.
                if let Some(batch) = batch {
                    self.tally.changed(batch, member.job.0, member.from, member.to);
                }
            }
            LinkEffect::Child(ended) => rows.child_ended(&ended, at)?,
            LinkEffect::Cancel(cancel) => {
                if let Some(job) = rows.job(cancel.child)?
                    && let Some(change) = cancel.decide(&job, at).map_err(Error::from)?
                {
                    rows.write(&change)?;
                    self.take_all(rows, link_effects(&change))?;
                }
            }
        }
        Ok(())
    }

    fn take_all<R: LinkRows>(
        &mut self,
        rows: &mut R,
        effects: Vec<(Timestamp, LinkEffect)>,
    ) -> Result<(), R::Fault> {
        effects.into_iter().try_for_each(|(at, effect)| self.take(rows, at, effect))
    }

    fn finish<R: LinkRows>(mut self, rows: &mut R) -> Result<(), R::Fault> {
        while let Some((at, left)) = self.edges.pop_front() {
            if self.budget == 0 {
                // A predecessor without edges leaves nothing behind.
                if !rows.edges_from(left.edges.predecessor, left.after, 1)?.is_empty() {
                    rows.leave(&left)?;
                }
                continue;
            }
            let Page { settled, last, effects } = settle_page(rows, &left, self.budget, at)?;
            let is_full = settled == self.budget;
            self.budget -= settled;
            self.take_all(rows, effects)?;
            if is_full {
                self.edges.push_back((at, Left { edges: left.edges, after: last }));
            }
        }
        match self.at {
            Some(at) => batches::write_tally(rows, self.tally, at),
            None => Ok(()),
        }
    }
}

/// What follows for other jobs from a change.
pub(crate) fn link_effects(change: &Change) -> Vec<(Timestamp, LinkEffect)> {
    change.effects.iter().filter_map(link_effect).collect()
}

fn link_effect(effect: &backroom_core::Effect) -> Option<(Timestamp, LinkEffect)> {
    use backroom_core::Effect;
    match effect {
        Effect::Link { at, effect } => Some((*at, (**effect).clone())),
        Effect::RecordAttempt(_)
        | Effect::Message(_)
        | Effect::Enqueue(_)
        | Effect::ReportRun(_)
        | Effect::NotifyQueue { .. }
        | Effect::NotifyCancel => None,
    }
}

/// A batch as a store with one writer stores it.
pub(crate) fn of_one_writer(batch: &Batch) -> Batch {
    Batch { stripes: STRIPES_OF_ONE_WRITER, ..batch.clone() }
}

/// What an imported job leaves to be settled: its end may have been settled in part where it comes from.
pub(crate) fn left_of_imported(job: &JobRow) -> Option<Left> {
    let is_followed = job.links.as_ref().is_some_and(|links| links.followed);
    let happening = match job.state {
        State::Queued | State::Running | State::Waiting => return None,
        State::Completed => Happening::Completed,
        State::Cancelled => Happening::Cancelled,
        State::Discarded => Happening::Discarded,
    };
    let edges =
        EdgesOf { predecessor: job.id, kind: job.kind.clone(), happening, reason: job.reason.clone() };
    is_followed.then_some(Left { edges, after: None })
}

/// Whether an imported batch has more members, or more of them finished, than the copy that is stored.
pub(crate) fn is_newer(imported: &BatchRow, stored: &BatchRow) -> bool {
    let counted = |row: &BatchRow| {
        let counts = row.counts();
        (counts.total(), counts.finished(), row.batch.closed_at, row.batch.finished_at)
    };
    counted(imported) > counted(stored)
}

/// The same with its counts, from a store that may have had more stripes.
pub(crate) fn in_one_stripe(row: &BatchRow) -> (Batch, Stripe) {
    let stripe = Stripe {
        counts: row.counts(),
        gate: row.stripes.first().map_or(Gate::Cancelled, |stripe| stripe.gate),
    };
    let filled = u16::from(row.batch.closed_at.is_some() && stripe.counts.live > 0);
    (Batch { filled, ..of_one_writer(&row.batch) }, stripe)
}

/// The state of a stored stripe is not possible.
pub(crate) fn damaged_stripe(id: BatchId) -> Error {
    let why = format!(
        "count the members of batch {id}: a count would be below zero; restore its rows from a backup"
    );
    Error::new(ErrorKind::Unusable, why)
}

/// Whether the job runs under this lease and is a member of this batch.
pub(crate) fn is_running_member(job: &JobRow, lease: LeaseId, batch: BatchId) -> bool {
    let of = job.links.as_deref().and_then(|links: &Links| links.batch);
    job.state == State::Running && job.lease_id == Some(lease) && of == Some(batch)
}

/// What a job that was stored counts as.
fn counted_as(job: &JobRow) -> MemberState {
    MemberState::of(job.state)
}
