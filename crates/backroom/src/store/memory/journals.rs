//! Journals of workflows in memory.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use backroom_core::{
    Event, JobId, JobRow, State, Timestamp,
    links::ChildEnded,
    transition,
    workflow::{Arrival, Arrived, Entry, Header, SIGNALS_MAX, moved_on},
};
use uuid::Uuid;

use super::{
    MemoryStore,
    rows::{Ring, Rows},
};
use crate::{
    Error,
    store::{
        DueWakes, JOURNAL_PAGE_BYTES, JournalAfter, JournalHead, JournalPage, JournalRecord, JournalVerbs,
        JournalWrite, Signal, Signalled, Wrote, linked,
    },
};

/// The journal of one workflow.
#[derive(Debug, Clone, Default)]
pub(super) struct Stored {
    revision: u64,
    header: Option<Header>,
    wake_at: Option<Timestamp>,
    entries: BTreeMap<String, Entry>,
    arrived: u64,
    arrivals: BTreeMap<u64, Arrival>,
    /// Ids of all that arrived, each with the moment at which it was taken.
    known: BTreeMap<Uuid, Option<Timestamp>>,
    ids: BTreeMap<u64, Uuid>,
}

impl Rows {
    fn journal_page(&self, workflow: JobId, after: &JournalAfter, limit: usize) -> JournalPage {
        let Some(stored) = self.journals.get(&workflow) else { return JournalPage::default() };
        let head = JournalHead {
            revision: stored.revision,
            header: stored.header.clone(),
            wake_at: stored.wake_at,
            arrived: stored.arrived,
        };
        let mut page = JournalPage { head: Some(head), ..JournalPage::default() };
        let mut bytes = 0;
        for (_, entry) in stored.entries.iter().filter(|(key, _)| **key > after.key) {
            if page.entries.len() == limit || bytes >= JOURNAL_PAGE_BYTES {
                page.more = true;
                break;
            }
            bytes += entry.bytes();
            page.entries.push(entry.clone());
        }
        for (_, arrival) in stored.arrivals.range(after.n.saturating_add(1)..) {
            if page.arrivals.len() == limit || bytes >= JOURNAL_PAGE_BYTES {
                page.more = true;
                break;
            }
            bytes += arrival.bytes();
            page.arrivals.push(arrival.clone());
            page.arrival_ids.extend(stored.ids.get(&arrival.n).copied());
        }
        page
    }

    /// Stores the journal of an imported job.
    pub(super) fn import_journal(&mut self, workflow: JobId, record: &JournalRecord) {
        let JournalRecord { head, entries, arrivals } = record;
        let stored = Stored {
            revision: head.revision,
            header: head.header.clone(),
            wake_at: head.wake_at,
            entries: entries.iter().map(|entry| (entry.key.clone(), entry.clone())).collect(),
            arrived: head.arrived,
            arrivals: arrivals.iter().map(|(_, arrival)| (arrival.n, arrival.clone())).collect(),
            known: arrivals.iter().map(|(id, _)| (*id, None)).collect(),
            ids: arrivals.iter().map(|(id, arrival)| (arrival.n, *id)).collect(),
        };
        self.journals.insert(workflow, stored);
    }

    fn write_journal(&mut self, write: &JournalWrite) -> Result<Wrote, Error> {
        if self.running(write.workflow, write.lease).is_none() {
            return Ok(Wrote::Fenced);
        }
        let revision = self.journals.get(&write.workflow).map_or(0, |stored| stored.revision);
        if revision != write.revision_before {
            return Ok(if self.is_written(write) { Wrote::Done } else { Wrote::Moved });
        }
        let stored = self.journals.entry(write.workflow).or_default();
        let published = stored.header.as_ref().and_then(|header| header.published.clone());
        stored.revision += 1;
        stored.header = Some(write.header.clone());
        if let Some(header) = stored.header.as_mut().filter(|_| !write.publishes) {
            header.published = published;
        }
        stored.wake_at = write.wake_at;
        if write.clears {
            stored.entries.clear();
        }
        stored.entries.extend(write.entries.iter().map(|entry| (entry.key.clone(), entry.clone())));
        for n in &write.taken {
            if stored.arrivals.remove(n).is_some()
                && let Some(id) = stored.ids.remove(n)
            {
                stored.known.insert(id, Some(write.at));
            }
        }
        for child in &write.children {
            if !self.jobs.contains_key(&child.job.id) {
                self.add(child.job.clone());
            }
        }
        if let Some(job) = self.jobs.get_mut(&write.workflow) {
            if let Some(args) = &write.args {
                job.args = args.clone();
                job.revision += 1;
            }
            if write.forgives {
                moved_on(job);
            }
            if write.ties {
                job.links.get_or_insert_default().journal = true;
                job.revision += 1;
            }
        }
        linked::carry_out(self, write.effects())?;
        Ok(Wrote::Done)
    }

    /// Whether a write was made before, as the last one.
    fn is_written(&self, write: &JournalWrite) -> bool {
        let Some(stored) = self.journals.get(&write.workflow) else { return false };
        let Some(header) = &stored.header else { return false };
        let is_same = Header { published: None, ..header.clone() }
            == Header { published: None, ..write.header.clone() };
        stored.revision == write.revision_before + 1
            && is_same
            && stored.wake_at == write.wake_at
            && (!write.publishes || header.published == write.header.published)
            && write.entries.iter().all(|entry| stored.entries.get(&entry.key) == Some(entry))
    }

