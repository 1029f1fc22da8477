//! A table in a PostgreSQL database, which need not be that of Backroom.
//!
//! A deferred trigger writes the changes at the commit of the writer, under a lock that the commit releases. So their numbers are in the
//! order of the commits. All triggers of a database share the lock, so two transactions never wait for each other. Without that lock, transactions that overlap could commit in another order than that of their numbers.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use backroom::{clock::Clock, store::postgres::Visit, tokio_postgres, without_password};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Change, RowEvent, described, others, owner, quoted, text};
use crate::{Bounds, Delivery, Settled, Source, SourceContext, SourceError, delivery::hex};

/// Longest name in PostgreSQL, in bytes. It cuts a longer one without an error.
const NAME_BYTES_MAX: usize = 63;
/// So many digits of a hash stand in place of what a name is too long for.
const HASH_DIGITS: usize = 16;

/// A table in a PostgreSQL database. The args of a job are `{"event", "table", "at", "row", "old"}`.
///
/// It installs a schema `backroom_trigger_NAME` and triggers of the table, which write a row for each change at the commit of the
/// writer. A `TRUNCATE` is one change, `truncate`, if deletions are read. [`uninstall`](Self::uninstall) removes everything without trace.
/// Transactions that change the table commit one after the other.
#[derive(Debug)]
pub struct PostgresTable {
    url: String,
    table: String,
    events: Vec<RowEvent>,
    poll: Duration,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    visit: Visit,
    schema: String,
    clock: Arc<dyn Clock>,
}

impl PostgresTable {
    /// Every change of a table, which may be written with its schema: `shop.orders`.
    pub fn new(url: impl Into<String>, table: impl Into<String>) -> Self {
        let poll = Duration::from_millis(500);
        Self { url: url.into(), table: table.into(), events: RowEvent::ALL.to_vec(), poll, open: None }
    }

    /// Only these changes.
    #[must_use]
    pub fn events(mut self, events: &[RowEvent]) -> Self {
        self.events = events.to_vec();
        self
    }

    /// How often it looks for changes. Default 500 ms.
    #[must_use]
    pub fn poll(mut self, poll: Duration) -> Self {
        self.poll = poll.max(Duration::from_millis(10));
        self
    }

    /// Removes what the trigger of this name installed, with changes that were not read yet. To be called when it no longer runs.
    pub async fn uninstall(&self, trigger: &str) -> Result<(), SourceError> {
        let visit = self.connect().await?;
        visit
            .client()
            .batch_execute(&remove(trigger, &self.table))
            .await
            .map_err(|error| failed("remove the trigger", &error))
    }

    async fn connect(&self) -> Result<Visit, SourceError> {
        let connected = Visit::connect(&self.url).await;
        connected.map_err(|error| {
            SourceError::from(error).remedy("check host, user, password and database of `url`")
        })
    }
}

/// The whole of an error: the text of the driver leaves out the server's.
fn said(error: &tokio_postgres::Error) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

fn failed(what: &str, error: &tokio_postgres::Error) -> SourceError {
    SourceError::new(format!("{what}: {}", said(error)))
}

fn schema(trigger: &str) -> String {
    named("backroom_trigger_", trigger)
}

/// The name of what a trigger installs, quoted. Where it would be cut, it ends with a hash, so that two triggers never share it.
fn named(prefix: &str, trigger: &str) -> String {
    let mut name = format!("{prefix}{trigger}");
    if name.len() > NAME_BYTES_MAX {
        let mut end = NAME_BYTES_MAX - HASH_DIGITS - 1;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
        let hash = hex(&Sha256::digest(trigger));
        name = format!("{name}_{}", hash.get(..HASH_DIGITS).unwrap_or_default());
    }
    quoted(&name)
}

/// The table's name, each part quoted.
fn table(name: &str) -> String {
    name.split('.').map(quoted).collect::<Vec<_>>().join(".")
}

/// The SQL that removes what a trigger installed.
fn remove(trigger: &str, name: &str) -> String {
    let (row, truncate) = (named("backroom_", trigger), named("truncate_backroom_", trigger));
    let (table, schema) = (table(name), schema(trigger));
    format!(
        "DROP TRIGGER IF EXISTS {row} ON {table}; DROP TRIGGER IF EXISTS {truncate} ON {table}; DROP SCHEMA IF EXISTS {schema} CASCADE;"
    )
}

