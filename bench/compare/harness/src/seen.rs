//! What the handlers saw. There is one of it per process, as some libraries call a plain function and hand it nothing.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{Email, clock};

static SEEN: OnceLock<Seen> = OnceLock::new();

struct Seen {
    /// Runs of each job, by number.
    by_number: Vec<AtomicU32>,
    runs: AtomicUsize,
    distinct: AtomicUsize,
    /// Whether each run is to be reported; read before the lock is taken, which a throughput run never does.
    is_listened_to: AtomicBool,
    listener: Mutex<Option<UnboundedSender<(usize, Instant)>>>,
}

/// What ran, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Runs {
    pub(crate) runs: usize,
    pub(crate) distinct: usize,
}

/// The first line of every handler.
pub fn ran(email: &Email) {
    let at = clock::now();
    let Some(seen) = SEEN.get() else { return };
    seen.count(email);
    if seen.is_listened_to.load(Relaxed) {
        let listener = seen.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(listener), Some(number)) = (listener.as_ref(), email.number()) {
            // The receiver has gone: the measurement is over.
            let _over = listener.send((number, at));
        }
    }
}

/// Makes room for jobs numbered below `jobs`. Before any worker starts.
pub(crate) fn expect(jobs: usize) {
    SEEN.get_or_init(|| Seen::new(jobs));
}

pub(crate) fn runs() -> Runs {
    SEEN.get().map_or(Runs { runs: 0, distinct: 0 }, Seen::so_far)
}

/// From now on each run is reported here.
pub(crate) fn listen() -> UnboundedReceiver<(usize, Instant)> {
    let (sender, receiver) = unbounded_channel();
    if let Some(seen) = SEEN.get() {
        *seen.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        seen.is_listened_to.store(true, Relaxed);
    }
    receiver
}

impl Seen {
    fn new(jobs: usize) -> Self {
        Self {
            by_number: (0..jobs).map(|_| AtomicU32::new(0)).collect(),
            runs: AtomicUsize::new(0),
            distinct: AtomicUsize::new(0),
            is_listened_to: AtomicBool::new(false),
            listener: Mutex::new(None),
        }
    }

    fn count(&self, email: &Email) {
        // What is none of our jobs is a run too many: it is counted, but it is not the first of a job.
        let runs = email.number().and_then(|number| self.by_number.get(number));
        if runs.is_some_and(|runs| runs.fetch_add(1, Relaxed) == 0) {
            self.distinct.fetch_add(1, Relaxed);
        }
        self.runs.fetch_add(1, Relaxed);
    }

    fn so_far(&self) -> Runs {
        Runs { runs: self.runs.load(Relaxed), distinct: self.distinct.load(Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_run_and_stranger_show_as_runs_too_many() {
        let seen = Seen::new(3);
        for number in [0, 1, 1, 9] {
            seen.count(&Email::new(number));
        }
        assert_eq!(seen.so_far(), Runs { runs: 4, distinct: 2 });
    }
}
