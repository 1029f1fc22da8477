//! Schedules: put at start, triggered by hand, backfilled, and watched.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use backroom::{
    BackfillOptions, Backroom, Context, Failure, Job, Schedule, TriggerOptions, Worker,
    core::bounds::earlier, schedule::policy::Overlap,
};
use serde::{Deserialize, Serialize};

/// The day of the report is filled in for each occurrence.
#[derive(Serialize, Deserialize)]
struct Report {
    day: String,
}

impl Job for Report {
    const KIND: &'static str = "report";
    type Output = ();
}

async fn report(job: Report, ctx: Context) -> Result<(), Failure> {
    let is_of_schedule = ctx.job().extras.occurrence.is_some();
    let has_day = job.day.len() == "2026-12-24".len();
    println!("a report with a day: {has_day}, by a schedule: {is_of_schedule}");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let backroom = Backroom::open("sqlite:nightly.db").await?;
    let schedules = backroom.schedules();

    // At every start: to put the same again changes nothing.
    let nightly = Schedule::cron("0 2 * * *")
        .name("nightly report")
        .zone("Europe/Oslo")
        .overlap(Overlap::BufferOne)
        .deadman(Duration::from_secs(26 * 3600))
        .job(&Report { day: "{{nominal | date}}".into() });
    println!("put: {:?}", schedules.put(nightly).await?);

    // Workers that do the upkeep run the schedules; this one also says what is wrong.
    let worker = Worker::new(&backroom)
        .queue("default", 4)
        .handle(report)
        .on_schedule(|event| println!("{}: {:?}", event.schedule, event.news))
        .start()
        .await?;

    // An outside timer may repeat its call: the key names the run.
    let key = || TriggerOptions::default().key("by hand");
    let job = schedules.trigger("nightly report", key()).await?;
    println!("the second trigger is the first: {}", schedules.trigger("nightly report", key()).await? == job);
    backroom.handle::<Report>(job).await?.wait().await?;

    // The nights of the last three days, after the fact.
    let now = backroom.clock().now();
    let range = (earlier(now, Duration::from_secs(3 * 24 * 3600)), now);
    let backfill = schedules.backfill("nightly report", range, BackfillOptions::default()).await?;
    println!("{} nights to backfill", backfill.total);
    loop {
        let info = schedules.get("nightly report").await?.ok_or("it is there")?;
        let ended = info.last.iter().filter(|entry| entry.end.is_some()).count() as u64;
        if ended == backfill.total + 1 {
            println!("{}: {ended} runs ended", info.description.unwrap_or_default());
            break;
        }
        backroom.clock().sleep(Duration::from_millis(20)).await;
    }

    worker.stop().await?;
    backroom.close().await?;
    Ok(())
}
