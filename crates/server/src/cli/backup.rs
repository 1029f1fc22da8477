//! `backroom backup`: a copy of the store in one file, while it is in use.

use std::path::PathBuf;

use backroom::store::{self, BackupProgress};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::settings::Settings;
use crate::terminal::{Problem, out, words};

/// Copy a SQLite store to a new file while workers and clients go on
///
/// The copy is the store as it is at one moment, in one file, checked, and synced to the disk before it appears under its
/// name. Do not copy the files with `cp`: the copy would lack what is in the log, or mix two moments.
///
/// To restore it, stop every process that uses the store, move its files away (also those that end in -wal and -shm),
/// and put the copy in their place. Jobs that ended after the backup was made then run again.
///
/// For a PostgreSQL store use pg_dump and pg_restore.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom backup backups/jobs-2026-01-31.db
  backroom backup --store sqlite:/var/lib/shop/jobs.db /mnt/backups/jobs.db
  backroom doctor --store sqlite:backups/jobs-2026-01-31.db       is the copy whole?
  pg_dump --format=custom --schema=backroom --file=jobs.dump DATABASE-URL

With --json: {\"store\", \"file\", \"bytes\", \"jobs\"}.")]
pub(crate) struct BackupArgs {
    /// The file to create; an existing one is never replaced
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Serialize)]
struct Answer {
    store: String,
    file: PathBuf,
    bytes: u64,
    jobs: u64,
}

pub(crate) async fn run(args: BackupArgs, settings: &Settings) -> Result<(), Problem> {
    settings.only_store()?;
    // It draws only on a terminal, and clears itself.
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent}% {eta} left") {
        bar.set_style(style);
    }
    let shown = bar.clone();
    let progress = move |done: BackupProgress| {
        shown.set_length(done.pages);
        shown.set_position(done.copied);
    };
    let copied = store::backup(&settings.store, &args.file, progress).await;
    bar.finish_and_clear();
    let copied = copied?;
    if settings.json {
        let answer =
            Answer { store: settings.shown(), file: args.file, bytes: copied.bytes, jobs: copied.jobs };
        return out::json(&answer, settings.terminal);
    }
    out::line(format_args!(
        "backed up {} ({}) to {}",
        words::count(copied.jobs, "job"),
        words::bytes(copied.bytes),
        args.file.display()
    ))
}
