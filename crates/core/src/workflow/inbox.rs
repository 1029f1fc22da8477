//! What others write for a workflow: signals, and the ends of children. They lie in the order of their arrival until an entry
//! takes them.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::{SIGNALS_MAX, VALUE_BYTES_MAX};
use crate::{
    Invalid, JobId, Json, Timestamp,
    bounds::check_name,
    links::ChildEnd,
    versioned::{read, write},
};

/// Something that has arrived for a workflow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arrival {
    /// Counts up per workflow, in the order of commits; never used twice.
    pub n: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: Arrived,
}

/// What has arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Arrived {
    /// A signal. It may come before the workflow waits for it, or has begun.
    Signal {
        /// Its name.
        name: String,
        /// What it carries.
        value: Json,
    },
    /// The end of a child.
    Child {
        /// The entry that stands for it.
        key: String,
        /// The child. After `continue_as_new` another child may have the same key.
        job: JobId,
        /// How it ended.
        end: ChildEnd,
    },
}

/// Arrivals that no entry has taken, by moment and number. A clock that was set back between two arrivals changes their order, in
/// every run in the same way.
#[derive(Debug, Clone, Default)]
pub struct Inbox {
    /// By the name of the signal.
    signals: HashMap<String, BTreeMap<(Timestamp, u64), Json>>,
    /// By their jobs. A child ends once.
    children: HashMap<JobId, (Timestamp, u64, ChildEnd)>,
    /// Where each arrival lies.
    places: HashMap<u64, Place>,
}

#[derive(Debug, Clone)]
enum Place {
    Signal(String, Timestamp),
    Child(JobId),
}

impl Arrival {
    /// Bytes that grow with what it carries.
    pub fn bytes(&self) -> usize {
        match &self.what {
            Arrived::Signal { name, value } => name.len() + value.as_str().len(),
            Arrived::Child { key, end: ChildEnd::Completed { output }, .. } => {
                key.len() + output.as_str().len()
            }
            Arrived::Child {
                key,
                end: ChildEnd::Cancelled { reason } | ChildEnd::Discarded { reason },
                ..
            } => key.len() + reason.len(),
        }
    }

    /// The text for a store.
    pub fn stored(&self) -> Result<String, Invalid> {
        write("arrival", self)
    }

    /// Reads the text of a store.
    pub fn from_stored(text: &str) -> Result<Self, Invalid> {
        read("stored arrival", text)
    }
}

impl Inbox {
    /// Adds arrivals. Those that are there already change nothing.
    pub fn add(&mut self, arrivals: impl IntoIterator<Item = Arrival>) {
        for Arrival { n, at, what } in arrivals {
            let place = match what {
                Arrived::Signal { name, value } => {
                    self.signals.entry(name.clone()).or_default().insert((at, n), value);
                    Place::Signal(name, at)
                }
                Arrived::Child { key: _, job, end } => {
                    self.children.entry(job).or_insert((at, n, end));
                    Place::Child(job)
                }
            };
            self.places.insert(n, place);
        }
    }

    /// An entry has taken it.
    pub(super) fn take(&mut self, n: u64) {
        match self.places.remove(&n) {
            Some(Place::Signal(name, at)) => {
                self.signals.get_mut(&name).and_then(|of_name| of_name.remove(&(at, n)));
            }
            Some(Place::Child(job)) => _ = self.children.remove(&job),
            None => {}
        }
    }

    /// The first signal of this name.
    pub(super) fn signal(&self, name: &str) -> Option<(Timestamp, u64, &Json)> {
        let ((at, n), value) = self.signals.get(name)?.first_key_value()?;
        Some((*at, *n, value))
    }

    /// The end of this child.
    pub(super) fn child(&self, job: JobId) -> Option<(Timestamp, u64, &ChildEnd)> {
        self.children.get(&job).map(|(at, n, end)| (*at, *n, end))
    }

    /// Forgets ends of children of which `is_awaited` does not hold, and answers with their numbers.
    pub(super) fn unawaited(&mut self, is_awaited: impl Fn(JobId) -> bool) -> Vec<u64> {
        let mut numbers: Vec<u64> =
            self.children.iter().filter(|(job, _)| !is_awaited(**job)).map(|(_, (_, n, _))| *n).collect();
        numbers.sort_unstable();
        numbers.iter().for_each(|n| self.take(*n));
        numbers
    }
}

/// Checks a signal that is sent to a workflow for which `waiting` signals lie already.
pub fn check_signal(name: &str, value: &Json, waiting: usize) -> Result<(), Invalid> {
    check_name("signal", name)?;
    let bytes = value.as_str().len();
    if bytes > VALUE_BYTES_MAX {
        let why = format!(
            "carries {bytes} bytes; at most {VALUE_BYTES_MAX} are allowed. Send where the bulk is stored"
        );
        return Err(Invalid::new("signal", why));
    }
    if waiting >= SIGNALS_MAX {
        let why = format!(
            "finds {waiting} signals that the workflow has not taken; at most {SIGNALS_MAX} may wait"
        );
        return Err(Invalid::new("signal", why));
    }
    Ok(())
}
