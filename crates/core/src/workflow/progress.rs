//! Attempts and crashes of a workflow count per progress.
//!
//! A workflow runs for weeks and over thousands of runs. A crash counts against it only if it has recorded no answer since the crash
//! before: one that moves on is not the one that kills workers. The same holds for failed attempts.

use serde::{Deserialize, Serialize};

/// What is charged to a workflow, and at which progress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Charged {
    /// Attempts that failed.
    pub attempts: u32,
    /// Crashes.
    pub crashes: u32,
    /// [`Header::progress`](super::Header::progress) when it was charged last.
    pub progress: u64,
}

impl Charged {
    /// What still counts at this progress.
    #[must_use]
    pub const fn at(self, progress: u64) -> Self {
        if progress > self.progress { Self { attempts: 0, crashes: 0, progress } } else { self }
    }

    /// After a failed attempt.
    #[must_use]
    pub const fn failed(self, progress: u64) -> Self {
        let counted = self.at(progress);
        Self { attempts: counted.attempts.saturating_add(1), ..counted }
    }

    /// After a crash.
    #[must_use]
    pub const fn crashed(self, progress: u64) -> Self {
        let counted = self.at(progress);
        Self { crashes: counted.crashes.saturating_add(1), ..counted }
    }
}
