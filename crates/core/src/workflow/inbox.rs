//! What others write for a workflow: signals, and the ends of children. They lie in the order of their arrival until an entry
//! takes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{SIGNALS_MAX, VALUE_BYTES_MAX};
use crate::{
    Invalid, Json, Timestamp,
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
        /// How it ended.
        end: ChildEnd,
    },
}

/// Arrivals that no entry has taken.
#[derive(Debug, Clone, Default)]
pub struct Inbox {
    /// By moment and number. A clock that was set back between two arrivals changes their order, in every run in the same way.
    arrivals: BTreeMap<(Timestamp, u64), Arrived>,
}

impl Arrival {
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
        self.arrivals.extend(arrivals.into_iter().map(|Arrival { n, at, what }| ((at, n), what)));
    }

    /// An entry has taken it.
    pub(super) fn take(&mut self, n: u64) {
        self.arrivals.retain(|(_, number), _| *number != n);
    }

    /// The signal of this name behind `before` others of it, which other waits take.
    pub(super) fn signal(&self, name: &str, before: usize) -> Option<(Timestamp, u64, &Json)> {
        let of_name = self.arrivals.iter().filter_map(|((at, n), what)| match what {
            Arrived::Signal { name: other, value } if other == name => Some((*at, *n, value)),
            Arrived::Signal { .. } | Arrived::Child { .. } => None,
        });
        of_name.into_iter().nth(before)
    }

    /// The end of the child of this entry.
    pub(super) fn child(&self, key: &str) -> Option<(Timestamp, u64, &ChildEnd)> {
        self.arrivals.iter().find_map(|((at, n), what)| match what {
            Arrived::Child { key: other, end } if other == key => Some((*at, *n, end)),
            Arrived::Child { .. } | Arrived::Signal { .. } => None,
        })
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
