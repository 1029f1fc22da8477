//! New jobs with their edges, and as members of batches.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use backroom_core::{
    Effect, Invalid, JobId, Timestamp,
    batch::{Batch, BatchId, Gate, MemberState, Tally, may_add},
    dependency::{Arrival, Edge, EdgeState, PredecessorFacts, arrive},
    draft::NewJob,
    links::LinkEffect,
    unique::OnConflict,
};

use super::{
    EdgeRow, Facts, NewRows,
    batches::{adder, unknown_batch, write_tally},
    counted_as,
};
use crate::{
    Error,
    store::{InsertLinked, Inserted, NewLinked},
};

/// Stores the jobs of one call, all or none. A refusal is an answer, and nothing is written then.
pub(crate) fn insert_linked<R: NewRows>(
    rows: &mut R,
    insert: &InsertLinked,
    now: Timestamp,
) -> Result<Result<Vec<Inserted>, Error>, R::Fault> {
    if let Err(invalid) = check(&insert.jobs) {
        return Ok(Err(invalid.into()));
    }
    let mut known = Known::of(&insert.jobs);
    let mut new = Vec::new();
    for (place, linked) in insert.jobs.iter().enumerate() {
        let id = linked.new.job.id;
        if let Some(facts) = rows.facts(id)? {
            known.facts.insert(id, facts);
            continue;
        }
        known.read(rows, linked)?;
        match known.arrive(linked, now) {
            Ok(arrival) => new.push((place, arrival)),
            Err(invalid) => return Ok(Err(invalid.into())),
        }
    }
    let batches = match batches(rows, insert, &new)? {
        Ok(batches) => batches,
        Err(error) => return Ok(Err(error)),
    };
    let (mut jobs, mut ties) = (Vec::with_capacity(new.len()), Vec::with_capacity(new.len()));
    for (place, Arrival { job, edges, effects }) in new {
        ties.push(Tied { place, id: job.id, batch: job.batch(), counted: counted_as(&job), edges, effects });
        jobs.push(NewJob { job, on_conflict: insert.jobs[place].new.on_conflict });
    }
    let answered = match rows.insert(&jobs, now)? {
        Ok(answers) => answers,
        Err(error) => return Ok(Err(error)),
    };
    let mut answers = vec![Inserted::Created; insert.jobs.len()];
    let mut tally = Tally::default();
    for (tied, answer) in ties.iter().zip(answered) {
        answers[tied.place] = answer;
        if answer != Inserted::Created {
            continue;
        }
        write_one(rows, tied)?;
        if let Some(batch) = tied.batch.and_then(|batch| batches.get(&batch)) {
            tally.added(batch, tied.id.0, tied.counted);
        }
    }
    for id in known.unmarked() {
        rows.mark_followed(id)?;
    }
    write_tally(rows, tally, now)?;
    Ok(Ok(answers))
}

/// What ties a new job to others.
struct Tied {
    /// Its place in the call.
    place: usize,
    id: JobId,
    batch: Option<BatchId>,
    /// As what it counts in the batch.
    counted: MemberState,
    edges: Vec<(Edge, EdgeState)>,
    effects: Vec<Effect>,
}

/// Edges, and what follows from a cancel at once.
fn write_one<R: NewRows>(rows: &mut R, tied: &Tied) -> Result<(), R::Fault> {
    for (edge, state) in &tied.edges {
        let (predecessor, on_failure) = (edge.predecessor, edge.on_failure);
        rows.put_edge(&EdgeRow { dependant: tied.id, predecessor, on_failure, state: *state })?;
    }
    if tied.effects.is_empty() {
        return Ok(());
    }
    let own: Vec<Effect> = tied
        .effects
        .iter()
        .filter(|effect| !matches!(effect, Effect::Link { effect, .. } if !matches!(**effect, LinkEffect::Child(_))))
        .cloned()
        .collect();
    rows.carry_out_of_new(tied.id, &own)
}

