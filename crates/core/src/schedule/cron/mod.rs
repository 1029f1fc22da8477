//! Cron expressions.
//!
//! [`Cron::parse`] reads one. What it means on the wall clock is computed in `next`; zones come later.

mod fields;
mod item;
mod next;
mod parse;

pub(crate) use fields::{Fields, Stars};

use jiff::civil::DateTime;

use super::{Mistake, zone::WallClock};

/// How an expression is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Five fields, or six with the seconds first; Sunday is 0 or 7; day of month OR day of week as Vixie cron has it.
    Vixie,
    /// As Quartz: seconds first and an optional year last; Sunday is 1; one of the two fields for days is `?`.
    Quartz,
}

/// A parsed expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    pub(crate) text: String,
    pub(crate) dialect: Dialect,
    pub(crate) fields: Fields,
}

impl Cron {
    /// Reads an expression. The error names the place and the remedy. An expression that can never fire is refused.
    pub fn parse(text: &str, dialect: Dialect) -> Result<Self, Mistake> {
        let fields = parse::fields(text, dialect)?;
        if !fields.ever_fires() {
            let why = "can never fire: no month that it allows has such a day; change the day or the month";
            return Err(Mistake::new(text, parse::dates_place(text, dialect), why));
        }
        Ok(Self { text: text.trim().to_owned(), dialect, fields })
    }

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How it is read.
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The first moment of the wall clock at or after `from`.
    pub fn at_or_after(&self, from: DateTime) -> Option<DateTime> {
        WallClock::at_or_after(&self.fields, from)
    }

    /// The last moment of the wall clock at or before `until`.
    pub fn at_or_before(&self, until: DateTime) -> Option<DateTime> {
        WallClock::at_or_before(&self.fields, until)
    }

    /// Whether Vixie cron goes by the wall clock also where the offset changes: the field of the minute or of the hour begins
    /// with `*`. All other jobs run once.
    pub(crate) const fn is_wildcard(&self) -> bool {
        self.fields.stars.minute || self.fields.stars.hour
    }
}
