//! A table of PostgreSQL becomes jobs of a SQLite store: in the order of the commits, none skipped, removable without trace.

#![cfg(feature = "postgres-table")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod support;

use std::time::Duration;

use backroom::{
    Backroom,
    tokio_postgres::{self, Client, NoTls},
};
use backroom_testbed::{Login, Place as Folder, Proxy, Server};
use backroom_triggers::{Activity, Mapping, PostgresTable, RowEvent, RunningTriggers, Triggers};
use serde_json::{Value, json};
use support::{Place, jobs, until, until_status};

fn url() -> String {
    std::env::var("BACKROOM_TEST_POSTGRES").unwrap_or_else(|_| {
        panic!("set BACKROOM_TEST_POSTGRES to a server, or run: cargo xtask postgres cargo test")
    })
}

async fn connect() -> Client {
    connect_to(&url()).await
}

async fn connect_to(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A schema of its own with a table of orders.
async fn shop(name: &str) -> Client {
    let client = connect().await;
    let sql = format!(
        "DROP SCHEMA IF EXISTS {name} CASCADE; DROP SCHEMA IF EXISTS backroom_trigger_{name} CASCADE; \
         CREATE SCHEMA {name}; CREATE TABLE {name}.orders (id bigint PRIMARY KEY, price numeric)"
    );
    client.batch_execute(&sql).await.unwrap();
    client
}

fn source(name: &str) -> PostgresTable {
    PostgresTable::new(url(), format!("{name}.orders")).poll(Duration::from_millis(10))
}

async fn start(backroom: &Backroom, name: &str) -> RunningTriggers {
    let mapping = Mapping::kind("change").build().unwrap();
    let triggers = Triggers::new(backroom).lease(Duration::from_secs(1));
    let triggers = triggers.add(name, source(name), mapping).start().await.unwrap();
    until(backroom, "it reads", async || {
        triggers.status(name).is_some_and(|status| status.activity == Activity::Running)
    })
    .await;
    triggers
}

async fn ids(backroom: &Backroom) -> Vec<i64> {
    let args: Vec<Value> = jobs(backroom).await.iter().map(|job| job.args.decode().unwrap()).collect();
    args.iter().map(|args| args["row"]["id"].as_i64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_that_overlap_come_in_the_order_of_their_commits() {
    let name = "shop_overlap";
    let place = Place::new();
    let (backroom, mut one, mut two) = (place.open().await, shop(name).await, connect().await);
    let triggers = start(&backroom, name).await;
    let first = one.transaction().await.unwrap();
    first.execute(&format!("INSERT INTO {name}.orders VALUES (1, 1.10)"), &[]).await.unwrap();
    let second = two.transaction().await.unwrap();
    second.execute(&format!("INSERT INTO {name}.orders VALUES (2, 2.20)"), &[]).await.unwrap();
    second.commit().await.unwrap();
    until(&backroom, "the second one", async || !jobs(&backroom).await.is_empty()).await;
    first.commit().await.unwrap();
    until(&backroom, "both", async || jobs(&backroom).await.len() == 2).await;
    assert_eq!(ids(&backroom).await, [2, 1], "the first one committed later, and is not skipped");
    let args: Value = jobs(&backroom).await[1].args.decode().unwrap();
    assert!(jobs(&backroom).await[1].args.as_str().contains("1.10"), "{args}");
    triggers.stop().await;
    source(name).uninstall(name).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_at_once_and_a_restart_skip_nothing_and_make_none_twice() {
    let name = "shop_many";
    let place = Place::new();
    let (backroom, _shop) = (place.open().await, shop(name).await);
    start(&backroom, name).await.stop().await;
    let write = async |writer: i64| {
        let client = connect().await;
        for n in 0..50 {
            let sql = format!("INSERT INTO {name}.orders VALUES ($1, 0)");
            client.execute(&sql, &[&(writer * 50 + n)]).await.unwrap();
        }
    };
    let writers = futures_util::future::join_all((0..4).map(write));
    let reader = async {
        for _ in 0..5 {
            start(&backroom, name).await.abandon();
        }
    };
    tokio::join!(writers, reader);
    let triggers = Triggers::new(&backroom).lease(Duration::from_secs(1)).add(
        name,
        source(name),
        Mapping::kind("change").build().unwrap(),
    );
    let triggers = triggers.start().await.unwrap();
    until(&backroom, "all", async || jobs(&backroom).await.len() >= 200).await;
    let mut found = ids(&backroom).await;
    found.sort_unstable();
    assert_eq!(found, (0..200).collect::<Vec<_>>());
    triggers.stop().await;
    source(name).uninstall(name).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_rolled_back_is_none_and_nothing_is_left_after_the_removal() {
    let name = "shop_removed";
    let place = Place::new();
    let (backroom, mut shop) = (place.open().await, shop(name).await);
    let left = "SELECT (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'backroom_trigger_shop_removed') \
                + (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'backroom%shop_removed%')";
    let triggers = start(&backroom, name).await;
    let rolled_back = shop.transaction().await.unwrap();
    rolled_back.execute(&format!("INSERT INTO {name}.orders VALUES (1, 1)"), &[]).await.unwrap();
    rolled_back.rollback().await.unwrap();
    shop.batch_execute(&format!(
        "INSERT INTO {name}.orders VALUES (2, 1); UPDATE {name}.orders SET price = 12345678901234567890.5; DELETE FROM {name}.orders"
    ))
    .await
    .unwrap();
    until(&backroom, "three changes", async || jobs(&backroom).await.len() == 3).await;
    let args = jobs(&backroom).await[1].args.clone();
    assert!(args.as_str().contains("12345678901234567890.5"), "{args}");
    let args: Value = args.decode().unwrap();
    assert_eq!((&args["event"], &args["old"]["id"]), (&json!("update"), &json!(2)));
    triggers.stop().await;
    source(name).uninstall(name).await.unwrap();
    let left: i64 = shop.query_one(left, &[]).await.unwrap().try_get::<_, i64>(0).unwrap();
    assert_eq!(left, 0);
    shop.batch_execute(&format!("INSERT INTO {name}.orders VALUES (3, 1)")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_long_names_have_a_schema_each() {
    let name = "shop_long";
    let place = Place::new();
    let (backroom, shop) = (place.open().await, shop(name).await);
    let long = |end: &str| format!("{name}{}{end}", "x".repeat(100));
    let mut running = Vec::new();
    for end in ["a", "b"] {
        source(name).uninstall(&long(end)).await.unwrap();
        let mapping = Mapping::kind(end).build().unwrap();
        let triggers = Triggers::new(&backroom).add(long(end), source(name), mapping).start().await.unwrap();
        until(&backroom, "it reads", async || {
            triggers.status(&long(end)).is_some_and(|status| status.activity == Activity::Running)
        })
        .await;
        running.push(triggers);
    }
    shop.batch_execute(&format!("INSERT INTO {name}.orders VALUES (1, 1)")).await.unwrap();
    until(&backroom, "each has a job", async || jobs(&backroom).await.len() == 2).await;
    let mut kinds: Vec<_> = jobs(&backroom).await.iter().map(|job| job.kind.to_string()).collect();
    kinds.sort();
    assert_eq!(kinds, ["a", "b"]);
    for (triggers, end) in running.iter().zip(["a", "b"]) {
        triggers.stop().await;
        source(name).uninstall(&long(end)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_another_store_is_refused_with_the_remedy() {
    let name = "shop_owned";
    let (place, other) = (Place::new(), Place::new());
    let (backroom, shop) = (place.open().await, shop(name).await);
    let triggers = start(&backroom, name).await;
    let second = other.open().await;
    let mapping = Mapping::kind("change").build().unwrap();
    let refused = Triggers::new(&second).add(name, source(name), mapping).start().await.unwrap();
    until(&second, "it is refused", async || {
        refused.status(name).is_some_and(|status| status.activity == Activity::Failing)
    })
    .await;
    let error = refused.status(name).unwrap().error.unwrap();
    assert!(error.contains("backroom_trigger_shop_owned") && error.contains("another store"), "{error}");
    let remedy = "remove what it left: ";
    let sql = error.split_once(remedy).unwrap_or_else(|| panic!("{error}")).1.to_owned();
    shop.batch_execute(&format!("INSERT INTO {name}.orders VALUES (1, 1)")).await.unwrap();
    until(&backroom, "the first store has the job", async || jobs(&backroom).await.len() == 1).await;
    assert_eq!(jobs(&second).await.len(), 0);
    triggers.stop().await;
    // It is the same store after a restart. Once what it left is removed, the other one begins.
    start(&backroom, name).await.stop().await;
    shop.batch_execute(&sql).await.unwrap();
    until(&second, "the second store reads", async || {
        refused.status(name).is_some_and(|status| status.activity == Activity::Running)
    })
    .await;
    refused.stop().await;
    source(name).uninstall(name).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncation_is_one_change_in_its_place() {
    let name = "shop_truncated";
    let place = Place::new();
    let (backroom, mut shop) = (place.open().await, shop(name).await);
    let triggers = start(&backroom, name).await;
    shop.batch_execute(&format!("INSERT INTO {name}.orders VALUES (1, 1), (2, 1)")).await.unwrap();
    shop.batch_execute(&format!(
        "BEGIN; TRUNCATE {name}.orders; INSERT INTO {name}.orders VALUES (3, 1); COMMIT; \
         BEGIN; TRUNCATE {name}.orders; ROLLBACK;"
    ))
    .await
    .unwrap();
    until(&backroom, "four changes", async || jobs(&backroom).await.len() == 4).await;
    let found: Vec<Value> = jobs(&backroom).await.iter().map(|job| job.args.decode().unwrap()).collect();
    let events: Vec<_> = found.iter().map(|args| args["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["insert", "insert", "truncate", "insert"]);
    assert_eq!((&found[2]["row"], &found[2]["old"]), (&Value::Null, &Value::Null));
    // PostgreSQL itself refuses this where a table has a deferred trigger.
    let both = shop.transaction().await.unwrap();
    both.execute(&format!("INSERT INTO {name}.orders VALUES (4, 1)"), &[]).await.unwrap();
    let refused = both.execute(&format!("TRUNCATE {name}.orders"), &[]).await.unwrap_err();
    assert!(format!("{refused:?}").contains("pending trigger events"), "{refused:?}");
    both.rollback().await.unwrap();
    triggers.stop().await;
    // Without deletions, a truncation is none.
    let inserts = || source(name).events(&[RowEvent::Insert]);
    let mapping = Mapping::kind("change").build().unwrap();
    let triggers = Triggers::new(&backroom).add(name, inserts(), mapping).start().await.unwrap();
    until(&backroom, "it reads", async || {
        triggers.status(name).is_some_and(|status| status.activity == Activity::Running)
    })
    .await;
    shop.batch_execute(&format!("TRUNCATE {name}.orders; INSERT INTO {name}.orders VALUES (5, 1)"))
        .await
        .unwrap();
    until(&backroom, "a fifth change", async || jobs(&backroom).await.len() >= 5).await;
    assert_eq!(jobs(&backroom).await[4].args.decode::<Value>().unwrap()["row"]["id"], 5);
    triggers.stop().await;
    source(name).uninstall(name).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_wrong_is_said_once_without_it() {
    let place = Place::new();
    let backroom = place.open().await;
    let source = PostgresTable::new("postgres://ada:geheim@127.0.0.1:1/shop", "orders");
    let mapping = Mapping::kind("change").build().unwrap();
    let triggers = Triggers::new(&backroom).add("in", source, mapping).start().await.unwrap();
    until_status(&backroom, &triggers, "it fails", |status| status.activity == Activity::Failing).await;
    let error = triggers.status("in").unwrap().error.unwrap();
    assert!(error.contains("check host") && !error.contains("geheim"), "{error}");
    triggers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_one_job_each_in_order_although_a_deletion_is_cut_and_the_server_is_killed() {
    let bin = std::env::var("BACKROOM_TEST_PG_BIN").unwrap_or_else(|_| panic!("set BACKROOM_TEST_PG_BIN"));
    // A killed server loses nothing without the sync: that protects against the loss of the machine.
    let settings = ["listen_addresses=127.0.0.1", "fsync=off", "full_page_writes=off"];
    let mut server = Server::make(Folder::make().unwrap(), bin.into(), &settings, Login::Trust).unwrap();
    server.start().unwrap();
    let proxy = Proxy::start(server.port()).unwrap();
    let url = server.url("postgres");
    let through = url.replace(&format!(":{}", server.port()), &format!(":{}", proxy.port()));
    let insert = async |from: i64| {
        let client = connect_to(&url).await;
        let sql = format!("INSERT INTO orders SELECT * FROM generate_series({from}, {from} + 19)");
        client.batch_execute(&sql).await.unwrap();
    };
    connect_to(&url).await.batch_execute("CREATE TABLE orders (id bigint PRIMARY KEY)").await.unwrap();
    let place = Place::new();
    let backroom = place.open().await;
    let source = PostgresTable::new(&through, "orders").poll(Duration::from_millis(10));
    let mapping = Mapping::kind("change").build().unwrap();
    let triggers = Triggers::new(&backroom).add("in", source, mapping).start().await.unwrap();
    until_status(&backroom, &triggers, "it reads", |status| status.activity == Activity::Running).await;
    insert(0).await;
    until(&backroom, "the first ones", async || jobs(&backroom).await.len() == 20).await;
    proxy.cut_before(b"DELETE FROM");
    insert(20).await;
    until_status(&backroom, &triggers, "the deletion is cut", |status| status.counters.errors > 0).await;
    proxy.pass();
    insert(40).await;
    until(&backroom, "those after the cut", async || jobs(&backroom).await.len() == 60).await;
    assert!(triggers.status("in").unwrap().counters.duplicates >= 20);
    let errors = triggers.status("in").unwrap().counters.errors;
    server.kill().unwrap();
    until_status(&backroom, &triggers, "it fails", |status| status.counters.errors > errors).await;
    server.start().unwrap();
    insert(60).await;
    until(&backroom, "those after the kill", async || jobs(&backroom).await.len() == 80).await;
    assert_eq!(ids(&backroom).await, (0..80).collect::<Vec<_>>());
    triggers.stop().await;
}
