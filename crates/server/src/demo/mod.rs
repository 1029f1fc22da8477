//! `backroom demo`: thumbnails of a folder of pictures, made in the background and updated.
//!
//! It is an ordinary program on the library: it enqueues, a worker in the same process runs, and all it shows it
//! reads from the store. So it can be killed at any moment and started again. It never touches the pictures.
//!
//! Start reading at [`run`]; the jobs are in `jobs.rs`, the loop is in `watch.rs`.

mod folder;
mod jobs;
mod office;
mod pictures;
mod places;
mod screen;
mod stop;
mod summary;
mod thumbnails;
mod watch;

use std::{path::PathBuf, time::Duration};

use backroom::{Backroom, QueueOrder, RunningWorker, Worker, core::bounds::span_until};

use crate::{
    settings::Settings,
    terminal::{Problem, out},
};

use jobs::{OFFICE, PICTURES};
use places::Places;
use screen::Screen;
use summary::Summary;
use thumbnails::Thumbnails;
use watch::{End, Watch};

/// Silence after which a killed demo's jobs come back. Far shorter than a program of one's own would take it, so
/// that a user who kills the demo to see what happens need not wait.
const LEASE: Duration = Duration::from_secs(3);
/// How long a stopped demo lets its thumbnails finish.
const GRACE: Duration = Duration::from_secs(20);
/// Slots for the order and the report.
const OFFICE_SLOTS: u32 = 2;

/// Make thumbnails of a folder of pictures in the background, and watch the jobs do it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DemoArgs {
    /// The folder with your pictures (JPEG, PNG, WebP, GIF), watched for more. Default: some that the demo brings along.
    #[arg(long, value_name = "DIR")]
    photos: Option<PathBuf>,
    /// Where the thumbnails go. Default: backroom-demo/thumbnails
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// End when all is done instead of watching on.
    #[arg(long)]
    once: bool,
    /// Thumbnails taken on at once, of which one per core is computed. Default: one per core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    slots: Option<u32>,
    /// How many pictures to bring along when --photos is not given; beyond twelve they repeat.
    #[arg(long, value_name = "N", default_value_t = 12, conflicts_with = "photos",
        value_parser = clap::value_parser!(u16).range(1..=1000))]
    pictures: u16,
}

/// Runs the demo. Done means that all jobs are finished, and none was given up for want of luck; broken pictures
/// count as done, and are named.
pub(crate) async fn run(args: DemoArgs, settings: &Settings) -> Result<(), Problem> {
    // Before the store: a mistyped folder should not leave one behind.
    let places = Places::find(args.photos.as_deref(), args.out.as_deref(), settings)?;
    let backroom = settings.open_or_create().await?;
    let outcome = run_on(&backroom, &args, &places, settings).await;
    backroom.close().await?;
    outcome
}

async fn run_on(
    backroom: &Backroom,
    args: &DemoArgs,
    places: &Places,
    settings: &Settings,
) -> Result<(), Problem> {
    let slots = args.slots.unwrap_or_else(cores);
    let mut screen = Screen::open(settings);
    let begun_at = backroom.clock().now();
    if places.are_brought {
        bring(places, args.pictures, &screen).await?;
    }
    let Places { photos_shown, out_shown, .. } = places;
    let at_once = slots.min(cores());
    screen.say(format!("Making thumbnails of {photos_shown} in {out_shown}, {at_once} at once."))?;

    // Before the worker begins, so that what an earlier run left is seen as it was left.
    let thumbnails = Thumbnails::load(backroom).await?;
    let stop = stop::listen();
    let worker = start_worker(backroom, slots).await?;
    let mut watch = Watch::new(backroom, places, &mut screen, thumbnails, args.once);
    let ended = watch.run(stop).await;

    let cleared = watch.screen.clear();
    if matches!(ended, Ok(End::Stopped)) && worker.running() > 0 {
        let running = worker.running();
        watch.screen.say(format!(
            "Stopping: {running} jobs finish first. Press Ctrl-C again to stop at once; nothing is lost then \
             either."
        ))?;
    }
    worker.stop().await?;
    let end = ended?;
    cleared?;
    watch.read_again().await?;

    let now = backroom.clock().now();
    let summary = Summary::of(&watch, places, end, span_until(begun_at, now), now);
    if settings.json {
        out::json(&summary, settings.terminal)?;
    } else {
        for line in summary.lines() {
            watch.screen.say(line)?;
        }
    }
    match end {
        End::Stopped if args.once => Err(Problem::Interrupted),
        End::Stopped => Ok(()),
        End::Done | End::Unsettled if summary.done => Ok(()),
        End::Done | End::Unsettled => Err(Problem::Reported),
    }
}

/// Writes the pictures that the demo brings along, a broken one among them.
async fn bring(places: &Places, count: u16, screen: &Screen) -> Result<(), Problem> {
    let folder = places.photos.clone();
    // It waits for the disk; on the runtime's own threads it would hold up everything else.
    let written = tokio::task::spawn_blocking(move || pictures::bring(&folder, count)).await;
    let written = written.map_err(|panic| Problem::new("write pictures", &panic))?;
    let written = written.map_err(|error| Problem::Failed { message: error.to_string(), hint: None })?;
    if written == 0 {
        return Ok(());
    }
    screen.say(format!(
        "Wrote {count} pictures into {}, and cut-short.jpg, half a file on purpose: its jobs will be discarded.",
        places.photos_shown
    ))
}

async fn start_worker(backroom: &Backroom, slots: u32) -> Result<RunningWorker, Problem> {
    let worker = Worker::new(backroom)
        .queue(PICTURES, slots)
        .queues(QueueOrder::strict([OFFICE]), OFFICE_SLOTS)
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
