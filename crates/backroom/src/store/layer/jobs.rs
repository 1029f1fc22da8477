//! Forwards the verbs that change jobs.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{Change, JobId, JobRow, LeaseId, Timestamp, draft::NewJob};
use futures_util::FutureExt as _;

use super::{Layer, Request, forward};
use crate::{
    Error,
    store::{Call, Claim, Committed, Deleted, Inserted, JobVerbs, LeaseStatus, Note, Prune, Record},
};

#[async_trait]
impl<L: Layer> JobVerbs for L {
    async fn insert(
        &self,
        jobs: Arc<Vec<NewJob>>,
        now: Timestamp,
        call: Call,
    ) -> Result<Vec<Inserted>, Error> {
        forward!(self, call, Insert { jobs, now }, |store, call| store.insert(jobs, now, call))
    }

    async fn claim(&self, claim: Arc<Claim>, now: Timestamp, call: Call) -> Result<Vec<JobRow>, Error> {
        forward!(self, call, Claim { claim, now }, |store, call| store.claim(claim, now, call))
    }

    async fn commit(&self, changes: Arc<Vec<Change>>) -> Result<Vec<Committed>, Error> {
        forward!(self, Call::First, Commit { changes }, |store, _call| store.commit(changes))
    }

    async fn lease_status(&self, leases: Arc<Vec<(JobId, LeaseId)>>) -> Result<Vec<LeaseStatus>, Error> {
        forward!(self, Call::First, LeaseStatus { leases }, |store, _call| store.lease_status(leases))
    }

    async fn note(&self, notes: Arc<Vec<Note>>, now: Timestamp) -> Result<(), Error> {
        forward!(self, Call::First, Note { notes, now }, |store, _call| store.note(notes, now))
    }

    async fn prune(&self, prune: Arc<Prune>, now: Timestamp) -> Result<u64, Error> {
        forward!(self, Call::First, Prune { prune, now }, |store, _call| store.prune(prune, now))
    }

    async fn delete(&self, id: JobId, now: Timestamp) -> Result<Deleted, Error> {
        forward!(self, Call::First, Delete { id, now }, |store, _call| store.delete(id, now))
    }

    async fn delete_copy(&self, id: JobId) -> Result<Deleted, Error> {
        forward!(self, Call::First, DeleteCopy { id }, |store, _call| store.delete_copy(id))
    }

    async fn delete_unmoved(
        &self,
        jobs: Arc<Vec<(JobId, u64)>>,
        now: Timestamp,
    ) -> Result<Vec<Deleted>, Error> {
        forward!(self, Call::First, DeleteUnmoved { jobs, now }, |store, _call| store
            .delete_unmoved(jobs, now))
    }

    async fn import(&self, records: Arc<Vec<Record>>) -> Result<u64, Error> {
        forward!(self, Call::First, Import { records }, |store, _call| store.import(records))
    }
}
