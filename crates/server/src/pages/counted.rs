//! What costs a walk over many rows: it is read beside the requests, and no page waits for it.
//!
//! Counts of a store with ten million jobs take a second. They are read again once they are old, but never for more than a small
//! part of the time; meanwhile pages show the last ones.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use backroom::{
    Backroom, Count, DisplayState, EndedEndpoint, Error, Filter, State,
    core::schedule::{Entry, What},
};

use crate::views::schedule::ScheduleView;

/// What was read is this young for at least this long.
const YOUNG: Duration = Duration::from_secs(1);
/// The pause after a read is so many times as long as the read: it takes at most a twentieth of one core.
const PAUSES: u32 = 20;
/// How long a page waits for a read: a small store answers within it, and then every page is exact.
const PATIENCE: Duration = Duration::from_millis(20);
/// Schedules that are looked through for those that fail.
const SCHEDULES_MAX: usize = 5000;
/// What was discarded before that is no news.
pub(super) const LATELY: Duration = Duration::from_secs(24 * 3600);
/// Most discarded jobs that are counted, of one queue and of all.
const DISCARDED_MAX: u64 = 1000;
const ALL_DISCARDED_MAX: u64 = 5000;
/// Of what needs attention, so many of each sort are shown.
const SHOWN_MAX: usize = 50;
/// Schedules that have ever missed a run, of which so many are asked for what they missed lately.
const MISSED_ASKED_MAX: usize = 100;
/// Entries of a history that are read for that.
const ENTRIES_MAX: usize = 50;

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// Jobs by queue and state.
    pub(super) counts: Vec<Count>,
    /// Jobs that were discarded lately, by queue.
    pub(super) discarded: BTreeMap<String, Discarded>,
    /// Schedules that fail, or whose success is overdue.
    pub(super) schedules: Vec<ScheduleView>,
    /// Schedules that missed runs lately.
    pub(super) missed: Vec<Missed>,
    /// Endpoints of callbacks that have ended.
    pub(super) endpoints: Vec<EndedEndpoint>,
    /// Triggers that do not run as they should.
    #[cfg(feature = "triggers")]
    pub(super) triggers: Vec<crate::views::trigger::TriggerView>,
    /// Readings of the monotonic clock.
    began_at: Duration,
    took: Duration,
}

/// Jobs of one queue that were discarded lately.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Discarded {
    pub(super) jobs: u64,
    /// Of them those that took workers down with them.
    pub(super) poison: u64,
    /// There are more than were counted.
    pub(super) is_more: bool,
}

/// A schedule that missed runs lately, and did not catch up.
#[derive(Debug)]
pub(super) struct Missed {
    pub(super) schedule: ScheduleView,
    pub(super) runs: u64,
}

/// Reads it, for all pages together.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    last: Mutex<Option<Arc<Snapshot>>>,
    /// Something was changed by hand: what is shown must be younger than that.
    is_stale: AtomicBool,
    reading: Arc<tokio::sync::Mutex<()>>,
}

impl Counted {
    /// Has the next page read again.
    pub(super) fn changed(&self) {
        self.is_stale.store(true, Ordering::Release);
    }

    /// What was read last; none before the first read has ended.
    pub(super) async fn get(self: &Arc<Self>, backroom: &Backroom) -> Option<Arc<Snapshot>> {
        let now = backroom.clock().monotonic();
        let last = self.last();
        let is_young = last.as_ref().is_some_and(|last| {
            now.saturating_sub(last.began_at) < YOUNG.max(last.took.saturating_mul(PAUSES))
        });
        if is_young && !self.is_stale.load(Ordering::Acquire) {
            return last;
        }
        match Arc::clone(&self.reading).try_lock_owned() {
            Ok(reading) => {
                let (this, of_task) = (Arc::clone(self), backroom.clone());
                let task = tokio::spawn(async move {
                    let _reading = reading;
                    this.read(&of_task).await;
                });
                tokio::select! {
                    _ = task => {}
                    () = backroom.clock().sleep(PATIENCE) => {}
                }
            }
            Err(_) => tokio::select! {
                _ = self.reading.lock() => {}
                () = backroom.clock().sleep(PATIENCE) => {}
            },
        }
        self.last()
    }

