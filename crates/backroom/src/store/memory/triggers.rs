//! Triggers of the memory store.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use async_trait::async_trait;
use backroom_core::{Json, LeaseId, Timestamp, bounds::earlier};
use uuid::Uuid;

use super::MemoryStore;
use crate::{
    Error,
    store::{
        DEAD_LETTER_BYTES_MAX, DEAD_LETTERS_MAX, DeadLetter, READERS_FORGOTTEN_AFTER, TriggerHold,
        TriggerPause, TriggerReader, TriggerRow, TriggerVerbs, WriteState,
    },
};

/// Their rows, each map by its primary key.
#[derive(Debug, Default)]
pub(super) struct Triggers {
    triggers: BTreeMap<String, TriggerRow>,
    readers: BTreeMap<(String, String), TriggerReader>,
    state: BTreeMap<(String, String), String>,
    letters: BTreeMap<Uuid, DeadLetter>,
    /// The ids of the dead letters by trigger and identity.
    letter_ids: BTreeMap<(String, String), Uuid>,
}

impl Triggers {
    fn row(&self, trigger: &TriggerRow) -> TriggerRow {
        let readers = self.readers.iter().filter(|((name, _), _)| *name == trigger.name);
        let letters = self.letters.values().filter(|letter| letter.trigger == trigger.name);
        TriggerRow {
            readers: readers.map(|(_, reader)| reader.clone()).collect(),
            dead_letters: letters.count() as u64,
            ..trigger.clone()
        }
    }

    fn hold(&mut self, hold: &TriggerHold, now: Timestamp) -> TriggerReader {
        let old = earlier(now, READERS_FORGOTTEN_AFTER);
        self.readers
            .retain(|(name, _), reader| *name != hold.trigger || reader.exclusive || reader.beat_at >= old);
        let key = (hold.trigger.clone(), hold.slot());
        let reader = hold.decide(self.readers.get(&key)).clone();
        self.readers.insert(key, reader.clone());
        reader
    }

    fn write(&mut self, write: &WriteState) -> bool {
        let reader = self.readers.get(&(write.trigger.clone(), String::new()));
        if write.lease.is_some() && reader.map(|reader| reader.lease) != write.lease {
            return false;
        }
        for (key, value) in &write.values {
            let key = (write.trigger.clone(), key.clone());
            match value {
                Some(value) => _ = self.state.insert(key, value.clone()),
                None => _ = self.state.remove(&key),
            }
        }
        true
    }

    fn put_letter(&mut self, letter: &DeadLetter) -> Uuid {
        let key = (letter.trigger.clone(), letter.identity.clone());
        let id = *self.letter_ids.entry(key).or_insert(letter.id);
        self.letters.insert(id, DeadLetter { id, ..letter.clone() });
        id
    }

    fn delete_letter(&mut self, id: Uuid) {
        if let Some(letter) = self.letters.remove(&id) {
            self.letter_ids.remove(&(letter.trigger, letter.identity));
        }
    }

    fn drop_letters(&mut self, trigger: &str) {
        let (mut rows, mut bytes, mut beyond) = (0, 0, Vec::new());
        for letter in self.letters.values().rev().filter(|letter| letter.trigger == trigger) {
            (rows, bytes) = (rows + 1, bytes + letter.bytes());
            if rows > DEAD_LETTERS_MAX || bytes > DEAD_LETTER_BYTES_MAX && rows > 1 {
                beyond.push(letter.id);
            }
        }
        beyond.iter().for_each(|id| self.delete_letter(*id));
        if let Some(row) = self.triggers.get_mut(trigger) {
            row.dropped += beyond.len() as u64;
        }
    }
}

#[async_trait]
impl TriggerVerbs for MemoryStore {
    async fn put_trigger(&self, name: &str, definition: Json, now: Timestamp) -> Result<(), Error> {
        self.write(|rows| {
            let fresh = || TriggerRow {
                name: name.to_owned(),
                definition: Json::null(),
                paused: None,
                dropped: 0,
                dead_letters: 0,
                defined_at: now,
                readers: Vec::new(),
            };
            let row = rows.triggers.triggers.entry(name.to_owned()).or_insert_with(fresh);
            (row.definition, row.defined_at) = (definition, now);
        })
    }

