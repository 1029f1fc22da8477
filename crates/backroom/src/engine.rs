//! What client, worker and upkeep share: the store, the clock, the source of ids, and the bounds.

use std::{sync::Arc, time::Duration};

use backroom_core::{Change, Event, JobId, JobRow, Refused, transition};

use crate::{
    Error, ErrorKind,
    clock::Clock,
    ids::Ids,
    store::{Committed, Store},
};

/// One open store and what belongs to it.
#[derive(Clone)]
pub(crate) struct Engine {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<Ids>,
    /// Bound on args and output, each, in bytes of JSON text.
    pub(crate) json_bytes_max: usize,
    /// Bound on the bytes that a worker holds in hand, and on those that one call reads.
    pub(crate) bytes_max: usize,
    /// The schema of a PostgreSQL store, for enqueueing in transactions of the caller; none for other stores.
    #[cfg(feature = "postgres")]
    pub(crate) postgres_within: Option<Arc<crate::store::postgres::Within>>,
}

/// How long a row that another transaction has locked is tried again. Transactions of ours give up their locks after two
/// seconds; one that goes on is the user's.
const LOCKED_BY_OURS_MAX: Duration = Duration::from_secs(3);
/// The pause between these tries.
const LOCKED_PAUSE: Duration = Duration::from_millis(50);

/// How often a decision is made anew when others keep changing the job in between. Each try loses only to a
/// change that was written, so this many in a row means something is wrong.
const DECISIONS_MAX: usize = 100;

impl Engine {
    /// Applies an event from outside a run: reads the job, decides, and writes unless it moved on meanwhile; then
    /// again. `Ok(None)` means that there was nothing to do.
    pub(crate) async fn apply(&self, id: JobId, event: Event) -> Result<Option<Change>, Error> {
        let began = self.clock.monotonic();
        let mut decisions = 0;
        while decisions < DECISIONS_MAX {
            let job = self.store.job(id).await?.ok_or_else(|| Error::not_found(id))?;
            let Some(change) = decide(&job, event.clone(), self)? else { return Ok(None) };
            let changes = Arc::new(vec![change]);
            match self.commit_one(&changes).await? {
                Committed::Done => return Ok(changes.first().cloned()),
                Committed::Stale => decisions += 1,
                Committed::KeyHeld(holder) => {
                    let message = format!("change job {id}: job {holder} holds its unique key");
                    return Err(Error::new(ErrorKind::KeyHeld { holder }, message));
                }
                Committed::RowLocked if self.clock.monotonic().saturating_sub(began) < LOCKED_BY_OURS_MAX => {
                    self.clock.sleep(LOCKED_PAUSE).await;
                }
                Committed::RowLocked => {
                    let message = format!(
                        "change job {id}: another transaction on the database has locked its row; end that transaction, or \
                         try again when it has ended"
                    );
                    return Err(Error::new(ErrorKind::Unavailable, message));
                }
            }
        }
        Err(Error::new(ErrorKind::Unavailable, format!("change job {id}: it kept changing; try again")))
    }

    async fn commit_one(&self, changes: &Arc<Vec<Change>>) -> Result<Committed, Error> {
        let answers = self.store.commit(Arc::clone(changes)).await?;
        answers
            .first()
            .copied()
            .ok_or_else(|| Error::new(ErrorKind::Internal, "commit: the store gave no answer for a change"))
    }
}

fn decide(job: &JobRow, event: Event, engine: &Engine) -> Result<Option<Change>, Error> {
    transition::apply(job, event, engine.clock.now()).map_err(|refused| match refused {
        Refused::NotInState { event, state } => {
            let remedy = if state == backroom_core::State::Running { "; cancel it first" } else { "" };
            let message = format!("{event} job {}: it is {state}{remedy}", job.id);
            Error::new(ErrorKind::Refused, message)
        }
        Refused::Fenced
        | Refused::NotDue
        | Refused::Expired
        | Refused::NotExpired
        | Refused::ExpiresFirst
        | Refused::KeyOfArgs => Error::from(refused),
    })
}
