//! The store of a worker whose jobs are at a server: the verbs that a worker calls, as requests to the API.
//!
//! What a worker does not call goes to an empty store in memory. Errors of the network are outages, which the worker knows how to
//! survive: it repeats claims and commits until they are answered.

use std::{
    any::Any,
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backroom::{
    Error, ErrorKind, JobId, JobRow, LeaseId, RunKey, Timestamp, WorkerRow,
    clock::{Clock, SystemClock},
    core::Change,
    store::{
        Beaten, Call, Claim, Committed, LeaseStatus, MemoryStore, Note, Store,
        layer::{Answer, Forward, Layer, Request},
    },
};
use hyper::StatusCode;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    outcome,
    wire::{
        self, ClaimBody, CommitsBody, ExtendBody, HeldName, LeaveBody, ProblemBody, ProgressBody, QueueBody,
        ReportBody, ReportsBody, RunBody, Runs, SettledName, WorkerBody,
    },
};
use crate::{
    config::{QueueSlots, ServerSettings},
    remote::{Remote, Requests},
    terminal::Problem,
};

/// How long the server may hold a request that waits for a job. Less than the 60 s that the server allows at most by default.
const WAIT: Duration = Duration::from_secs(20);
/// How long an answer may take that waits for nothing.
const ANSWER: Duration = Duration::from_secs(30);
/// Most commits of one request, and most runs whose reports one request has.
const COMMITS_MAX: usize = 500;
/// Most bytes of outputs in one request.
const COMMIT_BYTES_MAX: usize = 4 << 20;
/// Most bytes that one claim takes.
const CLAIM_BYTES_MAX: usize = 8 << 20;

/// What a server answered that is no success.
struct Refused {
    status: StatusCode,
    problem: ProblemBody,
}

/// One run of the worker.
pub(super) struct Run {
    row: Arc<JobRow>,
    token: String,
}

/// The store of a worker whose jobs are at a server.
pub(crate) struct RemoteStore {
    requests: Requests,
    clock: SystemClock,
    /// Answers what no worker asks.
    memory: Arc<dyn Store>,
    state: Mutex<Known>,
}

/// What is known of the worker.
#[derive(Default)]
struct Known {
    /// As it described itself last.
    worker: Option<Arc<WorkerBody>>,
    /// The runs whose commit is not answered yet.
    runs: Runs,
    /// The claims that are not answered yet.
    claims: Vec<LeaseId>,
    /// Rows whose lease was found lost by a commit: the worker reads them next.
    lost: BTreeMap<JobId, JobRow>,
}

/// Most rows of lost leases that are remembered.
const LOST_MAX: usize = 1000;

impl RemoteStore {
    /// At this server.
    pub(crate) fn new(remote: Remote) -> Self {
        Self {
            requests: Requests::new(remote),
            clock: SystemClock::default(),
            memory: Arc::new(MemoryStore::new()),
            state: Mutex::default(),
        }
    }

    /// Asks the server whether it takes this worker, so that a wrong token is found at the start. A server that is away is no reason
    /// not to start.
    pub(crate) async fn check(&self, settings: &ServerSettings) -> Result<(), Problem> {
        let queue = |queue: &QueueSlots| QueueBody { name: queue.queue.clone(), slots: queue.slots };
        let random = backroom::ids::Ids::from_entropy().lease().0;
        let worker = WorkerBody {
            name: format!("check-{}", random.simple()),
            instance: random,
            host: String::new(),
            kinds: settings.kinds.keys().cloned().collect(),
            keys: Vec::new(),
            queues: settings.worker.queues.iter().map(queue).collect(),
            lease_ms: 1000,
            stopping: true,
            running: 0,
        };
        let body = LeaveBody { worker: &worker };
        match self.ask::<serde_json::Value>("/v1/leases/leave", &body, Duration::ZERO).await {
            // It has no row yet.
            Ok(Err(refused)) if refused.problem.code == "refused" => Ok(()),
            Ok(Err(refused)) if !refused.is_outage() => {
                Err(Problem::new("start a worker at the server", &refused.error("ask the server")))
            }
            Ok(Ok(_) | Err(_)) => Ok(()),
            Err(error) => {
                tracing::warn!(%error, "the server does not answer; the worker waits for it");
                Ok(())
            }
        }
    }

