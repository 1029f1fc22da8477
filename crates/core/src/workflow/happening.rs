//! What comes next for a run whose code waits: the earliest of all that it waits for.

use super::{
    Answer, EntryState, Inbox, Journal, Opened,
    ask::{AskState, Asked},
};
use crate::Timestamp;

/// Something that an open entry waits for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Happening {
    /// When. It may have passed.
    pub(super) at: Timestamp,
    /// Which ask it answers.
    pub(super) ticket: usize,
    /// What it is.
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// The entry is closed with this answer, and takes this arrival.
    Close { answer: Answer, take: Option<u64> },
    /// The step is tried again.
    Try { tries: u32 },
}

/// The earliest happening among `asks`, which are in the order of their tickets; of two at one moment the one that was asked for first.
/// Nothing happens before `now`, the time of the run.
pub(super) fn earliest<'a>(
    asks: impl Iterator<Item = (usize, &'a Asked)>,
    journal: &Journal,
    inbox: &Inbox,
    now: Timestamp,
) -> Option<Happening> {
    let mut earliest: Option<Happening> = None;
    for (ticket, asked) in asks {
        if asked.state != AskState::Pending {
            continue;
        }
        let Some(entry) = journal.entry(&asked.named.key) else { continue };
        let EntryState::Open(opened) = &entry.state else { continue };
        let found = match opened {
            Opened::Trying { tries, due_at, .. } => Some((*due_at, What::Try { tries: *tries })),
            Opened::Timer { until } => Some((*until, What::Close { answer: Answer::Fired, take: None })),
            Opened::Child { job, .. } => inbox.child(*job).map(|(at, n, end)| {
                (at, What::Close { answer: Answer::Child { end: end.clone() }, take: Some(n) })
            }),
            // Several waits may name the same arrival; the first of them is answered, and then the next is looked for.
            Opened::Signal { name, until } => signal_or_timeout(inbox.signal(name), *until),
        };
        if let Some((at, what)) = found
            && earliest.as_ref().is_none_or(|first| at.max(now) < first.at)
        {
            earliest = Some(Happening { at: at.max(now), ticket, what });
        }
    }
    earliest
}

/// A signal that arrived at the deadline is in time, however late the run comes to it.
fn signal_or_timeout(
    arrival: Option<(Timestamp, u64, &crate::Json)>,
    until: Option<Timestamp>,
) -> Option<(Timestamp, What)> {
    match (arrival, until) {
        (Some((at, n, value)), until) if until.is_none_or(|until| at <= until) => {
            Some((at, What::Close { answer: Answer::Signal { value: value.clone() }, take: Some(n) }))
        }
        (_, Some(until)) => Some((until, What::Close { answer: Answer::TimedOut, take: None })),
        (_, None) => None,
    }
}
