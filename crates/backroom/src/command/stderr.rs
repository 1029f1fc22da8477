//! Reads a command's stderr: log lines, and lines by which it reports to Backroom.

use std::time::Duration;

use backroom_core::bounds::{LOG_LINE_BYTES_MAX, SPAN_MAX};

/// How a line begins that is a report and no log line.
const MARK: &str = "backroom:";

/// What a line of stderr is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// `backroom:progress 40 resizing`.
    Progress(u8, &'a str),
    /// `backroom:snooze 60`: how long exit code 69 postpones the job.
    Snooze(Duration),
    /// `backroom:retry 60`: how long the next attempt after exit code 75 waits.
    Retry(Duration),
    /// Anything else is for the job's log.
    Log(&'a str),
}

/// Reads a line. A report that cannot be read is a log line, so that its author sees it.
pub(super) fn line(text: &str) -> Line<'_> {
    let report = || {
        let (name, rest) = text.strip_prefix(MARK)?.split_once(' ')?;
        let (number, message) = rest.trim_start().split_once(' ').unwrap_or((rest.trim(), ""));
        match name {
            "progress" => {
                let percent: u8 = number.strip_suffix('%').unwrap_or(number).parse().ok()?;
                (percent <= 100).then_some(Line::Progress(percent, message.trim()))
            }
            "snooze" => Some(Line::Snooze(span(number)?)),
            "retry" => Some(Line::Retry(span(number)?)),
            _ => None,
        }
    };
    report().unwrap_or(Line::Log(text))
}

fn span(secs: &str) -> Option<Duration> {
    let span = Duration::try_from_secs_f64(secs.parse().ok()?).ok()?;
    (span <= SPAN_MAX).then_some(span)
}

/// Divides what was read into lines, each cut to what the log stores.
#[derive(Debug, Default)]
pub(super) struct Lines {
    open: Vec<u8>,
}

impl Lines {
    pub(super) fn take(&mut self, mut read: &[u8], mut each: impl FnMut(&str)) {
        while let Some(end) = read.iter().position(|byte| *byte == b'\n') {
            self.append(&read[..end]);
            self.end(&mut each);
            read = &read[end + 1..];
        }
        self.append(read);
    }

    /// The end of stderr also ends its last line.
    pub(super) fn finish(mut self, mut each: impl FnMut(&str)) {
        if !self.open.is_empty() {
            self.end(&mut each);
        }
    }

    fn append(&mut self, read: &[u8]) {
        let free = LOG_LINE_BYTES_MAX.saturating_sub(self.open.len());
        self.open.extend_from_slice(&read[..read.len().min(free)]);
    }

    fn end(&mut self, each: &mut impl FnMut(&str)) {
        each(String::from_utf8_lossy(&self.open).trim_end());
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_told_from_log_lines() {
        let secs = Duration::from_secs_f64;
        for (text, expected) in [
            ("backroom:progress 40 resizing it", Line::Progress(40, "resizing it")),
            ("backroom:progress 100", Line::Progress(100, "")),
            ("backroom:progress 7% ü", Line::Progress(7, "ü")),
            ("backroom:snooze 60", Line::Snooze(secs(60.0))),
            ("backroom:retry 1.5", Line::Retry(secs(1.5))),
        ] {
            assert_eq!(line(text), expected, "{text}");
        }
        for text in [
            "",
            "hello",
            "backroom:",
            "backroom:progress",
            "backroom:progress x",
            "backroom:progress 101",
            "backroom:progress -1",
            " backroom:progress 40",
            "backroom:snooze -1",
            "backroom:snooze 1e40",
            "backroom:snooze NaN",
            "backroom:dance 1",
        ] {
            assert_eq!(line(text), Line::Log(text));
        }
    }

    #[test]
    fn lines_are_whole_wherever_the_reads_are_cut_and_long_ones_are_cut_short() {
        let text = format!("one\r\n\n{}\nü\nlast", "x".repeat(2 * LOG_LINE_BYTES_MAX));
        for size in [1, 2, 3, 1000, 100_000] {
            let (mut lines, mut seen) = (Lines::default(), Vec::new());
            text.as_bytes().chunks(size).for_each(|read| lines.take(read, |line| seen.push(line.to_owned())));
            lines.finish(|line| seen.push(line.to_owned()));
            assert_eq!(seen, ["one", "", &"x".repeat(LOG_LINE_BYTES_MAX), "ü", "last"], "{size}");
        }
    }
}
