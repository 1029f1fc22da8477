//! Opening a batch.

use std::{
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
};

use backroom_core::{
    Draft, JobId, LeaseId, Timestamp,
    batch::{Batch, BatchId, STRIPES_DEFAULT},
};

use super::{BatchHandle, not_found};
use crate::{Backroom, Context, Error, ErrorKind, Job, RunKey, client::job, store};

/// A batch about to be opened: set what differs from the defaults, then `.await` it.
#[must_use = "nothing is opened until this is awaited"]
pub struct OpenBatch<'a> {
    backroom: &'a Backroom,
    description: Option<String>,
    on_success: Option<Result<Draft, Error>>,
    on_finish: Option<Result<Draft, Error>>,
    parent: Option<BatchId>,
    by: Option<(JobId, LeaseId)>,
    stripes: u16,
    chosen: Option<(BatchId, Timestamp)>,
}

impl<'a> OpenBatch<'a> {
    pub(super) fn new(backroom: &'a Backroom) -> Self {
        Self {
            backroom,
            description: None,
            on_success: None,
            on_finish: None,
            parent: None,
            by: None,
            stripes: STRIPES_DEFAULT,
            chosen: None,
        }
    }

    /// For people; at most 1,024 bytes.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Enqueued once when all members have completed, with a [summary](Context::ended_batch). That may be after a retry of members that
    /// failed.
    pub fn on_success<J: Job>(mut self, job: J) -> Self {
        self.on_success = Some(job::draft_of(&job));
        self
    }

    /// Enqueued once when all members have finished, in whatever way, with a [summary](Context::ended_batch). If all have completed, it is
    /// enqueued before that of the success.
    pub fn on_finish<J: Job>(mut self, job: J) -> Self {
        self.on_finish = Some(job::draft_of(&job));
        self
    }

    /// The same with a whole draft. It must have no unique key and no fixed moment.
    pub fn on_success_draft(mut self, draft: Draft) -> Self {
        self.on_success = Some(Ok(draft));
        self
    }

    /// The same with a whole draft. It must have no unique key and no fixed moment.
    pub fn on_finish_draft(mut self, draft: Draft) -> Self {
        self.on_finish = Some(Ok(draft));
        self
    }

    /// As a member of another batch, which must be open. At most 16 levels.
    pub fn parent(mut self, parent: impl Into<BatchId>) -> Self {
        self.parent = Some(parent.into());
        self
    }

    /// As a member of the batch of a running job, also after the close of that.
    pub fn in_batch_of(mut self, context: &Context) -> Self {
        self.parent = context.batch();
        self.by = Some((context.id(), context.lease()));
        self
    }

    /// In the batch that [`parent`](Self::parent) names also after the close of that, for a run of one of its members that another process
    /// reports about. It is refused once the member has ended.
    pub fn by_run(mut self, run: RunKey) -> Self {
        self.by = Some((run.job, run.lease));
        self
    }

    /// How many rows count its members on a store with many writers, 1 to 64; default 16. More let more processes end members at the
    /// same time.
    pub fn stripes(mut self, stripes: u16) -> Self {
        self.stripes = stripes;
        self
    }

    /// Under an id that the caller chose, a UUIDv7 of about that moment. So a call whose answer was lost is made again, and opens the
    /// same batch.
    pub fn chosen(mut self, id: BatchId, at: Timestamp) -> Self {
        self.chosen = Some((id, at));
        self
    }

    async fn send(self) -> Result<BatchHandle, Error> {
        let engine = self.backroom.engine();
        let (id, now) = self.chosen.unwrap_or_else(|| {
            let now = engine.clock.now();
            (BatchId(engine.ids.job(now).0), now)
        });
        let parent = match self.parent {
            None => None,
            Some(parent) => Some(engine.store.batch(parent).await?.ok_or_else(|| not_found(parent))?.batch),
        };
        let batch = Batch {
            description: self.description,
            on_success: self.on_success.transpose()?,
            on_finish: self.on_finish.transpose()?,
            ..Batch::open(id, parent.as_ref(), self.stripes, now)?
        };
        for draft in [&batch.on_success, &batch.on_finish].into_iter().flatten() {
            engine.check_queue(&draft.kind, &draft.queue)?;
            if let Some(key) = engine.seal_of(&draft.kind, draft.seal.as_deref()) {
                // Its id is known at the end only, and args are sealed for one id.
                let why = format!(
                    "open batch {id}: kind {:?} is sealed with the key {key:?}, and an end job cannot be; end with a kind whose handler enqueues it",
                    draft.kind
                );
                return Err(Error::new(ErrorKind::Invalid, why));
            }
        }
        batch.check(engine.json_bytes_max)?;
        let open = store::OpenBatch { batch, by: self.by };
        let row = engine.store.open_batch(Arc::new(open), now).await?;
        if row.batch.parent != self.parent {
            let why = format!("open batch {id}: it is stored already, in another batch");
            return Err(Error::new(ErrorKind::Refused, why));
        }
        Ok(BatchHandle::new(self.backroom, id))
    }
}

impl<'a> IntoFuture for OpenBatch<'a> {
    type Output = Result<BatchHandle, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}
