//! What the tests of the SQLite store share.

#![allow(
    dead_code,
    reason = "every test file uses its own part; one that used all could not expect any to be dead"
)]
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use backroom::store::Call;
use std::{path::PathBuf, sync::Arc, time::Duration};

use backroom::{
    core::{
        Change, Draft, Event, JobId, JobRow, Json, LeaseId, Timestamp,
        bounds::{BYTES_IN_HAND_MAX, later},
        draft::NewJob,
        transition::apply,
    },
    ids::Ids,
    store::{
        Claim, Committed, Inserted, Share, Store,
        sqlite::{SqliteOptions, SqliteStore},
    },
};
use tempfile::TempDir;

/// A folder, a moment and a source of ids.
pub(crate) struct Place {
    folder: TempDir,
    pub(crate) ids: Ids,
    pub(crate) now: Timestamp,
}

impl Place {
    pub(crate) fn new() -> Self {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), ids: Ids::seeded(7), now }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("jobs.db")
    }

    pub(crate) async fn open(&self) -> SqliteStore {
        SqliteStore::open(self.file(), SqliteOptions::default()).await.unwrap()
    }

    pub(crate) fn secs(&self, secs: u64) -> Timestamp {
        later(self.now, Duration::from_secs(secs))
    }

    pub(crate) fn draft(&self) -> Draft {
        Draft::new("mail", Json::parse(r#"{"to":"ann"}"#).unwrap())
    }

    pub(crate) fn job(&self) -> NewJob {
        self.checked(self.draft())
    }

    pub(crate) fn checked(&self, draft: Draft) -> NewJob {
        draft.check(self.ids.job(self.now), self.now, 1 << 20).unwrap()
    }

    pub(crate) async fn insert(&self, store: &dyn Store, job: NewJob) -> JobId {
        let id = job.job.id;
        assert_eq!(
            store.insert(Arc::new(vec![job]), self.now, Call::First).await.unwrap(),
            [Inserted::Created]
        );
        id
    }

    pub(crate) fn wish(&self, limit: usize) -> Claim {
        Claim {
            worker: "worker-1".into(),
            shares: vec![Share { queue: "default".into(), at_most: limit }],
            kinds: Arc::new(vec!["mail".into()].into()),
            limit,
            bytes_max: BYTES_IN_HAND_MAX,
            lease: self.ids.lease(),
            until: self.secs(30),
            due: self.now,
        }
    }

    pub(crate) async fn claim(&self, store: &dyn Store, limit: usize) -> Vec<JobRow> {
        store.claim(Arc::new(self.wish(limit)), self.now, Call::First).await.unwrap()
    }
}

pub(crate) fn lease(job: &JobRow) -> LeaseId {
    job.lease_id.unwrap()
}

pub(crate) fn success(job: &JobRow, at: Timestamp) -> Change {
    apply(job, Event::Succeed { lease: lease(job), output: Json::null() }, at).unwrap().unwrap()
}

pub(crate) async fn commit(store: &dyn Store, change: Change) -> Committed {
    store.commit(Arc::new(vec![change])).await.unwrap()[0]
}
