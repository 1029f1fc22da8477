//! Judging claims and renewals, and keeping what handlers said.

use backroom::{
    JobId, JobRow, LeaseId, MessageKind, State, Timestamp,
    core::{Json, unique::UniqueWhile},
    store::{Call, Claim, LeaseStatus},
};

use super::{Model, Place, Row};

/// How a handler ended, as it says.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// Returned this.
    Succeeded(Json),
    /// Returned an error.
    Failed,
    /// Panicked.
    Panicked,
    /// Postponed the job.
    Snoozed,
    /// Gave the job up.
    Discarded,
    /// Stopped the job.
    Cancelled,
}

/// One run of a handler.
#[derive(Debug, Clone)]
pub struct RunRecord {
    /// Where.
    pub worker: String,
    /// What it said at its end; none while it runs, and for ever if it was dropped.
    pub said: Option<Said>,
}

impl Model {
    /// A handler begins.
    pub fn begins(&mut self, id: JobId, lease: LeaseId, worker: &str) {
        self.tell(format!("             {worker:<6} begins {}", Self::short(id)));
        let run = RunRecord { worker: worker.to_owned(), said: None };
        if self.runs.insert((id, lease), run).is_some() {
            self.wrong(format!("job {id} was run twice under lease {lease}"));
        }
    }

    /// A handler ends.
    pub fn says(&mut self, id: JobId, lease: LeaseId, said: Said) {
        self.tell(format!("             says   {} {said:?}", Self::short(id)));
        if let Some(run) = self.runs.get_mut(&(id, lease)) {
            run.said = Some(said);
        }
    }

    pub(crate) fn claimed(
        &mut self,
        place: &Place,
        claim: &Claim,
        call: Call,
        jobs: &[JobRow],
        now: Timestamp,
    ) {
        let is_repeated = call == Call::Repeated;
        self.count_claim(place, jobs.len());
        if jobs.len() > claim.limit {
            self.wrong(format!("a claim for {} jobs took {}", claim.limit, jobs.len()));
        }
        if !jobs.is_empty() && !is_repeated && self.leases.contains_key(&claim.lease) {
            self.wrong(format!("lease {} was used before", claim.lease));
        }
        let again = is_repeated && self.leases.contains_key(&claim.lease);
        if !jobs.is_empty() {
            self.leases.insert(claim.lease, claim.worker.clone());
        }
        for job in jobs {
            self.saw(place, &format!("claim {} as {}", Self::short(job.id), job.attempt));
            let running = self.row(job.id).is_some_and(|row| row.runs_under(claim.lease));
            if !(again && running) {
                self.take(claim, job, now);
            }
        }
        if !again {
            self.in_turn(claim, jobs, now);
        }
    }

    fn take(&mut self, claim: &Claim, job: &JobRow, now: Timestamp) {
        self.tally.claimed += 1;
        let (id, paused) = (job.id, self.is_paused(&job.queue));
        let Some(row) = self.row_mut(id) else {
            return self.wrong(format!("job {id} was claimed and is not stored"));
        };
        let mut wrong = Vec::new();
        let mut must = |right: bool, what: &str| {
            if !right {
                wrong.push(what.to_owned());
            }
        };
        must(row.state == State::Queued, "was not queued");
        must(!paused, "waits in a paused queue");
        must(row.scheduled_at <= now, "was not due");
        must(row.expires_at.is_none_or(|at| at > now), "had expired");
        must(row.attempt < row.max_attempts, "has no attempt left");
        must(!row.suspicion.is_some_and(|suspicion| suspicion.is_poison(row.crashes)), "is poison");
        must(claim.kinds.includes(&row.kind), "is of a kind that was not asked for");
        must(
            claim.shares.iter().any(|share| share.queue == row.queue),
            "is of a queue that was not asked for",
        );
        row.state = State::Running;
        row.attempt += 1;
        row.held &= row.hold != Some(UniqueWhile::Queued);
        row.lease = Some(claim.lease);
        row.lease_until = Some(claim.until);
        row.worker = Some(claim.worker.clone());
        row.revision += 1;
        must(*row == Row::of(job), "was answered with another row than was stored");
        let informs = row.replies;
        if informs {
            self.informs(id, MessageKind::Started);
        }
        for what in wrong {
            self.wrong(format!("job {id} was claimed at {now} and {what}: {job:?}"));
        }
    }

    /// No job of the same queue before the last one taken was passed over.
    fn in_turn(&mut self, claim: &Claim, jobs: &[JobRow], now: Timestamp) {
        let turn = |id: JobId, row: &Row| (row.priority, row.scheduled_at, id);
        for job in jobs {
            let last = (job.priority, job.scheduled_at, job.id);
            let passed = self.rows().find(|(id, _, row)| {
                row.state == State::Queued
                    && row.queue == job.queue
                    && claim.kinds.includes(&row.kind)
                    && row.scheduled_at <= now
                    && row.expires_at.is_none_or(|at| at > now)
                    && turn(*id, row) < last
            });
            if let Some((passed, _, _)) = passed {
                self.wrong(format!("job {} was claimed before {passed}, whose turn it was", job.id));
            }
        }
    }

    /// A worker that asks without end burns a core and the store.
    fn count_claim(&mut self, place: &Place, taken: usize) {
        let claims = self.claims.entry(place.machine.clone()).or_default();
        claims.retain(|at| place.world_now.duration_since(*at) < jiff::SignedDuration::from_secs(1));
        if taken == 0 {
            claims.push(place.world_now);
        }
        if claims.len() > CLAIMS_IN_VAIN_MAX {
            claims.clear();
            let machine = &place.machine;
            self.wrong(format!("{machine} claimed in vain {CLAIMS_IN_VAIN_MAX} times within a second"));
        }
    }

    pub(crate) fn held(&mut self, place: &Place, leases: &[(JobId, LeaseId)], answers: &[LeaseStatus]) {
        for ((id, lease), held) in leases.iter().zip(answers) {
            if *held != LeaseStatus::Held {
                self.saw(place, &format!("held {}: {held:?}", Self::short(*id)));
            }
            let must = match self.row(*id).filter(|row| row.runs_under(*lease)) {
                Some(row) if row.cancel_asked => LeaseStatus::CancelRequested,
                Some(_) => LeaseStatus::Held,
                None => LeaseStatus::Lost,
            };
            if *held != must {
                self.wrong(format!("the lease {lease} of job {id} was answered {held:?} and is {must:?}"));
            }
        }
    }

    pub(crate) fn declared_dead(&mut self, place: &Place, worker: &str, dead: bool) {
        self.saw(place, &format!("declares {worker} dead: {dead}"));
        if dead && self.dead.insert(worker.to_owned()) {
            self.declared.push(worker.to_owned());
        }
    }
}

/// More claims of one worker than this within a second, all in vain, are no polling but a busy loop.
const CLAIMS_IN_VAIN_MAX: usize = 150;
