//! Batches: counted by stripes, opened, closed and ended.

use std::collections::BTreeMap;

use backroom_core::{
    Timestamp,
    batch::{Adder, Batch, BatchId, Closed, Counts, Crossed, Gate, MemberState, Stripe, Tally, may_add},
};

use super::{NewRows, damaged_stripe, of_one_writer};
use crate::{
    Error, ErrorKind,
    store::{BatchRow, BatchTurn, OpenBatch},
};

/// Writes what a transaction does to the members of batches, and what follows from it: the deepest batches first.
pub(super) fn write_tally<R: NewRows>(
    rows: &mut R,
    mut tally: Tally,
    now: Timestamp,
) -> Result<(), R::Fault> {
    loop {
        let stripes = tally.take_deepest();
        if stripes.is_empty() {
            return Ok(());
        }
        let mut written: BTreeMap<BatchId, Vec<(Counts, Stripe)>> = BTreeMap::new();
        for (id, number, delta) in stripes {
            let all = rows.stripes(id)?;
            let Some(before) = all.get(usize::from(number)) else { continue };
            let after = before.after(delta).ok_or_else(|| damaged_stripe(id))?;
            rows.put_stripe(id, number, &after)?;
            written.entry(id).or_default().push((before.counts, after));
        }
        for (id, written) in written {
            let Some(crossings) = Batch::crossings(written) else { continue };
            let Some(mut batch) = rows.batch(id)? else { continue };
            let counts = Counts::sum(rows.stripes(id)?.into_iter().map(|stripe| stripe.counts));
            let crossed = batch.crossed(crossings, counts, now)?;
            write_crossed(rows, &batch, &crossed, &mut tally)?;
        }
    }
}

/// Writes the row of a batch and what follows from what its stripes count.
fn write_crossed<R: NewRows>(
    rows: &mut R,
    batch: &Batch,
    crossed: &Crossed,
    tally: &mut Tally,
) -> Result<(), R::Fault> {
    rows.put_batch(batch)?;
    for new in &crossed.jobs {
        rows.insert_end_job(new)?;
    }
    if let (Some((from, to)), Some(parent)) = (crossed.in_parent, batch.parent)
        && let Some(parent) = rows.batch(parent)?
    {
        tally.changed(&parent, batch.id.0, from, to);
    }
    Ok(())
}

/// Opens a batch, unless it is stored.
pub(crate) fn open_batch<R: NewRows>(
    rows: &mut R,
    open: &OpenBatch,
    now: Timestamp,
) -> Result<Result<BatchRow, Error>, R::Fault> {
    let id = open.batch.id;
    if let Some(row) = row(rows, id)? {
        return Ok(Ok(row));
    }
    let mut tally = Tally::default();
    if let Some(parent) = open.batch.parent {
        let Some(found) = rows.batch(parent)? else { return Ok(Err(unknown_batch(parent))) };
        let adder = adder(rows, open.by, parent)?;
        let gate = gate_of(&rows.stripes(parent)?);
        if let Err(invalid) = may_add(parent, gate, adder) {
            return Ok(Err(invalid.into()));
        }
        tally.added(&found, id.0, MemberState::Live);
    }
    let batch = of_one_writer(&open.batch);
    rows.put_batch(&batch)?;
    rows.put_stripe(id, 0, &Stripe::OPENED)?;
    write_tally(rows, tally, now)?;
    Ok(Ok(BatchRow { batch, stripes: vec![Stripe::OPENED] }))
}

/// Closes, cancels, reopens or forgets a batch.
pub(crate) fn turn_batch<R: NewRows>(
    rows: &mut R,
    id: BatchId,
    turn: BatchTurn,
    now: Timestamp,
) -> Result<Option<BatchRow>, R::Fault> {
    let Some(found) = row(rows, id)? else { return Ok(None) };
    let Some((closed, gate)) = decide(&found.batch, &found.stripes, turn, now)? else {
        return Ok(Some(found));
    };
    let mut stripes = found.stripes;
    for (number, stripe) in (0..).zip(&mut stripes) {
        stripe.gate = gate;
        rows.put_stripe(id, number, stripe)?;
    }
    let mut tally = Tally::default();
    write_crossed(rows, &closed.batch, &closed.crossed, &mut tally)?;
    write_tally(rows, tally, now)?;
    Ok(Some(BatchRow { batch: closed.batch, stripes }))
}

/// What a turn does to a batch, and the gate of its stripes after it; none if nothing changes.
pub(crate) fn decide(
    batch: &Batch,
    stripes: &[Stripe],
    turn: BatchTurn,
    now: Timestamp,
) -> Result<Option<(Closed, Gate)>, backroom_core::Invalid> {
    Ok(match turn {
        BatchTurn::Close => batch.close(stripes, now)?.map(|closed| (closed, Gate::Closed)),
        BatchTurn::Cancel => batch.cancel(stripes, now)?.map(|closed| (closed, Gate::Cancelled)),
        BatchTurn::Reopen => batch.reopen().map(|closed| (closed, Gate::Open)),
        // Who may add stays as it is.
        BatchTurn::Forget => batch.forget().map(|closed| (closed, gate_of(stripes))),
    })
}

/// The gate of a batch. One without stripes takes no members.
fn gate_of(stripes: &[Stripe]) -> Gate {
    stripes.first().map_or(Gate::Cancelled, |stripe| stripe.gate)
}

/// One batch with its counts.
fn row<R: NewRows>(rows: &mut R, id: BatchId) -> Result<Option<BatchRow>, R::Fault> {
    let Some(batch) = rows.batch(id)? else { return Ok(None) };
    Ok(Some(BatchRow { batch, stripes: rows.stripes(id)? }))
}

/// As what the job adds to the batch.
pub(super) fn adder<R: NewRows>(
    rows: &mut R,
    by: Option<(backroom_core::JobId, backroom_core::LeaseId)>,
    batch: BatchId,
) -> Result<Adder, R::Fault> {
    let Some((id, lease)) = by else { return Ok(Adder::Outside) };
    let runs = rows.is_running_member(id, lease, batch)?;
    Ok(if runs { Adder::Member } else { Adder::Outside })
}

pub(crate) fn unknown_batch(id: BatchId) -> Error {
    let why =
        format!("use batch {id}: it does not exist; it was never opened, or was deleted after its retention");
    Error::new(ErrorKind::Invalid, why)
}
