//! Judging what schedules fire.

use std::collections::{BTreeMap, BTreeSet};

use backroom::{
    Timestamp,
    core::Json,
    schedule::{Occurrence, What},
    store::{Moved, ScheduleMove},
};

use super::{Model, Place};

/// What is known of schedules.
#[derive(Debug, Default)]
pub(super) struct Fired {
    /// Occurrences that became a job, by schedule.
    nominals: BTreeMap<String, BTreeSet<Timestamp>>,
    /// Moves that were heard of: one that is repeated does nothing more.
    moves: BTreeSet<String>,
    /// The latest moment that the clock of any machine with schedules ever showed.
    latest: Timestamp,
}

impl Model {
    /// Each occurrence fires once, and none before the firing machine's clock has shown its time.
    pub(crate) fn moved_schedules(&mut self, place: &Place, moves: &[ScheduleMove], answers: &[Moved]) {
        self.fired.latest = self.fired.latest.max(place.machine_latest);
        for (moving, answer) in moves.iter().zip(answers) {
            let name = &moving.row.name;
            if *answer != Moved::Done || !self.fired.moves.insert(moving.row.moved_by.to_string()) {
                continue;
            }
            for new in &moving.jobs {
                let Some(Occurrence { schedule, nominal }) = new.job.extras.occurrence.as_deref() else {
                    self.wrong(format!("schedule {name} inserted job {} of no occurrence", new.job.id));
                    continue;
                };
                self.saw(place, &format!("fire {schedule} {nominal}: {}", Self::short(new.job.id)));
                if schedule != name {
                    self.wrong(format!("schedule {name} fired an occurrence of {schedule}"));
                }
                if !self.fired.nominals.entry(name.clone()).or_default().insert(*nominal) {
                    self.wrong(format!("the occurrence {nominal} of schedule {name} fired twice"));
                }
                // Another machine may have decided that it waits, by a clock that is ahead.
                let waited = moving
                    .entries
                    .iter()
                    .any(|entry| entry.job == Some(new.job.id) && entry.what == What::Buffered);
                let latest = if waited { self.fired.latest } else { place.machine_latest };
                if *nominal > latest {
                    self.wrong(format!(
                        "the occurrence {nominal} of schedule {name} fired early, at {latest}"
                    ));
                }
                self.created(new, new.job.created_at);
            }
        }
    }

    /// How many occurrences of a schedule fired.
    pub fn fired(&self, schedule: &str) -> u64 {
        self.fired.nominals.get(schedule).map_or(0, |nominals| nominals.len() as u64)
    }

    /// How many occurrences fired in all.
    pub fn fired_in_all(&self) -> u64 {
        self.fired.nominals.values().map(|nominals| nominals.len() as u64).sum()
    }
}

/// Args of the runs, which differ from occurrence to occurrence.
pub fn args(play: u64) -> Json {
    Json::encode(&crate::handlers::Play { play, kills: false }).unwrap_or_else(|_| Json::null())
}
