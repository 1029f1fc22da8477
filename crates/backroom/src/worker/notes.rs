//! Progress and log lines of all runs: collected, and written at most four times a second.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backroom_core::Timestamp;
use tokio::sync::Notify;

use super::{run::Run, said::Said};
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
        let mut said = lock(&run.said);
        said.set_progress(percent, message);
        self.list(run, said);
    }

    pub(crate) fn log(&self, run: &Arc<Run>, line: &str, at: Timestamp) {
        let mut said = lock(&run.said);
        if said.add_line(run.lease, line, at) {
            self.list(run, said);
        }
    }

    fn list(&self, run: &Arc<Run>, mut said: MutexGuard<'_, Said>) {
        if said.list() {
            drop(said);
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
        let notes: Vec<_> = runs.filter_map(|run| take(run, now)).collect();
        if notes.is_empty() {
            return;
        }
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

    fn listed(&self) -> MutexGuard<'_, Vec<Arc<Run>>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take(run: &Run, now: Timestamp) -> Option<Note> {
    let (progress, lines) = lock(&run.said).take(run.lease, run.is_over(), now)?;
    Some(Note { job: run.job.id, lease: run.lease, progress, lines })
}

fn lock(said: &Mutex<Said>) -> MutexGuard<'_, Said> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}
