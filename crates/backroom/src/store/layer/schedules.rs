//! Forwards the verbs for schedules.

use std::sync::Arc;

use async_trait::async_trait;
use backroom_core::{
    Timestamp,
    schedule::{Entry, ScheduleRow},
};
use futures_util::FutureExt as _;

use super::{Layer, Request, forward};
use crate::{
    Error,
    store::{Call, DueAfter, DueSchedules, Moved, ScheduleMove, ScheduleVerbs},
};

#[async_trait]
impl<L: Layer> ScheduleVerbs for L {
    async fn schedule(&self, name: &str) -> Result<Option<ScheduleRow>, Error> {
        let name: Arc<str> = name.into();
        forward!(self, Call::First, Schedule { name }, |store, _call| store.schedule(&name))
    }

    async fn schedules(&self, after: Option<&str>, limit: usize) -> Result<Vec<ScheduleRow>, Error> {
        let after: Option<Arc<str>> = after.map(Into::into);
        forward!(self, Call::First, Schedules { after, limit }, |store, _call| store
            .schedules(after.as_deref(), limit))
    }

    async fn move_schedules(&self, moves: Arc<Vec<ScheduleMove>>) -> Result<Vec<Moved>, Error> {
        forward!(self, Call::First, MoveSchedules { moves }, |store, _call| store.move_schedules(moves))
    }

    async fn delete_schedule(&self, name: &str, revision: Option<u64>) -> Result<Moved, Error> {
        let name: Arc<str> = name.into();
        forward!(self, Call::First, DeleteSchedule { name, revision }, |store, _call| store
            .delete_schedule(&name, revision))
    }

    async fn due_schedules(
        &self,
        after: Option<Arc<DueAfter>>,
        limit: usize,
        now: Timestamp,
    ) -> Result<DueSchedules, Error> {
        forward!(self, Call::First, DueSchedules { after, limit, now }, |store, _call| store
            .due_schedules(after, limit, now))
    }

    async fn entries(&self, schedule: &str, before: Option<u64>, limit: usize) -> Result<Vec<Entry>, Error> {
        let schedule: Arc<str> = schedule.into();
        forward!(self, Call::First, Entries { schedule, before, limit }, |store, _call| store
            .entries(&schedule, before, limit))
    }

    async fn entry_of_key(&self, schedule: &str, key: &str) -> Result<Option<Entry>, Error> {
        let (schedule, key): (Arc<str>, Arc<str>) = (schedule.into(), key.into());
        forward!(self, Call::First, EntryOfKey { schedule, key }, |store, _call| store
            .entry_of_key(&schedule, &key))
    }
}
