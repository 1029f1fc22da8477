//! Progress and log lines of all runs: collected, and written at most four times a second.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backroom_core::Timestamp;
use tokio::sync::Notify;

use super::{pending_notes::PendingNotes, run::Run};
use crate::{engine::Engine, repeated::Repeats, store::Note};

/// The least span between two writes.
pub(super) const SPAN: Duration = Duration::from_millis(250);
/// The condition that notes cannot be written.
const UNWRITTEN: &str = "progress and log lines were not written";

/// The runs with something to write.
#[derive(Default)]
pub(crate) struct Notes {
    listed: Mutex<Vec<Arc<Run>>>,
    came: Notify,
    /// One flush at a time: the end of a job must not be written before what its handler reported.
    flushing: tokio::sync::Mutex<()>,
}

impl Notes {
    pub(crate) fn progress(&self, run: &Arc<Run>, percent: u8, message: &str) {
        let mut pending = lock(&run.pending_notes);
        pending.set_progress(percent, message);
        self.list(run, pending);
    }

    pub(crate) fn log(&self, run: &Arc<Run>, line: &str, at: Timestamp) {
        let mut pending = lock(&run.pending_notes);
        if pending.add_line(run.lease, line, at) {
            self.list(run, pending);
        }
    }

    #[cfg(all(feature = "exec", target_os = "linux"))]
    pub(crate) fn leave_out(run: &Run, lines: u32) {
        lock(&run.pending_notes).leave_out(lines);
    }

    fn list(&self, run: &Arc<Run>, mut pending: MutexGuard<'_, PendingNotes>) {
        if pending.list() {
            drop(pending);
            self.listed().push(Arc::clone(run));
            self.came.notify_one();
        }
    }

    /// Returns the runs to write, once there is one.
    pub(super) async fn wait(&self) -> Vec<Arc<Run>> {
        self.came.notified().await;
        mem::take(&mut *self.listed())
    }

    /// Writes what these runs reported.
    pub(super) async fn flush(
        &self,
        engine: &Engine,
        repeats: &Repeats,
        runs: impl Iterator<Item = &Arc<Run>>,
    ) {
        let _flushing = self.flushing.lock().await;
        let now = engine.clock.now();
        let notes: Vec<_> = runs.filter_map(|run| take(engine, run, now)).collect();
        if notes.is_empty() {
            return;
        }
        for call in in_calls(notes, engine.bytes_max / CALLS) {
            write(engine, repeats, call, now).await;
        }
    }

    fn listed(&self) -> MutexGuard<'_, Vec<Arc<Run>>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write(engine: &Engine, repeats: &Repeats, notes: Vec<Note>, now: Timestamp) {
    // A failure is worth a log line, but the end of a job does not wait for its notes.
    let reading = || engine.clock.monotonic();
    match engine.store.note(Arc::new(notes), now).await {
        Ok(()) => repeats.over(UNWRITTEN, reading()),
        Err(error) if repeats.met(UNWRITTEN, reading()) => {
            tracing::warn!(%error, "{UNWRITTEN}; those of this span are missing from their jobs");
        }
        Err(_) => {}
    }
}

/// One call holds at most so many parts of the bytes that one read may answer with: drivers hold what they send a second time.
const CALLS: usize = 4;
/// What a note or a line takes beside its text.
const NOTE_BYTES: usize = 100;

/// Divides notes into calls, each up to the note with which it holds so many bytes.
fn in_calls(notes: Vec<Note>, bytes_max: usize) -> Vec<Vec<Note>> {
    let (mut calls, mut call, mut bytes) = (Vec::new(), Vec::new(), 0);
    for note in notes {
        bytes += NOTE_BYTES + note.lines.iter().map(|line| NOTE_BYTES + line.line.len()).sum::<usize>();
        call.push(note);
        if bytes >= bytes_max {
            calls.push(mem::take(&mut call));
            bytes = 0;
        }
    }
    if !call.is_empty() {
        calls.push(call);
    }
    calls
}

fn take(
    #[cfg_attr(not(feature = "sealed"), expect(unused_variables))] engine: &Engine,
    run: &Run,
    now: Timestamp,
) -> Option<Note> {
    let (progress, lines) = lock(&run.pending_notes).take(run.lease, run.is_over(), now)?;
    #[cfg(feature = "sealed")]
    let (progress, lines) = match run.codec() {
        Some(codec) => codec.seal_notes(run.lease, progress, lines, &engine.ids),
        None => (progress, lines),
    };
    Some(Note { job: run.job.id, lease: run.lease, progress, lines })
}

fn lock(pending: &Mutex<PendingNotes>) -> MutexGuard<'_, PendingNotes> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use backroom_core::{JobId, LeaseId, LogLine};

    use super::*;

    #[test]
    fn a_call_ends_behind_the_note_that_fills_it() {
        let note = |bytes: usize| {
            let (lease, text) = (LeaseId(uuid::Uuid::nil()), "x".repeat(bytes));
            let line = LogLine { lease_id: lease, seq: 0, at: Timestamp::UNIX_EPOCH, line: text };
            Note { job: JobId(uuid::Uuid::nil()), lease, progress: None, lines: vec![line] }
        };
        let sizes = [1000, 1000, 5000, 100, 3000].map(note);
        let calls: Vec<usize> = in_calls(sizes.to_vec(), 2000).iter().map(Vec::len).collect();
        assert_eq!(calls, [2, 1, 2]);
    }
}
