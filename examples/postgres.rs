//! A job inside a transaction of `tokio_postgres`: it exists exactly if the row does.
//!
//! Set DATABASE_URL, for example `postgres://ada@localhost/shop?schema=backroom`. Our tables lie in a schema of their own.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use backroom::{
    Backroom, Context, Failure, Job, Worker,
    tokio_postgres::{self, NoTls},
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Receipt {
    order: i32,
}

impl Job for Receipt {
    const KIND: &'static str = "receipt";
    type Output = String;
}

async fn receipt(job: Receipt, _: Context) -> Result<String, Failure> {
    Ok(format!("a receipt for order {}", job.order))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("DATABASE_URL").map_err(|_| "set DATABASE_URL to a PostgreSQL database")?;
    let backroom = Backroom::open(&url).await?;
    // The parameter `schema` is Backroom's own.
    let plain = url.split_once('?').map_or(url.as_str(), |(plain, _)| plain);
    let (mut shop, connection) = tokio_postgres::connect(plain, NoTls).await?;
    tokio::spawn(connection);
    shop.batch_execute("CREATE TEMPORARY TABLE orders (id serial PRIMARY KEY, item text)").await?;
    let insert = "INSERT INTO orders (item) VALUES ($1) RETURNING id";

    // Rolled back: neither the order nor its job exists.
    let transaction = shop.transaction().await?;
    let order = transaction.query_one(insert, &[&"a hat"]).await?.get(0);
    let lost = backroom.enqueue(Receipt { order }).within_postgres(&transaction).await?;
    transaction.rollback().await?;
    println!("after a rollback the job exists: {}", backroom.job(lost.id()).await.is_ok());

    let transaction = shop.transaction().await?;
    let order = transaction.query_one(insert, &[&"socks"]).await?.get(0);
    let job = backroom.enqueue(Receipt { order }).within_postgres(&transaction).await?;
    transaction.commit().await?;
    let worker = Worker::new(&backroom).handle(receipt).start().await?;
    println!("{}", job.wait().await?);

    worker.stop().await?;
    backroom.close().await?;
    Ok(())
}
