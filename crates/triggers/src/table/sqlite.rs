//! A table in a SQLite file. SQLite has one writer at a time, so the order of the changes is that of the commits.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use backroom::{
    clock::Clock,
    rusqlite::{self, Connection, OpenFlags, params},
};
use serde_json::Value;

use super::{Change, RowEvent, described, others, owner, quoted, text};
use crate::{Bounds, Delivery, Settled, Source, SourceContext, SourceError};

/// How long the reader waits for a writer.
const BUSY: Duration = Duration::from_secs(10);

/// A table in a SQLite file, which need not be that of Backroom. The args of a job are `{"event", "table", "at", "row", "old"}`.
///
/// It installs the tables `backroom_changes_NAME` and `backroom_owner_NAME` and three triggers in the file, which write a row for each
/// change in the transaction of the writer. [`uninstall`](Self::uninstall) removes them without trace.
#[derive(Debug)]
pub struct SqliteTable {
    path: PathBuf,
    table: String,
    events: Vec<RowEvent>,
    poll: Duration,
    open: Option<Open>,
}

#[derive(Debug, Clone)]
struct Open {
    connection: Arc<Mutex<Connection>>,
    changes: String,
    clock: Arc<dyn Clock>,
}

impl SqliteTable {
    /// Every change of a table.
    pub fn new(path: impl Into<PathBuf>, table: impl Into<String>) -> Self {
        let poll = Duration::from_millis(500);
        Self { path: path.into(), table: table.into(), events: RowEvent::ALL.to_vec(), poll, open: None }
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
        let (path, remove) = (self.path.clone(), remove(trigger));
        blocking(move || {
            let connection = connect(&path)?;
            connection.execute_batch(&remove).map_err(failing("remove the triggers"))
        })
        .await
    }
}

/// The SQL that removes what a trigger installed.
fn remove(trigger: &str) -> String {
    let triggers: Vec<_> = RowEvent::ALL
        .iter()
        .map(|event| {
            format!("DROP TRIGGER IF EXISTS {};", quoted(&format!("backroom_{}_{trigger}", event.as_str())))
        })
        .collect();
    let tables =
        [changes_of(trigger), owner_of(trigger)].map(|table| format!("DROP TABLE IF EXISTS {table};"));
    format!("{} {}", triggers.join(" "), tables.join(" "))
}

/// The table of the changes, quoted.
fn changes_of(trigger: &str) -> String {
    quoted(&format!("backroom_changes_{trigger}"))
}

/// The table that says whose trigger it is, quoted.
fn owner_of(trigger: &str) -> String {
    quoted(&format!("backroom_owner_{trigger}"))
}

fn connect(path: &std::path::Path) -> Result<Connection, SourceError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| {
        SourceError::new(format!("open the SQLite file {}: {error}", path.display()))
            .remedy("correct its path; the file and its table must exist")
    })?;
    connection.busy_timeout(BUSY).map_err(failing("set the timeout"))?;
    Ok(connection)
}

fn failing(what: &'static str) -> impl Fn(rusqlite::Error) -> SourceError {
    move |error| SourceError::new(format!("{what}: {error}"))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(SourceError::new(format!("use the SQLite file: {error}"))))
}

/// Installs what writes the changes. The triggers are made again each time, because the table may have other columns by now.
fn install(
    connection: &Connection,
    trigger: &str,
    table: &str,
    events: &[RowEvent],
    owner: &str,
) -> Result<(), SourceError> {
    let mut select =
        connection.prepare("SELECT name FROM pragma_table_info(?1)").map_err(failing("read the columns"))?;
    let columns =
        select.query_map([table], |found| found.get::<_, String>(0)).map_err(failing("read the columns"))?;
    let columns = columns.collect::<Result<Vec<_>, _>>().map_err(failing("read the columns"))?;
    if columns.is_empty() {
        return Err(SourceError::new(format!("read the table {table:?}: the file has no such table"))
            .remedy("correct its name, or make the table"));
    }
    let row = |which: &str| {
        let part = |column: &String| {
            let value = format!("{which}.{}", quoted(column));
            // JSON has no bytes: they are written in hexadecimal digits.
            format!("{}, iif(typeof({value}) = 'blob', hex({value}), {value})", text(column))
        };
        format!("json_object({})", columns.iter().map(part).collect::<Vec<_>>().join(", "))
    };
    let changes = changes_of(trigger);
    // Numbers begin again when no change waits. What is drawn for each row keeps identities apart.
    let mut sql = format!(
        "CREATE TABLE IF NOT EXISTS {changes} (seq INTEGER PRIMARY KEY, event TEXT NOT NULL, \
         at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), row TEXT, old TEXT, \
         drawn TEXT NOT NULL DEFAULT (lower(hex(randomblob(16)))));"
    );
    for event in RowEvent::ALL {
        let name = quoted(&format!("backroom_{}_{trigger}", event.as_str()));
        sql.push_str(&format!("DROP TRIGGER IF EXISTS {name};"));
        if !events.contains(&event) {
            continue;
        }
        let (new, old) = match event {
            RowEvent::Insert => (row("NEW"), "NULL".into()),
            RowEvent::Update => (row("NEW"), row("OLD")),
            RowEvent::Delete => ("NULL".into(), row("OLD")),
        };
        sql.push_str(&format!(
            "CREATE TRIGGER {name} AFTER {} ON {} BEGIN INSERT INTO {changes} (event, row, old) VALUES ({}, {new}, {old}); END;",
            event.sql(),
            quoted(table),
            text(event.as_str()),
        ));
    }
    sql.push_str("COMMIT;");
    let installed = claim(connection, trigger, owner)
        .and_then(|()| connection.execute_batch(&sql).map_err(failing("install the triggers")));
    if installed.is_err() && !connection.is_autocommit() {
        // The error above is what counts.
        let _ = connection.execute_batch("ROLLBACK");
    }
    installed
}

