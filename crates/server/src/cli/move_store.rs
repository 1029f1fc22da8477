//! `backroom move`: copy a live store into another and count both sides.
//!
//! The library copies and counts ([`copy_jobs`]); this module makes sure that no worker runs the jobs at the
//! source meanwhile, shows how far it is and gives the verdict.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backroom::{
    Backroom, DisplayState, State,
    core::bounds::{later, span_until},
    store::{
        Compared, Copied, QueueSetting, copy_batches, copy_jobs, copy_messages, copy_queues, copy_schedules,
        copy_triggers,
    },
};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::settings::Settings;
use crate::terminal::{
    Problem, out,
    parse::span,
    table::{self, Column, cell},
    unless_interrupted, visible, words,
};

/// Copy a live store into another, of any kind
///
/// Jobs in every state with their attempts, logs and tags, the settings of queues, schedules, and triggers with the state of their
/// sources and their dead letters. Nothing is taken from the source.
/// Cut off, it is begun again with the same command, which copies only what is missing or was changed at the source
/// meanwhile. What came over, ended at the target and was pruned there does not come back; a job that a user deleted
/// there does.
///
/// Every queue of the source is paused first, because a job that runs on both sides runs twice. It stays so once the target
/// holds every job; a move that is refused, fails or is interrupted ends the pauses it made. Programs
/// may go on enqueueing there: point them at the target when this ends, then run it once more to fetch the last jobs. A
/// job that runs while its worker is dead comes over with its lease, and a worker of the target rescues it when that
/// runs out. Queues that the target does not know get the source's settings; those it knows keep their own. A pause that a
/// move made is no setting and is not copied. Schedules that the target has, and triggers that a process has read there, stay as they
/// are.
///
/// To go back instead, resume the source's queues (`backroom queues resume --all`) and drop the target: what a target's workers have run they have run.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom move --from sqlite:backroom.db --to 'postgres://ada@db.example.org/shop?schema=backroom'
  backroom move --from sqlite:backroom.db --to sqlite:new.db --live --wait 10m

Order of a move without losing an order: stop the source's workers (or use --live), move, start workers at the target,
point every program that enqueues at the target, move once more.

Exit code: 0 if the target holds every job of the source, 1 if not.

With --json: {\"from\", \"to\", \"whole\", \"written\", \"refused\", \"refusal\", \"jobs_at_target_only\", \"paused_at_target\",
\"compared\": [{\"queue\", \"state\", \"source\", \"target\", \"gone_on\", \"pruned\", \"missing\", \"different\"}]}.")]
pub(crate) struct MoveArgs {
    /// The store to read: sqlite:PATH or postgres://…
    #[arg(long, value_name = "URL")]
    from: String,

    /// The store to fill; created if need be
    #[arg(long, value_name = "URL")]
    to: String,

    /// Go ahead while workers are alive at the source: they are stopped from claiming, and what they run is waited for
    #[arg(long)]
    live: bool,

    /// How long to wait for running jobs
    #[arg(long, value_name = "SPAN", value_parser = span, default_value = "60s", requires = "live")]
    wait: Duration,
}

/// How often all is looked through again while new jobs keep coming.
const PASSES_MAX: u32 = 10;
/// How often running jobs are looked at while they are waited for.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub(crate) async fn run(args: MoveArgs, settings: &Settings) -> Result<(), Problem> {
    let (from, to) = (settings.with_url(&args.from), settings.with_url(&args.to));
    check_apart(&from, &to)?;
    let source = from.open().await?;
    let target = to.open_or_create().await?;
    let pauses = Pauses::default();
    let moving = move_all(&args, &source, &target, &pauses, settings);
    let moved = unless_interrupted(moving).await;
    let ended = match &moved {
        Ok(report) if report.is_whole() => finish(&source, &target).await,
        // A move that is refused before it pauses leaves the pauses of another one alone, which may still run.
        Ok(_) | Err(_) if pauses.are_made() => {
            // Why the move failed is said after this, and both count.
            undo(&source, &from).await.unwrap_or_else(|problem| out::problem(&problem));
            Ok(Vec::new())
        }
        Ok(_) | Err(_) => Ok(Vec::new()),
    };
    if matches!(moved, Err(Problem::Interrupted)) {
        out::note("what was copied stays; the same command goes on from there");
    }
    let closed = source.close().await.and(target.close().await);
    let report = moved?;
    let paused_at_target = ended?;
    closed?;
    answer(&report, &paused_at_target, &from, &to, settings)
}

