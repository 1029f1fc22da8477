//! `/v1/claim`, `/v1/leases/…` and `/v1/lease/…`: workers that ask over HTTP.
//!
//! A remote worker claims jobs, extends its leases, and commits what became of them. It needs a token with the scope `work` that is
//! valid for its queues. A program that runs one job, such as a command, calls back with the token of that job's lease, at
//! `/v1/lease/…`.

mod claim;
mod commit;
mod extend;
mod of_token;
mod report;
mod workflow;

use std::time::Duration;

use backroom::{JobId, LeaseHeld, LeaseId, Leases, RemoteWorker, RunKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    caller::{Caller, Scope},
    codes::Code,
    problem::Problem,
};
use crate::serve::AppState;

/// The lease of a worker that names none.
const LEASE_DEFAULT: Duration = Duration::from_secs(30);

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(claim::claim))
        .routes(routes!(extend::extend))
        .routes(routes!(extend::leave))
        .routes(routes!(commit::commit))
        .routes(routes!(report::report))
        .routes(routes!(workflow::workflow))
        .routes(routes!(of_token::read))
        .routes(routes!(of_token::commit))
        .routes(routes!(of_token::report))
}

/// How a worker describes itself, in each call.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WorkerBody {
    /// Its name, unique among workers. A process that starts again takes another one.
    name: String,
    /// Random, made when its process starts. Another worker of the same name is refused by it. Default: made from the name.
    #[schema(value_type = Option<String>, format = "uuid")]
    instance: Option<Uuid>,
    /// Its machine, for people.
    #[serde(default)]
    host: String,
    /// The kinds that it handles.
    kinds: Vec<String>,
    /// The ids of the keys with which it opens sealed values; they are no secrets. Default none.
    #[serde(default)]
    keys: Vec<String>,
    /// The queues that it serves, each with the slots for it.
    queues: Vec<QueueBody>,
    /// For how many milliseconds it may make no calls before its jobs run elsewhere. Default 30000.
    #[schema(minimum = 500, maximum = 3_600_000)]
    lease_ms: Option<u64>,
    /// Whether it claims no more jobs.
    #[serde(default)]
    stopping: bool,
    /// How many jobs it runs now.
    #[serde(default)]
    running: u32,
}

/// One queue of a worker.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct QueueBody {
    /// Its name.
    name: String,
    /// How many of its jobs run there at once. Default 1.
    #[serde(default = "one")]
    slots: u32,
}

fn one() -> u32 {
    1
}

/// One run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RunBody {
    /// The job.
    #[schema(value_type = String, format = "uuid")]
    job: JobId,
    /// The lease under which it was claimed.
    #[schema(value_type = String, format = "uuid")]
    lease: LeaseId,
}

impl From<RunBody> for RunKey {
    fn from(run: RunBody) -> Self {
        Self { job: run.job, lease: run.lease }
    }
}

/// Whether a lease holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum HeldView {
    /// It holds.
    Held,
    /// It holds, and the job is to stop, because a client cancelled it.
    Cancel,
    /// The job runs elsewhere, is finished or gone: stop, and drop the result.
    Lost,
}

impl From<LeaseHeld> for HeldView {
    fn from(held: LeaseHeld) -> Self {
        match held {
            LeaseHeld::Held => Self::Held,
            LeaseHeld::CancelRequested => Self::Cancel,
            LeaseHeld::Lost => Self::Lost,
        }
    }
}

impl WorkerBody {
    /// The worker, once it is known that the caller may work on its queues.
    fn of(self, caller: &Caller) -> Result<RemoteWorker, Problem> {
        caller.require(Scope::Work)?;
        for queue in &self.queues {
            caller.require_in(Scope::Work, &queue.name)?;
        }
        let owner = caller.id();
        let instance = self.instance.unwrap_or_else(|| instance_of(&self.name, &owner));
        Ok(RemoteWorker {
            slots: self.queues.iter().fold(0, |slots, queue| slots.saturating_add(queue.slots)),
            queues: self.queues.into_iter().map(|queue| (queue.name, queue.slots)).collect(),
            lease: self.lease_ms.map_or(LEASE_DEFAULT, Duration::from_millis),
            name: self.name,
            instance,
            owner,
            host: self.host,
            kinds: self.kinds.into(),
            claims: None,
            keys: self.keys,
            stopping: self.stopping,
            running: self.running,
        })
    }
}

/// The instance of a worker that names none: the same in each of its calls.
fn instance_of(name: &str, owner: &str) -> Uuid {
    let hash = Sha256::digest(format!("{owner}\n{name}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// Refuses runs of jobs in queues that the token is not valid for. Jobs that are gone are no reason: their leases are lost.
async fn check_queues(leases: &Leases, caller: &Caller, runs: &[RunKey]) -> Result<(), Problem> {
    caller.require(Scope::Work)?;
    if caller.sees_all() {
        return Ok(());
    }
    let queues = leases.queues_of(runs).await?;
    for queue in queues.values() {
        caller.require_in(Scope::Work, queue)?;
    }
    Ok(())
}

fn too_many(what: &str, count: usize, most: usize) -> Result<(), Problem> {
    if count > most {
        let detail = format!("{count} {what} are too many for one request; at most {most} are allowed");
        return Err(Problem::new(Code::Invalid, detail));
    }
    Ok(())
}
