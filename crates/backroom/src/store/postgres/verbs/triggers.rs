//! Triggers, their readers, the state of their sources, and dead letters.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use backroom_core::{Json, LeaseId, Timestamp, bounds::earlier};
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use crate::store::postgres::{
    Core, PostgresStore,
    columns::{row, timestamp::PgTimestamp},
    failing,
    wire::{connection::Transaction, error::Fault, sql::Sql},
};
use crate::{
    Error,
    store::{
        DEAD_LETTER_BYTES_MAX, DEAD_LETTERS_MAX, DeadLetter, READERS_FORGOTTEN_AFTER, TriggerHold,
        TriggerPause, TriggerReader, TriggerRow, TriggerVerbs, WriteState,
    },
};

/// Stores what a trigger is. Parameters: name, definition, now.
static PUT: Sql = Sql {
    text: "INSERT INTO {schema}.triggers (name, definition, defined_at) VALUES ($1, $2, $3) \
           ON CONFLICT (name) DO UPDATE SET definition = excluded.definition, defined_at = excluded.defined_at",
    types: &[Type::TEXT, Type::TEXT, Type::TIMESTAMPTZ],
};

/// Triggers by name. Parameters: first name, whether it is included, limit.
static TRIGGERS: Sql = Sql {
    text: "SELECT name, definition, paused_at, pause, dropped, defined_at, \
             (SELECT count(*) FROM {schema}.dead_letters WHERE trigger = name), \
             ARRAY(SELECT reader FROM {schema}.trigger_readers WHERE trigger = name ORDER BY slot LIMIT 1000) \
           FROM {schema}.triggers WHERE name > $1 OR ($2 AND name = $1) ORDER BY name LIMIT $3",
    types: &[Type::TEXT, Type::BOOL, Type::INT8],
};

/// Pauses a trigger that is not paused. Parameters: name, moment, reason.
static PAUSE: Sql = Sql {
    text: "UPDATE {schema}.triggers SET pause = coalesce(pause, $3), paused_at = coalesce(paused_at, $2) \
           WHERE name = $1 RETURNING name",
    types: &[Type::TEXT, Type::TIMESTAMPTZ, Type::TEXT],
};

/// Ends the pause of a trigger. Parameter: name.
static RESUME: Sql = Sql {
    text: "UPDATE {schema}.triggers SET pause = NULL, paused_at = NULL WHERE name = $1 RETURNING name",
    types: &[Type::TEXT],
};

/// Forgets a trigger and what belongs to it. Parameter: name.
static DELETE: Sql = Sql {
    text: "WITH readers AS (DELETE FROM {schema}.trigger_readers WHERE trigger = $1), \
             state AS (DELETE FROM {schema}.trigger_state WHERE trigger = $1), \
             letters AS (DELETE FROM {schema}.dead_letters WHERE trigger = $1) \
           DELETE FROM {schema}.triggers WHERE name = $1",
    types: &[Type::TEXT],
};

/// Forgets readers that shared a trigger and died, except those that another transaction has locked. Parameters: trigger, the first
/// moment that stays.
static FORGET_READERS: Sql = Sql {
    text: "DELETE FROM {schema}.trigger_readers WHERE (trigger, slot) IN (SELECT trigger, slot \
             FROM {schema}.trigger_readers WHERE trigger = $1 AND slot <> '' AND beat_at < $2 FOR UPDATE SKIP LOCKED)",
    types: &[Type::TEXT, Type::TIMESTAMPTZ],
};

/// Stores a reader where there is none. Answers with it if there was none. Parameters: the columns.
static NEW_READER: Sql = Sql {
    text: "INSERT INTO {schema}.trigger_readers (trigger, slot, lease, beat_at, reader) VALUES ($1, $2, $3, $4, $5) \
           ON CONFLICT DO NOTHING RETURNING lease",
    types: &[Type::TEXT, Type::TEXT, Type::UUID, Type::TIMESTAMPTZ, Type::TEXT],
};

