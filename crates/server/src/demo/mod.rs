//! `backroom demo`: thumbnails of a folder of pictures, made in the background and kept up to date.
//!
//! It is an ordinary program on the library: it enqueues, a worker in the same process runs, and all it shows it
//! reads from the store. So it can be killed at any moment and started again. It never touches the pictures.
//!
//! Start reading at [`run`]; the jobs are in `jobs/`, the loop is in `watch.rs`.

mod error;
mod folder;
mod jobs;
mod ledger;
mod office;
mod pictures;
mod places;
mod screen;
mod stop;
mod summary;
mod view;
mod watch;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use backroom::{Backroom, Order, RunningWorker, Worker, core::bounds::span_until};

pub(crate) use error::DemoError;
use jobs::{OFFICE, PICTURES};
use ledger::Ledger;
use places::Places;
use screen::Screen;
use watch::{End, Watch};

/// Silence after which a killed demo's jobs come back. Far shorter than a program of one's own would take it, so
/// that whoever kills the demo to see what happens need not wait.
const LEASE: Duration = Duration::from_secs(3);
/// How long a stopped demo lets its thumbnails finish.
const GRACE: Duration = Duration::from_secs(20);
/// Slots for the order and the report.
const OFFICE_SLOTS: u32 = 2;
/// The pictures that are drawn are the same each time.
const SEED: u64 = 2026;

/// Make thumbnails of a folder of pictures in the background, and watch the jobs do it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DemoArgs {
    /// The folder with your pictures (JPEG, PNG, WebP, GIF), watched for more. Default: some are drawn.
    #[arg(long, value_name = "DIR")]
    photos: Option<PathBuf>,
    /// Where the thumbnails go. Default: backroom-demo/thumbnails
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// End when all is done instead of watching on.
    #[arg(long)]
    once: bool,
    /// Thumbnails made at once. Default: one per core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    slots: Option<u32>,
    /// How many pictures to draw when --photos is not given.
    #[arg(long, value_name = "N", default_value_t = 12, conflicts_with = "photos",
        value_parser = clap::value_parser!(u16).range(1..=1000))]
    draw: u16,
}

/// Runs the demo on an open store. `store` is its URL.
///
/// Ends with success when all was done (broken pictures count as done, and are named) or, while watching, when it
/// was stopped; with failure when something was left undone.
pub(crate) async fn run(args: DemoArgs, backroom: &Backroom, store: &str) -> Result<ExitCode, DemoError> {
    let places = Places::find(args.photos.as_deref(), args.out.as_deref(), store)?;
    let slots = args.slots.unwrap_or_else(cores);
    let mut screen = Screen::open(slots);
    let begun_at = backroom.clock().now();
    if places.are_drawn {
        draw(&places, args.draw, &mut screen).await?;
    }
    screen.say(format!(
        "Making thumbnails of {} in {} with {slots} at once.",
        places.photos_shown, places.out_shown
    ))?;

    // Before the worker begins, so that what an earlier run left is seen as it was left.
    let ledger = Ledger::load(backroom).await?;
    let mut stop = stop::listen()?;
    let worker = start_worker(backroom, slots).await?;
    let mut watch = Watch::new(backroom, &places, &mut screen, ledger, args.once);
    let ended = watch.run(&mut stop).await;

    watch.screen().clear()?;
    if matches!(ended, Ok(End::Stopped)) && worker.running() > 0 {
        let running = worker.running();
        watch.screen().say(format!(
            "Stopping: {running} jobs finish first. Press Ctrl-C again to stop at once; nothing is lost then \
             either."
        ))?;
    }
    worker.stop().await?;
    let end = ended?;
    watch.read_again().await?;

    let took = span_until(begun_at, backroom.clock().now());
    let (lines, is_all) = summary::of(&watch, &places, end, took);
    for line in lines {
        watch.screen().say(line)?;
    }
    watch.screen().say("Look inside with `backroom jobs`, `backroom job ID` and `backroom queues`.")?;
    let is_fine = is_all || (end == End::Stopped && !args.once);
    Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Draws the pictures, a broken one among them. One that is there is kept, so a killed run goes on with the next.
async fn draw(places: &Places, count: u16, screen: &mut Screen) -> Result<(), DemoError> {
    let drawing =
        |error: tokio::task::JoinError| DemoError::io("draw pictures")(std::io::Error::other(error));
    for number in 1..=count {
        screen.drawing(number - 1, count)?;
        let folder = places.photos.clone();
        let drawn = tokio::task::spawn_blocking(move || pictures::draw(&folder, number, SEED)).await;
        drawn.map_err(drawing)?.map_err(DemoError::Draw)?;
    }
    let folder = places.photos.clone();
    let broken = tokio::task::spawn_blocking(move || pictures::draw_broken(&folder, SEED)).await;
    let broken = broken.map_err(drawing)?.map_err(DemoError::Draw)?;
    screen.drawing(count, count)?;
    let name = broken.file_name().unwrap_or_default().display();
    screen.say(format!(
        "There are {count} drawn pictures in {}, and {name}, half a file on purpose: its jobs will be discarded.",
        places.photos_shown
    ))
}

async fn start_worker(backroom: &Backroom, slots: u32) -> Result<RunningWorker, DemoError> {
    let worker = Worker::new(backroom)
        .queue(PICTURES, slots)
        .queues(Order::strict([OFFICE]), OFFICE_SLOTS)
        .handle_blocking(jobs::make_thumbnail)
        .handle(jobs::pay_order)
        .handle(jobs::pack_order)
        .handle(jobs::mail_receipt)
        .handle(jobs::nightly_report)
        .lease(LEASE)
        .grace(GRACE);
    Ok(worker.start().await?)
}

fn cores() -> u32 {
    std::thread::available_parallelism().map_or(2, |cores| u32::try_from(cores.get()).unwrap_or(64).min(64))
}