/// The jobs run at the target from now on: the source's queues stay paused, and what an earlier move the other way paused at
/// the target is served again. Answers which queues are paused at the target, which were so at the source.
async fn finish(source: &Backroom, target: &Backroom) -> Result<Vec<String>, Problem> {
    set_all(source, &QueueSetting::Moved).await?;
    set_all(target, &QueueSetting::MovedHere).await?;
    let queues = target.queues().await?.into_iter();
    Ok(queues.filter(|queue| queue.paused_at.is_some()).map(|queue| queue.name).collect())
}

/// Ends the pauses of this move, and those of an earlier one that was killed.
async fn undo(source: &Backroom, from: &Settings) -> Result<(), Problem> {
    let undone = set_all(source, &QueueSetting::NotMoved).await;
    undone.map_err(|problem| {
        problem.at("end the pauses of the move").hint(format!(
            "workers claim nothing from them until then: `backroom queues resume --all --store {}`",
            from.shown()
        ))
    })
}

async fn set_all(store: &Backroom, setting: &QueueSetting) -> Result<(), Problem> {
    for queue in store.queues().await?.iter().filter(|queue| queue.paused_by.is_some()) {
        store.store().set_queue(&queue.name, setting.clone()).await?;
    }
    Ok(())
}

/// The queues of the source that this move has found paused or has paused itself.
#[derive(Default)]
struct Pauses(Mutex<BTreeSet<String>>);

impl Pauses {
    fn names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn are_made(&self) -> bool {
        !self.names().is_empty()
    }

    /// Pauses the queues that came up since. A queue that was resumed meanwhile stops the move: its jobs may have run at the
    /// source after they were copied.
    async fn make(&self, source: &Backroom) -> Result<(), Problem> {
        self.check(source).await?;
        for queue in source.queues().await? {
            self.names().insert(queue.name.clone());
            if queue.paused_at.is_none() {
                let pause = QueueSetting::PauseToMove(source.clock().now());
                source.store().set_queue(&queue.name, pause).await?;
            }
        }
        Ok(())
    }

    async fn check(&self, source: &Backroom) -> Result<(), Problem> {
        let queues = source.queues().await?;
        let resumed = |name: &String| self.names().contains(name);
        match queues.into_iter().find(|queue| queue.paused_at.is_none() && resumed(&queue.name)) {
            None => Ok(()),
            Some(queue) => {
                let name = visible::line(&queue.name);
                let why = format!(
                    "queue {name} of the source was resumed meanwhile, so its jobs may have run there"
                );
                Err(Problem::new("move the store", &why)
                    .hint("let one move run at a time and resume no queue until it ends; then move again"))
            }
        }
    }
}

/// What came of it.
struct Report {
    copied: Copied,
    jobs_at_target_only: u64,
}

impl Report {
    fn is_whole(&self) -> bool {
        self.copied.compared.iter().all(Compared::is_whole)
    }

    fn sum(&self, of: impl Fn(&Compared) -> u64) -> u64 {
        self.copied.compared.iter().map(of).sum()
    }
}