/// A reader, locked until the transaction ends. Parameters: trigger, slot.
static READER: Sql = Sql {
    text: "SELECT reader FROM {schema}.trigger_readers WHERE trigger = $1 AND slot = $2 FOR UPDATE",
    types: &[Type::TEXT, Type::TEXT],
};

/// Replaces a reader. Parameters: the columns.
static SET_READER: Sql = Sql {
    text: "UPDATE {schema}.trigger_readers SET lease = $3, beat_at = $4, reader = $5 WHERE trigger = $1 AND slot = $2",
    types: &[Type::TEXT, Type::TEXT, Type::UUID, Type::TIMESTAMPTZ, Type::TEXT],
};

/// Ends a lease of a reader. Parameters: trigger, lease.
static RELEASE: Sql = Sql {
    text: "DELETE FROM {schema}.trigger_readers WHERE trigger = $1 AND lease = $2",
    types: &[Type::TEXT, Type::UUID],
};

/// Writes values. Parameters: trigger, keys, values.
static PUT_STATE: Sql = Sql {
    text: "INSERT INTO {schema}.trigger_state (trigger, key, value) \
           SELECT $1, key, value FROM unnest($2::text[], $3::text[]) AS new (key, value) \
           ON CONFLICT (trigger, key) DO UPDATE SET value = excluded.value",
    types: &[Type::TEXT, Type::TEXT_ARRAY, Type::TEXT_ARRAY],
};

/// Deletes values. Parameters: trigger, keys.
static DELETE_STATE: Sql = Sql {
    text: "DELETE FROM {schema}.trigger_state WHERE trigger = $1 AND key = ANY($2::text[])",
    types: &[Type::TEXT, Type::TEXT_ARRAY],
};

/// Values by key. Parameters: trigger, first key, whether it is included, limit.
static STATE: Sql = Sql {
    text: "SELECT key, value FROM {schema}.trigger_state \
           WHERE trigger = $1 AND key >= $2 AND ($3 OR key > $2) ORDER BY key LIMIT $4",
    types: &[Type::TEXT, Type::TEXT, Type::BOOL, Type::INT8],
};

/// Values of keys. Parameters: trigger, keys.
static VALUES: Sql = Sql {
    text: "SELECT value FROM unnest($2::text[]) WITH ORDINALITY AS wanted (wanted, place) \
           LEFT JOIN {schema}.trigger_state ON trigger = $1 AND key = wanted ORDER BY place",
    types: &[Type::TEXT, Type::TEXT_ARRAY],
};

/// Stores dead letters, or replaces those with their identities, of which none may be there twice. Parameters: the columns.
static PUT_LETTERS: Sql = Sql {
    text: "INSERT INTO {schema}.dead_letters (id, trigger, identity, bytes, letter, body) \
           SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bytea[]) \
           ON CONFLICT (trigger, identity) DO UPDATE SET bytes = excluded.bytes, letter = excluded.letter, body = excluded.body \
           RETURNING trigger, identity, id",
    types: &[
        Type::UUID_ARRAY,
        Type::TEXT_ARRAY,
        Type::TEXT_ARRAY,
        Type::INT8_ARRAY,
        Type::TEXT_ARRAY,
        Type::BYTEA_ARRAY,
    ],
};

/// Drops the oldest dead letters of a trigger and counts them. Parameters: trigger, how many stay, how many bytes stay.
static DROP_LETTERS: Sql = Sql {
    text: "WITH dropped AS (DELETE FROM {schema}.dead_letters WHERE id IN (SELECT id FROM \
             (SELECT id, row_number() OVER newest AS place, sum(bytes) OVER newest AS bytes \
              FROM {schema}.dead_letters WHERE trigger = $1 WINDOW newest AS (ORDER BY id DESC)) AS placed \
              WHERE place > $2 OR (bytes > $3 AND place > 1)) RETURNING id) \
           UPDATE {schema}.triggers SET dropped = dropped + (SELECT count(*) FROM dropped) \
           WHERE name = $1 AND EXISTS (SELECT FROM dropped)",
    types: &[Type::TEXT, Type::INT8, Type::INT8],
};

