//! Triggers, their readers, the state of their sources, and dead letters.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{Json, LeaseId, Timestamp, bounds::earlier};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::{
    SqliteStore,
    error::Fault,
    operation::Weight,
    row::{self, micros},
};
use crate::{
    Error,
    store::{
        DEAD_LETTER_BYTES_MAX, DEAD_LETTERS_MAX, DeadLetter, READERS_FORGOTTEN_AFTER, TriggerHold,
        TriggerPause, TriggerReader, TriggerRow, TriggerVerbs, WriteState,
    },
};

fn put(connection: &Connection, name: &str, definition: &Json, now: Timestamp) -> Result<(), Fault> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO backroom_triggers (name, definition, defined_at) VALUES (?1, ?2, ?3) \
         ON CONFLICT (name) DO UPDATE SET definition = excluded.definition, defined_at = excluded.defined_at",
    )?;
    upsert.execute(params![name, definition.as_str(), micros(now)])?;
    Ok(())
}

/// Triggers whose names lie in a range. Parameters: first name, whether it is included, limit.
fn triggers(
    connection: &Connection,
    from: &str,
    included: bool,
    limit: usize,
) -> Result<Vec<TriggerRow>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT name, definition, paused_at, pause, dropped, defined_at, \
           (SELECT count(*) FROM backroom_dead_letters WHERE trigger = name) \
         FROM backroom_triggers WHERE name > ?1 OR (?2 AND name = ?1) ORDER BY name LIMIT ?3",
    )?;
    let rows = select.query_map(params![from, included, row::at_most(limit)], trigger)?;
    let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
    for row in &mut rows {
        row.readers = readers(connection, &row.name)?;
    }
    Ok(rows)
}

fn trigger(found: &Row<'_>) -> rusqlite::Result<TriggerRow> {
    let reason: Option<String> = found.get(3)?;
    let paused_at = row::moment_or_none(found, 2)?;
    Ok(TriggerRow {
        name: found.get(0)?,
        definition: row::required(found, 1)?,
        paused: paused_at.zip(reason).map(|(at, reason)| TriggerPause { at, reason }),
        dropped: found.get::<_, i64>(4)?.unsigned_abs(),
        defined_at: row::moment(found, 5)?,
        dead_letters: found.get::<_, i64>(6)?.unsigned_abs(),
        readers: Vec::new(),
    })
}

