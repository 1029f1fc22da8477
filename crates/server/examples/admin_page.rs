//! The dashboard of Backroom inside another program: an axum router on a port of its own, behind the program's own login.
//!
//! `cargo run -p backroom-server --example admin_page`, then open http://127.0.0.1:8081.

use backroom::{Backroom, Context, Failure, Job, Worker};
use backroom_server::{Guard, router};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Greet {
    name: String,
}

impl Job for Greet {
    const KIND: &'static str = "greet";
    type Output = String;
}

async fn greet(job: Greet, _: Context) -> Result<String, Failure> {
    Ok(format!("hello, {}", job.name))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let backroom = Backroom::open("sqlite:backroom.db").await?;
    let worker = Worker::new(&backroom).queue("default", 2).handle(greet).start().await?;
    backroom.enqueue(Greet { name: "Ada".into() }).await?;
    // Every program of this machine may use it. Put a layer of your own around the router where others reach it.
    let pages = router(&backroom, Guard::Program, &["localhost"]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8081").await?;
    axum::serve(listener, pages).await?;
    worker.stop().await?;
    Ok(())
}
