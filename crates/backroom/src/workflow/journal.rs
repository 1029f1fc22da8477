//! The journal of one run in the store: reads it, and gathers what is to be written.

use std::{collections::HashSet, sync::Arc};

use backroom_core::{
    Attempt, AttemptEnd, JobId, JobRow, Json, LeaseId, Timestamp,
    draft::NewJob,
    links::ChildCancel,
    workflow::{Arrival, Entry, EntryKind, Header, Journal, Phase, Resumed, Write},
};

use super::flow::State;
use crate::{
    Context, Error,
    engine::Engine,
    store::{JournalAfter, JournalPage, JournalWrite},
};

/// Entries and arrivals in one read.
const PAGE: usize = 1000;

/// What a run begins with.
pub(super) struct Loaded {
    /// What a retry has made of the journal.
    pub(super) resumed: Resumed,
    pub(super) revision: u64,
    pub(super) journal: Journal,
    pub(super) arrivals: Vec<Arrival>,
    /// When the store wakes the workflow, as far as this process knows.
    pub(super) wake_at: Option<Timestamp>,
}

/// Reads a journal. A job that was claimed once and changed by nothing else has none, which spares the read.
///
/// A run that begins has this version of its code.
pub(super) async fn load(
    engine: &Engine,
    context: &Context,
    is_first: bool,
    version: Option<String>,
) -> Result<Loaded, Error> {
    let job = context.job();
    const REVISION_OF_FIRST_CLAIM: u64 = 1;
    let mut all = JournalPage::default();
    if !is_first || job.revision != REVISION_OF_FIRST_CLAIM {
        all = read(engine, job.id).await?;
        #[cfg(feature = "sealed")]
        {
            all = super::sealed::open(context.codec(), all)?;
        }
    }
    let ended = last_end(engine, job, &all).await?;
    let (revision, header, wake_at) =
        all.head.map_or((0, None, None), |head| (head.revision, head.header, head.wake_at));
    let header = header.unwrap_or_else(|| Header::begin(version, engine.clock.now()));
    let mut journal = Journal::load(header, all.entries)?;
    let resumed = journal.resume(ended, &all.arrivals);
    Ok(Loaded { resumed, revision, journal, arrivals: all.arrivals, wake_at })
}

/// The run that ended the job last as failed or cancelled, of a workflow that undoes what it has done: a retry since then is
/// known by it.
pub(crate) async fn last_end(
    engine: &Engine,
    job: &JobRow,
    page: &JournalPage,
) -> Result<Option<LeaseId>, Error> {
    let header = page.head.as_ref().and_then(|head| head.header.as_ref());
    if !header.is_some_and(|header| matches!(header.phase, Phase::Undoing { .. })) {
        return Ok(None);
    }
    let ends = |attempt: &&Attempt| matches!(attempt.end, AttemptEnd::Discarded | AttemptEnd::Cancelled);
    let attempts = engine.store.attempts(job.id).await?;
    Ok(attempts.iter().rev().find(ends).map(|attempt| attempt.lease_id))
}

/// Why a workflow that has ended cannot go on after a retry; none if it can, or is no workflow.
pub(crate) async fn refuses_retry(engine: &Engine, job: &JobRow) -> Result<Option<String>, Error> {
    // A workflow without this mark has nothing that could be undone.
    if !job.undoes() || !job.state.is_finished() {
        return Ok(None);
    }
    let page = read(engine, job.id).await?;
    let Some(header) = page.head.and_then(|head| head.header) else { return Ok(None) };
    let is_undoing = matches!(header.phase, Phase::Undoing { .. });
    Ok(Journal::load(header, page.entries)?.undone().filter(|_| is_undoing))
}

/// Reads all of a journal, in pages. A write in between can show in a part of it only; a run finds that at its first write.
pub(crate) async fn read(engine: &Engine, workflow: JobId) -> Result<JournalPage, Error> {
    let mut all = engine.store.journal(workflow, None, PAGE).await?;
    while all.more {
        let after = JournalAfter {
            key: all.entries.last().map(|entry| entry.key.clone()).unwrap_or_default(),
            n: all.arrivals.last().map_or(0, |arrival| arrival.n),
        };
        let page = engine.store.journal(workflow, Some(Arc::new(after)), PAGE).await?;
        all.more = page.more && !(page.entries.is_empty() && page.arrivals.is_empty());
        all.entries.extend(page.entries);
        all.arrivals.extend(page.arrivals);
    }
    Ok(all)
}

