//! Progress and logs: what handlers say, gathered and written at most four times a second.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backroom_core::{
    LogLine, Progress, Timestamp,
    bounds::{LOG_LINE_BYTES_MAX, LOG_LINES_MAX, MESSAGE_BYTES_MAX, clip},
};
use tokio::sync::Notify;

use super::{held::Run, shared::Shared};
use crate::store::{Note, is_told};

/// The least span between two writes.
const SPAN: Duration = Duration::from_millis(250);
/// How often what runs said is tried to be written before their ends are: about ten seconds, with the tries that the store's
/// decorator makes of each.
const FLUSHES_MAX: u32 = 3;

/// What one run said that is not written yet.
#[derive(Debug, Default)]
pub(crate) struct Said {
    progress: Option<Progress>,
    lines: Vec<LogLine>,
    /// Lines so far, those left out included.
    count: u32,
    /// Listed among those to write.
    listed: bool,
    /// The run's end is recorded: nothing can be written in its name any more.
    closed: bool,
}

/// The runs that said something.
#[derive(Default)]
pub(crate) struct Notes {
    talkers: Mutex<Vec<Arc<Run>>>,
    rang: Notify,
    /// One flush at a time: the end of a job must not overtake what its handler said before.
    flushing: tokio::sync::Mutex<()>,
}

impl Notes {
    pub(crate) fn progress(&self, run: &Arc<Run>, percent: u8, message: String) {
        let mut said = lock(&run.said);
        said.progress =
            Some(Progress { percent: percent.min(100), message: clip(&message, MESSAGE_BYTES_MAX) });
        self.list(run, said);
    }

    pub(crate) fn log(&self, run: &Arc<Run>, line: String, at: Timestamp) {
        let mut said = lock(&run.said);
        let seq = said.count;
        said.count = said.count.saturating_add(1);
        if seq < LOG_LINES_MAX {
            let line = clip(&line, LOG_LINE_BYTES_MAX);
            said.lines.push(LogLine { lease_id: run.lease, seq, at, line });
            self.list(run, said);
        }
    }

    /// As if it had not been taken: before what was said since, and the progress said since goes before it. What comes back
    /// too late is lost; whoever closed the run has told so.
    fn put_back(&self, run: &Arc<Run>, note: &Note) {
        let mut said = lock(&run.said);
        if said.closed {
            return;
        }
        said.progress = said.progress.take().or_else(|| note.progress.clone());
        said.lines.splice(0..0, note.lines.iter().cloned());
        self.list(run, said);
    }

    fn list(&self, run: &Arc<Run>, mut said: MutexGuard<'_, Said>) {
        if !mem::replace(&mut said.listed, true) {
            drop(said);
            self.talkers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(run));
            self.rang.notify_one();
        }
    }
}

/// Writes what is said until the worker ends.
pub(crate) async fn keep_writing(shared: Arc<Shared>) {
    loop {
        shared.notes.rang.notified().await;
        let talkers = mem::take(&mut *shared.notes.talkers.lock().unwrap_or_else(PoisonError::into_inner));
        flush(&shared, talkers.iter()).await;
        shared.engine.clock.sleep(SPAN).await;
    }
}

/// Writes what these runs said and nobody wrote, before their ends are recorded: again and again while the store is away, but
/// not for ever, because it may be that only this cannot be written.
pub(crate) async fn flush_patiently(shared: &Shared, runs: &[&Arc<Run>]) {
    for _ in 0..FLUSHES_MAX {
        if flush(shared, runs.iter().copied()).await {
            return;
        }
        shared.engine.clock.sleep(SPAN).await;
    }
}

/// Forgets what runs said whose ends are recorded, and tells if that was anything.
pub(crate) fn close(shared: &Shared, runs: &[Arc<Run>]) {
    let close = |run: &&Arc<Run>| {
        let mut said = lock(&run.said);
        said.closed = true;
        let had_something = said.progress.take().is_some() | !said.lines.is_empty();
        said.lines = Vec::new();
        had_something && !run.is_lost()
    };
    let jobs = runs.iter().filter(close).count();
    if jobs > 0 {
        tracing::warn!(worker = %shared.name, jobs, "the last words of handlers were lost: the store did not take them in time");
    }
}

/// Writes what these runs said and nobody wrote. What a store that is away does not take is kept for the next time, as long
/// as the runs last; their own bounds are its bounds. Answers whether nothing had to be kept.
async fn flush(shared: &Shared, runs: impl Iterator<Item = &Arc<Run>>) -> bool {
    let _flushing = shared.notes.flushing.lock().await;
    let taken = runs.filter_map(|run| Some((run, take(run, shared.engine.clock.now())?)));
    let (runs, notes): (Vec<_>, Vec<_>) = taken.unzip();
    if notes.is_empty() {
        return true;
    }
    let (notes, now) = (Arc::new(notes), shared.engine.clock.now());
    match shared.engine.store.note(Arc::clone(&notes), now).await {
        Ok(()) => true,
        // The outage is reported once by the store's decorator.
        Err(error) if is_told(&error) => {
            runs.into_iter().zip(notes.iter()).for_each(|(run, note)| shared.notes.put_back(run, note));
            false
        }
        // Worth telling, not worth holding up the end of a job for.
        Err(error) => {
            tracing::warn!(worker = %shared.name, %error, "progress and log lines were not written");
            true
        }
    }
}

fn take(run: &Run, now: Timestamp) -> Option<Note> {
    let mut said = lock(&run.said);
    said.listed = false;
    let progress = said.progress.take();
    let mut lines = mem::take(&mut said.lines);
    if run.is_over() && said.count > LOG_LINES_MAX {
        let line = format!("{} more lines were left out", said.count - LOG_LINES_MAX);
        lines.push(LogLine { lease_id: run.lease, seq: LOG_LINES_MAX, at: now, line });
        said.count = LOG_LINES_MAX;
    }
    if progress.is_none() && lines.is_empty() {
        return None;
    }
    Some(Note { job: run.job.id, lease: run.lease, progress, lines })
}

fn lock(said: &Mutex<Said>) -> MutexGuard<'_, Said> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}
