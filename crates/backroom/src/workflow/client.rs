//! What a client asks of workflows: to take a signal, and what their journals hold.

use std::{cmp::Reverse, sync::Arc};

use backroom_core::{
    JobId, Json, Timestamp,
    workflow::{Arrival, Entry, Header, check_signal},
};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::journal::read;
use crate::{
    Backroom, Error, ErrorKind, JobHandle,
    store::{Signal, Signalled},
};

/// The journal of a workflow as it is stored.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct WorkflowJournal {
    /// What is known of the workflow as a whole.
    pub header: Header,
    /// What it has asked for: first what has an answer, in the order of the answers; then what is open, in the order of beginning.
    pub entries: Vec<Entry>,
    /// What has arrived and no entry has taken, in order.
    pub arrivals: Vec<Arrival>,
    /// When it is woken by itself.
    pub wake_at: Option<Timestamp>,
}

impl WorkflowJournal {
    /// What the workflow last [published](super::WorkflowContext::publish); none if nothing.
    pub fn published<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        Ok(self.header.published.as_ref().map(Json::decode).transpose()?)
    }
}

impl Backroom {
    /// Sends a signal to a workflow. It is durable once this returns. It may come before the workflow waits for it or has begun; the
    /// signals of one name are taken in the order in which they came, each once.
    ///
    /// [`NotFound`](ErrorKind::NotFound) if there is no such job; [`Refused`](ErrorKind::Refused) if it has ended;
    /// [`Invalid`](ErrorKind::Invalid) if the name or the value breaks a bound, or too many signals wait.
    pub async fn signal<T: Serialize + ?Sized>(
        &self,
        workflow: JobId,
        name: &str,
        value: &T,
    ) -> Result<(), Error> {
        self.signal_as(
            workflow,
            name,
            Json::encode(value)?,
            self.engine().ids.job(self.engine().clock.now()).0,
        )
        .await
    }

    /// The same under an id of the caller: a second signal of the same id to this workflow, within an hour after the workflow has taken
    /// the first, is the same signal.
    pub async fn signal_as(&self, workflow: JobId, name: &str, value: Json, id: Uuid) -> Result<(), Error> {
        check_signal(name, &value, 0)?;
        let engine = self.engine();
        let signals = Arc::new(vec![Signal { workflow, id, name: name.to_owned(), value: value.clone() }]);
        let answers = engine.store.signal(signals, engine.clock.now()).await?;
        match answers.first() {
            Some(Signalled::Done) => Ok(()),
            Some(Signalled::Ended) => {
                let message = format!("send the signal {name:?} to job {workflow}: it has ended");
                Err(Error::new(ErrorKind::Refused, message))
            }
            Some(Signalled::NotFound) => Err(Error::not_found(workflow)),
            Some(Signalled::Full) => {
                check_signal(name, &value, backroom_core::workflow::SIGNALS_MAX).map_err(Error::from)
            }
            None => Err(Error::new(ErrorKind::Internal, "send a signal: the store gave no answer")),
        }
    }

    /// The journal of a workflow; none for a job that is no workflow or has not begun.
    pub async fn journal(&self, workflow: JobId) -> Result<Option<WorkflowJournal>, Error> {
        let page = read(self.engine(), workflow).await?;
        let Some(head) = page.head else { return Ok(None) };
        let (mut entries, arrivals) = (page.entries, page.arrivals);
        let Some(header) = head.header else { return Ok(None) };
        entries.sort_by_key(|entry| (Reverse(entry.seq().is_some()), entry.seq(), entry.began_at));
        Ok(Some(WorkflowJournal { header, entries, arrivals, wake_at: head.wake_at }))
    }
}

impl<J> JobHandle<J> {
    /// Sends a signal to this workflow: see [`Backroom::signal`].
    pub async fn signal<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<(), Error> {
        self.backroom().signal(self.id(), name, value).await
    }

    /// Its journal: see [`Backroom::journal`].
    pub async fn journal(&self) -> Result<Option<WorkflowJournal>, Error> {
        self.backroom().journal(self.id()).await
    }
}
