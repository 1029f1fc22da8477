//! A web shop. The handler stores an order and its job in one transaction; a worker in the same process packs the parcel.
//!
//! `shop` listens on 127.0.0.1:3000 until Ctrl-C. `shop --once` listens on a free port, orders once, and ends.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::{
    error::Error,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use backroom::{
    Backroom, Context, Failure, Job, Worker,
    rusqlite::{Connection, TransactionBehavior},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

#[derive(Serialize, Deserialize)]
struct Pack {
    order: i64,
}

impl Job for Pack {
    const KIND: &'static str = "pack";
    type Output = String;
}

#[derive(Deserialize)]
struct Order {
    item: String,
}

/// What web handlers and job handlers share.
#[derive(Clone)]
struct Shop {
    backroom: Backroom,
    tables: Arc<Mutex<Connection>>,
}

impl Shop {
    /// Stores the order and its job, or neither. Answers with the id of the job.
    fn take(&self, order: &Order) -> Result<String, Box<dyn Error + Send + Sync>> {
        let mut tables = self.tables.lock().map_err(|_| "another order panicked")?;
        let transaction = tables.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("INSERT INTO orders (item) VALUES (?1)", [&order.item])?;
        let pack = Pack { order: transaction.last_insert_rowid() };
        let job = self.backroom.enqueue(pack).within(&transaction)?;
        transaction.commit()?;
        Ok(job.id().to_string())
    }
}

/// `POST /orders`
async fn order(State(shop): State<Shop>, Json(order): Json<Order>) -> Result<String, StatusCode> {
    // SQLite blocks, so this runs on a thread for blocking calls.
    let taken = tokio::task::spawn_blocking(move || shop.take(&order)).await;
    match taken {
        Ok(Ok(id)) => Ok(id),
        Ok(Err(error)) => {
            println!("failed to take an order: {error}");
            Err(StatusCode::SERVICE_UNAVAILABLE)
        }
        Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// The job's handler.
fn pack(job: Pack, _: Context, shop: Arc<Shop>) -> Result<String, Failure> {
    let tables = shop.tables.lock().map_err(|_| "an order panicked")?;
    let item: String =
        tables.query_row("SELECT item FROM orders WHERE id = ?1", [job.order], |row| row.get(0))?;
    Ok(format!("a parcel with {item}"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let is_once = std::env::args().any(|argument| argument == "--once");
    let backroom = Backroom::open("sqlite:shop.db").await?;
    let tables = Connection::open("shop.db")?;
    tables.busy_timeout(Duration::from_secs(5))?;
    tables.execute_batch("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, item TEXT)")?;
    let shop = Shop { backroom: backroom.clone(), tables: Arc::new(Mutex::new(tables)) };
    let worker = Worker::new(&backroom).state(shop.clone()).handle_blocking_with(pack).start().await?;

    let listener = TcpListener::bind(if is_once { "127.0.0.1:0" } else { "127.0.0.1:3000" }).await?;
    let address = listener.local_addr()?;
    println!("curl -d '{{\"item\": \"socks\"}}' -H 'content-type: application/json' http://{address}/orders");
    let router = Router::new().route("/orders", post(order)).with_state(shop);
    if is_once {
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let id = order_socks(&address.to_string()).await?;
        println!("ordered: job {id}");
        println!("packed: {}", backroom.handle::<Pack>(id.parse()?).await?.wait().await?);
        server.abort();
    } else {
        let stop = async { _ = tokio::signal::ctrl_c().await };
        axum::serve(listener, router).with_graceful_shutdown(stop).await?;
    }
    worker.stop().await?;
    backroom.close().await?;
    Ok(())
}

/// Orders over HTTP, as `curl` would. Answers with the id of the job.
async fn order_socks(address: &str) -> Result<String, Box<dyn Error>> {
    let body = r#"{"item": "socks"}"#;
    let request = format!(
        "POST /orders HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    let (head, id) = answer.split_once("\r\n\r\n").ok_or("the answer has no body")?;
    if !head.starts_with("HTTP/1.1 200") {
        return Err(format!("the shop refused the order: {head}").into());
    }
    Ok(id.to_owned())
}
