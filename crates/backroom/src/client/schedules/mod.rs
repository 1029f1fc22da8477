//! Schedules: put, read, paused, triggered and backfilled. Workers that do the upkeep of the store run them.

mod backfill;
mod change;
mod define;
mod read;

use std::sync::Arc;

use backroom_core::{
    Invalid, JobId, Json, Timestamp,
    bounds::check_name,
    schedule::{
        self as core, Entry, HISTORY_MAX, KEY_RETAINED, Occurrence, Origin, Preview, ScheduleRow, State,
        What,
        plan::{Limits, plan},
        template::Values,
        turn::new_job,
    },
};

pub use self::{
    backfill::BackfillOptions,
    define::Schedule,
    read::{ScheduleInfo, ScheduleSummary},
};
use super::Backroom;
use crate::{
    Error, ErrorKind,
    engine::Engine,
    store::{Moved, ScheduleMove},
};

/// Longest idempotency key of a trigger, in bytes.
const KEY_BYTES_MAX: usize = 512;

impl Backroom {
    /// The schedules of this store.
    pub fn schedules(&self) -> Schedules {
        Schedules { backroom: self.clone() }
    }
}

/// The schedules of a store. Any number of processes may put and change them at once.
#[derive(Debug, Clone)]
pub struct Schedules {
    backroom: Backroom,
}

/// What became of a schedule that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is new.
    Created,
    /// Its definition has changed. Counters, history and an operator's pause stay.
    Changed,
    /// It was the same already.
    Unchanged,
}

/// How a schedule is triggered.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct TriggerOptions {
    /// A second trigger of the schedule with the same key starts nothing, and answers with the job of the first. Remembered for at
    /// least a day.
    pub key: Option<String>,
    /// The args of this run, instead of those of the schedule; places in them are filled in.
    pub args: Option<Json>,
}

impl TriggerOptions {
    /// With an idempotency key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With args of its own.
    #[must_use]
    pub fn args(mut self, args: Json) -> Self {
        self.args = Some(args);
        self
    }
}

impl Schedules {
    /// Puts a schedule: creates it, or replaces the definition of the one with its name. To put the same again changes nothing, so a
    /// program can put its schedules whenever it starts.
    ///
    /// Occurrences before it was put first are not missed. The same holds for a definition with other occurrences than before.
    pub async fn put(&self, schedule: impl Into<Schedule>) -> Result<Put, Error> {
        self.put_from(Origin::Program, schedule.into().definition()?).await
    }

    /// Whether a definition can be put, whatever is there: fails as [`put_from`](Self::put_from) does. An act that is refused is then recorded
    /// nowhere, with args that must be stored nowhere.
    pub fn check(&self, definition: &core::Schedule) -> Result<(), Error> {
        let engine = self.backroom.engine();
        definition.check(engine.clock.now(), engine.json_bytes_max)?;
        check_open(engine, definition)?;
        engine.check_queue(&definition.job.kind, &definition.job.queue)?;
        Ok(self.backroom.check_shown(definition)?)
    }

    /// The same for a definition that comes from elsewhere. The last one that puts a schedule is its origin.
    pub async fn put_from(&self, origin: Origin, definition: core::Schedule) -> Result<Put, Error> {
        self.put_if(origin, definition, |_| Ok(())).await
    }