async fn move_all(
    args: &MoveArgs,
    source: &Backroom,
    target: &Backroom,
    pauses: &Pauses,
    settings: &Settings,
) -> Result<Report, Problem> {
    refuse_workers(args, source).await?;
    // The settings first: afterwards every queue of the source is paused, by whomever.
    copy_queues(source.store().as_ref(), target.store().as_ref()).await?;
    pauses.make(source).await?;
    // One may have come up meanwhile.
    refuse_workers(args, source).await?;
    if args.live {
        wait_for_running(args, source, settings).await?;
    }
    let copied = copy(source, target, pauses).await?;
    pauses.check(source).await?;
    let held = copied.compared.iter().map(|sum| sum.target + sum.different).sum();
    let jobs_at_target_only = jobs_of(target).await?.saturating_sub(held);
    Ok(Report { copied, jobs_at_target_only })
}

/// Copies until a pass finds nothing new, which then has counted both sides: clients may go on enqueueing at the source
/// while this runs.
async fn copy(source: &Backroom, target: &Backroom, pauses: &Pauses) -> Result<Copied, Problem> {
    let (from, to) = (source.store().as_ref(), target.store().as_ref());
    let mut sum = Copied::default();
    // Before the jobs: what the state of a source says to be done is a job by then.
    copy_triggers(from, to).await?;
    for pass in 1..=PASSES_MAX {
        let what = if pass == 1 { "copying" } else { "counting both sides" };
        copy_messages(from, to).await?;
        let bar = bar(what, jobs_of(source).await?);
        let ended = copy_jobs(from, to, &|copied| bar.set_position(copied.seen)).await;
        bar.finish_and_clear();
        let copied = ended?;
        let is_done = copied.written == 0;
        sum = Copied { written: sum.written + copied.written, ..copied };
        if is_done {
            copy_batches(from, to).await?;
            copy_schedules(from, to).await?;
            break;
        }
        copy_queues(from, to).await?;
        pauses.make(source).await?;
    }
    Ok(sum)
}

fn check_apart(from: &Settings, to: &Settings) -> Result<(), Problem> {
    let file = |side: &Settings| side.file().and_then(|file| file.canonicalize().ok());
    let same_file = file(from).is_some_and(|one| Some(one) == file(to));
    if from.store == to.store || same_file {
        return Err(Problem::new("move a store", &"--from and --to name the same one"));
    }
    if [from, to].iter().any(|side| side.store.starts_with("memory:")) {
        return Err(Problem::new("move a store", &"memory: ends with this command; name a file or a server"));
    }
    Ok(())
}

async fn refuse_workers(args: &MoveArgs, source: &Backroom) -> Result<(), Problem> {
    let workers = source.workers().await?;
    if args.live || workers.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = workers.iter().map(|worker| visible::line(&worker.name)).collect();
    let why = format!("its workers are alive: {}", names.join(", "));
    Err(Problem::new("move the store", &why).hint(
        "stop them (one that was killed counts as alive for its lease, 30s by default), or use --live, which keeps them from \
         claiming and waits for what they run",
    ))
}

async fn wait_for_running(args: &MoveArgs, source: &Backroom, settings: &Settings) -> Result<(), Problem> {
    let until = later(source.clock().now(), args.wait);
    let mut reported = false;
    loop {
        let counts = source.counts().await?;
        let running: u64 =
            counts.iter().filter(|count| count.state == DisplayState::Running).map(|count| count.jobs).sum();
        if running == 0 {
            return Ok(());
        }
        if span_until(source.clock().now(), until).is_zero() {
            let why =
                format!("still running at the source after {}: {}", words::span(args.wait), jobs(running));
            return Err(Problem::new("move the store", &why).hint(
                "wait longer (--wait 10m), or cancel them (`backroom jobs --state running`); the source's queues are claimed from again",
            ));
        }
        if !reported && !settings.json {
            out::note(format_args!("… waiting for {} to end", jobs(running)));
            reported = true;
        }
        source.clock().sleep(LOOK_EVERY).await;
    }
}

async fn jobs_of(store: &Backroom) -> Result<u64, Problem> {
    Ok(store.counts().await?.iter().map(|count| count.jobs).sum())
}

fn jobs(number: u64) -> String {
    words::count(number, "job")
}