fn readers(connection: &Connection, trigger: &str) -> Result<Vec<TriggerReader>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT reader FROM backroom_trigger_readers WHERE trigger = ?1 ORDER BY slot LIMIT 1000",
    )?;
    let rows = select.query_map([trigger], |found| row::required(found, 0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn reader(connection: &Connection, trigger: &str, slot: &str) -> Result<Option<TriggerReader>, Fault> {
    let mut select = connection
        .prepare_cached("SELECT reader FROM backroom_trigger_readers WHERE trigger = ?1 AND slot = ?2")?;
    Ok(select.query_row([trigger, slot], |found| row::required(found, 0)).optional()?)
}

fn pause(connection: &Connection, name: &str, pause: Option<&TriggerPause>) -> Result<bool, Fault> {
    let mut update = connection.prepare_cached(
        "UPDATE backroom_triggers SET \
           pause = iif(?2 IS NULL, NULL, coalesce(pause, ?3)), paused_at = iif(?2 IS NULL, NULL, coalesce(paused_at, ?2)) \
         WHERE name = ?1",
    )?;
    let (at, reason) = pause.map(|pause| (micros(pause.at), pause.reason.as_str())).unzip();
    Ok(update.execute(params![name, at, reason])? > 0)
}

fn delete(connection: &Connection, name: &str) -> Result<(), Fault> {
    for sql in [
        "DELETE FROM backroom_triggers WHERE name = ?1",
        "DELETE FROM backroom_trigger_readers WHERE trigger = ?1",
        "DELETE FROM backroom_trigger_state WHERE trigger = ?1",
        "DELETE FROM backroom_dead_letters WHERE trigger = ?1",
    ] {
        connection.prepare_cached(sql)?.execute([name])?;
    }
    Ok(())
}

fn hold(connection: &Connection, hold: &TriggerHold, now: Timestamp) -> Result<TriggerReader, Fault> {
    let mut forget = connection.prepare_cached(
        "DELETE FROM backroom_trigger_readers WHERE trigger = ?1 AND slot <> '' AND beat_at < ?2",
    )?;
    forget.execute(params![hold.trigger, micros(earlier(now, READERS_FORGOTTEN_AFTER))])?;
    let known = reader(connection, &hold.trigger, &hold.slot())?;
    let reader = hold.decide(known.as_ref()).clone();
    let mut upsert = connection.prepare_cached(
        "INSERT OR REPLACE INTO backroom_trigger_readers (trigger, slot, lease, beat_at, reader) \
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let (lease, text) = (reader.lease.0, row::encoded(Some(&reader))?);
    upsert.execute(params![hold.trigger, hold.slot(), lease.as_bytes(), micros(reader.beat_at), text])?;
    Ok(reader)
}

fn release(connection: &Connection, name: &str, lease: LeaseId) -> Result<(), Fault> {
    let mut delete = connection
        .prepare_cached("DELETE FROM backroom_trigger_readers WHERE trigger = ?1 AND lease = ?2")?;
    delete.execute(params![name, lease.0.as_bytes()])?;
    Ok(())
}

fn write_state(connection: &Connection, write: &WriteState) -> Result<bool, Fault> {
    if let Some(lease) = write.lease {
        let known = reader(connection, &write.trigger, "")?;
        if known.map(|known| known.lease) != Some(lease) {
            return Ok(false);
        }
    }
    let mut put = connection.prepare_cached(
        "INSERT INTO backroom_trigger_state (trigger, key, value) VALUES (?1, ?2, ?3) \
         ON CONFLICT (trigger, key) DO UPDATE SET value = excluded.value",
    )?;
    let mut delete =
        connection.prepare_cached("DELETE FROM backroom_trigger_state WHERE trigger = ?1 AND key = ?2")?;
    for (key, value) in &write.values {
        match value {
            Some(value) => put.execute([&write.trigger, key, value])?,
            None => delete.execute([&write.trigger, key])?,
        };
    }
    Ok(true)
}

fn state(
    connection: &Connection,
    name: &str,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<(String, String)>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT key, value FROM backroom_trigger_state \
         WHERE trigger = ?1 AND key >= ?2 AND (?3 IS NULL OR key > ?3) ORDER BY key LIMIT ?4",
    )?;
    // The later of the two is where the index is entered.
    let from = after.filter(|after| *after > prefix).unwrap_or(prefix);
    let mut rows = select.query(params![name, from, after, row::at_most(limit)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let key: String = row.get(0)?;
        if !key.starts_with(prefix) {
            break;
        }
        found.push((key, row.get(1)?));
    }
    Ok(found)
}

fn values(connection: &Connection, name: &str, keys: &[String]) -> Result<Vec<Option<String>>, Fault> {
    let mut select = connection
        .prepare_cached("SELECT value FROM backroom_trigger_state WHERE trigger = ?1 AND key = ?2")?;
    let mut value = |key: &String| Ok(select.query_row([name, key], |found| found.get(0)).optional()?);
    keys.iter().map(&mut value).collect()
}

fn put_letters(connection: &Connection, letters: &[DeadLetter]) -> Result<Vec<Uuid>, Fault> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO backroom_dead_letters (id, trigger, identity, bytes, letter, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
         ON CONFLICT (trigger, identity) DO UPDATE SET bytes = excluded.bytes, letter = excluded.letter, body = excluded.body \
         RETURNING id",
    )?;
    let mut ids = Vec::with_capacity(letters.len());
    for letter in letters {
        let text = row::encoded(Some(&DeadLetter { body: None, ..letter.clone() }))?;
        let bytes = i64::try_from(letter.bytes()).unwrap_or(i64::MAX);
        let (id, body) = (letter.id.as_bytes(), letter.body.as_deref());
        let stored = params![id, letter.trigger, letter.identity, bytes, text, body];
        ids.push(upsert.query_row(stored, |found| Ok(Uuid::from_bytes(found.get(0)?)))?);
    }
    let mut triggers: Vec<&str> = letters.iter().map(|letter| letter.trigger.as_str()).collect();
    triggers.sort_unstable();
    triggers.dedup();
    // Parameters: the trigger, how many stay, how many bytes stay.
    let mut forget = connection.prepare_cached(
        "DELETE FROM backroom_dead_letters WHERE id IN (SELECT id FROM \
           (SELECT id, row_number() OVER newest AS place, sum(bytes) OVER newest AS bytes \
            FROM backroom_dead_letters WHERE trigger = ?1 WINDOW newest AS (ORDER BY id DESC)) \
         WHERE place > ?2 OR (bytes > ?3 AND place > 1))",
    )?;
    let mut count =
        connection.prepare_cached("UPDATE backroom_triggers SET dropped = dropped + ?2 WHERE name = ?1")?;
    let bytes_max = i64::try_from(DEAD_LETTER_BYTES_MAX).unwrap_or(i64::MAX);
    for trigger in triggers {
        let dropped = forget.execute(params![trigger, DEAD_LETTERS_MAX, bytes_max])?;
        if dropped > 0 {
            count.execute(params![trigger, row::at_most(dropped)])?;
        }
    }
    Ok(ids)
}

/// A dead letter: `id, letter`. Its id is that of the first one with its identity.
fn letter(found: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    let id: [u8; 16] = found.get(0)?;
    Ok(DeadLetter { id: Uuid::from_bytes(id), ..row::required(found, 1)? })
}

fn letters(
    connection: &Connection,
    trigger: Option<&str>,
    before: Option<Uuid>,
    limit: usize,
) -> Result<Vec<DeadLetter>, Fault> {
    let mut select = connection.prepare_cached(
        "SELECT id, letter FROM backroom_dead_letters WHERE (?1 IS NULL OR trigger = ?1) AND id < ?2 \
         ORDER BY id DESC LIMIT ?3",
    )?;
    let before = before.map_or(vec![u8::MAX; 17], |before| before.as_bytes().to_vec());
    let rows = select.query_map(params![trigger, before, row::at_most(limit)], letter)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn one_letter(connection: &Connection, id: Uuid) -> Result<Option<DeadLetter>, Fault> {
    let mut select =
        connection.prepare_cached("SELECT id, letter, body FROM backroom_dead_letters WHERE id = ?1")?;
    let whole = |found: &Row<'_>| Ok(DeadLetter { body: found.get(2)?, ..letter(found)? });
    Ok(select.query_row([id.as_bytes()], whole).optional()?)
}

fn delete_letters(connection: &Connection, ids: &[Uuid]) -> Result<(), Fault> {
    let mut delete = connection.prepare_cached("DELETE FROM backroom_dead_letters WHERE id = ?1")?;
    for id in ids {
        delete.execute([id.as_bytes()])?;
    }
    Ok(())
}

#[async_trait]
impl TriggerVerbs for SqliteStore {
    async fn put_trigger(&self, name: &str, definition: Json, now: Timestamp) -> Result<(), Error> {
        let name = name.to_owned();
        self.write(Weight::durable(1), move |tx, _| put(tx, &name, &definition, now)).await
    }

    async fn trigger(&self, name: &str) -> Result<Option<TriggerRow>, Error> {
        let wanted = name.to_owned();
        let found = self.readers.run(move |reader| triggers(reader, &wanted, true, 1)).await?;
        Ok(found.into_iter().find(|found| found.name == name))
    }

    async fn triggers(&self, after: Option<&str>, limit: usize) -> Result<Vec<TriggerRow>, Error> {
        // No name is empty.
        let after = after.unwrap_or_default().to_owned();
        self.readers.run(move |reader| triggers(reader, &after, false, limit)).await
    }

    async fn pause_trigger(&self, name: &str, by: Option<TriggerPause>) -> Result<bool, Error> {
        let name = name.to_owned();
        self.write(Weight::durable(1), move |tx, _| pause(tx, &name, by.as_ref())).await
    }

    async fn delete_trigger(&self, name: &str) -> Result<(), Error> {
        let name = name.to_owned();
        self.write(Weight::durable(1), move |tx, _| delete(tx, &name)).await
    }

    async fn hold_trigger(&self, wanted: Arc<TriggerHold>, now: Timestamp) -> Result<TriggerReader, Error> {
        self.write(Weight::passing(1), move |tx, _| hold(tx, &wanted, now)).await
    }

    async fn release_trigger(&self, name: &str, lease: LeaseId) -> Result<(), Error> {
        let name = name.to_owned();
        self.write(Weight::passing(1), move |tx, _| release(tx, &name, lease)).await
    }

    async fn write_trigger_state(&self, write: Arc<WriteState>) -> Result<bool, Error> {
        let weight = Weight::durable(write.values.len()).bytes(write.bytes());
        self.write(weight, move |tx, _| write_state(tx, &write)).await
    }

    async fn trigger_state(
        &self,
        name: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, String)>, Error> {
        let (name, prefix, after) = (name.to_owned(), prefix.to_owned(), after.map(str::to_owned));
        self.readers.run(move |reader| state(reader, &name, &prefix, after.as_deref(), limit)).await
    }

    async fn trigger_values(&self, name: &str, keys: Arc<Vec<String>>) -> Result<Vec<Option<String>>, Error> {
        let name = name.to_owned();
        self.readers.run(move |reader| values(reader, &name, &keys)).await
    }

    async fn put_dead_letters(&self, letters: Arc<Vec<DeadLetter>>) -> Result<Vec<Uuid>, Error> {
        let bytes = letters.iter().map(|letter| usize::try_from(letter.bytes()).unwrap_or(usize::MAX)).sum();
        let weight = Weight::durable(letters.len()).bytes(bytes);
        self.write(weight, move |tx, _| put_letters(tx, &letters)).await
    }

    async fn dead_letters(
        &self,
        trigger: Option<&str>,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        let trigger = trigger.map(str::to_owned);
        self.readers.run(move |reader| letters(reader, trigger.as_deref(), before, limit)).await
    }

    async fn dead_letter(&self, id: Uuid) -> Result<Option<DeadLetter>, Error> {
        self.readers.run(move |reader| one_letter(reader, id)).await
    }

    async fn delete_dead_letters(&self, ids: Arc<Vec<Uuid>>) -> Result<(), Error> {
        self.write(Weight::durable(ids.len()), move |tx, _| delete_letters(tx, &ids)).await
    }
}
