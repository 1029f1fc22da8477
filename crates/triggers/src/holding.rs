//! Who reads a source: the lease of an exclusive reader, and the reports of every reader.
//!
//! A reader beats every third of its lease. Another process takes a reader for dead when it has not seen it beat for a lease, as its own
//! monotonic clock counts, and at once when the reader's process was on the same host and is gone. A reader that could not beat for a
//! lease stops by itself.

use std::{sync::Arc, time::Duration};

use backroom::{
    Error, Json, LeaseId, ProcessOnHost,
    store::{TriggerHold, TriggerReader},
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{Status, intake::Intake, status::Activity};

/// Whether this process may read the source now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is not known yet.
    Unknown,
    /// It may, under this lease.
    Ours(LeaseId),
    /// A person paused the trigger.
    Paused(String),
    /// Another process reads the source.
    Standby(String),
    /// The store could not be asked for a lease.
    Unsure(String),
}

/// What a reader reports: its status, and which process it is.
#[derive(Serialize, Deserialize)]
struct Report {
    #[serde(flatten)]
    status: Status,
    #[serde(default)]
    process: Option<ProcessOnHost>,
}

/// The lease of a reader, and the observation of another one.
pub(crate) struct Holding {
    pub(crate) intake: Intake,
    pub(crate) lease: LeaseId,
    pub(crate) holder: String,
    pub(crate) exclusive: bool,
    pub(crate) lease_time: Duration,
    beats: u64,
    /// The other reader, with the reading at which it last moved.
    observed: Option<(LeaseId, u64, Duration)>,
    /// The reading of the last beat of ours that the store took.
    beaten_at: Option<Duration>,
    is_ours: bool,
}

impl Holding {
    pub(crate) fn new(intake: Intake, exclusive: bool, holder: String, lease_time: Duration) -> Self {
        let lease = intake.ids().lease();
        Self {
            intake,
            lease,
            holder,
            exclusive,
            lease_time,
            beats: 0,
            observed: None,
            beaten_at: None,
            is_ours: false,
        }
    }

    /// Holds and observes until it is cancelled; then ends the lease.
    pub(crate) async fn run(
        mut self,
        standing: watch::Sender<Standing>,
        hurry: Arc<tokio::sync::Notify>,
        stop: CancellationToken,
    ) {
        let clock = Arc::clone(self.intake.backroom().clock());
        loop {
            let now = self.tick().await;
            standing.send_if_modified(|known| {
                let is_new = *known != now;
                *known = now;
                is_new
            });
            let wait = self.lease_time / if self.is_ours { 3 } else { 5 };
            tokio::select! {
                () = stop.cancelled() => break,
                () = hurry.notified() => {}
                () = clock.sleep(wait) => {}
            }
        }
        let store = self.intake.backroom().store();
        // If this is lost, the next reader waits for a lease.
        if let Err(error) = store.release_trigger(self.intake.trigger(), self.lease).await {
            tracing::debug!(trigger = %self.intake.trigger(), %error, "the lease of the trigger was not ended");
        }
    }

    /// Beats once, or asks once for the lease.
    async fn tick(&mut self) -> Standing {
        let reading = self.intake.backroom().clock().monotonic();
        match self.hold(reading).await {
            Ok(standing) => standing,
            Err(error) => {
                let is_over = self.beaten_at.is_none_or(|at| reading.saturating_sub(at) >= self.lease_time);
                if self.is_ours && !is_over {
                    return Standing::Ours(self.lease);
                }
                self.is_ours = false;
                Standing::Unsure(error.to_string())
            }
        }
    }

    async fn hold(&mut self, reading: Duration) -> Result<Standing, Error> {
        let backroom = self.intake.backroom().clone();
        let name = Arc::clone(self.intake.trigger());
        let row = backroom.store().trigger(&name).await?;
        if let Some(pause) = row.and_then(|row| row.paused) {
            // A paused trigger has no reader, so that any process may resume it; its report stays.
            self.intake.board().show(Activity::Paused, Some(pause.reason.clone()), pause.at);
            if self.is_ours {
                backroom.store().release_trigger(&name, self.lease).await?;
            }
            self.is_ours = false;
            return Ok(Standing::Paused(pause.reason));
        }
        self.beats += 1;
        let now = backroom.clock().now();
        let dead = self.observed.filter(|(.., since)| reading.saturating_sub(*since) >= self.lease_time);
        let hold = TriggerHold {
            trigger: name.to_string(),
            reader: TriggerReader {
                lease: self.lease,
                holder: self.holder.clone(),
                exclusive: self.exclusive,
                beats: self.beats,
                beat_at: now,
                status: Json::encode(&Report {
                    status: self.intake.board().status(),
                    process: Some(ProcessOnHost::this()),
                })?,
            },
            dead: dead.map(|(lease, beats, _)| (lease, beats)),
        };
        let reader = backroom.store().hold_trigger(Arc::new(hold), now).await?;
        if reader.lease == self.lease {
            (self.observed, self.beaten_at, self.is_ours) = (None, Some(reading), true);
            return Ok(Standing::Ours(self.lease));
        }
        if std::mem::take(&mut self.is_ours) {
            // What was begun under the old lease must not be written under the next one.
            (self.lease, self.beats) = (self.intake.ids().lease(), 0);
        }
        let its_process = reader.status.decode::<Report>().ok().and_then(|report| report.process);
        if its_process.is_some_and(|process| process.is_dead()) {
            // As if it had been silent for a lease: the next attempt takes over.
            let silent_since = reading.saturating_sub(self.lease_time);
            let is_new =
                self.observed.is_none_or(|(lease, beats, _)| (lease, beats) != (reader.lease, reader.beats));
            self.observed = Some((reader.lease, reader.beats, silent_since));
            // Asked at once, but once: a third process may have been faster.
            return if is_new {
                Box::pin(self.hold(reading)).await
            } else {
                Ok(Standing::Standby(reader.holder))
            };
        }
        match &self.observed {
            Some((lease, beats, _)) if (*lease, *beats) == (reader.lease, reader.beats) => {}
            Some(_) | None => self.observed = Some((reader.lease, reader.beats, reading)),
        }
        Ok(Standing::Standby(reader.holder))
    }
}
