//! Changes of a schedule, each decided again when another process was faster.

use std::time::Duration;

use backroom_core::{
    Timestamp,
    schedule::{self as core, State},
};

use super::Schedules;
use crate::{Error, ErrorKind};

/// How often a change is decided again before it is given up.
const TRIES: u32 = 40;
/// The wait before a change is decided again that met another one.
const PAUSE: Duration = Duration::from_millis(25);

impl Schedules {
    /// Decides and writes until no other change comes in between. `decide` answers none for that.
    pub(super) async fn repeated<T>(
        &self,
        name: &str,
        mut decide: impl AsyncFnMut(Timestamp) -> Result<Option<Result<T, Error>>, Error>,
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
        change: impl Fn(&core::Schedule, &State, Timestamp) -> Result<State, Error>,
    ) -> Result<(), Error> {
        self.repeated(name, async |now| {
            let row = self.row(name).await?;
            let (schedule, state) = (row.schedule()?, row.state()?);
            let after = change(&schedule, &state, now)?;
            if after == state {
                return Ok(Some(Ok(())));
            }
            let moving = self.move_of(&row, &after, Some(now))?;
            Ok(self.moved(moving).await?.map(Ok))
        })
        .await
    }
}