    async fn trigger(&self, name: &str) -> Result<Option<TriggerRow>, Error> {
        self.read(|rows| rows.triggers.triggers.get(name).map(|row| rows.triggers.row(row)))
    }

    async fn triggers(&self, after: Option<&str>, limit: usize) -> Result<Vec<TriggerRow>, Error> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.read(|rows| {
            let found = rows.triggers.triggers.range::<str, _>((from, Bound::Unbounded));
            found.take(limit).map(|(_, row)| rows.triggers.row(row)).collect()
        })
    }

    async fn pause_trigger(&self, name: &str, pause: Option<TriggerPause>) -> Result<bool, Error> {
        self.write(|rows| match rows.triggers.triggers.get_mut(name) {
            Some(row) => {
                row.paused = if row.paused.is_some() && pause.is_some() { row.paused.take() } else { pause };
                true
            }
            None => false,
        })
    }

    async fn delete_trigger(&self, name: &str) -> Result<(), Error> {
        self.write(|rows| {
            let triggers = &mut rows.triggers;
            triggers.triggers.remove(name);
            triggers.readers.retain(|(of, _), _| of != name);
            triggers.state.retain(|(of, _), _| of != name);
            triggers.letters.retain(|_, letter| letter.trigger != name);
            triggers.letter_ids.retain(|(of, _), _| of != name);
        })
    }

    async fn hold_trigger(&self, hold: Arc<TriggerHold>, now: Timestamp) -> Result<TriggerReader, Error> {
        self.write(|rows| rows.triggers.hold(&hold, now))
    }

    async fn release_trigger(&self, name: &str, lease: LeaseId) -> Result<(), Error> {
        self.write(|rows| rows.triggers.readers.retain(|(of, _), reader| of != name || reader.lease != lease))
    }

    async fn write_trigger_state(&self, write: Arc<WriteState>) -> Result<bool, Error> {
        self.write(|rows| rows.triggers.write(&write))
    }

    async fn trigger_state(
        &self,
        name: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, String)>, Error> {
        let first = match after {
            Some(after) if after >= prefix => Bound::Excluded((name.to_owned(), after.to_owned())),
            _ => Bound::Included((name.to_owned(), prefix.to_owned())),
        };
        self.read(|rows| {
            let found = rows.triggers.state.range((first, Bound::Unbounded));
            let found = found.take_while(|((of, key), _)| of == name && key.starts_with(prefix));
            found.take(limit).map(|((_, key), value)| (key.clone(), value.clone())).collect()
        })
    }

    async fn trigger_values(&self, name: &str, keys: Arc<Vec<String>>) -> Result<Vec<Option<String>>, Error> {
        self.read(|rows| {
            let value = |key: &String| rows.triggers.state.get(&(name.to_owned(), key.clone())).cloned();
            keys.iter().map(value).collect()
        })
    }

    async fn put_dead_letters(&self, letters: Arc<Vec<DeadLetter>>) -> Result<Vec<Uuid>, Error> {
        self.write(|rows| {
            let ids = letters.iter().map(|letter| rows.triggers.put_letter(letter)).collect();
            let triggers: BTreeSet<&str> = letters.iter().map(|letter| letter.trigger.as_str()).collect();
            triggers.into_iter().for_each(|trigger| rows.triggers.drop_letters(trigger));
            ids
        })
    }

    async fn dead_letters(
        &self,
        trigger: Option<&str>,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        self.read(|rows| {
            let letters = rows.triggers.letters.values().rev();
            let letters = letters.filter(|letter| trigger.is_none_or(|trigger| letter.trigger == trigger));
            let letters = letters.filter(|letter| before.is_none_or(|before| letter.id < before));
            letters.take(limit).map(|letter| DeadLetter { body: None, ..letter.clone() }).collect()
        })
    }

    async fn dead_letter(&self, id: Uuid) -> Result<Option<DeadLetter>, Error> {
        self.read(|rows| rows.triggers.letters.get(&id).cloned())
    }

    async fn delete_dead_letters(&self, ids: Arc<Vec<Uuid>>) -> Result<(), Error> {
        self.write(|rows| ids.iter().for_each(|id| rows.triggers.delete_letter(*id)))
    }
}
