//! What the clocks of a zone do at an occurrence, for those who read a preview.

use std::fmt;

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

/// The offset of the zone changes at an occurrence, or around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockMark {
    /// What happens there.
    pub mark: MarkKind,
    /// Where on the wall clock the times begin that do not exist, or exist twice.
    pub from: DateTime,
    /// Where they end.
    pub to: DateTime,
}

/// What happens at an occurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkKind {
    /// The clocks go forward at this moment: the times before it do not exist.
    EndOfGap,
    /// The wall clock shows this time twice, and this is the first time.
    FirstOfFold,
    /// The wall clock shows this time twice, and this is the second time.
    SecondOfFold,
}

impl fmt::Display for ClockMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from.strftime("%H:%M"), self.to.strftime("%H:%M"));
        match self.mark {
            MarkKind::EndOfGap => write!(f, "clocks go forward: {from} to {to} does not exist"),
            MarkKind::FirstOfFold => {
                write!(f, "clocks go back: {from} to {to} exists twice, this is the first")
            }
            MarkKind::SecondOfFold => {
                write!(f, "clocks go back: {from} to {to} exists twice, this is the second")
            }
        }
    }
}