/// Begins a transaction, and says whose trigger it is if it is new. Fails if it belongs to another store.
fn claim(connection: &Connection, trigger: &str, owner: &str) -> Result<(), SourceError> {
    let (table, id) = (owner_of(trigger), text(owner));
    let sql = format!(
        "BEGIN IMMEDIATE; CREATE TABLE IF NOT EXISTS {table} (id TEXT NOT NULL); \
         INSERT INTO {table} SELECT {id} WHERE NOT EXISTS (SELECT 1 FROM {table});"
    );
    connection.execute_batch(&sql).map_err(failing("install the triggers"))?;
    let known =
        connection.query_row(&format!("SELECT id FROM {table}"), [], |found| found.get::<_, String>(0));
    if known.map_err(failing("install the triggers"))? == owner {
        Ok(())
    } else {
        Err(others(&format!("the table {}", changes_of(trigger)), &remove(trigger)))
    }
}

fn read(connection: &Connection, changes: &str, limit: usize) -> Result<Vec<Change>, SourceError> {
    let sql = format!("SELECT seq, drawn, event, at, row, old FROM {changes} ORDER BY seq LIMIT ?1");
    let mut select = connection.prepare_cached(&sql).map_err(failing("read the changes"))?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = select.query_map([limit], |found| {
        Ok(Change {
            seq: found.get(0)?,
            identity: found.get(1)?,
            event: found.get(2)?,
            at: found.get(3)?,
            row: found.get(4)?,
            old: found.get(5)?,
        })
    });
    let rows = rows.map_err(failing("read the changes"))?;
    rows.collect::<Result<_, _>>().map_err(failing("read the changes"))
}

impl Open {
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &str) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let Self { connection, changes, .. } = self.clone();
        blocking(move || work(&connection.lock().unwrap_or_else(PoisonError::into_inner), &changes)).await
    }
}

#[async_trait]
impl Source for SqliteTable {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    fn describe(&self, trigger: &str) -> Value {
        let mut value = described(&self.table, &self.events, &remove(trigger));
        value["path"] = self.path.to_string_lossy().into();
        value
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    async fn open(&mut self, context: &SourceContext) -> Result<(), SourceError> {
        let (path, table, events) = (self.path.clone(), self.table.clone(), self.events.clone());
        let trigger = context.trigger().to_owned();
        let changes = changes_of(&trigger);
        let owner = owner(context).await?;
        let connection = blocking(move || {
            let connection = connect(&path)?;
            install(&connection, &trigger, &table, &events, &owner)?;
            Ok(connection)
        })
        .await?;
        let clock = Arc::clone(context.backroom().clock());
        self.open = Some(Open { connection: Arc::new(Mutex::new(connection)), changes, clock });
        Ok(())
    }

    async fn next(&mut self, bounds: Bounds) -> Result<Vec<Delivery>, SourceError> {
        let open =
            self.open.as_ref().ok_or_else(|| SourceError::new("read the changes: the file is not open"))?;
        loop {
            let changes =
                open.with(move |connection, changes| read(connection, changes, bounds.rows)).await?;
            if !changes.is_empty() {
                return Ok(super::within(changes, &self.table, bounds));
            }
            open.clock.sleep(self.poll).await;
        }
    }

    async fn settle(&mut self, settled: Vec<Settled>) -> Result<(), SourceError> {
        let open =
            self.open.as_ref().ok_or_else(|| SourceError::new("delete the changes: the file is not open"))?;
        open.with(move |connection, changes| {
            let deleted = (|| {
                let transaction = connection.unchecked_transaction()?;
                let mut delete =
                    transaction.prepare_cached(&format!("DELETE FROM {changes} WHERE seq = ?1"))?;
                for settled in &settled {
                    delete.execute(params![i64::try_from(settled.receipt).unwrap_or(i64::MAX)])?;
                }
                drop(delete);
                transaction.commit()
            })();
            deleted.map_err(failing("delete the changes"))
        })
        .await
    }

    async fn lag(&mut self) -> Option<u64> {
        let open = self.open.as_ref()?;
        let count = open.with(|connection, changes| {
            let count = connection
                .query_row(&format!("SELECT count(*) FROM {changes}"), [], |found| found.get::<_, i64>(0));
            count.map_err(failing("count the changes"))
        });
        count.await.ok().map(i64::unsigned_abs)
    }

    async fn close(&mut self) {
        self.open = None;
    }
}
