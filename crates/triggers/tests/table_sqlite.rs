//! A table of a SQLite file becomes jobs: in the order of the commits, none skipped, removable without trace.

#![cfg(feature = "sqlite-table")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod support;

use std::time::Duration;

use backroom::{Backroom, rusqlite::Connection};
use backroom_triggers::{Activity, Mapping, RowEvent, RunningTriggers, SqliteTable, Triggers};
use serde_json::{Value, json};
use support::{Place, jobs, until, until_status};

fn shop(place: &Place) -> Connection {
    let shop = Connection::open(place.path("shop.db")).unwrap();
    shop.execute_batch(
        "PRAGMA journal_mode = WAL; CREATE TABLE orders (id INTEGER PRIMARY KEY, \"who's\" TEXT, price REAL, photo BLOB)",
    )
    .unwrap();
    shop
}

fn source(place: &Place) -> SqliteTable {
    SqliteTable::new(place.path("shop.db"), "orders").poll(Duration::from_millis(10))
}

async fn start(backroom: &Backroom, source: SqliteTable) -> RunningTriggers {
    let mapping = Mapping::kind("change").build().unwrap();
    let triggers = Triggers::new(backroom).add("in", source, mapping).start().await.unwrap();
    until_status(backroom, &triggers, "it reads", |status| status.activity == Activity::Running).await;
    triggers
}

async fn args(backroom: &Backroom) -> Vec<Value> {
    jobs(backroom).await.iter().map(|job| job.args.decode().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_become_jobs_in_the_order_of_the_commits() {
    let place = Place::new();
    let (backroom, shop) = (place.open().await, shop(&place));
    let triggers = start(&backroom, source(&place)).await;
    shop.execute_batch(
        "BEGIN; INSERT INTO orders VALUES (1, 'Ada', 1.5, x'ff00'); UPDATE orders SET price = 2; COMMIT; \
         BEGIN; INSERT INTO orders VALUES (2, 'Bob', 0, NULL); ROLLBACK; \
         DELETE FROM orders WHERE id = 1;",
    )
    .unwrap();
    until(&backroom, "three jobs", async || jobs(&backroom).await.len() == 3).await;
    let found = args(&backroom).await;
    let events: Vec<_> = found.iter().map(|args| args["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["insert", "update", "delete"]);
    assert_eq!(found[0]["row"], json!({ "id": 1, "who's": "Ada", "price": 1.5, "photo": "FF00" }));
    assert_eq!(
        (&found[0]["old"], &found[1]["old"]["price"], &found[2]["row"]),
        (&Value::Null, &json!(1.5), &Value::Null)
    );
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_while_it_is_stopped_are_found_and_new_columns_too() {
    let place = Place::new();
    let (backroom, shop) = (place.open().await, shop(&place));
    start(&backroom, source(&place).events(&[RowEvent::Insert])).await.stop().await;
    shop.execute("INSERT INTO orders (id) VALUES (1)", []).unwrap();
    shop.execute("UPDATE orders SET price = 1", []).unwrap();
    shop.execute("ALTER TABLE orders ADD COLUMN note TEXT", []).unwrap();
    let triggers = start(&backroom, source(&place).events(&[RowEvent::Insert])).await;
    shop.execute("INSERT INTO orders (id, note) VALUES (2, 'new')", []).unwrap();
    until(&backroom, "two jobs", async || jobs(&backroom).await.len() == 2).await;
    let found = args(&backroom).await;
    assert_eq!((&found[0]["row"]["id"], &found[1]["row"]["note"]), (&json!(1), &json!("new")));
    triggers.stop().await;
    let left: i64 = shop.query_row("SELECT count(*) FROM backroom_changes_in", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0, "what became a job is deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_removed_without_trace_and_begins_again_afterwards() {
    let place = Place::new();
    let (backroom, shop) = (place.open().await, shop(&place));
    let schema = || {
        let mut select = shop
            .prepare("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name")
            .unwrap();
        let names = select.query_map([], |row| row.get::<_, String>(0)).unwrap();
        names.collect::<Result<Vec<_>, _>>().unwrap()
    };
    let before = schema();
    for n in 1..=2 {
        let triggers = start(&backroom, source(&place)).await;
        shop.execute("INSERT INTO orders (price) VALUES (1)", []).unwrap();
        until(&backroom, "a job", async || jobs(&backroom).await.len() == n).await;
        triggers.stop().await;
        source(&place).uninstall("in").await.unwrap();
        assert_eq!(schema(), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_store_reads_under_this_name_is_refused_with_the_remedy() {
    let (place, other) = (Place::new(), Place::new());
    let (backroom, shop) = (place.open().await, shop(&place));
    let triggers = start(&backroom, source(&place)).await;
    let second = other.open().await;
    let mapping = Mapping::kind("change").build().unwrap();
    let refused = Triggers::new(&second).add("in", source(&place), mapping).start().await.unwrap();
    until_status(&second, &refused, "it is refused", |status| status.activity == Activity::Failing).await;
    let error = refused.status("in").unwrap().error.unwrap();
    assert!(error.contains("backroom_changes_in") && error.contains("another store"), "{error}");
    shop.execute("INSERT INTO orders (price) VALUES (1)", []).unwrap();
    until(&backroom, "the first store has the job", async || jobs(&backroom).await.len() == 1).await;
    assert_eq!(jobs(&second).await.len(), 0);
    triggers.stop().await;
    let sql = error.split_once("remove what it left: ").unwrap_or_else(|| panic!("{error}")).1;
    shop.execute_batch(sql).unwrap();
    until_status(&second, &refused, "it reads", |status| status.activity == Activity::Running).await;
    refused.stop().await;
}

/// As the page says: SQLite runs no trigger of deletions for the row that is replaced.
#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_row_is_an_insert_unless_the_writer_has_recursive_triggers() {
    let place = Place::new();
    let (backroom, shop) = (place.open().await, shop(&place));
    let triggers = start(&backroom, source(&place)).await;
    shop.execute_batch(
        "INSERT INTO orders (id) VALUES (1); REPLACE INTO orders (id) VALUES (1); \
         PRAGMA recursive_triggers = on; REPLACE INTO orders (id) VALUES (1);",
    )
    .unwrap();
    until(&backroom, "four jobs", async || jobs(&backroom).await.len() == 4).await;
    let found = args(&backroom).await;
    let events: Vec<_> = found.iter().map(|args| args["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["insert", "insert", "delete", "insert"]);
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_missing_is_an_error_with_its_remedy() {
    let place = Place::new();
    let backroom = place.open().await;
    drop(shop(&place));
    let mapping = Mapping::kind("change").build().unwrap();
    let source = SqliteTable::new(place.path("shop.db"), "ordres");
    let triggers = Triggers::new(&backroom).add("in", source, mapping).start().await.unwrap();
    until_status(&backroom, &triggers, "it fails", |status| status.activity == Activity::Failing).await;
    let error = triggers.status("in").unwrap().error.unwrap();
    assert!(error.contains("no such table") && error.contains("correct its name"), "{error}");
    triggers.stop().await;
}