/// What has arrived after the arrival of this number.
pub(super) async fn arrived(engine: &Engine, workflow: JobId, after: u64) -> Result<Vec<Arrival>, Error> {
    let (mut arrivals, mut n) = (Vec::new(), after);
    loop {
        // Behind every key.
        let after = JournalAfter { key: char::MAX.to_string(), n };
        let page = engine.store.journal(workflow, Some(Arc::new(after)), PAGE).await?;
        let Some(last) = page.arrivals.last() else { return Ok(arrivals) };
        n = last.n;
        arrivals.extend(page.arrivals);
        if !page.more {
            return Ok(arrivals);
        }
    }
}

/// What a run has decided and not written.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) entries: Vec<Entry>,
    taken: Vec<u64>,
    pub(super) children: Vec<NewJob>,
    cancels: Vec<(JobId, String)>,
    publishes: bool,
    /// The header changes, and nothing else may.
    changes_header: bool,
    /// The args and the version of the next generation.
    next: Option<(Json, Option<String>)>,
}

impl Pending {
    /// Whether nothing is to be written.
    pub(super) fn is_empty(&self) -> bool {
        let Self { entries, taken, children, cancels, publishes, changes_header, next } = self;
        entries.is_empty()
            && taken.is_empty()
            && children.is_empty()
            && cancels.is_empty()
            && !publishes
            && !changes_header
            && next.is_none()
    }

    /// Children that are begun and cancelled before the write are not begun.
    pub(super) fn drop_unborn(&mut self) {
        let Self { children, cancels, .. } = self;
        let is_cancelled: HashSet<JobId> = cancels.iter().map(|(job, _)| *job).collect();
        let unborn: HashSet<JobId> =
            children.iter().map(|new| new.job.id).filter(|job| is_cancelled.contains(job)).collect();
        children.retain(|new| !unborn.contains(&new.job.id));
        cancels.retain(|(job, _)| !unborn.contains(job));
    }

    /// Whether something is to be written that a cancel has to deal with.
    pub(super) fn ties(&self) -> bool {
        !self.children.is_empty() || self.entries.iter().any(|entry| entry.undo.is_some())
    }

    /// The header is written, whether or not anything else is.
    pub(super) fn change_header(&mut self) {
        self.changes_header = true;
    }

    /// The next generation begins with these args.
    pub(super) fn continue_with(&mut self, args: Json, version: Option<String>) {
        self.next = Some((args, version));
    }

    /// Adds a write, which the run counts as made from now on. The caller adds the jobs of children.
    pub(super) fn add(&mut self, state: &mut State, write: Write) {
        state.run.wrote(std::slice::from_ref(&write));
        match write {
            Write::Entry(entry) => self.put(state, entry),
            Write::Take { n } => self.taken.push(n),
            Write::StartChild { .. } => {}
            Write::CancelChild { job, reason } => self.cancels.push((job, reason)),
            Write::Phase(_) | Write::Failed(_) | Write::Resume { .. } => self.changes_header = true,
            Write::Publish(_) => self.publishes = true,
            // Its header is that of the next generation: see `take`.
            Write::NextGeneration => {}
        }
    }

    fn put(&mut self, state: &State, mut entry: Entry) {
        if entry.tries == 0 {
            entry.tries = state.tries_of(&entry.key);
        }
        let before = self.entries.iter().rposition(|known| known.key == entry.key);
        let known = before.map(|place| self.entries[place].began_at);
        entry.began_at = known.flatten().or_else(|| state.began.get(&entry.key).copied()).or(entry.began_at);
        match before {
            Some(place) => self.entries[place] = entry,
            None => self.entries.push(entry),
        }
    }

    /// What is to be written, as a write of the store. Nothing is left.
    pub(super) fn take(
        &mut self,
        state: &State,
        job: &JobRow,
        (revision_before, wake_at): (u64, Option<Timestamp>),
        now: Timestamp,
        (forgives, ties): (bool, bool),
    ) -> Option<JournalWrite> {
        let Self { mut entries, taken, children, cancels, publishes, next, .. } = std::mem::take(self);
        if next.is_some() {
            // The next generation begins without them.
            entries.clear();
        }
        let header = &state.run.journal().header;
        let header = match &next {
            Some((_, version)) => header.next_generation(version.clone(), now),
            None => header.clone(),
        };
        Some(JournalWrite {
            workflow: job.id,
            lease: job.lease_id?,
            revision_before,
            header,
            publishes,
            clears: next.is_some(),
            entries,
            taken,
            at: now,
            children,
            cancels: cancels
                .into_iter()
                .map(|(child, reason)| ChildCancel { workflow: job.id, child, reason })
                .collect(),
            args: next.map(|(args, _)| args),
            wake_at,
            forgives,
            ties,
        })
    }
}

/// Whether the code waits for something that arrives.
pub(super) fn awaits_arrivals(journal: &Journal) -> bool {
    journal.open().any(|entry| matches!(entry.kind, EntryKind::Signal | EntryKind::Child))
}