    /// The same if `guard` accepts what is there; its error is answered otherwise. Nothing comes in between: where another process is
    /// faster, the guard is asked again.
    pub async fn put_if(
        &self,
        origin: Origin,
        definition: core::Schedule,
        guard: impl Fn(Option<&ScheduleSummary>) -> Result<(), Error> + Send + Sync,
    ) -> Result<Put, Error> {
        let engine = self.backroom.engine();
        self.check(&definition)?;
        let stored = definition.stored()?;
        let (definition, stored, guard) = (&definition, &stored, &guard);
        self.repeated(&definition.name, move |now| {
            Box::pin(async move {
                let before = engine.store.schedule(&definition.name).await?;
                guard(before.clone().map(|row| read::summary(row, now)).as_ref())?;
                let (put, state, created_at) = match &before {
                    Some(row) if row.definition == *stored && row.origin == origin => {
                        return Ok(Some(Ok(Put::Unchanged)));
                    }
                    Some(row) => {
                        let state = row.state()?;
                        // A definition that this program cannot read has no occurrences that could be compared.
                        let state = match row.schedule() {
                            Ok(old) => state.redefined(&old, definition, now),
                            Err(_) => State { decided_until: now, ..state },
                        };
                        (Put::Changed, state, row.created_at)
                    }
                    None => (Put::Created, State::begin(now), now),
                };
                let row = ScheduleRow {
                    name: definition.name.clone(),
                    origin,
                    created_at,
                    changed_at: now,
                    definition: stored.clone(),
                    state: state.stored()?,
                    next_at: self.first_turn(definition, &state, now)?,
                    revision: before.as_ref().map_or(0, |row| row.revision + 1),
                    moved_by: engine.ids.lease().0,
                };
                let moving = ScheduleMove::new(before.map(|row| row.revision), row);
                self.moved(moving).await.map(|done| done.map(|()| Ok(put)))
            })
        })
        .await
    }

    /// When a schedule in this state is planned next: at once, if anything is to be decided now.
    fn first_turn(
        &self,
        definition: &core::Schedule,
        state: &State,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Error> {
        let planned = plan(definition, &definition.timetable()?, state, 1, now, Limits::default());
        let is_idle = planned.fire.is_empty() && planned.passed.is_empty() && planned.state == *state;
        Ok(if is_idle { planned.wake.at } else { Some(now) })
    }

    /// Pauses it until it is resumed. Runs that are going are not stopped.
    pub async fn pause(&self, name: &str) -> Result<(), Error> {
        self.change(name, |_, state, now| Ok(state.pause(now))).await
    }

    /// Resumes it after a pause by an operator or by a failure. Occurrences in the pause are not caught up.
    pub async fn resume(&self, name: &str) -> Result<(), Error> {
        self.change(name, |_, state, now| Ok(state.resume(now))).await
    }

    /// Starts a run now, whatever the timetable says, also while the schedule is paused or a run is going. An occurrence of the
    /// timetable that comes while it goes on meets it as any other run.
    ///
    /// A call whose answer is lost can be repeated with the same [key](TriggerOptions::key).
    pub async fn trigger(&self, name: &str, options: TriggerOptions) -> Result<JobId, Error> {
        let engine = self.backroom.engine();
        if let Some(key) = &options.key {
            backroom_core::bounds::check_text("idempotency key", key, KEY_BYTES_MAX)?;
        }
        let options = &options;
        self.repeated(name, move |now| {
            Box::pin(async move {
                if let Some(key) = &options.key
                    && let Some(job) = engine.store.entry_of_key(name, key).await?.and_then(|entry| entry.job)
                {
                    return Ok(Some(Ok(job)));
                }
                let row = self.row(name).await?;
                let (mut schedule, mut state) = (row.schedule()?, row.state()?);
                // It may have been put before its kind was sealed.
                check_open(engine, &schedule)?;
                if let Some(args) = &options.args {
                    schedule.job.args = args.clone();
                }
                state.counters.triggered += 1;
                state.entries += 1;
                state.tail = None;
                let timetable = schedule.timetable()?;
                let last_success = state.last_success.map(|success| success.nominal);
                let (zone, run_number) = (timetable.zone(), state.counters.runs());
                let values = Values { schedule: name, zone, nominal: now, last_success, run_number };
                let occurrence = Occurrence { schedule: name.to_owned(), nominal: now };
                let id = engine.ids.job(now);
                let job = new_job(&schedule, occurrence, id, &values, now, engine.json_bytes_max)?;
                let mut entry = Entry::new(state.entries, What::Triggered, now, now);
                (entry.job, entry.key) = (Some(id), options.key.clone());
                let mut moving = self.move_of(&row, &state, row.next_at)?;
                (moving.jobs, moving.entries, moving.notify) = (vec![job], vec![entry], false);
                forget(&mut moving, &state, now);
                self.moved(moving).await.map(|done| done.map(|()| Ok(id)))
            })
        })
        .await
    }

    /// What a definition means, with its next occurrences.
    pub fn preview(&self, definition: &core::Schedule, count: usize) -> Result<Preview, Error> {
        Ok(definition.preview(self.backroom.engine().clock.now(), count, 0)?)
    }

    /// What a stored schedule means, with its next occurrences.
    pub async fn preview_of(&self, name: &str, count: usize) -> Result<Preview, Error> {
        self.preview(&self.row(name).await?.schedule()?, count)
    }

    /// Deletes it with its history. Its jobs stay, and those that run go on.
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        self.delete_if(name, |_| Ok(())).await
    }

