//! Which order a run has, and how it stands.

use std::time::Duration;

use backroom::{
    Backroom, Error, ErrorKind, Filter, Job as _, JobId, JobRow, State, Timestamp,
    core::bounds::span_until,
    workflow::{Answer, Entry, EntryState, Opened, Undo},
};

use super::{
    order::{OFFICE, Order},
    places::Places,
    thumbnails::{is_used_up, retry},
};

/// What has happened once an entry of the order's journal has its answer, by the key of the entry.
const DONE: [(&str, &str); 4] =
    [("pay", "paid"), ("pack", "packed"), ("shipped", "shipped"), ("mail", "mailed")];

/// The order of a run.
#[derive(Debug)]
pub(crate) struct Office {
    pub(crate) number: u32,
    pub(crate) order: JobId,
    /// How far it came, in words.
    pub(crate) steps: String,
    /// Whether it ended as it should.
    pub(crate) is_done: bool,
}

impl Office {
    /// Goes on with the last order if that has not ended, else begins the next one. What is enqueued already is found by its unique
    /// key, and what crashes used up runs again.
    pub(crate) async fn begin(backroom: &Backroom, places: &Places, refuse: bool) -> Result<Self, Error> {
        let (queue, kind) = (Some(OFFICE.into()), Some(Order::KIND.into()));
        let last = backroom.list(Filter { queue, kind, ..Filter::default() }, None, 1).await?.jobs.pop();
        let number = match last.and_then(|row| Some((row.args.decode::<Order>().ok()?.number, row))) {
            Some((number, row)) if !row.state.is_finished() || is_used_up(backroom, &row).await? => number,
            Some((number, _)) => number + 1,
            None => 1,
        };
        let order = Order { number, is_refused: refuse, out: places.out.clone() };
        let order = backroom.enqueue(order).await?;
        if is_used_up(backroom, &order.status().await?).await? {
            retry(backroom, order.id()).await?;
        }
        Ok(Self { number, order: order.id(), steps: String::new(), is_done: false })
    }

    /// Reads how it stands.
    pub(crate) async fn read(&mut self, backroom: &Backroom, now: Timestamp) -> Result<(), Error> {
        let row = match backroom.job(self.order).await {
            // A user has deleted it: what was read last stays.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            row => row?,
        };
        let entries = backroom.journal(row.id).await?.map(|journal| journal.entries).unwrap_or_default();
        let is_refused = row.args.decode::<Order>().is_ok_and(|order| order.is_refused);
        let is_paid_back = entries.iter().any(|entry| matches!(entry.undo, Some(Undo::Done { .. })));
        self.is_done = row.state == State::Completed || (is_refused && is_paid_back);
        self.steps = order_line(&row, &entries, now);
        Ok(())
    }
}

/// The order in one line: `paid at try 2, packed, waits for the signal of the carrier`.
fn order_line(row: &JobRow, entries: &[Entry], now: Timestamp) -> String {
    let mut said: Vec<_> = entries.iter().filter_map(|entry| entry_said(entry, now)).collect();
    said.extend(entries.iter().filter_map(|entry| match &entry.undo {
        Some(Undo::Done { .. }) => Some("paid back".to_owned()),
        Some(Undo::Trying { error, .. }) => Some(format!("not paid back yet ({error})")),
        Some(Undo::Due) | None => None,
    }));
    match row.state {
        // Between two tries it does nothing, and its entry says so.
        State::Running if !entries.iter().any(|entry| retried_in(entry, now).is_some()) => {
            said.extend(doing(row))
        }
        State::Cancelled | State::Discarded => {
            said.push(format!("{}: {}", row.state, row.reason.as_deref().unwrap_or("no reason was given")));
        }
        State::Running | State::Queued | State::Waiting | State::Completed => {}
    }
    if said.is_empty() { "begins".into() } else { said.join(", ") }
}

/// How long a step that failed waits for its next try.
fn retried_in(entry: &Entry, now: Timestamp) -> Option<Duration> {
    let EntryState::Open(Opened::Trying { due_at, .. }) = entry.state else { return None };
    Some(span_until(now, due_at)).filter(|wait| !wait.is_zero())
}

fn entry_said(entry: &Entry, now: Timestamp) -> Option<String> {
    let done = DONE.iter().find(|(key, _)| *key == entry.key)?.1;
    match &entry.state {
        EntryState::Open(Opened::Trying { error, .. }) => {
            let wait = retried_in(entry, now)?.as_secs_f64();
            Some(format!("not {done} yet ({error}, tried again in {wait:.1} s)"))
        }
        EntryState::Open(Opened::Signal { .. }) => Some("waits for the signal of the carrier".into()),
        // The reason of the job says it.
        EntryState::Closed { answer: Answer::Failed { .. }, .. } => None,
        EntryState::Closed { .. } if entry.tries > 1 => Some(format!("{done} at try {}", entry.tries)),
        EntryState::Closed { .. } => Some(done.into()),
        // The order has neither timers nor children nor races.
        EntryState::Open(Opened::Timer { .. } | Opened::Child { .. })
        | EntryState::Lost
        | EntryState::Superseded { .. } => None,
    }
}

/// What the handler of a running job reported last.
pub(crate) fn doing(row: &JobRow) -> Option<String> {
    row.progress.as_ref().map(|progress| progress.message.clone()).filter(|message| !message.is_empty())
}