/// Dead letters, the newest first. Parameters: trigger or null, below which id, limit.
static LETTERS: Sql = Sql {
    text: "SELECT id, letter FROM {schema}.dead_letters WHERE ($1 IS NULL OR trigger = $1) AND id < $2 \
           ORDER BY id DESC LIMIT $3",
    types: &[Type::TEXT, Type::UUID, Type::INT8],
};

/// One dead letter. Parameter: id.
static LETTER: Sql =
    Sql { text: "SELECT id, letter, body FROM {schema}.dead_letters WHERE id = $1", types: &[Type::UUID] };

/// Deletes dead letters. Parameter: ids.
static DELETE_LETTERS: Sql =
    Sql { text: "DELETE FROM {schema}.dead_letters WHERE id = ANY($1::uuid[])", types: &[Type::UUID_ARRAY] };

async fn triggers(core: &Core, from: &str, included: bool, limit: usize) -> Result<Vec<TriggerRow>, Fault> {
    let rows = core.claims.query(&TRIGGERS, &[&from, &included, &row::at_most(limit)]).await?;
    rows.iter().map(trigger).collect()
}

fn trigger(found: &Row) -> Result<TriggerRow, Fault> {
    let paused_at = row::moment_or_none(found, 2)?;
    let reason: Option<String> = found.try_get(3)?;
    let readers: Vec<&str> = found.try_get(7)?;
    Ok(TriggerRow {
        name: found.try_get(0)?,
        definition: row::decoded(found.try_get(1)?)?,
        paused: paused_at.zip(reason).map(|(at, reason)| TriggerPause { at, reason }),
        dropped: found.try_get::<_, i64>(4)?.unsigned_abs(),
        defined_at: row::moment(found, 5)?,
        dead_letters: found.try_get::<_, i64>(6)?.unsigned_abs(),
        readers: readers.into_iter().map(row::decoded).collect::<Result<_, _>>()?,
    })
}

async fn reader(
    transaction: &Transaction,
    trigger: &str,
    slot: &str,
) -> Result<Option<TriggerReader>, Fault> {
    let rows = transaction.query(&READER, &[&trigger, &slot]).await?;
    rows.first().map(|found| row::decoded(found.try_get(0)?)).transpose()
}

async fn hold(core: &Core, hold: &TriggerHold, now: Timestamp) -> Result<TriggerReader, Fault> {
    let (trigger, slot) = (hold.trigger.as_str(), hold.slot());
    let transaction = core.writer.begin().await?;
    if !hold.reader.exclusive {
        let old = PgTimestamp(earlier(now, READERS_FORGOTTEN_AFTER));
        transaction.query(&FORGET_READERS, &[&trigger, &old]).await?;
    }
    let ours = &hold.reader;
    let (beat_at, text) = (PgTimestamp(ours.beat_at), row::encoded(ours)?);
    // Waits for another transaction that stores the same reader; afterwards it is there to be read.
    let new = transaction.query(&NEW_READER, &[&trigger, &slot, &ours.lease.0, &beat_at, &text]).await?;
    let mut holder = ours.clone();
    if new.is_empty() {
        let known = reader(&transaction, trigger, &slot).await?;
        holder = hold.decide(known.as_ref()).clone();
        if holder == *ours {
            transaction.query(&SET_READER, &[&trigger, &slot, &ours.lease.0, &beat_at, &text]).await?;
        }
    }
    transaction.commit().await?;
    Ok(holder)
}

async fn write_state(core: &Core, write: &WriteState) -> Result<bool, Fault> {
    let transaction = core.writer.begin().await?;
    if let Some(lease) = write.lease {
        // The lock lasts until the commit, so that no other reader takes over in between.
        let known = reader(&transaction, &write.trigger, "").await?;
        if known.map(|known| known.lease) != Some(lease) {
            transaction.rollback().await?;
            return Ok(false);
        }
    }
    // One value per key, in one order, so that two transactions never wait for each other.
    let values: BTreeMap<&str, Option<&str>> =
        write.values.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
    let (keys, new): (Vec<&str>, Vec<&str>) =
        values.iter().filter_map(|(key, value)| Some((*key, (*value)?))).unzip();
    let deleted: Vec<&str> =
        values.iter().filter(|(_, value)| value.is_none()).map(|(key, _)| *key).collect();
    if !keys.is_empty() {
        transaction.query(&PUT_STATE, &[&write.trigger, &keys, &new]).await?;
    }
    if !deleted.is_empty() {
        transaction.query(&DELETE_STATE, &[&write.trigger, &deleted]).await?;
    }
    transaction.commit().await?;
    Ok(true)
}

