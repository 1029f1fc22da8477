//! Jobs that run after others or are members of batches, inside a transaction of sqlx.
//!
//! What is written is decided by `store/linked`, which reads and writes row by row. So each row is read through the driver of the
//! caller while this thread waits for it, as it does in a transaction of `rusqlite`. The driver runs statements in a thread of its own,
//! and the transaction has the write lock, so no wait is longer than a statement.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use backroom_core::{
    Effect, JobId, LeaseId, State, Timestamp,
    batch::{Batch, BatchId, Counts, Stripe},
    draft::NewJob,
    links::Links,
};
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{
    columns::Cell,
    error::Fault,
    insert::NAME_QUEUE,
    insert_sqlx::{bound, insert, insert_one, run},
    links::rows::{BATCH, FACTS, PUT_BATCH, PUT_EDGE, PUT_STRIPE, STRIPES},
    replies::ADD_MESSAGE,
    row::{at_most, micros, revision},
};
use crate::{
    Error, ErrorKind,
    store::{
        InsertLinked, Inserted,
        linked::{self, EdgeRow, Facts, NewRows},
    },
};

/// Marks a job as followed. Parameters: the job, its links.
const MARK: &str = "UPDATE backroom_jobs SET links = ?2, revision = revision + 1 WHERE id = ?1";
/// What decides whether a job adds as a member. Parameter: the job.
const ADDER: &str = "SELECT state, lease_id, links FROM backroom_jobs WHERE id = ?1";

/// Stores the jobs, all or none. A refusal is an error, and the caller of this takes back what was written.
pub(super) fn insert_linked(
    tx: &mut SqliteConnection,
    jobs: &InsertLinked,
    now: Timestamp,
) -> Result<Vec<Inserted>, Fault> {
    Ok(linked::insert_linked(&mut SqlxRows { tx }, jobs, now)??)
}

/// The rows within a transaction of sqlx.
struct SqlxRows<'a> {
    tx: &'a mut SqliteConnection,
}

impl SqlxRows<'_> {
    fn one(&mut self, sql: &'static str, cells: &[Cell<'_>]) -> Result<Option<SqliteRow>, Fault> {
        Ok(wait_for(bound(sql, cells).fetch_optional(&mut *self.tx))?)
    }

    fn run(&mut self, sql: &'static str, cells: &[Cell<'_>]) -> Result<(), Fault> {
        wait_for(run(self.tx, sql, cells))
    }
}

