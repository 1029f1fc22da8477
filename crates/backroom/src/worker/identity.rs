//! The name of a worker in the store.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use backroom_core::bounds::{NAME_BYTES_MAX, clip};
use uuid::Uuid;

/// So many bytes of a name remain when a random part is added.
const FIRST_NAME_BYTES_MAX: usize = NAME_BYTES_MAX - 9;

/// Who the worker is for the store. It changes when the worker is declared dead.
pub(crate) struct Identity {
    first_name: String,
    current: Mutex<(String, Uuid)>,
    /// Heartbeats so far.
    beats: AtomicU64,
}

impl Identity {
    pub(super) fn new(name: String, incarnation: Uuid) -> Self {
        Self { first_name: name.clone(), current: Mutex::new((name, incarnation)), beats: AtomicU64::new(0) }
    }

    /// Its name at this moment.
    pub(crate) fn name(&self) -> String {
        self.current().0.clone()
    }

    /// What tells it apart from another worker that was given the same name.
    pub(super) fn incarnation(&self) -> Uuid {
        self.current().1
    }

    /// The number of the next heartbeat.
    pub(super) fn next_beat(&self) -> u64 {
        self.beats.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Takes a new name: the old one belongs to another worker, or to a worker that was declared dead.
    pub(super) fn rename(&self, incarnation: Uuid) {
        let random = incarnation.simple().to_string();
        let name = format!("{}~{}", clip(&self.first_name, FIRST_NAME_BYTES_MAX), &random[..8]);
        *self.current() = (name, incarnation);
    }

    fn current(&self) -> MutexGuard<'_, (String, Uuid)> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
