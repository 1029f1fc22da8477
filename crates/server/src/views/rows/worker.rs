//! The schema of a worker.

use utoipa::ToSchema;

/// A worker as it last reported itself.
#[derive(ToSchema)]
#[schema(as = Worker)]
pub(crate) struct WorkerSchema {
    /// Unique among workers.
    name: String,
    /// Distinguishes two workers of the same name.
    #[schema(format = "uuid")]
    incarnation: String,
    /// How many heartbeats there were.
    beats: u64,
    /// Another process declared it dead.
    dead: bool,
    /// The machine.
    host: String,
    /// The process.
    pid: u32,
    /// Since when it lives.
    #[schema(format = DateTime)]
    started_at: String,
    /// When its last heartbeat was.
    #[schema(format = DateTime)]
    beat_at: String,
    /// How long it may send no heartbeat before it counts as dead, in milliseconds.
    lease_ms: u64,
    /// Each queue that it serves with the slots that may serve it.
    #[schema(value_type = Vec<Vec<serde_json::Value>>, example = json!([["mail", 4]]))]
    queues: Vec<(String, u32)>,
    /// Kinds that it has a handler for.
    kinds: Vec<String>,
    /// All its slots.
    slots: u32,
    /// Slots taken.
    running: u32,
    /// Slots whose handler still runs after a stop request.
    stuck: u32,
    /// It claims no more jobs.
    stopping: bool,
    /// Its jobs that are suspected of killing their worker and have begun.
    trials: TrialsSchema,
    /// What prevents it from working.
    trouble: Option<String>,
    /// Which process it is, among all that had the same id.
    process: ProcessSchema,
    /// How far the wall clock of its machine is ahead of the store's time, in milliseconds.
    clock_ahead_ms: Option<i64>,
    /// Memory of its process that is in RAM at this heartbeat, in bytes: of all workers of one process together. Missing where the system does
    /// not say it, as outside of Linux.
    memory_bytes: Option<u64>,
    /// The last time that its runtime was blocked.
    blocked: Option<BlockedSchema>,
    /// The threads that its blocking handlers share.
    threads: ThreadsSchema,
    /// Whether it takes jobs of every kind but those in `kinds`.
    any_kind: Option<bool>,
}

/// Suspects that a worker runs.
#[derive(ToSchema)]
#[schema(as = Trials)]
pub(crate) struct TrialsSchema {
    /// The suspect whose trial is under way.
    on: Option<TrialSchema>,
    /// Suspects that passed their trial and run on.
    passed: Vec<String>,
}

/// The trial of a suspect.
#[derive(ToSchema)]
#[schema(as = Trial)]
pub(crate) struct TrialSchema {
    /// The suspect.
    #[schema(format = "uuid")]
    job: String,
    /// Its run.
    #[schema(format = "uuid")]
    lease: String,
    /// Whether nothing else runs in the process.
    alone: bool,
    /// When it began.
    #[schema(format = DateTime)]
    since: String,
}

/// What identifies a process beyond its host and id.
#[derive(ToSchema)]
#[schema(as = Process)]
pub(crate) struct ProcessSchema {
    boot_id: String,
    pid_namespace: String,
    started_ticks: u64,
}

/// A runtime that could not run its tasks, because handlers blocked its threads.
#[derive(ToSchema)]
#[schema(as = Blocked)]
pub(crate) struct BlockedSchema {
    /// When that was noticed.
    #[schema(format = DateTime)]
    at: String,
    /// For how long, in milliseconds.
    for_ms: u64,
    /// Whether it still is.
    now: bool,
    /// The kinds of the handlers that blocked it.
    kinds: Vec<String>,
}

/// The threads that blocking handlers share.
#[derive(ToSchema)]
#[schema(as = Threads)]
pub(crate) struct ThreadsSchema {
    /// How many there are; null if that is unknown.
    count: Option<u32>,
    /// The kinds whose handlers block.
    kinds: Vec<String>,
}
