//! A widget store: stock, orders and payments are tables of the application in the file of the jobs. Each step that touches them is one
//! commit with its record, so the books balance wherever the process dies. Every third payment fails.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use backroom::{
    Backroom, Failure, Job, RetryPolicy, Worker, WorkflowContext,
    rusqlite::{self, Connection},
};
use serde::{Deserialize, Serialize};

const FILE: &str = "widgets.db";
/// Widgets in stock.
const STOCK: i64 = 10;
/// Customers, more than there are widgets.
const CUSTOMERS: i64 = 14;

#[derive(Serialize, Deserialize)]
struct Checkout {
    customer: i64,
}

impl Job for Checkout {
    const KIND: &'static str = "checkout";
    type Output = String;
}

async fn checkout(args: Checkout, ctx: WorkflowContext) -> Result<String, Failure> {
    let customer = args.customer;
    let order: i64 = ctx.transaction("create order").sqlite(move |tx| create(tx, customer)).await?;
    let is_reserved: bool = ctx.transaction("reserve").sqlite(reserve).await?;
    if !is_reserved {
        ctx.transaction("no stock").sqlite(move |tx| set(tx, order, "no stock")).await?;
        return Ok("no stock".into());
    }
    // The payment arrives from outside.
    let paid: Option<bool> = ctx.wait_signal_within("payment", Duration::from_secs(600)).await?;
    let outcome = if paid == Some(true) { "paid" } else { "cancelled" };
    if outcome == "cancelled" {
        ctx.transaction("unreserve").sqlite(|tx| add(tx, 1)).await?;
    }
    ctx.transaction("settle")
        .retry(RetryPolicy::constant(Duration::from_millis(10)))
        .sqlite(move |tx| set(tx, order, outcome))
        .await?;
    Ok(outcome.into())
}

fn create(tx: &Connection, customer: i64) -> Result<i64, Failure> {
    tx.execute("INSERT INTO orders (customer, state) VALUES (?1, 'pending')", [customer])?;
    Ok(tx.last_insert_rowid())
}

fn reserve(tx: &Connection) -> Result<bool, Failure> {
    Ok(tx.execute("UPDATE stock SET widgets = widgets - 1 WHERE widgets > 0", [])? == 1)
}

fn add(tx: &Connection, widgets: i64) -> Result<(), Failure> {
    tx.execute("UPDATE stock SET widgets = widgets + ?1", [widgets])?;
    Ok(())
}

fn set(tx: &Connection, order: i64, state: &str) -> Result<(), Failure> {
    tx.execute("UPDATE orders SET state = ?2 WHERE id = ?1", rusqlite::params![order, state])?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let backroom = Backroom::open(&format!("sqlite:{FILE}")).await?;
    let books = Connection::open(FILE)?;
    books.busy_timeout(Duration::from_secs(5))?;
    books.execute_batch(
        "CREATE TABLE stock (widgets INTEGER NOT NULL CHECK (widgets >= 0)); \
         CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER NOT NULL UNIQUE, state TEXT NOT NULL);",
    )?;
    books.execute("INSERT INTO stock VALUES (?1)", [STOCK])?;

    let worker = Worker::new(&backroom).queue("default", 20).workflow(checkout).start().await?;
    let mut orders = Vec::new();
    for customer in 1..=CUSTOMERS {
        let order = backroom.enqueue(Checkout { customer }).await?;
        order.signal("payment", &(customer % 3 != 0)).await?;
        orders.push(order);
    }
    for order in &orders {
        order.wait().await?;
    }
    let count = |state: &str| -> rusqlite::Result<i64> {
        books.query_row("SELECT count(*) FROM orders WHERE state = ?1", [state], |row| row.get(0))
    };
    let left: i64 = books.query_row("SELECT widgets FROM stock", [], |row| row.get(0))?;
    let (paid, pending) = (count("paid")?, count("pending")?);
    println!("{CUSTOMERS} customers, {pending} orders open");
    println!("the books balance: {}", left + paid == STOCK);
    worker.stop().await?;
    Ok(())
}