/// The SQL that makes the schema, and names its owner if it has none yet.
fn claim(trigger: &str, owner: &str) -> String {
    format!(
        "BEGIN; \
         CREATE SCHEMA IF NOT EXISTS {schema}; \
         CREATE TABLE IF NOT EXISTS {schema}.owner (only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one), id text NOT NULL); \
         INSERT INTO {schema}.owner (id) VALUES ({owner}) ON CONFLICT DO NOTHING; \
         COMMIT;",
        schema = schema(trigger),
        owner = text(owner),
    )
}

/// The SQL that installs what writes the changes. Everything is made again but the changes.
fn install(trigger: &str, name: &str, events: &[RowEvent]) -> String {
    let (schema, row_trigger) = (schema(trigger), named("backroom_", trigger));
    let truncation = install_truncation(trigger, name, events.contains(&RowEvent::Delete));
    let events: Vec<_> = events.iter().map(|event| event.sql()).collect();
    format!(
        "BEGIN; \
         CREATE TABLE IF NOT EXISTS {schema}.changes (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
           transaction text NOT NULL DEFAULT pg_current_xact_id()::text, event text NOT NULL, \
           at timestamptz NOT NULL DEFAULT clock_timestamp(), row jsonb, old jsonb); \
         CREATE OR REPLACE FUNCTION {schema}.record() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER \
           SET search_path = pg_catalog, pg_temp AS $backroom$ BEGIN \
             PERFORM pg_advisory_xact_lock(hashtextextended('backroom triggers', 0)); \
             INSERT INTO {schema}.changes (event, row, old) VALUES (lower(TG_OP), \
               CASE WHEN TG_OP = 'DELETE' THEN NULL ELSE to_jsonb(NEW) END, \
               CASE WHEN TG_OP = 'INSERT' THEN NULL ELSE to_jsonb(OLD) END); \
             RETURN NULL; END $backroom$; \
         DROP TRIGGER IF EXISTS {row_trigger} ON {table}; \
         CREATE CONSTRAINT TRIGGER {row_trigger} AFTER {events} ON {table} \
           DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {schema}.record(); \
         {truncation} \
         COMMIT;",
        table = table(name),
        events = events.join(" OR "),
    )
}

/// The SQL that installs what writes a change for a TRUNCATE, for which no trigger of rows runs. A trigger of statements cannot be
/// deferred, so it inserts a row into a table that has a deferred trigger: the change is written at the commit, in its place among the
/// changes of the transaction, and the lock is taken no earlier.
fn install_truncation(trigger: &str, name: &str, is_wanted: bool) -> String {
    let (schema, table) = (schema(trigger), table(name));
    let truncate = named("truncate_backroom_", trigger);
    let dropped = format!("DROP TRIGGER IF EXISTS {truncate} ON {table};");
    if !is_wanted {
        return dropped;
    }
    format!(
        "CREATE TABLE IF NOT EXISTS {schema}.truncations (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY); \
         CREATE OR REPLACE FUNCTION {schema}.truncated() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER \
           SET search_path = pg_catalog, pg_temp AS $backroom$ BEGIN \
             INSERT INTO {schema}.truncations DEFAULT VALUES; RETURN NULL; END $backroom$; \
         CREATE OR REPLACE FUNCTION {schema}.record_truncation() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER \
           SET search_path = pg_catalog, pg_temp AS $backroom$ BEGIN \
             PERFORM pg_advisory_xact_lock(hashtextextended('backroom triggers', 0)); \
             DELETE FROM {schema}.truncations WHERE id = NEW.id; \
             INSERT INTO {schema}.changes (event) VALUES ('truncate'); \
             RETURN NULL; END $backroom$; \
         DROP TRIGGER IF EXISTS record ON {schema}.truncations; \
         CREATE CONSTRAINT TRIGGER record AFTER INSERT ON {schema}.truncations \
           DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {schema}.record_truncation(); \
         {dropped} \
         CREATE TRIGGER {truncate} AFTER TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {schema}.truncated();"
    )
}