    async fn read(&self, backroom: &Backroom) {
        self.is_stale.store(false, Ordering::Release);
        let clock = backroom.clock();
        let began_at = clock.monotonic();
        match read(backroom).await {
            Ok(mut snapshot) => {
                (snapshot.began_at, snapshot.took) = (began_at, clock.monotonic().saturating_sub(began_at));
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(snapshot));
            }
            Err(error) => tracing::debug!(%error, "the counts for the pages could not be read"),
        }
    }

    fn last(&self) -> Option<Arc<Snapshot>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn read(backroom: &Backroom) -> Result<Snapshot, Error> {
    let mut endpoints = backroom.ended_endpoints(None).await?;
    endpoints.truncate(SHOWN_MAX);
    let counts = backroom.counts().await?;
    let (schedules, missed) = schedules(backroom).await?;
    Ok(Snapshot {
        discarded: discarded(backroom, &counts).await?,
        counts,
        schedules,
        missed,
        endpoints,
        #[cfg(feature = "triggers")]
        triggers: triggers(backroom).await?,
        ..Snapshot::default()
    })
}

/// Counts what was discarded lately. The store reads that much of its history, however long it is.
async fn discarded(backroom: &Backroom, counts: &[Count]) -> Result<BTreeMap<String, Discarded>, Error> {
    let from = backroom::core::bounds::earlier(backroom.clock().now(), LATELY);
    let (mut found, mut all) = (BTreeMap::new(), 0);
    for count in counts.iter().filter(|count| count.state == DisplayState::Discarded && count.jobs > 0) {
        let filter = Filter {
            states: vec![State::Discarded],
            queue: Some(count.queue.clone()),
            finished_from: Some(from),
            ..Filter::default()
        };
        let (mut discarded, mut before) = (Discarded::default(), None);
        loop {
            let page = backroom.list(filter.clone(), before, 200).await?;
            discarded.jobs += page.jobs.len() as u64;
            let is_poison = |reason: &String| reason.starts_with(backroom::core::POISON);
            discarded.poison +=
                page.jobs.iter().filter(|job| job.reason.as_ref().is_some_and(is_poison)).count() as u64;
            before = page.next;
            discarded.is_more = before.is_some();
            if before.is_none()
                || discarded.jobs >= DISCARDED_MAX
                || all + discarded.jobs >= ALL_DISCARDED_MAX
            {
                break;
            }
        }
        all += discarded.jobs;
        if discarded.jobs > 0 {
            found.insert(count.queue.clone(), discarded);
        }
        if all >= ALL_DISCARDED_MAX {
            break;
        }
    }
    Ok(found)
}

/// Schedules that fail, and those that missed runs lately.
async fn schedules(backroom: &Backroom) -> Result<(Vec<ScheduleView>, Vec<Missed>), Error> {
    let (mut found, mut after, mut read) = (Vec::new(), None::<String>, 0);
    let mut have_missed = Vec::new();
    while read < SCHEDULES_MAX {
        let page = backroom.schedules().list(after.as_deref(), 1000).await?;
        read += page.len();
        let is_last = page.len() < 1000;
        after = page.last().map(|last| last.name.clone());
        for view in page.into_iter().map(|summary| ScheduleView::of(backroom, summary).0) {
            if view.counters.missed > 0 && have_missed.len() < MISSED_ASKED_MAX {
                have_missed.push(view.clone());
            }
            if (view.failing.is_some() || view.overdue_since.is_some()) && found.len() < SHOWN_MAX {
                found.push(view);
            }
        }
        if is_last {
            break;
        }
    }
    let mut missed = Vec::new();
    for schedule in have_missed {
        let runs = missed_lately(backroom, &schedule.name).await?;
        if runs > 0 && missed.len() < SHOWN_MAX {
            missed.push(Missed { schedule, runs });
        }
    }
    Ok((found, missed))
}

/// Runs that a schedule missed since yesterday. It may have been deleted meanwhile.
async fn missed_lately(backroom: &Backroom, schedule: &str) -> Result<u64, Error> {
    let from = backroom::core::bounds::earlier(backroom.clock().now(), LATELY);
    let entries = backroom.store().entries(schedule, None, ENTRIES_MAX).await?;
    let is_missed = |entry: &&Entry| matches!(entry.what, What::Passed(why) if why.is_missed());
    Ok(entries.iter().filter(|entry| entry.at >= from).filter(is_missed).map(|entry| entry.count).sum())
}

#[cfg(feature = "triggers")]
async fn triggers(backroom: &Backroom) -> Result<Vec<crate::views::trigger::TriggerView>, Error> {
    let now = backroom.clock().now();
    let rows = backroom_triggers::admin::list(backroom, None).await?;
    let views = rows.into_iter().map(|row| crate::views::trigger::TriggerView::new(row, now));
    Ok(views.filter(|view| view.dead_letters > 0 || view.error().is_some()).take(SHOWN_MAX).collect())
}
