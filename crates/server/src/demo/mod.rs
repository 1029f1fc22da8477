//! `backroom demo`: thumbnails of a folder of pictures, made in the background and updated.
//!
//! It is an ordinary program on the library: it enqueues jobs, and a worker in the same process runs them. All that it shows it
//! reads from the store. So it can be killed at any moment and started again. It never changes the pictures.
//!
//! Start reading at [`run`]; the jobs are in `jobs.rs`, the loop is in `watch.rs`.

mod folder;
mod jobs;
mod office;
mod pictures;
mod places;
mod screen;
mod summary;
mod thumbnails;
mod watch;

use std::{path::PathBuf, time::Duration};

use backroom::{Backroom, QueueOrder, RunningWorker, Worker};

use crate::{
    serve::Signals,
    settings::Settings,
    terminal::{Problem, out},
};

use jobs::{OFFICE, PICTURES};
use places::Places;
use screen::Screen;
use summary::Summary;
use watch::Watch;

/// The lease of the demo's worker. Far shorter than other programs would choose: a user who kills the demo to see what
/// happens need not wait.
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

/// Runs the demo. It succeeds if all jobs are finished and errors or crashes used up the attempts of none. Broken pictures are
/// named, and are no failure.
pub(crate) async fn run(args: DemoArgs, settings: &Settings) -> Result<(), Problem> {
    // Before the store is opened: a mistyped folder should not leave a store behind.
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
    let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get().min(64) as u32);
    let slots = args.slots.unwrap_or(cores);
    let Places { photos_shown, out_shown, .. } = places;
    let mut screen = Screen::open(settings);
    if places.are_brought {
        let written = pictures::bring(&places.photos, args.pictures);
        if written.map_err(|error| Problem::new("write pictures", &error))? > 0 {
            screen.say(format!(
                "Wrote {} pictures into {photos_shown}, and cut-short.jpg, half a file on purpose: its jobs will be discarded.",
                args.pictures
            ))?;
        }
    }
    let at_once = slots.min(cores);
    screen.say(format!("Making thumbnails of {photos_shown} in {out_shown}, {at_once} at once."))?;

    let mut watch = Watch::new(backroom, places, &mut screen, args.once).await?;
    let mut signals = Signals::new()?;
    let worker = start_worker(backroom, slots).await?;
    let ended = tokio::select! {
        ended = watch.run() => ended.map(|()| true),
        _ = signals.next() => Ok(false),
    };

    let cleared = watch.screen.clear();
    if matches!(ended, Ok(false)) && worker.running() > 0 {
        watch.screen.say(format!(
            "Stopping: {} jobs finish first. Press Ctrl-C again to stop at once; nothing is lost then either.",
            worker.running()
        ))?;
    }
    tokio::select! {
        stopped = worker.stop() => drop(stopped?),
        // Nothing is lost: its jobs run again when their leases end.
        _ = signals.next() => return Err(Problem::Interrupted),
    }
    let done = ended?;
    cleared?;
    watch.read_again().await?;

    let summary = Summary::of(backroom, &watch, places, done, backroom.clock().now()).await?;
    if settings.json {
        out::json(&summary, settings.terminal)?;
    } else {
        summary.lines().into_iter().try_for_each(|line| watch.screen.say(line))?;
    }
    match (done, args.once) {
        (false, true) => Err(Problem::Interrupted),
        (false, false) => Ok(()),
        (true, _) if summary.done => Ok(()),
        (true, _) => Err(Problem::Reported),
    }
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
