//! The journal of one run of a workflow, in memory.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::{Entry, EntryState, Inbox, Write, entry::is_zero};
use crate::{
    Invalid, Json, LeaseId, Timestamp,
    versioned::{read, write},
};

/// What a journal knows of the workflow as a whole. It is written first, when the workflow begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// 0, and one more after each `continue_as_new`.
    pub generation: u32,
    /// The version of the code that began it; none if the kind has no versions. Never changes within a generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When this generation began; its time counts from here.
    pub began_at: Timestamp,
    /// Whether it goes on or undoes what it has done.
    pub phase: Phase,
    /// Answers recorded so far, over all generations. It only grows, and what is charged to the job is forgiven when it does.
    pub progress: u64,
    /// What the workflow last published, which answers queries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Json>,
    /// Keys of the failures that a retry takes back; none while it goes forward.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
    /// The run that had ended the workflow when it was last retried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<LeaseId>,
    /// How often it went on after a retry.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub resumes: u32,
    /// Why the code of this deploy cannot run it; none while it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<BlockedMark>,
}

/// A workflow whose journal does not fit the code. It is tried again from time to time, because a deploy may mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockedMark {
    /// Why, with both names.
    pub why: String,
    /// When it was first found.
    pub since: Timestamp,
}

/// Whether a workflow goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Phase {
    /// It does.
    Forward,
    /// It undoes what it has done, in reverse.
    Undoing {
        /// Why.
        cause: Cause,
    },
}

/// Why a workflow undoes what it has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Cause {
    /// Its code returned an error.
    Failed {
        /// Which.
        error: String,
    },
    /// A client cancelled it.
    Cancelled {
        /// Why.
        reason: String,
    },
}

/// A header with its entries.
#[derive(Debug, Clone)]
pub struct Journal {
    /// The header.
    pub header: Header,
    entries: HashMap<String, Entry>,
    /// Keys by the place of their answers.
    order: BTreeMap<u64, String>,
    bytes: usize,
}

impl Header {
    /// Of a workflow that begins.
    pub const fn begin(version: Option<String>, now: Timestamp) -> Self {
        Self {
            generation: 0,
            version,
            began_at: now,
            phase: Phase::Forward,
            progress: 0,
            published: None,
            failed: Vec::new(),
            resumed: None,
            resumes: 0,
            blocked: None,
        }
    }

    /// Of the next generation, after `continue_as_new`. What was published stays.
    #[must_use]
    pub fn next_generation(&self, version: Option<String>, now: Timestamp) -> Self {
        let generation = self.generation.saturating_add(1);
        Self { generation, version, began_at: now, phase: Phase::Forward, ..self.clone() }
    }

    /// Whether a worker with these versions of the code may run it. A workflow without a version runs everywhere.
    pub fn may_run_on(&self, versions: &[String]) -> bool {
        self.version.as_ref().is_none_or(|version| versions.contains(version))
    }

    /// The text for a store.
    pub fn stored(&self) -> Result<String, Invalid> {
        write("journal header", self)
    }

    /// Reads the text of a store.
    pub fn from_stored(text: &str) -> Result<Self, Invalid> {
        read("stored journal header", text)
    }
}

impl Journal {
    /// Of what a store holds. Two entries of one key, and two answers in one place, are damage.
    pub fn load(header: Header, entries: Vec<Entry>) -> Result<Self, Invalid> {
        let count = entries.len();
        let mut journal = Self { header, entries: HashMap::new(), order: BTreeMap::new(), bytes: 0 };
        entries.into_iter().for_each(|entry| journal.put(entry));
        let answers = journal.entries.values().filter(|entry| entry.seq().is_some()).count();
        if journal.entries.len() != count || journal.order.len() != answers {
            let why = "has two entries of one key, or two answers in one place; it is damaged";
            return Err(Invalid::new("journal", why));
        }
        Ok(journal)
    }

    /// The entry of a key.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all keys and values.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Entries with answers, in the order of their answers.
    pub fn answered(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.order.values().map(|key| &self.entries[key])
    }

    /// Entries without answers: what the workflow waits for.
    pub fn open(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|entry| matches!(entry.state, EntryState::Open(_)))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(super) fn answer_after(&self, seq: u64) -> Option<(u64, &str)> {
        self.order.range(seq + 1..).next().map(|(seq, key)| (*seq, key.as_str()))
    }

    /// The place of the next answer.
    pub(super) fn next_seq(&self) -> u64 {
        self.order.keys().next_back().map_or(1, |last| last + 1)
    }

    pub(super) fn apply(&mut self, write: &Write, inbox: &mut Inbox) {
        match write {
            Write::Entry(entry) => {
                let is_new_answer = entry.seq().is_some_and(|seq| !self.order.contains_key(&seq));
                self.header.progress += u64::from(is_new_answer);
                self.put(entry.clone());
            }
            Write::Take { n } => inbox.take(*n),
            Write::Phase(phase) => self.header.phase = phase.clone(),
            Write::Failed(keys) => self.header.failed.clone_from(keys),
            Write::Resume { ended } => {
                self.header.phase = Phase::Forward;
                self.header.failed.clear();
                self.header.resumes += u32::from(self.header.resumed != Some(*ended));
                self.header.resumed = Some(*ended);
            }
            Write::Publish(value) => self.header.published = Some(value.clone()),
            Write::StartChild { .. } | Write::CancelChild { .. } => {}
            Write::NextGeneration => {
                self.entries.clear();
                self.order.clear();
                self.bytes = 0;
            }
        }
    }

    fn put(&mut self, entry: Entry) {
        if let Some(seq) = entry.seq() {
            self.order.insert(seq, entry.key.clone());
        }
        self.bytes += entry.bytes();
        let seq = entry.seq();
        if let Some(before) = self.entries.insert(entry.key.clone(), entry) {
            self.bytes -= before.bytes();
            if let Some(place) = before.seq().filter(|_| seq.is_none()) {
                self.order.remove(&place);
            }
        }
    }
}
