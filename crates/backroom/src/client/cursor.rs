//! Where a reader of a job's events stopped.

use std::{fmt, str::FromStr};

use backroom_core::{Invalid, Progress};

use crate::store::Seen;

/// The place behind one event of a job: pass it to [`Backroom::follow`](super::Backroom::follow) to continue there.
///
/// Its text has no spaces and at most 64 bytes, so that it can stand in a `Last-Event-ID`. It means something for the job
/// that it came from only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Log lines and attempts.
    pub(super) seen: Seen,
    /// The revision of the job when its state was last shown.
    pub(super) revision: Option<u64>,
    /// Stands for the progress that was last shown.
    pub(super) progress: Option<u64>,
}

/// Begins each text. Another form gets another number.
const VERSION: &str = "1";
/// Stands for nothing.
const NONE: &str = "-";

impl Cursor {
    pub(super) fn has_not_seen(&self, progress: &Progress) -> bool {
        self.progress != Some(digest(progress))
    }

    pub(super) fn see(&mut self, progress: &Progress) {
        self.progress = Some(digest(progress));
    }
}

/// FNV-1a over percent and message. Two texts with one digest would hide a progress, until the next.
fn digest(progress: &Progress) -> u64 {
    let bytes = std::iter::once(progress.percent).chain(progress.message.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl fmt::Display for Cursor {
    /// `1.120.3.7.9f3a21bc00000000`: version, lines, attempts, revision, digest of the progress.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}.{}.{}.", self.seen.lines, self.seen.attempts)?;
        match self.revision {
            Some(revision) => write!(f, "{revision}.")?,
            None => write!(f, "{NONE}.")?,
        }
        match self.progress {
            Some(progress) => write!(f, "{progress:016x}"),
            None => f.write_str(NONE),
        }
    }
}

impl FromStr for Cursor {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        // Each cursor has one text, so a text that this program would not write is refused.
        let cursor = parse(text).filter(|cursor| cursor.to_string() == text);
        cursor.ok_or_else(|| {
            Invalid::new("cursor", "is none that was given out; leave it out to begin from the beginning")
        })
    }
}

fn parse(text: &str) -> Option<Cursor> {
    let mut parts = text.split('.');
    let mut next = || parts.next();
    if next()? != VERSION {
        return None;
    }
    let seen = Seen { lines: next()?.parse().ok()?, attempts: next()?.parse().ok()? };
    let revision = optional(next()?, |text| text.parse().ok())?;
    let progress = optional(next()?, |text| u64::from_str_radix(text, 16).ok())?;
    next().is_none().then_some(Cursor { seen, revision, progress })
}

fn optional(text: &str, read: impl Fn(&str) -> Option<u64>) -> Option<Option<u64>> {
    if text == NONE { Some(None) } else { read(text).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_from_its_text() {
        let longest = Cursor {
            seen: Seen { lines: u32::MAX, attempts: u32::MAX },
            revision: Some(u64::MAX),
            progress: Some(u64::MAX),
        };
        for cursor in [Cursor::default(), longest, Cursor { revision: Some(0), ..Cursor::default() }] {
            let text = cursor.to_string();
            assert_eq!(text.parse::<Cursor>().unwrap(), cursor);
            assert!(text.len() <= 64, "{text}");
        }
        assert_eq!(Cursor::default().to_string(), "1.0.0.-.-");
    }

    #[test]
    fn only_texts_that_were_given_out_are_read() {
        for text in [
            "",
            "1",
            "1.0.0.-",
            "1.0.0.-.-.",
            "1.0.0.-.-.0",
            "2.0.0.-.-",
            "1.00.0.-.-",
            "1.+1.0.-.-",
            "1.-1.0.-.-",
            "1.0.0.-.f",
            "1.0.0.-.00000000000000AB",
            " 1.0.0.-.-",
            "1.0.0.-.- ",
            "1.4294967296.0.-.-",
            "1.0.0.18446744073709551616.-",
            "1.0.0..",
            "1.0.0.-.é",
            "1\n.0.0.-.-",
        ] {
            assert!(text.parse::<Cursor>().is_err(), "{text:?}");
        }
    }
}