#[async_trait]
impl Source for PostgresTable {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn describe(&self, trigger: &str) -> Value {
        let mut value = described(&self.table, &self.events, &remove(trigger, &self.table));
        value["url"] = without_password(&self.url).into();
        value
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    async fn open(&mut self, context: &SourceContext) -> Result<(), SourceError> {
        let visit = self.connect().await?;
        let trigger = context.trigger();
        let failing = |error: tokio_postgres::Error| {
            failed("install the trigger of the table", &error)
                .remedy("the user needs to own the table and to be allowed to make a schema")
        };
        let owner = owner(context).await?;
        visit.client().batch_execute(&claim(trigger, &owner)).await.map_err(failing)?;
        let known = format!("SELECT id FROM {}.owner", schema(trigger));
        let known = visit.client().query_one(&known, &[]).await.and_then(|row| row.try_get::<_, String>(0));
        if known.map_err(failing)? != owner {
            return Err(others(&format!("the schema {}", schema(trigger)), &remove(trigger, &self.table)));
        }
        let installed = visit.client().batch_execute(&install(trigger, &self.table, &self.events)).await;
        installed.map_err(failing)?;
        let clock = Arc::clone(context.backroom().clock());
        self.open = Some(Open { visit, schema: schema(trigger), clock });
        Ok(())
    }

    async fn next(&mut self, bounds: Bounds) -> Result<Vec<Delivery>, SourceError> {
        let open =
            self.open.as_ref().ok_or_else(|| SourceError::new("read the changes: there is no connection"))?;
        let sql = format!(
            "SELECT seq, transaction || '.' || seq, event, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), \
             row::text, old::text FROM {}.changes ORDER BY seq LIMIT $1",
            open.schema
        );
        let limit = i64::try_from(bounds.rows).unwrap_or(i64::MAX);
        loop {
            let rows = open
                .visit
                .client()
                .query(&sql, &[&limit])
                .await
                .map_err(|error| failed("read the changes", &error))?;
            if rows.is_empty() {
                open.clock.sleep(self.poll).await;
                continue;
            }
            let change = |row: &tokio_postgres::Row| {
                Ok(Change {
                    seq: row.try_get(0)?,
                    identity: row.try_get(1)?,
                    event: row.try_get(2)?,
                    at: row.try_get(3)?,
                    row: row.try_get(4)?,
                    old: row.try_get(5)?,
                })
            };
            let changes = rows.iter().map(change).collect::<Result<Vec<_>, tokio_postgres::Error>>();
            let changes = changes.map_err(|error| failed("read the changes", &error))?;
            return Ok(super::within(changes, &self.table, bounds));
        }
    }

    async fn settle(&mut self, settled: Vec<Settled>) -> Result<(), SourceError> {
        let open = self
            .open
            .as_ref()
            .ok_or_else(|| SourceError::new("delete the changes: there is no connection"))?;
        let seqs: Vec<i64> =
            settled.iter().map(|settled| i64::try_from(settled.receipt).unwrap_or(i64::MAX)).collect();
        let sql = format!("DELETE FROM {}.changes WHERE seq = ANY($1)", open.schema);
        let deleted = open.visit.client().execute(&sql, &[&seqs]).await;
        deleted.map(drop).map_err(|error| failed("delete the changes", &error))
    }

    async fn lag(&mut self) -> Option<u64> {
        let open = self.open.as_ref()?;
        // Counting stops, so that a long backlog costs little.
        let sql =
            format!("SELECT count(*) FROM (SELECT FROM {}.changes LIMIT 100000) AS waiting", open.schema);
        let row = open.visit.client().query_one(&sql, &[]).await.ok()?;
        row.try_get::<_, i64>(0).ok().map(i64::unsigned_abs)
    }

    async fn close(&mut self) {
        self.open = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_triggers_never_share_a_name_and_none_is_cut() {
        let long = |end: &str| format!("{}{end}", "n".repeat(120));
        assert_eq!(schema("orders"), "\"backroom_trigger_orders\"");
        let longest = "n".repeat(46);
        assert_eq!(schema(&longest), format!("\"backroom_trigger_{longest}\""));
        for (one, other) in [
            (long("a"), long("b")),
            (longest.clone() + "a", longest.clone() + "b"),
            (longest, "n".repeat(47)),
        ] {
            let (one, other) = (schema(&one), schema(&other));
            assert_ne!(one, other);
            assert!(one.len() <= NAME_BYTES_MAX + 2 && other.len() <= NAME_BYTES_MAX + 2, "{one} {other}");
        }
        let two_bytes = schema(&"ä".repeat(64));
        assert!(two_bytes.len() <= NAME_BYTES_MAX + 2 && two_bytes.contains("ää_"), "{two_bytes}");
    }
}