/// The batches of the new jobs, each of which takes them.
fn batches<R: NewRows>(
    rows: &mut R,
    insert: &InsertLinked,
    new: &[(usize, Arrival)],
) -> Result<Result<BTreeMap<BatchId, Batch>, Error>, R::Fault> {
    let mut batches = BTreeMap::new();
    for (_, arrival) in new {
        let Some(id) = arrival.job.batch() else { continue };
        if batches.contains_key(&id) {
            continue;
        }
        let Some(batch) = rows.batch(id)? else { return Ok(Err(unknown_batch(id))) };
        let gate = rows.stripes(id)?.first().map_or(Gate::Cancelled, |stripe| stripe.gate);
        if let Err(invalid) = may_add(id, gate, adder(rows, insert.by, id)?) {
            return Ok(Err(invalid.into()));
        }
        batches.insert(id, batch);
    }
    Ok(Ok(batches))
}

/// Refuses what could leave an edge to a job that is not stored, and a place in the call before a predecessor.
pub(crate) fn check(jobs: &[NewLinked]) -> Result<(), Invalid> {
    let places: HashMap<JobId, usize> =
        jobs.iter().enumerate().map(|(place, linked)| (linked.new.job.id, place)).collect();
    for (place, linked) in jobs.iter().enumerate() {
        let replaces = linked.new.job.unique_key.is_some() && linked.new.on_conflict == OnConflict::Replace;
        if replaces {
            let why = "replaces the job that holds its unique key, whose edges and batch would stay; use keep or reject";
            return Err(Invalid::new("job with edges or a batch", why));
        }
        for edge in &linked.edges {
            let Some(before) = places.get(&edge.predecessor) else { continue };
            if *before >= place {
                let why = format!("{} stands behind its dependant in the same call", edge.predecessor);
                return Err(Invalid::new("predecessor", why));
            }
            if jobs[*before].new.job.unique_key.is_some() {
                let why = format!(
                    "{} has a unique key, so a duplicate could take its place; leave the key out",
                    edge.predecessor
                );
                return Err(Invalid::new("predecessor", why));
            }
        }
    }
    Ok(())
}

/// What is known of predecessors.
pub(crate) struct Known {
    pub(crate) facts: HashMap<JobId, Facts>,
    /// Predecessors of jobs of the call.
    predecessors: BTreeSet<JobId>,
}

impl Known {
    pub(crate) fn of(jobs: &[NewLinked]) -> Self {
        let predecessors = jobs.iter().flat_map(|linked| &linked.edges).map(|edge| edge.predecessor);
        Self { facts: HashMap::new(), predecessors: predecessors.collect() }
    }

    fn read<R: NewRows>(&mut self, rows: &mut R, linked: &NewLinked) -> Result<(), R::Fault> {
        for edge in &linked.edges {
            if !self.facts.contains_key(&edge.predecessor)
                && let Some(facts) = rows.facts(edge.predecessor)?
            {
                self.facts.insert(edge.predecessor, facts);
            }
        }
        Ok(())
    }

    /// Decides how a job is stored, and remembers it for those behind it. A job that others of the call run after has the mark of that
    /// from the beginning.
    pub(crate) fn arrive(&mut self, linked: &NewLinked, now: Timestamp) -> Result<Arrival, Invalid> {
        let facts = |edge: &Edge| {
            self.facts.get(&edge.predecessor).map(|facts| PredecessorFacts {
                id: edge.predecessor,
                kind: &facts.kind,
                state: facts.state,
                reason: facts.reason.as_deref(),
            })
        };
        let predecessors: Vec<_> = linked.edges.iter().map(facts).collect();
        let mut job = linked.new.job.clone();
        if self.predecessors.contains(&job.id) {
            job.links.get_or_insert_default().followed = true;
        }
        let arrival = arrive(job, &linked.edges, &predecessors, now)?;
        let job = &arrival.job;
        let is_followed = job.links.as_ref().is_some_and(|links| links.followed);
        let facts =
            Facts { kind: job.kind.clone(), state: job.state, reason: job.reason.clone(), is_followed };
        self.facts.insert(job.id, facts);
        Ok(arrival)
    }

    /// The predecessors without the mark.
    pub(crate) fn unmarked(&self) -> Vec<JobId> {
        let is_unmarked = |id: &&JobId| self.facts.get(*id).is_some_and(|facts| !facts.is_followed);
        self.predecessors.iter().filter(is_unmarked).copied().collect()
    }
}
