//! The suspects of one worker that wait for their trial.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backroom_core::{JobId, Standing};
use tokio::sync::Notify;

use super::{pool::Pool, run::Run, trial::TrialRecord};

/// A worker holds suspects whose trials take about so long together; others are put off, so that other workers get them.
const HELD_MAX: Duration = Duration::from_secs(15);
/// The least wait of a suspect that is put off.
const WAIT_MIN: Duration = Duration::from_secs(1);

/// The suspects of one worker.
#[derive(Default)]
pub(crate) struct Suspects {
    waiting: Mutex<VecDeque<Suspect>>,
    came: Notify,
    /// What the worker's row says about their trials.
    pub(crate) record: Arc<TrialRecord>,
}

/// One that waits.
pub(super) struct Suspect {
    pub(super) run: Arc<Run>,
    pub(super) pool: Arc<Pool>,
    pub(super) standing: Standing,
}

impl Suspect {
    /// How long its trial is.
    pub(super) fn span(&self) -> Duration {
        match self.standing {
            Standing::Clear => Duration::ZERO,
            Standing::Suspect(span) | Standing::Prime(span) => span,
        }
    }

    /// Those with the least evidence against them begin first.
    fn order(&self) -> (bool, u32, JobId) {
        (matches!(self.standing, Standing::Prime(_)), self.run.job.crashes, self.run.job.id)
    }
}

impl Suspects {
    /// Takes out those that have not begun.
    pub(crate) fn take_waiting(&self) -> Vec<Arc<Run>> {
        self.waiting().drain(..).map(|suspect| suspect.run).collect()
    }

    /// Holds a suspect until its turn. If there are too many, it returns the run and how long to put it off.
    pub(super) fn hold(&self, suspect: Suspect, most: usize) -> Option<(Arc<Run>, Duration)> {
        let mut waiting = self.waiting();
        let wait: Duration = waiting.iter().map(Suspect::span).sum();
        if wait > HELD_MAX || waiting.len() >= most {
            return Some((suspect.run, wait.clamp(WAIT_MIN, HELD_MAX)));
        }
        waiting.push_back(suspect);
        self.came.notify_one();
        None
    }

    /// The suspect to begin next.
    pub(super) fn next(&self) -> Option<Suspect> {
        let mut waiting = self.waiting();
        let first = waiting.iter().enumerate().min_by_key(|(_, suspect)| suspect.order())?.0;
        waiting.remove(first)
    }

    /// Returns when a suspect came.
    pub(super) async fn came(&self) {
        self.came.notified().await;
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Suspect>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