/// Only drawn where stderr is a terminal.
fn bar(what: &'static str, jobs: u64) -> ProgressBar {
    let template = "{msg} {bar:30} {human_pos} of {human_len} jobs, {per_sec}, {eta} left";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(jobs).with_style(style).with_message(what);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

#[derive(Serialize)]
struct Answer<'a> {
    from: String,
    to: String,
    whole: bool,
    written: u64,
    refused: u64,
    refusal: Option<&'a str>,
    jobs_at_target_only: u64,
    paused_at_target: &'a [String],
    compared: &'a [Compared],
}

fn answer(
    report: &Report,
    paused_at_target: &[String],
    from: &Settings,
    to: &Settings,
    settings: &Settings,
) -> Result<(), Problem> {
    let whole = report.is_whole();
    if settings.json {
        let answer = Answer {
            from: from.shown(),
            to: to.shown(),
            whole,
            written: report.copied.written,
            refused: report.copied.refused,
            refusal: report.copied.refusal.as_deref(),
            jobs_at_target_only: report.jobs_at_target_only,
            paused_at_target,
            compared: &report.copied.compared,
        };
        out::json(&answer, settings.terminal)?;
    } else {
        show_sides(report, settings)?;
        if report.jobs_at_target_only > 0 {
            out::line(format_args!("{} at the target only", jobs(report.jobs_at_target_only)))?;
        }
    }
    if whole {
        return if settings.json { Ok(()) } else { praise(report, paused_at_target, from, to) };
    }
    let (missing, different) = (report.sum(|sum| sum.missing), report.sum(|sum| sum.different));
    let mut why = format!(
        "of {} at the source, {} are missing at the target and {} are different there",
        jobs(report.sum(|sum| sum.source)),
        words::thousands(missing),
        words::thousands(different)
    );
    if let Some(refusal) = &report.copied.refusal {
        let refused = jobs(report.copied.refused);
        why += &format!("; the target refused {refused}, the first: {}", refusal);
    }
    Err(Problem::new("move every job", &why).hint(
        "run it again if jobs were enqueued or changed at the source meanwhile; a job that both sides have changed stays \
         different: decide by `backroom job ID` on each side and delete one",
    ))
}

fn praise(
    report: &Report,
    paused_at_target: &[String],
    from: &Settings,
    to: &Settings,
) -> Result<(), Problem> {
    let source = report.sum(|sum| sum.source);
    out::line(format_args!(
        "the target holds all {} of the source; {} copied now",
        jobs(source),
        words::thousands(report.copied.written)
    ))?;
    if let [_, ..] = paused_at_target {
        let names = paused_at_target.join(", ");
        out::line(format_args!(
            "paused by hand, and so at the target: {names}; resume with `backroom queues resume NAME --store {}`",
            to.shown()
        ))?;
    }
    out::line(format_args!(
        "use {} from now on; the queues of {} stay paused (to go back instead: `backroom queues resume --all --store {}`)",
        to.shown(),
        from.shown(),
        from.shown()
    ))
}

/// Both sides by queue and state.
fn show_sides(report: &Report, settings: &Settings) -> Result<(), Problem> {
    if report.copied.compared.is_empty() {
        return out::line("the source holds no job");
    }
    let mut rows = table::table(
        settings.style(),
        &[
            Column::Text("QUEUE"),
            Column::Whole("STATE"),
            Column::Number("SOURCE"),
            Column::Number("TARGET"),
            Column::Number("WENT ON"),
            Column::Number("PRUNED"),
            Column::Number("MISSING"),
            Column::Number("DIFFERENT"),
        ],
    );
    for sum in &report.copied.compared {
        let number = |number: u64| cell(words::thousands(number));
        rows.add_row(vec![
            cell(&sum.queue),
            cell(State::as_str(sum.state)),
            number(sum.source),
            number(sum.target),
            number(sum.gone_on),
            number(sum.pruned),
            number(sum.missing),
            number(sum.different),
        ]);
    }
    table::show(&rows)
}
