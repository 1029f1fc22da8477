//! Changes of a schedule, each decided again when another process was faster.

use std::time::Duration;

use backroom_core::{
    Timestamp,
    schedule::{self as core, State},
};

use futures_util::future::BoxFuture;

use super::Schedules;
use crate::{Error, ErrorKind};

/// How often a change is decided again before it is given up.
const TRIES: u32 = 40;
/// The wait before a change is decided again that met another one.
const PAUSE: Duration = Duration::from_millis(25);

/// One decision that is written; none if it has to be decided again.
pub(super) type Deciding<'a, T> = BoxFuture<'a, Result<Option<Result<T, Error>>, Error>>;

impl Schedules {
    /// Decides and writes until no other change comes in between. `decide` answers none for that.
    pub(super) async fn repeated<'a, T>(
        &self,
        name: &str,
        // Boxed: the future of an async closure could not be sent to another thread.
        decide: impl Fn(Timestamp) -> Deciding<'a, T> + Send + Sync,
    ) -> Result<T, Error> {
        let clock = &self.backroom.engine().clock;
        for tried in 0..TRIES {
            if tried > 1 {
                clock.sleep(PAUSE).await;
            }
            if let Some(decided) = decide(clock.now()).await? {
                return decided;
            }
        }
        let why = format!(
            "change schedule {name:?}: other processes change it all the time, or another transaction has locked its row; \
             try again later"
        );
        Err(Error::new(ErrorKind::Unavailable, why))
    }

    /// Changes the state, and plans the schedule soon after.
    pub(super) async fn change(
        &self,
        name: &str,
        change: impl Fn(&core::Schedule, &State, Timestamp) -> Result<State, Error> + Send + Sync,
    ) -> Result<(), Error> {
        let change = &change;
        self.repeated(name, move |now| {
            Box::pin(async move {
                let row = self.row(name).await?;
                let (schedule, state) = (row.schedule()?, row.state()?);
                let after = change(&schedule, &state, now)?;
                if after == state {
                    return Ok(Some(Ok(())));
                }
                let moving = self.move_of(&row, &after, Some(now))?;
                Ok(self.moved(moving).await?.map(Ok))
            })
        })
        .await
    }
}
