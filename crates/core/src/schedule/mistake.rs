//! What is wrong in a text that a person wrote, where it stands, and how to repair it.

use std::{fmt, ops::Range};

use crate::Invalid;

/// A mistake in a text. Printed, it has the reason, the remedy, and the text with the place underlined.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mistake {
    /// The whole text.
    pub text: String,
    /// The bytes that are wrong. An empty range at the end: something is missing there.
    pub place: Range<usize>,
    /// What is wrong, and the remedy.
    pub why: String,
}

impl Mistake {
    pub(crate) fn new(text: &str, place: Range<usize>, why: impl Into<String>) -> Self {
        let end = place.end.min(text.len());
        Self { text: text.to_owned(), place: place.start.min(end)..end, why: why.into() }
    }

    /// The same mistake in a longer text, in which this text begins at `offset`.
    pub(crate) fn within(self, whole: &str, offset: usize) -> Self {
        Self::new(whole, self.place.start + offset..self.place.end + offset, self.why)
    }

    /// As an error about `what`.
    pub(crate) fn of(self, what: &'static str) -> Invalid {
        Invalid::new(what, self.to_string())
    }

    /// How many characters stand before the place.
    fn column(&self) -> usize {
        self.text.char_indices().filter(|(at, _)| *at < self.place.start).count()
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let marked = self.text.char_indices().filter(|(at, _)| self.place.contains(at)).count().max(1);
        let column = self.column();
        write!(f, "is wrong at character {}: {}\n  {shown}\n  ", column + 1, self.why)?;
        write!(f, "{}{}", " ".repeat(column), "^".repeat(marked))
    }
}

impl std::error::Error for Mistake {}
