//! What the user sees while the demo runs: bars that move on a terminal, plain lines elsewhere, and on stderr when
//! a program reads the answer.

mod live;
mod plain;

use super::{DemoError, view::View};
use crate::{settings::Settings, terminal::Problem};
use live::Live;
use plain::Plain;

/// Where the demo is shown.
pub(crate) enum Screen {
    /// Standard output is a terminal.
    Live(Live),
    /// It is a file, a pipe or a log.
    Plain(Plain),
}

impl Screen {
    /// The screen that fits standard output, with room for so many thumbnails being made at once.
    pub(crate) fn open(settings: &Settings, slots: u32) -> Self {
        if settings.terminal && !settings.json {
            Self::Live(Live::new(slots, settings.color))
        } else {
            Self::Plain(Plain::new(settings.json))
        }
    }

    /// Says something that stays.
    pub(crate) fn say(&mut self, line: impl AsRef<str>) -> Result<(), DemoError> {
        match self {
            Self::Live(live) => live.say(line.as_ref()),
            Self::Plain(plain) => plain.say(line.as_ref()),
        }
        .map_err(DemoError::from)
    }

    /// Shows this moment.
    pub(crate) fn show(&mut self, view: &View) -> Result<(), DemoError> {
        match self {
            Self::Live(live) => live.show(view),
            Self::Plain(plain) => plain.show(view)?,
        }
        Ok(())
    }

    /// Takes the moving part away; what was said stays.
    pub(crate) fn clear(&mut self) -> Result<(), DemoError> {
        match self {
            Self::Live(live) => live.clear().map_err(|error| Problem::of_writing(&error).into()),
            Self::Plain(_) => Ok(()),
        }
    }
}