async fn state(
    core: &Core,
    name: &str,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<(String, String)>, Fault> {
    let after = after.filter(|after| *after >= prefix);
    let from = after.unwrap_or(prefix);
    let rows = core.claims.query(&STATE, &[&name, &from, &after.is_none(), &row::at_most(limit)]).await?;
    let pairs = rows.iter().map(|found| Ok((found.try_get(0)?, found.try_get(1)?)));
    let pairs: Vec<(String, String)> = pairs.collect::<Result<_, Fault>>()?;
    Ok(pairs.into_iter().take_while(|(key, _)| key.starts_with(prefix)).collect())
}

async fn values(core: &Core, name: &str, keys: &[String]) -> Result<Vec<Option<String>>, Fault> {
    let rows = core.claims.query(&VALUES, &[&name, &keys]).await?;
    rows.iter().map(|found| Ok(found.try_get(0)?)).collect()
}

async fn put_letters(core: &Core, given: &[DeadLetter]) -> Result<Vec<Uuid>, Fault> {
    // One per identity, in one order, so that two transactions never wait for each other.
    let letters: BTreeMap<(&str, &str), &DeadLetter> =
        given.iter().map(|letter| ((letter.trigger.as_str(), letter.identity.as_str()), letter)).collect();
    let ids: Vec<Uuid> = letters.values().map(|letter| letter.id).collect();
    let triggers: Vec<&str> = letters.keys().map(|(trigger, _)| *trigger).collect();
    let identities: Vec<&str> = letters.keys().map(|(_, identity)| *identity).collect();
    let bytes: Vec<i64> =
        letters.values().map(|letter| i64::try_from(letter.bytes()).unwrap_or(i64::MAX)).collect();
    let texts = letters
        .values()
        .map(|letter| row::encoded(&DeadLetter { body: None, ..DeadLetter::clone(letter) }))
        .collect::<Result<Vec<String>, _>>()?;
    let bodies: Vec<Option<&[u8]>> = letters.values().map(|letter| letter.body.as_deref()).collect();
    let transaction = core.writer.begin().await?;
    let params: [_; 6] =
        [&ids as _, &triggers as _, &identities as _, &bytes as _, &texts as _, &bodies as _];
    let rows = transaction.query(&PUT_LETTERS, &params).await?;
    let stored = |found: &Row| Ok(((found.try_get(0)?, found.try_get(1)?), found.try_get(2)?));
    let stored = rows.iter().map(stored).collect::<Result<BTreeMap<(String, String), Uuid>, Fault>>()?;
    let (rows_max, bytes_max) =
        (i64::from(DEAD_LETTERS_MAX), i64::try_from(DEAD_LETTER_BYTES_MAX).unwrap_or(i64::MAX));
    for trigger in triggers.into_iter().collect::<BTreeSet<_>>() {
        transaction.query(&DROP_LETTERS, &[&trigger, &rows_max, &bytes_max]).await?;
    }
    transaction.commit().await?;
    // The statement answers a row for each.
    let id = |letter: &DeadLetter| {
        let key = (letter.trigger.clone(), letter.identity.clone());
        stored.get(&key).copied().unwrap_or(letter.id)
    };
    Ok(given.iter().map(id).collect())
}

/// A dead letter: `id, letter`. Its id is that of the first one with its identity.
fn letter(found: &Row) -> Result<DeadLetter, Fault> {
    Ok(DeadLetter { id: found.try_get(0)?, ..row::decoded(found.try_get(1)?)? })
}

async fn letters(
    core: &Core,
    trigger: Option<&str>,
    before: Option<Uuid>,
    limit: usize,
) -> Result<Vec<DeadLetter>, Fault> {
    let before = before.unwrap_or(Uuid::max());
    let rows = core.reads.query(&LETTERS, &[&trigger, &before, &row::at_most(limit)]).await?;
    rows.iter().map(letter).collect()
}

async fn one_letter(core: &Core, id: Uuid) -> Result<Option<DeadLetter>, Fault> {
    let rows = core.reads.query(&LETTER, &[&id]).await?;
    let whole = |found: &Row| Ok(DeadLetter { body: found.try_get(2)?, ..letter(found)? });
    rows.first().map(whole).transpose()
}

#[async_trait]
impl TriggerVerbs for PostgresStore {
    async fn put_trigger(&self, name: &str, definition: Json, now: Timestamp) -> Result<(), Error> {
        let put = self.core.writer.query(&PUT, &[&name, &definition.as_str(), &PgTimestamp(now)]).await;
        put.map(drop).map_err(failing("store a trigger"))
    }

    async fn trigger(&self, name: &str) -> Result<Option<TriggerRow>, Error> {
        let found = triggers(&self.core, name, true, 1).await.map_err(failing("find a trigger"))?;
        Ok(found.into_iter().find(|found| found.name == name))
    }

    async fn triggers(&self, after: Option<&str>, limit: usize) -> Result<Vec<TriggerRow>, Error> {
        // No name is empty.
        let after = after.unwrap_or_default();
        triggers(&self.core, after, false, limit).await.map_err(failing("list triggers"))
    }

    async fn pause_trigger(&self, name: &str, by: Option<TriggerPause>) -> Result<bool, Error> {
        let paused = match by {
            Some(pause) => {
                self.core.writer.query(&PAUSE, &[&name, &PgTimestamp(pause.at), &pause.reason]).await
            }
            None => self.core.writer.query(&RESUME, &[&name]).await,
        };
        paused.map(|rows| !rows.is_empty()).map_err(failing("pause or resume a trigger"))
    }

    async fn delete_trigger(&self, name: &str) -> Result<(), Error> {
        self.core.writer.query(&DELETE, &[&name]).await.map(drop).map_err(failing("delete a trigger"))
    }

    async fn hold_trigger(&self, wanted: Arc<TriggerHold>, now: Timestamp) -> Result<TriggerReader, Error> {
        hold(&self.core, &wanted, now).await.map_err(failing("hold a trigger"))
    }

    async fn release_trigger(&self, name: &str, lease: LeaseId) -> Result<(), Error> {
        let released = self.core.writer.query(&RELEASE, &[&name, &lease.0]).await;
        released.map(drop).map_err(failing("release a trigger"))
    }

    async fn write_trigger_state(&self, write: Arc<WriteState>) -> Result<bool, Error> {
        write_state(&self.core, &write).await.map_err(failing("write the state of a trigger"))
    }

    async fn trigger_state(
        &self,
        name: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, String)>, Error> {
        state(&self.core, name, prefix, after, limit).await.map_err(failing("read the state of a trigger"))
    }

    async fn trigger_values(&self, name: &str, keys: Arc<Vec<String>>) -> Result<Vec<Option<String>>, Error> {
        values(&self.core, name, &keys).await.map_err(failing("read the state of a trigger"))
    }

    async fn put_dead_letters(&self, letters: Arc<Vec<DeadLetter>>) -> Result<Vec<Uuid>, Error> {
        put_letters(&self.core, &letters).await.map_err(failing("store dead letters"))
    }

    async fn dead_letters(
        &self,
        trigger: Option<&str>,
        before: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        letters(&self.core, trigger, before, limit).await.map_err(failing("list dead letters"))
    }

    async fn dead_letter(&self, id: Uuid) -> Result<Option<DeadLetter>, Error> {
        one_letter(&self.core, id).await.map_err(failing("read a dead letter"))
    }

    async fn delete_dead_letters(&self, ids: Arc<Vec<Uuid>>) -> Result<(), Error> {
        let deleted = self.core.writer.query(&DELETE_LETTERS, &[&*ids]).await;
        deleted.map(drop).map_err(failing("delete dead letters"))
    }
}
