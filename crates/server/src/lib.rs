//! The binary `backroom`: run, watch and mend background jobs.
//!
//! [`main`] only parses, starts the runtime, hands over to the command's own file in [`cli`] (or to [`demo`]), and
//! turns what came of it into an exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

mod api;
mod bench;
mod bodies;
mod cli;
mod config;
mod demo;
mod embed;
mod faktory;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod metrics;
mod pages;
mod remote;
mod schedules;
mod serve;
mod settings;
mod target;
mod telemetry;
mod terminal;
mod views;
mod work;

pub use embed::{Guard, router};

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, error::ErrorKind, parser::ValueSource};

use cli::{Cli, Command};
use settings::Settings;
use terminal::{Problem, out, unless_interrupted};

/// Runs the program: its arguments are those of the process.
pub fn main() -> ExitCode {
    // A worker starts this program again to supervise a command: such a process never returns from here.
    #[cfg(target_os = "linux")]
    backroom::command::supervise_if_asked();
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let by_flag = |option: &str| matches.value_source(option) == Some(ValueSource::CommandLine);
    let settings = Settings::from_args(cli.global, by_flag)
        .unwrap_or_else(|why| Cli::command().error(ErrorKind::ArgumentConflict, why).exit());
    // The server shows them as well, once it has read whether it exports.
    if !matches!(cli.command, Command::Serve(_)) {
        terminal::notices::start();
    }
    let settings = if cli.command.reads_the_file() { settings.or_of_file() } else { Ok(settings) };
    let outcome = settings.and_then(|settings| Ok((settings, runtime()?))).and_then(|(settings, runtime)| {
        let outcome = runtime.block_on(run(cli.command, &settings));
        // A thread that still reads stdin or sleeps must not stop a finished command from ending.
        runtime.shutdown_background();
        outcome
    });
    out::exit(outcome)
}

/// One command, from its arguments to its outcome.
async fn run(command: Command, settings: &Settings) -> Result<(), Problem> {
    match command {
        // These stop by themselves when asked to, each in its own way.
        Command::Demo(args) => demo::run(args, settings).await,
        Command::Serve(args) => serve::run(*args, settings).await,
        Command::Work(args) => cli::work::run(*args, settings).await,
        Command::Bench(args) => unless_interrupted(cli::bench::run(args, settings)).await,
        Command::Enqueue(args) => cli::enqueue::run(*args, settings).await,
        Command::Jobs(args) => unless_interrupted(cli::jobs::run(args, settings)).await,
        Command::Job(args) => unless_interrupted(cli::job::run(args, settings)).await,
        Command::Tree(args) => unless_interrupted(cli::tree::run(args, settings)).await,
        Command::Graph(args) => unless_interrupted(cli::tree::graph(args, settings)).await,
        Command::Batch(args) => unless_interrupted(cli::batch::run(args, settings)).await,
        Command::Tail(args) => unless_interrupted(cli::tail::run(args, settings)).await,
        Command::Amend(args) => unless_interrupted(cli::amend::run(args, settings)).await,
        Command::Reassign(args) => cli::reassign::run(args, settings).await,
        Command::Cancel(args) => cli::cancel::run(args, settings).await,
        Command::Retry(args) => cli::retry::run(args, settings).await,
        Command::Signal(args) => cli::signal::run(args, settings).await,
        Command::Delete(args) => cli::delete::run(args, settings).await,
        Command::Forget(args) => unless_interrupted(cli::forget::run(args, settings)).await,
        Command::Queues(args) => unless_interrupted(cli::queues::run(args, settings)).await,
        Command::Schedules(args) => unless_interrupted(cli::schedules::run(*args, settings)).await,
        #[cfg(feature = "triggers")]
        Command::Triggers(args) => unless_interrupted(cli::triggers::run(args, settings)).await,
        Command::Trigger(args) => unless_interrupted(cli::schedules::trigger::run(args, settings)).await,
        Command::Replies(args) => unless_interrupted(cli::replies::run(args, settings)).await,
        Command::Workers(args) => unless_interrupted(cli::workers::run(args, settings)).await,
        Command::Endpoints(args) => unless_interrupted(cli::endpoints::run(args, settings)).await,
        Command::Stats(args) => unless_interrupted(cli::stats::run(args, settings)).await,
        Command::Top(args) => unless_interrupted(cli::top::run(args, settings)).await,
        Command::Tokens(args) => unless_interrupted(cli::tokens::run(args, settings)).await,
        Command::Keys(args) => unless_interrupted(cli::keys::run(args, settings)).await,
        Command::Audit(args) => unless_interrupted(cli::audit::run(args, settings)).await,
        Command::Doctor(args) => unless_interrupted(cli::doctor::run(args, settings)).await,
        Command::Migrate(args) => unless_interrupted(cli::migrate::run(args, settings)).await,
        Command::Backup(args) => unless_interrupted(cli::backup::run(args, settings)).await,
        Command::Move(args) => cli::move_store::run(args, settings).await,
        Command::Config(args) => unless_interrupted(cli::config::run(*args, settings)).await,
        Command::Completions(args) => cli::completions::run(&args, &mut Cli::command()),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Problem> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Problem::new("start the async runtime", &error))
}
