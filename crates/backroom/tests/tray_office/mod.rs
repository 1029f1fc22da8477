//! A store to lay jobs on trays, and a client that counts where they lie.

#![allow(
    dead_code,
    reason = "every test file uses its own part; one that used all could not expect any to be dead"
)]

use backroom::store::{Call, JobVerbs as _, ReadVerbs as _};
use std::{sync::Arc, time::Duration};

use backroom::{
    core::{Change, Event, JobId, JobRow, LogLine, Progress, State, bounds::later, transition::apply},
    store::{
        Committed, LeaseStatus, Note, Prune,
        postgres::{PostgresOptions, PostgresStore},
    },
};
use tokio_postgres::Client;

use crate::postgres_support::{Place, lease, success};

/// A store in which every claim uses trays, another process's store over the same tables, and a client that counts rows.
pub(crate) struct Office {
    pub(crate) place: Place,
    pub(crate) store: Arc<PostgresStore>,
    pub(crate) other: PostgresStore,
    pub(crate) client: Client,
}

impl Office {
    pub(crate) async fn open() -> Self {
        let place = Place::new();
        let options = || PostgresOptions { trays_from: 1, ..PostgresOptions::default() };
        let store = Arc::new(PostgresStore::connect(&place.url(), options()).await.unwrap());
        let other = PostgresStore::connect(&place.url(), options()).await.unwrap();
        let client = place.client().await;
        Self { place, store, other, client }
    }

    /// With so many jobs, claimed together.
    pub(crate) async fn with_a_tray_of(jobs: usize) -> (Self, Vec<JobRow>) {
        let office = Self::open().await;
        let new = (0..jobs).map(|_| office.place.new_job()).collect();
        office.store.insert(Arc::new(new), office.place.now, Call::First).await.unwrap();
        let taken = office.place.claim(&*office.store, jobs).await;
        assert_eq!((taken.len(), office.rows().await), (jobs, Rows { jobs: 0, trays: 1, finished: 0 }));
        (office, taken)
    }

    pub(crate) async fn rows(&self) -> Rows {
        let count = async |table: &str| -> i64 {
            self.client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap().get(0)
        };
        Rows { jobs: count("jobs").await, trays: count("trays").await, finished: count("finished").await }
    }

    pub(crate) async fn commit(&self, store: &PostgresStore, change: Change) -> Committed {
        store.commit(Arc::new(vec![change])).await.unwrap().remove(0)
    }

    pub(crate) async fn succeed(&self, jobs: &[JobRow]) {
        let changes = jobs.iter().map(|job| success(job, self.place.now)).collect();
        let answers = self.store.commit(Arc::new(changes)).await.unwrap();
        assert!(answers.iter().all(|answer| *answer == Committed::Done), "{answers:?}");
    }

    pub(crate) fn decide(&self, job: &JobRow, event: Event) -> Change {
        apply(job, event, self.place.now).unwrap().expect("something to do")
    }

    /// As a worker asks with each heartbeat.
    pub(crate) async fn held(&self, store: &PostgresStore, jobs: &[JobRow]) -> Vec<LeaseStatus> {
        let leases = jobs.iter().map(|job| (job.id, lease(job))).collect();
        store.lease_status(Arc::new(leases)).await.unwrap()
    }

    /// Of all that completed so far.
    pub(crate) async fn prune(&self) -> u64 {
        let at = later(self.place.now, Duration::from_secs(1));
        let prune = Prune {
            queue: "default".into(),
            state: State::Completed,
            finished_before: Some(at),
            beyond: None,
            limit: 10,
        };
        self.store.prune(Arc::new(prune), at).await.unwrap()
    }

    /// Progress and a line of a run.
    pub(crate) fn note(&self, job: &JobRow) -> Note {
        let line = LogLine { lease_id: lease(job), seq: 0, at: self.place.now, line: "begun".into() };
        let progress = Progress { percent: 50, message: "half".into() };
        Note { job: job.id, lease: lease(job), progress: Some(progress), lines: vec![line] }
    }

    pub(crate) async fn state(&self, id: JobId) -> State {
        self.store.job(id).await.unwrap().expect("the job is there").state
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) jobs: i64,
    pub(crate) trays: i64,
    pub(crate) finished: i64,
}