impl NewRows for SqlxRows<'_> {
    type Fault = Fault;

    fn facts(&mut self, id: JobId) -> Result<Option<Facts>, Fault> {
        let Some(found) = self.one(FACTS, &[id_of(&id)])? else { return Ok(None) };
        let links = Links::from_stored(found.try_get::<Option<&str>, _>(3)?)?;
        Ok(Some(Facts {
            kind: found.try_get(0)?,
            state: word(&found, 1)?,
            reason: found.try_get(2)?,
            is_followed: links.followed,
        }))
    }

    fn mark_followed(&mut self, id: JobId) -> Result<(), Fault> {
        let Some(found) = self.one(FACTS, &[id_of(&id)])? else { return Ok(()) };
        let links = Links::from_stored(found.try_get::<Option<&str>, _>(3)?)?;
        let marked = Links { followed: true, ..links }.stored()?;
        self.run(MARK, &[id_of(&id), Cell::text_or_null(marked.as_deref())])
    }

    fn is_running_member(&mut self, id: JobId, lease: LeaseId, batch: BatchId) -> Result<bool, Fault> {
        let Some(found) = self.one(ADDER, &[id_of(&id)])? else { return Ok(false) };
        let links = Links::from_stored(found.try_get::<Option<&str>, _>(2)?)?;
        let is_lease = found.try_get::<Option<&[u8]>, _>(1)? == Some(lease.0.as_bytes().as_slice());
        Ok(word::<State>(&found, 0)? == State::Running && is_lease && links.batch == Some(batch))
    }

    fn insert(&mut self, jobs: &[NewJob], now: Timestamp) -> Result<Result<Vec<Inserted>, Error>, Fault> {
        wait_for(insert(self.tx, jobs, now)).map(Ok)
    }

    fn insert_end_job(&mut self, new: &NewJob) -> Result<(), Fault> {
        self.run(NAME_QUEUE, &[Cell::text(&new.job.queue)])?;
        wait_for(insert_one(self.tx, new, new.job.created_at)).map(drop)
    }

    fn carry_out_of_new(&mut self, _: JobId, effects: &[Effect]) -> Result<(), Fault> {
        for effect in effects {
            match effect {
                Effect::Message(message) => {
                    let (order_key, body) =
                        (message.order_key(), message.body.stored().map_err(Error::from)?);
                    let cells = [
                        Cell::Blob(message.id.0.as_bytes()),
                        Cell::text(&message.reply_to),
                        Cell::text(&order_key),
                        id_of(&message.body.job_id),
                        Cell::Integer(micros(message.body.at)),
                        Cell::Integer(at_most(body.len())),
                        Cell::text(&body),
                    ];
                    self.run(ADD_MESSAGE, &cells)?;
                }
                Effect::Enqueue(new) => self.insert_end_job(new)?,
                // Every commit to the file is noticed by the workers of all processes.
                Effect::NotifyQueue { .. } | Effect::NotifyCancel => {}
                // The caller carries these out.
                Effect::Link { .. } => {}
                Effect::RecordAttempt(_) | Effect::ReportRun(_) => {
                    let why =
                        "insert jobs: a job that has never run has no attempts, and belongs to no schedule";
                    return Err(Error::new(ErrorKind::Internal, why).into());
                }
            }
        }
        Ok(())
    }

    fn put_edge(&mut self, edge: &EdgeRow) -> Result<(), Fault> {
        let (on_failure, state) = (edge.on_failure.as_str(), edge.state.as_str());
        let cells =
            [id_of(&edge.dependant), id_of(&edge.predecessor), Cell::text(on_failure), Cell::text(state)];
        self.run(PUT_EDGE, &cells)
    }

    fn batch(&mut self, id: BatchId) -> Result<Option<Batch>, Fault> {
        let Some(found) = self.one(BATCH, &[Cell::Blob(id.0.as_bytes())])? else { return Ok(None) };
        Ok(Some(Batch::from_stored(found.try_get(0)?)?))
    }

    fn put_batch(&mut self, batch: &Batch) -> Result<(), Fault> {
        let ended_at = batch.finished_at.filter(|_| batch.has_ended()).map(micros);
        let text = batch.stored()?;
        let cells = [
            Cell::Blob(batch.id.0.as_bytes()),
            batch.parent.as_ref().map_or(Cell::Null, |parent| Cell::Blob(parent.0.as_bytes())),
            ended_at.map_or(Cell::Null, Cell::Integer),
            Cell::text(&text),
        ];
        self.run(PUT_BATCH, &cells)
    }

    fn stripes(&mut self, id: BatchId) -> Result<Vec<Stripe>, Fault> {
        let rows = wait_for(bound(STRIPES, &[Cell::Blob(id.0.as_bytes())]).fetch_all(&mut *self.tx))?;
        let stripe = |found: &SqliteRow| {
            let count = |column| Ok::<u64, Fault>(found.try_get::<i64, _>(column)?.unsigned_abs());
            let counts =
                Counts { live: count(1)?, completed: count(2)?, cancelled: count(3)?, discarded: count(4)? };
            Ok(Stripe { counts, gate: word(found, 0)? })
        };
        rows.iter().map(stripe).collect()
    }

    fn put_stripe(&mut self, id: BatchId, number: u16, stripe: &Stripe) -> Result<(), Fault> {
        let Counts { live, completed, cancelled, discarded } = stripe.counts;
        let counts = [live, completed, cancelled, discarded].map(|count| Cell::Integer(revision(count)));
        let [live, completed, cancelled, discarded] = counts;
        let (batch, gate) = (Cell::Blob(id.0.as_bytes()), Cell::text(stripe.gate.as_str()));
        let cells = [batch, Cell::Integer(i64::from(number)), gate, live, completed, cancelled, discarded];
        self.run(PUT_STRIPE, &cells)
    }
}

fn id_of(id: &JobId) -> Cell<'_> {
    Cell::Blob(id.0.as_bytes())
}

/// A word of ours: a state, or a gate.
fn word<T: std::str::FromStr>(found: &SqliteRow, column: usize) -> Result<T, Fault> {
    let word: &str = found.try_get(column)?;
    word.parse().map_err(|_| {
        let why = format!("insert jobs: the stored word {word:?} is unknown; restore the row from a backup");
        Error::new(ErrorKind::Unusable, why).into()
    })
}

/// Waits in this thread for an answer of the driver, whose own thread wakes it. No runtime is needed for that.
fn wait_for<T>(answer: impl Future<Output = T>) -> T {
    struct Waiting(Thread);
    impl Wake for Waiting {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Waiting(thread::current())));
    let (mut answer, mut context) = (pin!(answer), Context::from_waker(&waker));
    loop {
        match answer.as_mut().poll(&mut context) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => thread::park(),
        }
    }
}
