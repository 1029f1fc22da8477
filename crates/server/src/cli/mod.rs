//! The command line: one file per command, each with its arguments, its help and `run`.
//!
//! A command asks the library and writes the answer through [`crate::terminal`]; it decides nothing about jobs. Start reading
//! at [`Command`].

pub(crate) mod amend;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod batch;
pub(crate) mod bench;
pub(crate) mod cancel;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod delete;
pub(crate) mod doctor;
pub(crate) mod endpoints;
pub(crate) mod enqueue;
pub(crate) mod forget;
pub(crate) mod job;
pub(crate) mod jobs;
pub(crate) mod keys;
mod matching;
pub(crate) mod migrate;
pub(crate) mod move_store;
pub(crate) mod queues;
pub(crate) mod reassign;
pub(crate) mod replies;
pub(crate) mod retry;
pub(crate) mod schedules;
mod select;
mod several;
pub(crate) mod signal;
pub(crate) mod stats;
pub(crate) mod tail;
pub(crate) mod tokens;
pub(crate) mod top;
mod top_attention;
pub(crate) mod tree;
#[cfg(feature = "triggers")]
pub(crate) mod triggers;
pub(crate) mod work;
pub(crate) mod workers;

use clap::{Parser, Subcommand};

use crate::{bench::BenchArgs, demo::DemoArgs, serve::ServeArgs, settings::GlobalArgs};

/// Background jobs: hand work to the back room and go on serving your users.
///
/// A job is a kind and its args. It waits in a queue of a store (one SQLite file, or a PostgreSQL database) until a worker runs it, and is
/// tried again when it fails. These commands put jobs in, show where they are and why, and mend what is stuck;
/// workers live in your own programs, through the library.
#[derive(Debug, Parser)]
#[command(
    name = "backroom",
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
    Serve(Box<ServeArgs>),
    Bench(BenchArgs),
    Enqueue(Box<enqueue::EnqueueArgs>),
    Jobs(jobs::JobsArgs),
    Job(job::JobArgs),
    Tree(tree::TreeArgs),
    Graph(tree::GraphArgs),
    Batch(batch::BatchArgs),
    Tail(tail::TailArgs),
    Amend(amend::AmendArgs),
    Reassign(reassign::ReassignArgs),
    Cancel(cancel::CancelArgs),
    Retry(retry::RetryArgs),
    Signal(signal::SignalArgs),
    Delete(delete::DeleteArgs),
    Forget(forget::ForgetArgs),
    Queues(queues::QueuesArgs),
    Schedules(Box<schedules::SchedulesArgs>),
    #[cfg(feature = "triggers")]
    Triggers(triggers::TriggersArgs),
    Trigger(schedules::trigger::TriggerArgs),
    Replies(replies::RepliesArgs),
    Work(Box<work::WorkArgs>),
    Workers(workers::WorkersArgs),
    Endpoints(endpoints::EndpointsArgs),
    Stats(stats::StatsArgs),
    Top(top::TopArgs),
    Tokens(tokens::TokensArgs),
    Keys(keys::KeysArgs),
    Audit(audit::AuditArgs),
    Doctor(doctor::DoctorArgs),
    Migrate(migrate::MigrateArgs),
    Backup(backup::BackupArgs),
    Move(move_store::MoveArgs),
    Config(Box<config::ConfigArgs>),
    Completions(completions::CompletionsArgs),
}

impl Command {
    /// Whether the store may be the one that the settings file names. The others read the file themselves, or use a store of their
    /// own.
    pub(crate) fn reads_the_file(&self) -> bool {
        if let Self::Schedules(args) = self {
            return args.needs_a_store();
        }
        if let Self::Keys(args) = self {
            return args.needs_a_store();
        }
        !matches!(
            self,
            Self::Serve(_)
                | Self::Work(_)
                | Self::Config(_)
                | Self::Demo(_)
                | Self::Bench(_)
                | Self::Move(_)
                | Self::Completions(_)
        )
    }
}