    /// The token by which the program of a run calls back.
    pub(crate) fn token(&self, run: RunKey) -> Option<String> {
        self.known().runs.get(&(run.job, run.lease)).map(|run| run.token.clone())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn worker(&self) -> Result<Arc<WorkerBody>, Error> {
        let worker = self.known().worker.clone();
        worker.ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, "ask the server: the worker is not registered yet")
        })
    }

    /// Sends a request. An answer that is no success is `Ok(Err(..))`.
    async fn ask<T: DeserializeOwned>(
        &self,
        path: &'static str,
        body: &(impl Serialize + Sync),
        wait: Duration,
    ) -> Result<Result<T, Refused>, Error> {
        let unavailable =
            |why: String| Error::new(ErrorKind::Unavailable, format!("ask the server for {path}: {why}"));
        let body = serde_json::to_vec(body)
            .map_err(|error| Error::new(ErrorKind::Internal, format!("write a request: {error}")))?;
        let (status, answer) = self
            .requests
            .post(path, body.into(), wait.saturating_add(ANSWER))
            .await
            .map_err(|problem| unavailable(problem.said()))?;
        if !status.is_success() {
            let problem = serde_json::from_slice(&answer).unwrap_or_default();
            return Ok(Err(Refused { status, problem }));
        }
        let text: &[u8] = if answer.is_empty() { b"null" } else { &answer };
        // A proxy may answer with a page of its own.
        serde_json::from_slice(text)
            .map(Ok)
            .map_err(|error| unavailable(format!("its answer cannot be read: {error}")))
    }

    async fn claim(&self, claim: &Claim, call: Call) -> Result<Vec<JobRow>, Error> {
        let worker = self.worker()?;
        {
            let mut known = self.known();
            if !known.claims.contains(&claim.lease) {
                known.claims.push(claim.lease);
            }
        }
        // A queue may stand there twice, once for the slots that are left.
        let mut queues: Vec<&str> = Vec::new();
        for share in &claim.shares {
            if !queues.contains(&share.queue.as_str()) {
                queues.push(&share.queue);
            }
        }
        if queues.is_empty() {
            queues.extend(worker.queues.iter().map(|queue| queue.name.as_str()));
        }
        let body = ClaimBody {
            worker: &worker,
            claim: claim.lease,
            repeated: call == Call::Repeated,
            queues,
            kinds: claim.kinds.names(),
            limit: claim.limit.clamp(1, 1000),
            bytes_max: claim.bytes_max.clamp(1, CLAIM_BYTES_MAX),
            wait_ms: 0,
        };
        let claimed: wire::Claimed = match self.ask("/v1/claim", &body, Duration::ZERO).await {
            Ok(Ok(claimed)) => claimed,
            Ok(Err(refused)) => {
                if !refused.is_outage() {
                    self.known().claims.retain(|open| *open != claim.lease);
                }
                return Err(refused.error("claim jobs"));
            }
            // It stays among the open ones until a repeat is answered.
            Err(error) => return Err(error),
        };
        let now = self.clock.now();
        let mut jobs = Vec::with_capacity(claimed.jobs.len());
        let mut known = self.known();
        known.claims.retain(|open| *open != claim.lease);
        for job in claimed.jobs {
            let (key, token) = ((job.id, job.lease), job.token.clone());
            match job.row(&worker.name, now, worker.lease_ms) {
                Ok(row) => {
                    known.runs.insert(key, Run { row: Arc::new(row.clone()), token });
                    jobs.push(row);
                }
                // It is not named in the next requests, so the server gives it back.
                Err(invalid) => tracing::error!(job = %key.0, %invalid, "a job of the server cannot be read"),
            }
        }
        Ok(jobs)
    }

    /// Waits until a job seems due.
    async fn next_due(&self, queues: &[String], kinds: &[String]) -> Result<Option<Timestamp>, Error> {
        let worker = self.worker()?;
        let body = ClaimBody {
            worker: &worker,
            claim: LeaseId(uuid::Uuid::nil()),
            repeated: false,
            queues: queues.iter().map(String::as_str).collect(),
            kinds,
            limit: 0,
            bytes_max: 1,
            wait_ms: u64::try_from(WAIT.as_millis()).unwrap_or(u64::MAX),
        };
        match self.ask::<wire::Claimed>("/v1/claim", &body, WAIT).await? {
            Ok(claimed) => Ok(claimed.due.then(|| self.clock.now())),
            Err(refused) => Err(refused.error("wait for a job")),
        }
    }

    /// Extends all leases, and remembers which are lost.
    async fn extend(&self) -> Result<Result<Vec<((JobId, LeaseId), HeldName)>, Refused>, Error> {
        let worker = self.worker()?;
        let (keys, claims) = {
            let known = self.known();
            (known.runs.keys().copied().collect::<Vec<_>>(), known.claims.clone())
        };
        let leases: Vec<_> = keys.iter().map(|(job, lease)| RunBody { job: *job, lease: *lease }).collect();
        let body = ExtendBody { worker: &worker, leases: &leases, claims: &claims };
        match self.ask::<wire::Extended>("/v1/leases/extend", &body, Duration::ZERO).await? {
            Ok(extended) => Ok(Ok(keys.into_iter().zip(extended.leases).collect())),
            Err(refused) => Ok(Err(refused)),
        }
    }

    async fn heartbeat(&self, row: &WorkerRow) -> Result<Beaten, Error> {
        let before = self.known().worker.replace(Arc::new(row.into()));
        match self.extend().await {
            Ok(Ok(_)) => Ok(Beaten::Alive),
            Ok(Err(refused)) if refused.problem.code == "refused" => {
                // All its leases are lost.
                let mut known = self.known();
                known.runs.clear();
                known.claims.clear();
                Ok(Beaten::Dead)
            }
            Ok(Err(refused)) => {
                self.known().worker = before;
                Err(refused.error("extend the leases"))
            }
            Err(error) => Err(error),
        }
    }

    async fn lease_status(&self, leases: &[(JobId, LeaseId)]) -> Result<Vec<LeaseStatus>, Error> {
        let held = match self.extend().await? {
            Ok(held) => held,
            Err(refused) => return Err(refused.error("extend the leases")),
        };
        let mut known = self.known();
        for (key, _) in held.iter().filter(|(_, held)| *held == HeldName::Lost) {
            known.runs.remove(key);
        }
        let status =
            |key: &(JobId, LeaseId)| match held.iter().find(|(found, _)| found == key).map(|(_, held)| *held)
            {
                Some(HeldName::Held) => LeaseStatus::Held,
                Some(HeldName::Cancel) => LeaseStatus::CancelRequested,
                // It was claimed while the request was under way.
                None if known.runs.contains_key(key) => LeaseStatus::Held,
                Some(HeldName::Lost) | None => LeaseStatus::Lost,
            };
        Ok(leases.iter().map(status).collect())
    }

    async fn commit(&self, changes: &[Change]) -> Result<Vec<Committed>, Error> {
        let worker = self.worker()?;
        let mut answers = Vec::with_capacity(changes.len());
        let mut rest = changes;
        while !rest.is_empty() {
            let (mut count, mut bytes) = (0, 0);
            while count < rest.len().min(COMMITS_MAX) && (count == 0 || bytes < COMMIT_BYTES_MAX) {
                bytes += rest[count].output.as_ref().map_or(0, |output| output.as_str().len());
                count += 1;
            }
            let (chunk, later) = rest.split_at(count);
            rest = later;
            answers.extend(self.commit_chunk(&worker, chunk).await?);
        }
        Ok(answers)
    }

    async fn commit_chunk(&self, worker: &WorkerBody, changes: &[Change]) -> Result<Vec<Committed>, Error> {
        let now = self.clock.now();
        let commits: Vec<_> = changes.iter().filter_map(|change| outcome::of(change, now)).collect();
        if commits.len() != changes.len() {
            return Err(Error::new(ErrorKind::Internal, "commit: a change ends no run"));
        }
        let keys: Vec<_> = commits.iter().map(|commit| (commit.job, commit.lease)).collect();
        let body = CommitsBody { worker: &worker.name, commits };
        let committed: wire::Committed = match self.ask("/v1/leases/commit", &body, Duration::ZERO).await? {
            Ok(committed) => committed,
            Err(refused) => return Err(refused.error("commit outcomes")),
        };
        if committed.commits.len() != keys.len() {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "commit outcomes: the server answered another number of them",
            ));
        }
        let mut known = self.known();
        let answers = keys.iter().zip(committed.commits).map(|(key, settled)| match settled.status {
            SettledName::Recorded => {
                known.runs.remove(key);
                Committed::Done
            }
            SettledName::Later => Committed::RowLocked,
            SettledName::Lost | SettledName::NotYours => {
                // The row is asked for next: it then belongs to another lease.
                if let Some(run) = known.runs.remove(key) {
                    let row =
                        JobRow { lease_id: Some(LeaseId(uuid::Uuid::nil())), ..JobRow::clone(&run.row) };
                    if known.lost.len() >= LOST_MAX {
                        known.lost.pop_first();
                    }
                    known.lost.insert(key.0, row);
                }
                Committed::Stale
            }
        });
        Ok(answers.collect())
    }

    async fn note(&self, notes: &[Note]) -> Result<(), Error> {
        let worker = self.worker()?;
        for chunk in notes.chunks(COMMITS_MAX) {
            let reports = chunk
                .iter()
                .map(|note| ReportBody {
                    job: note.job,
                    lease: note.lease,
                    progress: note.progress.as_ref().map(|progress| ProgressBody {
                        percent: progress.percent,
                        message: &progress.message,
                    }),
                    lines: note.lines.iter().map(|line| line.line.as_str()).collect(),
                    first_line: note.lines.first().map(|line| line.seq),
                })
                .collect();
            let body = ReportsBody { worker: &worker.name, reports };
            if let Err(refused) =
                self.ask::<serde_json::Value>("/v1/leases/report", &body, Duration::ZERO).await?
            {
                return Err(refused.error("report progress and log lines"));
            }
        }
        Ok(())
    }

    async fn leave(&self) -> Result<(), Error> {
        let worker = self.worker()?;
        match self
            .ask::<serde_json::Value>("/v1/leases/leave", &LeaveBody { worker: &worker }, Duration::ZERO)
            .await?
        {
            Ok(_) => Ok(()),
            Err(refused) => Err(refused.error("leave")),
        }
    }
}

