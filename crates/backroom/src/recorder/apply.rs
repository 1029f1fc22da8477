//! One event, answered with what came of it.

use std::{sync::Arc, time::Duration};

use backroom_core::{Change, Event, JobId, JobRow, Refused, State, transition};

use crate::{Error, ErrorKind, engine::Engine, store::Committed};

/// How long a row that another transaction has locked is tried again. Transactions of ours give up their locks after two
/// seconds; one that goes on is the user's.
const LOCKED_BY_OURS_MAX: Duration = Duration::from_secs(3);
/// The pause between these tries.
const LOCKED_PAUSE: Duration = Duration::from_millis(50);
/// How often one event is decided again because others change the job in between. Each try fails only after another change
/// was written, so this many in a row mean that something is wrong.
const DECISIONS_MAX: usize = 100;

impl Engine {
    /// Applies one event: reads the job, decides, and writes unless its row has changed in between; then again. `Ok(None)`
    /// means that there was nothing to do.
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
        let message = format!("change job {id}: other processes change it all the time; try again");
        Err(Error::new(ErrorKind::Unavailable, message))
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
            let remedy = if state == State::Running { "; cancel it first" } else { "" };
            let message = format!("{event} job {}: it is {state}{remedy}", job.id);
            Error::new(ErrorKind::Refused, message)
        }
        Refused::Fenced
        | Refused::NotDue
        | Refused::Expired
        | Refused::NotExpired
        | Refused::ExpiresFirst
        | Refused::KeyOfArgs
        | Refused::OfSystem => Error::from(refused),
    })
}
