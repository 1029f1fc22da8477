//! Tables of a database as sources: an installed trigger writes a row for each change, in the transaction of the writer. The reader
//! deletes the row once the job is durable, so no change is skipped, however transactions overlap.

#[cfg(feature = "postgres-table")]
mod postgres;
#[cfg(feature = "sqlite-table")]
mod sqlite;

use backroom::ids::Ids;
use serde_json::{Value, json};

#[cfg(feature = "postgres-table")]
pub use self::postgres::PostgresTable;
#[cfg(feature = "sqlite-table")]
pub use self::sqlite::SqliteTable;
use crate::{Bounds, Delivery, SourceContext, SourceError};

/// The state that names this store to the database of the table.
const OWNER: &str = "owner";

/// What happens to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowEvent {
    /// It is inserted.
    Insert,
    /// It is updated.
    Update,
    /// It is deleted.
    Delete,
}

impl RowEvent {
    /// Every event.
    pub const ALL: [Self; 3] = [Self::Insert, Self::Update, Self::Delete];

    /// Its name in messages and settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    /// Its name in SQL.
    const fn sql(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// A row of changes, as it was read.
struct Change {
    seq: i64,
    identity: String,
    event: String,
    at: String,
    /// The row afterwards and before, as JSON; none where there is none.
    row: Option<String>,
    old: Option<String>,
}

impl Change {
    /// What it becomes for the frame. Numbers keep all their digits.
    fn delivery(self, table: &str) -> Delivery {
        let part = |json: Option<String>| json.unwrap_or_else(|| "null".into());
        let head = json!({ "event": self.event, "table": table, "at": self.at }).to_string();
        let head = head.trim_end_matches('}');
        let body = format!("{head},\"row\":{},\"old\":{}}}", part(self.row), part(self.old));
        let delivery = Delivery::new(self.identity, body.into_bytes()).header("event", self.event);
        Delivery { at: self.at.parse().ok(), receipt: self.seq.unsigned_abs(), ..delivery }
    }
}

/// As many changes as the bounds allow, at least one.
fn within(changes: Vec<Change>, table: &str, bounds: Bounds) -> Vec<Delivery> {
    let mut bytes = 0;
    let mut deliveries = Vec::with_capacity(changes.len());
    for change in changes {
        let delivery = change.delivery(table);
        bytes += delivery.bytes();
        if bytes > bounds.bytes && !deliveries.is_empty() {
            break;
        }
        deliveries.push(delivery);
    }
    deliveries
}

/// A name within SQL, quoted.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text within SQL, quoted.
fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// What tells the triggers of this store from those of another one that have the same name. Drawn at the first start.
async fn owner(context: &SourceContext) -> Result<String, SourceError> {
    let state = context.state();
    if let Some(known) = state.value(OWNER).await? {
        return Ok(known);
    }
    let drawn = Ids::from_entropy().job(context.backroom().clock().now()).to_string();
    state.write(vec![(OWNER.into(), Some(drawn.clone()))]).await?;
    Ok(drawn)
}

/// What the trigger would install is there, and belongs to another store.
fn others(what: &str, remove: &str) -> SourceError {
    let why = format!("install the trigger of the table: {what} belongs to a trigger of another store");
    SourceError::new(why).remedy(format!(
        "give this trigger another name; or, if that store has no such trigger any more, remove what it left: {remove}"
    ))
}

fn described(table: &str, events: &[RowEvent], remove: &str) -> Value {
    let events: Vec<_> = events.iter().map(|event| event.as_str()).collect();
    json!({ "table": table, "events": events, "remove": remove })
}
