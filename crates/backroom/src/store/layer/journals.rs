//! Forwards the verbs for journals.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{JobId, Timestamp};
use futures_util::FutureExt as _;

use super::{Layer, Request, forward};
use crate::{
    Error,
    store::{
        Call, DueWakes, JournalAfter, JournalPage, JournalVerbs, JournalWrite, Signal, Signalled, Wrote,
    },
};

#[async_trait]
impl<L: Layer> JournalVerbs for L {
    async fn journal(
        &self,
        workflow: JobId,
        after: Option<Arc<JournalAfter>>,
        limit: usize,
    ) -> Result<JournalPage, Error> {
        forward!(self, Call::First, Journal { workflow, after, limit }, |store, _call| store
            .journal(workflow, after, limit))
    }

    async fn write_journals(&self, writes: Arc<Vec<JournalWrite>>) -> Result<Vec<Wrote>, Error> {
        forward!(self, Call::First, WriteJournals { writes }, |store, _call| store.write_journals(writes))
    }

    async fn signal(&self, signals: Arc<Vec<Signal>>, now: Timestamp) -> Result<Vec<Signalled>, Error> {
        forward!(self, Call::First, Signal { signals, now }, |store, _call| store.signal(signals, now))
    }

    async fn due_wakes(&self, limit: usize, now: Timestamp) -> Result<DueWakes, Error> {
        forward!(self, Call::First, DueWakes { limit, now }, |store, _call| store.due_wakes(limit, now))
    }

    async fn clear_wakes(&self, wakes: Arc<Vec<(JobId, Timestamp)>>) -> Result<(), Error> {
        forward!(self, Call::First, ClearWakes { wakes }, |store, _call| store.clear_wakes(wakes))
    }

    async fn forget_taken(&self, before: Timestamp, limit: usize) -> Result<u64, Error> {
        forward!(self, Call::First, ForgetTaken { before, limit }, |store, _call| store
            .forget_taken(before, limit))
    }
}