    fn signal(&mut self, signal: &Signal, now: Timestamp) -> Signalled {
        let Some(job) = self.job(signal.workflow).cloned() else { return Signalled::NotFound };
        let stored = self.journals.get(&signal.workflow);
        if stored.is_some_and(|stored| stored.known.contains_key(&signal.id)) {
            return Signalled::Done;
        }
        if job.state.is_finished() {
            return Signalled::Ended;
        }
        if stored.is_some_and(|stored| stored.arrivals.len() >= SIGNALS_MAX) {
            return Signalled::Full;
        }
        let what = Arrived::Signal { name: signal.name.clone(), value: signal.value.clone() };
        self.arrive(signal.workflow, signal.id, what, now);
        self.wake(&job, now);
        Signalled::Done
    }

    /// A child has ended: its end waits in the journal of its workflow, and wakes it.
    pub(super) fn child_ended(&mut self, ended: &ChildEnded, now: Timestamp) {
        let Some(job) = self.job(ended.workflow).filter(|job| ChildEnded::arrives_at(job.state)).cloned()
        else {
            return;
        };
        let what = Arrived::Child { key: ended.key.clone(), job: ended.child, end: ended.end.clone() };
        // A child that was retried ends a second time, which is no news.
        if self.arrive(ended.workflow, ended.child.0, what, now) && !job.state.is_finished() {
            self.wake(&job, now);
        }
    }

    /// Something has arrived for a live job: a parked one is queued, a running one is marked.
    fn wake(&mut self, job: &JobRow, now: Timestamp) {
        match transition::apply(job, Event::Wake, now) {
            Ok(Some(change)) => _ = self.commit(&change),
            // A claim that finds revision 0 knows that nothing has arrived.
            Ok(None) | Err(_) => {
                if let Some(job) = self.jobs.get_mut(&job.id).filter(|job| job.state == State::Queued) {
                    job.revision += 1;
                }
            }
        }
        self.ring(Ring::Job(job.id));
    }

    /// Appends what has arrived for a workflow, unless it did before under this id.
    pub(super) fn arrive(&mut self, workflow: JobId, id: Uuid, what: Arrived, now: Timestamp) -> bool {
        let stored = self.journals.entry(workflow).or_default();
        if stored.known.contains_key(&id) {
            return false;
        }
        stored.arrived += 1;
        let n = stored.arrived;
        stored.arrivals.insert(n, Arrival { n, at: now, what });
        stored.known.insert(id, None);
        stored.ids.insert(n, id);
        true
    }

    fn due_wakes(&self, limit: usize, now: Timestamp) -> DueWakes {
        let mut wakes: Vec<_> =
            self.journals.iter().filter_map(|(id, stored)| Some((stored.wake_at?, *id))).collect();
        wakes.sort_unstable();
        let next_at = wakes.iter().map(|(at, _)| *at).find(|at| *at > now);
        let due = wakes.into_iter().filter(|(at, _)| *at <= now).take(limit);
        let due = due.map(|(at, id)| (id, at, self.job(id).cloned())).collect();
        DueWakes { due, next_at }
    }

    fn clear_wakes(&mut self, wakes: &[(JobId, Timestamp)]) {
        for (id, at) in wakes {
            if let Some(stored) = self.journals.get_mut(id).filter(|stored| stored.wake_at == Some(*at)) {
                stored.wake_at = None;
            }
        }
    }

    fn forget_taken(&mut self, before: Timestamp, limit: usize) -> u64 {
        let mut left = limit;
        for stored in self.journals.values_mut() {
            stored.known.retain(|_, taken| {
                let stays = left == 0 || taken.is_none_or(|at| at >= before);
                left -= usize::from(!stays);
                stays
            });
        }
        (limit - left) as u64
    }
}

#[async_trait]
impl JournalVerbs for MemoryStore {
    async fn journal(
        &self,
        workflow: JobId,
        after: Option<Arc<JournalAfter>>,
        limit: usize,
    ) -> Result<JournalPage, Error> {
        self.read(|rows| rows.journal_page(workflow, &after.unwrap_or_default(), limit))
    }

    async fn write_journals(&self, writes: Arc<Vec<JournalWrite>>) -> Result<Vec<Wrote>, Error> {
        self.write(|rows| writes.iter().map(|write| rows.write_journal(write)).collect())?
    }

    async fn signal(&self, signals: Arc<Vec<Signal>>, now: Timestamp) -> Result<Vec<Signalled>, Error> {
        self.write(|rows| signals.iter().map(|signal| rows.signal(signal, now)).collect())
    }

    async fn due_wakes(&self, limit: usize, now: Timestamp) -> Result<DueWakes, Error> {
        self.read(|rows| rows.due_wakes(limit, now))
    }

    async fn clear_wakes(&self, wakes: Arc<Vec<(JobId, Timestamp)>>) -> Result<(), Error> {
        self.write(|rows| rows.clear_wakes(&wakes))
    }

    async fn forget_taken(&self, before: Timestamp, limit: usize) -> Result<u64, Error> {
        self.write(|rows| rows.forget_taken(before, limit))
    }
}
