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

use super::{active_runs::Run, shared::Shared};
use crate::store::Note;

/// The least span between two writes.
const SPAN: Duration = Duration::from_millis(250);
/// The condition that notes cannot be written.
const UNWRITTEN: &str = "progress and log lines were not written";

/// What one run said that is not written yet.
#[derive(Debug, Default)]
pub(crate) struct Said {
    progress: Option<Progress>,
    lines: Vec<LogLine>,
    /// Lines so far, those left out included.
    count: u32,
    /// Listed among those to write.
    listed: bool,
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

/// Writes what these runs said and nobody wrote.
pub(crate) async fn flush(shared: &Shared, runs: impl Iterator<Item = &Arc<Run>>) {
    let _flushing = shared.notes.flushing.lock().await;
    let notes: Vec<_> = runs.filter_map(|run| take(run, shared.engine.clock.now())).collect();
    if notes.is_empty() {
        return;
    }
    let now = shared.engine.clock.now();
    // Worth a line in the log, not worth holding up the end of a job for.
    match shared.engine.store.note(Arc::new(notes), now).await {
        Ok(()) => shared.repeats.over(UNWRITTEN, shared.engine.clock.monotonic()),
        Err(error) if shared.is_news(UNWRITTEN) => {
            tracing::warn!(worker = %shared.name(), %error, "{UNWRITTEN}; those of this span are missing from their jobs");
        }
        Err(_) => {}
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
