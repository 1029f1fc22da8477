//! The command line: one file per command, each with its arguments, its help and `run`.
//!
//! A command asks the library and writes the answer through [`out`]; it decides nothing about jobs. Start reading
//! at [`Command`].

pub(crate) mod completions;
pub(crate) mod enqueue;
pub(crate) mod notices;
pub(crate) mod out;
mod problem;

use clap::{Parser, Subcommand};

pub(crate) use problem::Problem;

use crate::{demo::DemoArgs, settings::GlobalArgs};

/// Background jobs: hand work to the back room and go on serving your users.
///
/// A job is a kind and its args. It waits in a queue of a store (one SQLite file) until a worker runs it, and is
/// tried again when it fails. These commands put jobs in, show where they are and why, and mend what is stuck;
/// workers live in your own programs, through the library.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = "\
Start here:
  backroom demo                                   watch jobs at work, on real pictures
  backroom enqueue send_mail '{\"to\":\"ada\"}'       put a job in
  backroom jobs                                   where are they?
  backroom job ID                                 why is this one where it is?
  backroom doctor                                 is everything as it should be?

Exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
Warnings of the library go to stderr; BACKROOM_LOG=debug shows more, BACKROOM_LOG=off none."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(DemoArgs),
    Enqueue(enqueue::EnqueueArgs),
    Completions(completions::CompletionsArgs),
}
