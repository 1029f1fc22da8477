//! Suspicion: worker processes died while a job ran, and how carefully it runs next.
//!
//! A process that dies takes all its running jobs with it, and one of them may be the cause. So a job is discarded as
//! poison only after it took down a process while it was the only job that ran there. Until then it is a *suspect*:
//! suspects begin one after another, each with a short *trial* in which no other suspect of the process begins. A *prime
//! suspect* was on trial when a process died; it begins only while nothing else runs in its process.
//!
//! Start reading at [`JobRow::standing`]; who is charged for a death is decided in [`blame`](crate::blame).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    JobRow, Timestamp,
    bounds::{ALONE_MIN, CRASHES_MAX, CRASHES_UNCLEAR_MAX, later},
};

/// How the reason of a job begins that was discarded because it took worker processes down with it.
pub const POISON: &str = "poison:";

/// The evidence of the crashes that [`JobRow::crashes`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suspicion {
    /// Crashes while the job was on trial and other jobs ran beside it.
    pub on_trial: u32,
    /// Crashes while no other job ran in the process.
    pub alone: u32,
    /// When upkeep found the last crash. Jobs of one death share this moment.
    pub at: Timestamp,
    /// How long the job had run by then at the most, in milliseconds.
    pub ran_ms: u64,
}

/// How a job may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is under no suspicion.
    Clear,
    /// It begins while no other suspect of its process is on trial; its own trial is this long.
    Suspect(Duration),
    /// It begins while nothing else runs in its process, and for this long nothing else begins there.
    Prime(Duration),
}

/// No trial is shorter: a process needs a moment to die.
const MARGIN: Duration = Duration::from_millis(250);
/// Longest first trial; each further crash allows four times as much.
const TRIAL: Duration = Duration::from_millis(1500);
/// No trial beside other jobs is longer.
const TRIAL_MAX: Duration = Duration::from_secs(30);
/// A prime suspect runs alone for at least so long.
const ALONE: Duration = Duration::from_secs(1);
/// Longest first run alone; each further crash allows twice as much.
const ALONE_FIRST_MAX: Duration = Duration::from_secs(30);
/// No run alone is longer: all other slots of the process stand idle meanwhile.
const ALONE_MAX: Duration = Duration::from_secs(600);
/// The wait before a prime suspect may run again; four times as long after each further crash.
const BACK_OFF: Duration = Duration::from_secs(5);
/// No such wait is longer.
const BACK_OFF_MAX: Duration = Duration::from_secs(600);

impl JobRow {
    /// How it may begin at `now`. Crashes longer ago than `span` count no more.
    pub fn standing(&self, span: Duration, now: Timestamp) -> Standing {
        match self.suspicion.filter(|suspicion| later(suspicion.at, span) > now) {
            None => Standing::Clear,
            Some(suspicion) if suspicion.is_prime(self.crashes) => {
                Standing::Prime(suspicion.alone_for(self.crashes))
            }
            Some(suspicion) => Standing::Suspect(suspicion.trial(self.crashes)),
        }
    }
}

impl Suspicion {
    /// Whether the job must run alone: it was on trial when a process died, or many deaths left it unclear.
    pub fn is_prime(&self, crashes: u32) -> bool {
        crashes >= CRASHES_UNCLEAR_MAX || (crashes >= 2 && self.on_trial + self.alone >= 1)
    }

    /// Whether the job is the cause.
    pub fn is_poison(&self, crashes: u32) -> bool {
        crashes >= CRASHES_MAX && self.alone >= ALONE_MIN
    }

    /// How long its trial beside other jobs lasts: until it has run for longer than it had when its process died, as far
    /// as its crashes allow.
    pub fn trial(&self, crashes: u32) -> Duration {
        self.ran().saturating_add(MARGIN).min(self.trial_max(crashes))
    }

    /// Whether a job that has passed its trial has run for longer than when its process died.
    pub fn trial_clears(&self, crashes: u32) -> bool {
        self.ran() < self.trial_max(crashes)
    }

    fn trial_max(&self, crashes: u32) -> Duration {
        TRIAL.saturating_mul(4u32.saturating_pow(crashes.saturating_sub(1))).min(TRIAL_MAX)
    }

    /// How long nothing else may begin beside it.
    fn alone_for(&self, crashes: u32) -> Duration {
        let most = ALONE_FIRST_MAX.saturating_mul(2u32.saturating_pow(crashes.saturating_sub(2)));
        self.ran().saturating_mul(2).clamp(ALONE, most.min(ALONE_MAX))
    }

    /// How long the job waits after its last crash: a prime suspect lets its innocent neighbours go first.
    pub fn back_off(&self, crashes: u32) -> Duration {
        if !self.is_prime(crashes) {
            return Duration::ZERO;
        }
        let sure = (self.on_trial + self.alone).saturating_sub(1);
        BACK_OFF.saturating_mul(4u32.saturating_pow(sure)).min(BACK_OFF_MAX)
    }

    fn ran(&self) -> Duration {
        Duration::from_millis(self.ran_ms)
    }
}
