//! What can be chosen.

use clap::{Args, ValueEnum};

/// Measure this machine's disk and database.
///
/// The figures hold for this machine, this disk and this moment: compare figures of one run with each other, and take
/// the middle of several runs.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  backroom bench                                   enqueue, run and complete 100,000 jobs
  backroom bench --baseline                        and compare with a bare loop over the same tables
  backroom bench --scenario latency                how soon an idle worker picks a job up
  backroom bench --scenario steady                 how soon at half of the machine's capacity
  backroom bench --scenario deep                   with ten million finished and a million future jobs
  backroom bench --scenario http                   how fast the server takes jobs over HTTP
  backroom bench --scenario workflow --slots 500   how many workflows of three durable steps a second
  backroom bench --scenario batch --jobs 1000000   what a batch costs its members, and jobs after others
  backroom bench --server http://127.0.0.1:8080    the same of a server that runs; its jobs are deleted afterwards
  backroom bench --json | jq .lifecycle_per_s")]
pub(crate) struct BenchArgs {
    /// What to measure
    #[arg(long, value_enum, default_value_t = Scenario::Drain)]
    pub(crate) scenario: Scenario,
    /// Jobs to run
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub(crate) jobs: u32,
    /// Slots of the worker
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) slots: u32,
    /// Size of each job's args, about
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(16..=1_000_000))]
    pub(crate) payload_bytes: u32,
    /// Finished jobs already there in the scenario `deep`
    #[arg(long, default_value_t = 10_000_000)]
    pub(crate) deep_finished: u32,
    /// Future jobs already there in the scenario `deep`
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) deep_future: u32,
    /// Rows that count the members in the scenario `batch`, where the store has many writers
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) stripes: u16,
    /// Measure a bare loop over the same tables as well, and print the ratio
    #[arg(long)]
    pub(crate) baseline: bool,
    /// Prune finished jobs at once instead of keeping them
    #[arg(long)]
    pub(crate) no_history: bool,
    /// Survive the death of the process only, not the loss of power
    #[arg(long)]
    pub(crate) relaxed: bool,
    /// Write the id of every acknowledged enqueue to this file (for tests that kill this process)
    #[arg(long, hide = true)]
    pub(crate) ledger: Option<std::path::PathBuf>,
    /// Lease of the worker, in milliseconds (for the same tests)
    #[arg(long, hide = true, default_value_t = 30_000)]
    pub(crate) lease_ms: u64,
}

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Enqueue all jobs, then run and complete them
    Drain,
    /// Enqueue one by one at half of the capacity while a worker runs
    Steady,
    /// One job at a time on an idle worker
    Latency,
    /// As drain, before and after the store is filled with old and future jobs
    Deep,
    /// Enqueue over HTTP, beside the same in process
    Http,
    /// Run workflows of three steps that do nothing
    Workflow,
    /// As drain, without a batch and in one; then jobs after others
    Batch,
}

impl Scenario {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Steady => "steady",
            Self::Latency => "latency",
            Self::Deep => "deep",
            Self::Http => "http",
            Self::Workflow => "workflow",
            Self::Batch => "batch",
        }
    }
}
