//! The asks of one call, carried through a run of core.

use std::collections::HashMap;

use backroom_core::{
    Timestamp,
    workflow::{Ask, Attempted, Entry, EntryState, Next, Opened, Refused, Run, Ticket, Write},
};

use super::call::{AskAnswer, RemoteAsk};
use crate::{Error, ErrorKind};

/// Writes that are decided; the run counts them as made.
pub(super) struct Writes(pub(super) Vec<Write>);

impl Writes {
    pub(super) fn add(&mut self, run: &mut Run, writes: Vec<Write>) {
        run.wrote(&writes);
        self.0.extend(writes);
    }
}

/// The asks of one call.
pub(super) struct Asked<'a> {
    asks: &'a [RemoteAsk],
    /// None for what is not begun.
    tickets: Vec<Option<Result<Ticket, Refused>>>,
    executes: HashMap<Ticket, u32>,
}

impl<'a> Asked<'a> {
    /// With `is_to_stop` nothing is begun: only what has begun is asked for.
    pub(super) fn new(run: &mut Run, asks: &'a [RemoteAsk], is_to_stop: bool) -> Result<Self, Error> {
        let mut tickets = Vec::with_capacity(asks.len());
        for RemoteAsk { key, ask, tried, won, .. } in asks {
            if let Ask::Race { branches } = ask {
                check_race(key, branches, *won)?;
            }
            if is_to_stop && tried.is_none() && run.journal().entry(key).is_none() {
                tickets.push(None);
                continue;
            }
            let ticket = run.ask_under(key, ask.clone());
            if let Err(Refused::Name(error)) = &ticket {
                return Err(Error::new(ErrorKind::Invalid, format!("ask: {error}")));
            }
            if let (Ok(race), Some(branch)) = (&ticket, won) {
                run.won(*race, *branch);
            }
            tickets.push(Some(ticket));
        }
        Ok(Self { asks, tickets, executes: HashMap::new() })
    }

    /// Lets the run go on until nothing more happens now.
    pub(super) fn go_on(&mut self, run: &mut Run, writes: &mut Writes, now: Timestamp, chance: f64) -> Next {
        loop {
            match run.next(now) {
                Next::Poll => {}
                Next::Write(made) => writes.add(run, made),
                Next::Execute { ticket, try_number } => match self.tried(ticket, try_number) {
                    Some(attempted) => {
                        let mut made = run.tried(ticket, attempted, now, chance);
                        for write in &mut made {
                            if let Write::Entry(entry) = write {
                                entry.tries = try_number;
                            }
                        }
                        writes.add(run, made);
                    }
                    None => _ = self.executes.insert(ticket, try_number),
                },
                stop @ (Next::Await { .. }
                | Next::Park { .. }
                | Next::Undo { .. }
                | Next::Undone(_)
                | Next::Blocked(_)
                | Next::Full(_)) => return stop,
            }
        }
    }

    /// How this try of a step has ended, as the call says.
    fn tried(&self, ticket: Ticket, try_number: u32) -> Option<Attempted> {
        let place = self.tickets.iter().position(|known| *known == Some(Ok(ticket)))?;
        let (number, attempted) = self.asks[place].tried.as_ref()?;
        (*number == try_number).then(|| attempted.clone())
    }

    pub(super) fn answers(self, run: &mut Run) -> Vec<AskAnswer> {
        let mut answers = Vec::with_capacity(self.tickets.len());
        for (ticket, RemoteAsk { key, .. }) in self.tickets.iter().zip(self.asks) {
            answers.push(match ticket {
                None => AskAnswer::Waits { until: None },
                Some(Err(refused)) => AskAnswer::Refused(refused.to_string()),
                Some(Ok(ticket)) => match (run.answer(*ticket), self.executes.get(ticket)) {
                    (Some(answer), _) => {
                        AskAnswer::Answer { answer, seq: run.journal().entry(key).and_then(Entry::seq) }
                    }
                    (None, Some(try_number)) => AskAnswer::Execute { try_number: *try_number },
                    (None, None) => AskAnswer::Waits { until: until(run.journal().entry(key)) },
                },
            });
        }
        answers
    }
}

/// Most branches of a race.
const BRANCHES_MAX: usize = 1000;

/// Checks the scopes of a race, below which everything ends that has lost.
fn check_race(key: &str, branches: &[String], won: Option<u32>) -> Result<(), Error> {
    let wrong = |why: String| Err(Error::new(ErrorKind::Invalid, format!("ask for race {key:?}: {why}")));
    if branches.is_empty() || branches.len() > BRANCHES_MAX {
        return wrong(format!("it has {} branches; it needs 1 to {BRANCHES_MAX}", branches.len()));
    }
    if let Some(path) = branches.iter().find(|path| path.len() < 2 || !path.ends_with('/')) {
        return wrong(format!("the scope {path:?} of a branch is to end with a slash"));
    }
    if let Some(won) = won.filter(|won| *won as usize >= branches.len()) {
        return wrong(format!(
            "branch {won} has won, and it has {} branches, counted from 0",
            branches.len()
        ));
    }
    Ok(())
}

/// When an open entry is answered at the latest, or tried again.
fn until(entry: Option<&Entry>) -> Option<Timestamp> {
    match &entry?.state {
        EntryState::Open(Opened::Trying { due_at, .. }) => Some(*due_at),
        EntryState::Open(Opened::Timer { until }) => Some(*until),
        EntryState::Open(Opened::Signal { until, .. }) => *until,
        EntryState::Open(Opened::Child { .. })
        | EntryState::Closed { .. }
        | EntryState::Lost
        | EntryState::Superseded { .. } => None,
    }
}
