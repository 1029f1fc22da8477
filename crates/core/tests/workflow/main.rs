//! Workflows: names, replay, signals, races, compensations, bounds; and random programs whose runs are killed between any two
//! writes.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

#[path = "../common/mod.rs"]
mod common;

mod bounds;
mod chance;
mod determinism;
mod journaled;
mod names;
mod program;
mod reference;
mod replay;
mod resume;
mod signals;
mod stored;
mod undo;

use backroom_core::{
    JobId, RetryPolicy,
    workflow::{Arrival, Arrived, Ask, Entry, Header, Journal, Next, Run, ScopeId, Ticket, Write},
};
use uuid::Uuid;

const WORKFLOW: JobId = JobId(Uuid::from_u128(0xf10));

/// A run over these entries and arrivals.
fn run_over(entries: Vec<Entry>, arrivals: Vec<Arrival>) -> Run {
    Run::begin(WORKFLOW, Journal::load(Header::begin(None, common::now()), entries).unwrap(), arrivals)
}

/// A run of code elsewhere.
fn run_by_key(entries: Vec<Entry>) -> Run {
    let journal = Journal::load(Header::begin(None, common::now()), entries).unwrap();
    Run::begin_by_key(WORKFLOW, journal, Vec::new())
}

fn step() -> Ask {
    Ask::Step { retry: RetryPolicy::constant(common::secs(7)).jitter(0), max_tries: 3, is_compensated: false }
}

fn ask(run: &mut Run, name: &str, ask: Ask) -> Ticket {
    run.ask(ScopeId::ROOT, name, ask).unwrap()
}

fn signal(n: u64, secs: i64, name: &str, value: &str) -> Arrival {
    let what = Arrived::Signal { name: name.into(), value: common::json(value) };
    Arrival { n, at: common::at(secs), what }
}

/// Writes what is next, and answers it.
fn write(run: &mut Run, real: i64) -> Vec<Write> {
    let Next::Write(writes) = run.next(common::at(real)) else { panic!("nothing is to be written") };
    run.wrote(&writes);
    writes
}

/// The entries that stand in the journal, for a second run.
fn entries(run: &Run) -> Vec<Entry> {
    run.journal().answered().chain(run.journal().open()).cloned().collect()
}
