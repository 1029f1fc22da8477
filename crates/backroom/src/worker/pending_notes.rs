//! The progress and log lines of one run that are not written yet.

use std::mem;

use backroom_core::{
    LeaseId, LogLine, Progress, Timestamp,
    bounds::{LOG_LINE_BYTES_MAX, LOG_LINES_MAX, MESSAGE_BYTES_MAX, clip},
};

/// What the handler reported since the last write.
#[derive(Debug, Default)]
pub(crate) struct PendingNotes {
    progress: Option<Progress>,
    lines: Vec<LogLine>,
    /// Lines so far, those left out included.
    count: u32,
    /// The run is in the list of those to write.
    is_listed: bool,
}

impl PendingNotes {
    pub(super) fn set_progress(&mut self, percent: u8, message: &str) {
        let message = clip(message, MESSAGE_BYTES_MAX);
        self.progress = Some(Progress { percent: percent.min(100), message });
    }

    /// Adds a line. False if the run has as many as are stored.
    pub(super) fn add_line(&mut self, lease_id: LeaseId, line: &str, at: Timestamp) -> bool {
        let seq = self.count;
        self.count = self.count.saturating_add(1);
        let is_stored = seq < LOG_LINES_MAX;
        if is_stored {
            self.lines.push(LogLine { lease_id, seq, at, line: clip(line, LOG_LINE_BYTES_MAX) });
        }
        is_stored
    }

    /// Counts lines that are not even passed on, because the run has as many as are stored.
    #[cfg(all(feature = "exec", target_os = "linux"))]
    pub(super) fn leave_out(&mut self, lines: u32) {
        self.count = self.count.saturating_add(lines);
    }

    /// Marks the run as listed. False if it was.
    pub(super) fn list(&mut self) -> bool {
        !mem::replace(&mut self.is_listed, true)
    }

    /// Takes out what is to be written, if anything. At the end of a run a last line says how many lines were left out.
    pub(super) fn take(
        &mut self,
        lease_id: LeaseId,
        is_over: bool,
        now: Timestamp,
    ) -> Option<(Option<Progress>, Vec<LogLine>)> {
        self.is_listed = false;
        let progress = self.progress.take();
        let mut lines = mem::take(&mut self.lines);
        if is_over && self.count > LOG_LINES_MAX {
            let line = format!("{} more lines were left out", self.count - LOG_LINES_MAX);
            lines.push(LogLine { lease_id, seq: LOG_LINES_MAX, at: now, line });
            self.count = LOG_LINES_MAX;
        }
        (progress.is_some() || !lines.is_empty()).then_some((progress, lines))
    }
}
