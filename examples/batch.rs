//! A nightly batch: many jobs under one id, one of them fails, and a report at the end.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use backroom::{Backroom, Context, Failure, Job, Worker};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Thumbnail {
    photo: u32,
}

impl Job for Thumbnail {
    const KIND: &'static str = "thumbnail";
    type Output = ();
    const MAX_ATTEMPTS: Option<u32> = Some(1);
}

/// Enqueued once when all thumbnails have ended, in whatever way.
#[derive(Serialize, Deserialize)]
struct Report;

impl Job for Report {
    const KIND: &'static str = "report";
    type Output = ();
}

/// Enqueued once when all of them have completed.
#[derive(Serialize, Deserialize)]
struct Publish;

impl Job for Publish {
    const KIND: &'static str = "publish";
    type Output = ();
}

async fn thumbnail(job: Thumbnail, ctx: Context) -> Result<(), Failure> {
    if job.photo == 13 && ctx.job().max_attempts == 1 {
        return Err(Failure::discard("photo 13 is damaged"));
    }
    if job.photo == 0 {
        // A member that runs may add further ones, also after the batch was closed.
        ctx.backroom().enqueue(Thumbnail { photo: 1000 }).in_batch_of(&ctx).await?;
    }
    Ok(())
}

async fn report(_: Report, ctx: Context) -> Result<(), Failure> {
    let summary = ctx.ended_batch().ok_or_else(|| Failure::discard("not the end of a batch"))?.summary;
    println!("report: {} of {} thumbnails, {} failed", summary.completed, summary.total, summary.discarded);
    Ok(())
}

async fn publish(_: Publish, _: Context) -> Result<(), Failure> {
    println!("all thumbnails are there: published");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let backroom = Backroom::open("sqlite:batch.db").await?;
    let worker = Worker::new(&backroom)
        .queue("default", 8)
        .handle(thumbnail)
        .handle(report)
        .handle(publish)
        .start()
        .await?;

    let batch = backroom
        .open_batch()
        .description("thumbnails of the night")
        .on_finish(Report)
        .on_success(Publish)
        .await?;
    // In a stream: a million take the memory of two thousand.
    batch.enqueue_many((0..500).map(|photo| Thumbnail { photo })).await?;
    batch.close().await?;
    let ended = batch.finished().await?;
    println!("{} % of {}, {} failed", ended.progress.percent, ended.progress.total, ended.progress.failed);

    // What failed runs again; then the batch has succeeded.
    println!("{} retried", batch.retry_failed().await?.done);
    while batch.status().await?.succeeded_at.is_none() {
        backroom.clock().sleep(std::time::Duration::from_millis(20)).await;
    }
    while backroom.counts().await?.iter().any(|count| count.state != backroom::DisplayState::Completed) {
        backroom.clock().sleep(std::time::Duration::from_millis(20)).await;
    }
    worker.stop().await?;
    backroom.close().await?;
    Ok(())
}