    /// The same if `guard` accepts what is there; its error is answered otherwise. Nothing comes in between: where another process is
    /// faster, the guard is asked again.
    pub async fn delete_if(
        &self,
        name: &str,
        guard: impl Fn(&ScheduleSummary) -> Result<(), Error> + Send + Sync,
    ) -> Result<(), Error> {
        let (store, guard) = (self.backroom.store(), &guard);
        self.repeated(name, move |now| {
            Box::pin(async move {
                let row = self.row(name).await?;
                let revision = row.revision;
                guard(&read::summary(row, now))?;
                match store.delete_schedule(name, Some(revision)).await? {
                    Moved::Done => Ok(Some(Ok(()))),
                    Moved::Stale | Moved::Locked => Ok(None),
                }
            })
        })
        .await
    }

    async fn row(&self, name: &str) -> Result<ScheduleRow, Error> {
        check_name("schedule name", name)?;
        self.backroom.store().schedule(name).await?.ok_or_else(|| not_found(name))
    }

    fn move_of(
        &self,
        row: &ScheduleRow,
        state: &State,
        next_at: Option<Timestamp>,
    ) -> Result<ScheduleMove, Error> {
        let after = ScheduleRow {
            state: state.stored()?,
            next_at,
            revision: row.revision + 1,
            moved_by: self.backroom.engine().ids.lease().0,
            ..row.clone()
        };
        Ok(ScheduleMove::new(Some(row.revision), after))
    }

    /// Writes one move; none if it has to be decided again.
    async fn moved(&self, moving: ScheduleMove) -> Result<Option<()>, Error> {
        let name = moving.row.name.clone();
        let answers = self.backroom.store().move_schedules(Arc::new(vec![moving])).await?;
        match answers.first() {
            Some(Moved::Done) => Ok(Some(())),
            Some(Moved::Stale | Moved::Locked) => Ok(None),
            None => Err(Error::new(ErrorKind::Internal, format!("change schedule {name:?}: no answer"))),
        }
    }
}

/// Has a move delete what is too old of the history.
pub(crate) fn forget(moving: &mut ScheduleMove, state: &State, now: Timestamp) {
    moving.forget_up_to = state.entries.saturating_sub(HISTORY_MAX);
    moving.forget_keys_before = backroom_core::bounds::earlier(now, KEY_RETAINED);
}

fn not_found(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("find schedule {name:?}: there is none of this name"))
}

/// A schedule has its args in the clear, so the jobs of a sealed kind cannot come from one.
pub(crate) fn check_open(engine: &Engine, schedule: &core::Schedule) -> Result<(), Invalid> {
    match engine.seal_of(&schedule.job.kind, None) {
        None => Ok(()),
        Some(key) => {
            let why = format!(
                "{:?} of schedule {:?} is sealed with the key {key:?}, and a schedule cannot be; schedule a kind whose handler enqueues it",
                schedule.job.kind, schedule.name
            );
            Err(Invalid::new("kind", why))
        }
    }
}
