//! What a behaviour works with: a store, a fixed time, fixed ids, and shorthands for what most behaviours do.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use backroom_core::{
    Attempt, Callback, Change, Draft, Event, Extras, JobId, JobRow, Json, LeaseId, LogLine, Loss,
    MessageKind, MessageKinds, Part, Progress, Reply, RetryPolicy, Timestamp,
    bounds::{BYTES_IN_HAND_MAX, CRASH_SPAN, earlier, later},
    draft::{NewJob, When},
    transition,
};

use crate::{
    ids::Ids,
    store::{Call, Claim, Committed, Filter, Inserted, Note, Share, Store},
};

/// The kind of jobs that need no other.
pub(super) const KIND: &str = "work";
/// The queue of jobs that need no other.
pub(super) const QUEUE: &str = "default";
/// The worker of claims that need no other.
pub(super) const WORKER: &str = "host-1-abc";
/// How long a lease holds here.
pub(super) const LEASE_SECS: i64 = 30;

pub(super) struct Env {
    pub(super) store: Arc<dyn Store>,
    pub(super) ids: Ids,
    /// The time at which all begins, with microseconds so that a store that loses them is found out.
    pub(super) now: Timestamp,
}

impl Env {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        let now = Timestamp::constant(1_750_000_000, 123_456_000);
        Self { store, ids: Ids::seeded(1), now }
    }

    /// So many seconds after the beginning; before it when negative.
    pub(super) fn at(&self, secs: i64) -> Timestamp {
        let span = Duration::from_secs(secs.unsigned_abs());
        if secs < 0 { earlier(self.now, span) } else { later(self.now, span) }
    }

    /// The job of a draft, made at the beginning.
    pub(super) fn new_job(&self, draft: Draft) -> NewJob {
        self.new_job_at(draft, self.now)
    }

    pub(super) fn new_job_at(&self, draft: Draft, now: Timestamp) -> NewJob {
        let bytes_max = backroom_core::bounds::JSON_BYTES_MAX;
        draft.check(self.ids.job(now), now, bytes_max).expect("a draft within all bounds")
    }

    pub(super) async fn insert(&self, jobs: Vec<NewJob>) -> Vec<Inserted> {
        self.store.insert(Arc::new(jobs), self.now, Call::First).await.expect("insert")
    }

    pub(super) async fn insert_again(&self, jobs: Vec<NewJob>) -> Vec<Inserted> {
        self.store.insert(Arc::new(jobs), self.now, Call::Repeated).await.expect("insert again")
    }

    pub(super) async fn insert_one(&self, draft: Draft) -> Inserted {
        let answers = self.insert(vec![self.new_job(draft)]).await;
        assert_eq!(answers.len(), 1, "one answer per job");
        answers[0]
    }

    /// Stores a job that must not meet a held key, and answers with it as it is stored.
    pub(super) async fn put(&self, draft: Draft) -> JobRow {
        let new = self.new_job(draft);
        let job = new.job.clone();
        assert_eq!(self.insert(vec![new]).await, [Inserted::Created]);
        job
    }

    pub(super) async fn put_many(&self, drafts: impl IntoIterator<Item = Draft>) -> Vec<JobRow> {
        let new: Vec<_> = drafts.into_iter().map(|draft| self.new_job(draft)).collect();
        let jobs: Vec<_> = new.iter().map(|new| new.job.clone()).collect();
        assert_eq!(self.insert(new).await, vec![Inserted::Created; jobs.len()]);
        jobs
    }

    pub(super) async fn find(&self, id: JobId) -> Option<JobRow> {
        self.store.job(id).await.expect("job")
    }

    pub(super) async fn read(&self, id: JobId) -> JobRow {
        self.find(id).await.expect("the job is stored")
    }

    pub(super) async fn all(&self) -> Vec<JobRow> {
        self.store.list(Arc::new(Filter::default()), None, 10_000).await.expect("list")
    }

    /// A claim of one queue under a fresh lease.
    pub(super) fn claim_of(&self, limit: usize) -> Claim {
        self.claim_from(&[(QUEUE, limit)], limit)
    }

    pub(super) fn claim_from(&self, shares: &[(&str, usize)], limit: usize) -> Claim {
        let share = |&(queue, at_most): &(&str, usize)| Share { queue: queue.into(), at_most };
        Claim {
            worker: WORKER.into(),
            shares: shares.iter().map(share).collect(),
            kinds: Arc::new(vec![KIND.into()].into()),
            limit,
            bytes_max: BYTES_IN_HAND_MAX,
            lease: self.ids.lease(),
            until: self.at(LEASE_SECS),
            due: self.now,
        }
    }

    pub(super) async fn claim(&self, claim: Claim) -> Vec<JobRow> {
        self.claim_at(claim, self.now).await
    }

    pub(super) async fn claim_at(&self, claim: Claim, now: Timestamp) -> Vec<JobRow> {
        self.store.claim(Arc::new(claim), now, Call::First).await.expect("claim")
    }

    /// The same call once more, as after a lost answer.
    pub(super) async fn claim_again(&self, claim: Claim, now: Timestamp) -> Vec<JobRow> {
        self.store.claim(Arc::new(claim), now, Call::Repeated).await.expect("claim again")
    }

    /// The only due job, claimed.
    pub(super) async fn take(&self) -> JobRow {
        self.take_at(self.now).await
    }

    pub(super) async fn take_at(&self, now: Timestamp) -> JobRow {
        let until = later(now, Duration::from_secs(LEASE_SECS.unsigned_abs()));
        let mut taken = self.claim_at(Claim { until, ..self.claim_of(2) }, now).await;
        assert_eq!(taken.len(), 1, "exactly one job is due");
        taken.remove(0)
    }

    /// A stored job that runs.
    pub(super) async fn running(&self) -> JobRow {
        self.put(draft()).await;
        self.take().await
    }

    /// A stored job that completed.
    pub(super) async fn completed(&self) -> JobRow {
        let job = self.running().await;
        self.drive(&job, succeed(&job), self.now).await
    }

    /// Puts a job and cancels it, so many seconds after the beginning.
    pub(super) async fn cancelled_at(&self, draft: Draft, secs: i64) -> JobRow {
        let job = self.put(draft).await;
        self.drive(&job, cancel(), self.at(secs)).await
    }

    pub(super) async fn note(&self, note: Note) {
        self.store.note(Arc::new(vec![note]), self.now).await.expect("note");
    }

    pub(super) async fn logs(&self, id: JobId) -> Vec<LogLine> {
        self.store.logs(id, 0, 100_000).await.expect("logs")
    }

    pub(super) async fn attempts(&self, id: JobId) -> Vec<Attempt> {
        self.store.attempts(id).await.expect("attempts")
    }

    pub(super) async fn commit_many(&self, changes: Vec<Change>) -> Vec<Committed> {
        self.store.commit(Arc::new(changes)).await.expect("commit")
    }

    pub(super) async fn commit(&self, change: Change) -> Committed {
        let answers = self.commit_many(vec![change]).await;
        assert_eq!(answers.len(), 1, "one answer per change");
        answers[0]
    }

    /// Decides, writes, and checks that the row is exactly what was decided; answers with the row.
    pub(super) async fn drive(&self, job: &JobRow, event: Event, now: Timestamp) -> JobRow {
        let change = decide(job, event, now);
        let mut expected = job.clone();
        change.write_to(&mut expected);
        assert_eq!(self.commit(change).await, Committed::Done);
        assert_eq!(self.read(job.id).await, expected);
        expected
    }
}