impl Refused {
    /// Whether the request may succeed later, or may have succeeded.
    fn is_outage(&self) -> bool {
        self.status.is_server_error()
            || self.status == StatusCode::TOO_MANY_REQUESTS
            || self.status == StatusCode::REQUEST_TIMEOUT
    }

    fn error(&self, doing: &str) -> Error {
        let kind = match self.status {
            _ if self.is_outage() => ErrorKind::Unavailable,
            StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST => ErrorKind::Invalid,
            _ => ErrorKind::Refused,
        };
        let detail = if self.problem.detail.is_empty() {
            self.status.to_string()
        } else {
            self.problem.detail.clone()
        };
        Error::new(kind, format!("{doing}: the server answers: {detail}"))
    }
}

/// What a verb answers, in the type that the layer is asked for.
fn answered<T: Answer>(answer: impl Any + Send) -> Result<T, Error> {
    let answer: Box<dyn Any> = Box::new(answer);
    let wrong = |_| Error::new(ErrorKind::Internal, "answer a call: it is of another type");
    answer.downcast::<T>().map(|answer| *answer).map_err(wrong)
}

impl Layer for RemoteStore {
    fn inner(&self) -> &Arc<dyn Store> {
        &self.memory
    }

    async fn around<T: Answer>(&self, request: Request, call: Call, forward: Forward<T>) -> Result<T, Error> {
        match request {
            Request::Claim { claim, now: _ } => answered(self.claim(&claim, call).await?),
            Request::Commit { changes } => answered(self.commit(&changes).await?),
            Request::LeaseStatus { leases } => answered(self.lease_status(&leases).await?),
            Request::Note { notes, now: _ } => answered(self.note(&notes).await?),
            Request::NextDue { queues, kinds, now: _ } => {
                answered(self.next_due(&queues, kinds.names()).await?)
            }
            Request::Heartbeat { worker } => answered(self.heartbeat(&worker).await?),
            Request::Deregister { .. } => answered(self.leave().await?),
            Request::Job { id } => {
                let known = self.known();
                let held = known
                    .runs
                    .iter()
                    .find(|((job, _), _)| *job == id)
                    .map(|(_, run)| JobRow::clone(&run.row));
                answered(held.or_else(|| known.lost.get(&id).cloned()))
            }
            // The server counts.
            Request::PutStats { .. } => answered(()),
            other => forward(Arc::clone(&self.memory), other, call).await,
        }
    }
}
