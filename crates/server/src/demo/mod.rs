//! `backroom demo`: thumbnails of a folder of pictures and an order, by jobs in the background.
//!
//! It is an ordinary program on the library: it enqueues jobs, and a worker in the same process runs them. All that it shows it
//! reads from the store. So it can be killed at any moment and started again. It never changes the pictures.
//!
//! Start reading at [`run`]; the jobs are in `thumbnails.rs` and `order.rs`, the loop is in `watch.rs`.

mod folder;
mod office;
mod order;
mod pictures;
mod places;
mod screen;
mod summary;
mod thumbnails;
mod watch;

use std::{path::PathBuf, time::Duration};

use backroom::{Backroom, JobId, RunningWorker, Worker, core::bounds::span_until};

use crate::{
    serve::Signals,
    settings::Settings,
    terminal::{Problem, out},
};

use places::Places;
use screen::Screen;
use summary::Summary;
use watch::Watch;

/// The lease of the demo's worker. Far shorter than other programs would choose: a user who kills the demo to see what
/// happens need not wait.
const LEASE: Duration = Duration::from_secs(3);

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
    /// Let the warehouse refuse the order, so that its payment is undone.
    #[arg(long)]
    refuse: bool,
    /// How many pictures to bring along when --photos is not given; beyond twelve they repeat.
    #[arg(long, value_name = "N", default_value_t = 12, conflicts_with = "photos",
        value_parser = clap::value_parser!(u16).range(1..=1000))]
    pictures: u16,
}

/// Runs the demo. It succeeds if all jobs are finished and errors or crashes used up the attempts of none. Broken pictures are
/// named, and are no failure; nor is an order that should be refused.
pub(crate) async fn run(args: DemoArgs, settings: &Settings) -> Result<(), Problem> {
    // Before the store is opened: a mistyped folder should not leave a store behind.
    let places = Places::find(args.photos.as_deref(), args.out.as_deref())?;
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
    let Places { photos_shown, out_shown, .. } = places;
    let screen = Screen::open(settings);
    if places.are_brought {
        let written = pictures::bring(places.photos.as_ref(), args.pictures);
        if written.map_err(|error| Problem::new("write pictures", &error))? > 0 {
            screen.say(format!(
                "Wrote {} pictures into {photos_shown}, and cut-short.jpg, half a file on purpose: its jobs will be discarded.",
                args.pictures
            ))?;
        }
    }
    screen.say(format!("Making thumbnails of {photos_shown} in {out_shown}, and fulfilling an order."))?;
    let id = std::process::id();
    screen.say(format!("Kill it whenever you like: kill -9 {id}. Started again, it goes on."))?;

    let mut watch = Watch::new(backroom, places, args, screen).await?;
    let mut signals = Signals::new()?;
    let worker = start_worker(backroom).await?;
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
    let is_over = ended?;
    cleared?;

    let now = backroom.clock().now();
    watch.read_again(now).await?;
    let mut summary = Summary::of(backroom, places).await?;
    summary.took_secs = span_until(watch.begun_at, now).as_secs_f64();
    summary.not_made.append(&mut watch.scan.skipped);
    summary.done &= is_over;
    if let Some(office) = &watch.office {
        summary.done &= office.is_done;
        summary.order = Some(office.number);
        summary.order_steps.clone_from(&office.steps);
    }
    if settings.json {
        out::json(&summary, settings.terminal)?;
    } else {
        let ended = match (is_over, summary.done) {
            (false, _) => "Stopped after",
            (true, true) => "Done in",
            (true, false) => "Not all was done in",
        };
        out::line(format_args!("{ended} {:.1} s.", summary.took_secs))?;
        summary.lines().iter().try_for_each(out::line)?;
        watch.office.map_or(Ok(()), |office| say_what_is_next(office.order))?;
    }
    match (is_over, args.once) {
        (true, _) if !summary.done => Err(Problem::Reported),
        (false, true) => Err(Problem::Interrupted),
        (true, _) | (false, false) => Ok(()),
    }
}

async fn start_worker(backroom: &Backroom) -> Result<RunningWorker, Problem> {
    let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get().min(64) as u32);
    let worker = Worker::new(backroom)
        .queue(thumbnails::PICTURES, cores)
        .queue(order::OFFICE, 2)
        .handle_blocking(thumbnails::make_thumbnail)
        .workflow(order::fulfil)
        .handle(order::ship_parcel)
        .lease(LEASE);
    Ok(worker.start().await?)
}

/// What a user may type next.
fn say_what_is_next(order: JobId) -> Result<(), Problem> {
    let commands = [
        (format!("backroom job {order}"), "what the order did, step by step"),
        ("backroom jobs --state discarded".into(), "what was given up, and why"),
        ("backroom demo --refuse".into(), "an order that is refused: its payment is undone"),
        ("backroom serve".into(), "all of it in a browser"),
    ];
    out::line("Try next:")?;
    commands.iter().try_for_each(|(command, shows)| out::line(format_args!("  {command:<50} {shows}")))
}