/// A job with everything at its default.
pub(super) fn draft() -> Draft {
    Draft::new(KIND, json(r#"{"photo":"a.jpg"}"#))
}

pub(super) fn draft_in(queue: &str) -> Draft {
    Draft { queue: queue.into(), ..draft() }
}

pub(super) fn draft_later(secs: u64) -> Draft {
    Draft { start: When::In(Duration::from_secs(secs)), ..draft() }
}

/// Every field is set, and named here: a new one has to be added.
pub(super) fn every_extra() -> Extras {
    Extras {
        timeout: Some(Duration::from_millis(90_001)),
        retry: Some(RetryPolicy::list([Duration::from_millis(1500), Duration::from_secs(60)]).jitter(25)),
        meta: BTreeMap::from([("b".into(), "2 \"\u{1}\n\u{1f980}".into()), ("a".into(), String::new())]),
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
        reply: Some(Reply {
            to: "replies".into(),
            correlation_id: Some("order \"7\"".into()),
            on: MessageKind::ALL.into_iter().collect(),
        }),
        callback: Some(Callback {
            url: "https://example.org/%F0%9F%A6%80?a=b".into(),
            on: MessageKinds::END,
        }),
        // Set by schedules alone: see the family of schedules.
        occurrence: None,
        hidden: vec!["/a/b".into(), "/\"*".into()],
    }
}

pub(super) fn json(text: &str) -> Json {
    Json::parse(text).expect("valid JSON")
}

pub(super) fn ids(jobs: &[JobRow]) -> Vec<JobId> {
    jobs.iter().map(|job| job.id).collect()
}

/// For answers whose order does not matter.
pub(super) fn sorted_ids(jobs: &[JobRow]) -> Vec<JobId> {
    let mut ids = ids(jobs);
    ids.sort_unstable();
    ids
}

/// What the state machine says, where it says that something changes.
pub(super) fn decide(job: &JobRow, event: Event, now: Timestamp) -> Change {
    transition::apply(job, event, now).expect("the event applies").expect("the event changes something")
}

pub(super) fn lease(job: &JobRow) -> LeaseId {
    job.lease_id.expect("the job ran")
}

pub(super) fn succeed(job: &JobRow) -> Event {
    Event::Succeed { lease: lease(job), output: json(r#"{"path":"out.jpg"}"#) }
}

/// The worker's process died while it ran only this job.
pub(super) fn died() -> Event {
    Event::LeaseLost(Loss::Died { part: Part::Alone, span: CRASH_SPAN })
}

pub(super) fn fail(job: &JobRow) -> Event {
    Event::Fail {
        lease: lease(job),
        end: backroom_core::AttemptEnd::Failed,
        error: "no such file: a.jpg".into(),
        delay: None,
        retry: backroom_core::RetryPolicy::DEFAULT,
        chance: 0.5,
    }
}

pub(super) fn cancel() -> Event {
    Event::Cancel { reason: "not wanted any more".into() }
}

/// Lines of a run, numbered from `from`.
pub(super) fn lines(job: &JobRow, from: u32, texts: &[&str]) -> Vec<LogLine> {
    let line = |(seq, text): (u32, &&str)| LogLine {
        lease_id: lease(job),
        seq,
        at: job.started_at.expect("the job ran"),
        line: (*text).into(),
    };
    (from..).zip(texts).map(line).collect()
}

pub(super) fn progress(percent: u8, message: &str) -> Progress {
    Progress { percent, message: message.into() }
}

/// A note of this run.
pub(super) fn note(job: &JobRow, progress: Option<Progress>, lines: Vec<LogLine>) -> Note {
    Note { job: job.id, lease: lease(job), progress, lines }
}
