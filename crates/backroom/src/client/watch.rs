//! When a reader that waits for news of one job reads the store again.

use std::time::Duration;

use backroom_core::{JobId, JobRow, State, bounds::later};

use super::Backroom;
use crate::store::Listener;

/// How long an idle reader waits for a hint before it reads without one: less and less often.
const LOOKS_MS: [u64; 12] = [50, 100, 250, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 120_000, 240_000];
/// The same where hints of other processes do not arrive.
const LOOK_ALONE_MS_MAX: u64 = 500;
/// After so many reads without news, a hint is answered later: on SQLite, each write of another process wakes all listeners.
const QUIET_READS: u32 = 8;
/// After so many reads without news, the store is asked to find out when another process claims the job.
const QUIET_READS_TO_AWAIT_CLAIM: u32 = 4;
/// A job that is due after this will be read again before.
const DUE_SOON: Duration = Duration::from_secs(300);
/// How much later at most.
const GAP_MS_MAX: u64 = 500;

/// Says when to read a job again: see [`Backroom::watch`].
#[derive(Debug)]
pub struct Watch {
    backroom: Backroom,
    listener: Listener,
    /// Reads in a row that found nothing new.
    quiet_reads: u32,
    /// Whether the job, when it was read last, waited for a worker, or will do so before it is read again.
    awaits_claim: bool,
}

impl Backroom {
    /// Says when a reader that waits for news of one job reads it again: at hints of the store, and now and then without one.
    ///
    /// Begin it before the first read, so that no change is missed between the two. An idle reader reads every four minutes. Where
    /// the hints of other processes do not arrive (PostgreSQL with `listen=false`), it reads twice a second.
    pub fn watch(&self, id: JobId) -> Watch {
        let listener = self.store().notifier().subscribe_job(id);
        Watch { backroom: self.clone(), listener, quiet_reads: 0, awaits_claim: false }
    }
}

impl Watch {
    /// What was read. With it a reader also learns that another process claimed the job, which is not notified to all.
    pub fn has_read(&mut self, job: &JobRow) {
        let soon = later(self.backroom.clock().now(), DUE_SOON);
        self.awaits_claim = job.state == State::Queued && job.scheduled_at <= soon;
    }

    /// The last read found news: the next ones come soon.
    pub fn found_news(&mut self) {
        self.quiet_reads = 0;
    }

    /// Returns when it is time to read again. Safe to drop and call again.
    pub async fn next(&mut self) {
        self.quiet_reads = self.quiet_reads.saturating_add(1);
        let clock = self.backroom.clock();
        let doublings = self.quiet_reads.checked_sub(QUIET_READS);
        let gap = doublings.map(|doublings| 1_u64.checked_shl(doublings).unwrap_or(GAP_MS_MAX));
        let hint = async {
            if let Some(gap) = gap {
                // A hint that comes in the meantime is remembered.
                clock.sleep(Duration::from_millis(gap.min(GAP_MS_MAX))).await;
            }
            self.listener.notified().await;
        };
        // The first reads come soon enough by themselves.
        self.listener.await_claim(self.awaits_claim && self.quiet_reads >= QUIET_READS_TO_AWAIT_CLAIM);
        let look = LOOKS_MS.get(self.quiet_reads.saturating_sub(1) as usize).or(LOOKS_MS.last());
        let most = if self.backroom.store().notifier().hears_others() { u64::MAX } else { LOOK_ALONE_MS_MAX };
        let pause = Duration::from_millis(look.copied().unwrap_or(most).min(most));
        tokio::select! {
            () = hint => {}
            () = clock.sleep(pause) => {}
        }
    }
}
