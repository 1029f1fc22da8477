//! What the user sees while the demo runs: bars that move on a terminal, plain lines elsewhere.

mod live;
mod plain;

use std::io::IsTerminal;

use super::{DemoError, view::View};
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
    pub(crate) fn open(slots: u32) -> Self {
        if std::io::stdout().is_terminal() {
            Self::Live(Live::new(slots))
        } else {
            Self::Plain(Plain::default())
        }
    }

    /// Says something that stays.
    pub(crate) fn say(&mut self, line: impl AsRef<str>) -> Result<(), DemoError> {
        match self {
            Self::Live(live) => live.say(line.as_ref()),
            Self::Plain(plain) => plain.say(line.as_ref()),
        }
        .map_err(DemoError::io("write to standard output"))
    }

    /// Shows how far the drawing is.
    pub(crate) fn drawing(&mut self, drawn: u16, of: u16) -> Result<(), DemoError> {
        match self {
            Self::Live(live) => {
                live.drawing(drawn, of);
                Ok(())
            }
            Self::Plain(plain) => plain.drawing(drawn, of).map_err(DemoError::io("write to standard output")),
        }
    }

    /// Shows this moment.
    pub(crate) fn show(&mut self, view: &View) -> Result<(), DemoError> {
        match self {
            Self::Live(live) => {
                live.show(view);
                Ok(())
            }
            Self::Plain(plain) => plain.show(view).map_err(DemoError::io("write to standard output")),
        }
    }

    /// Takes the moving part away; what was said stays.
    pub(crate) fn clear(&mut self) -> Result<(), DemoError> {
        match self {
            Self::Live(live) => live.clear().map_err(DemoError::io("write to standard output")),
            Self::Plain(_) => Ok(()),
        }
    }
}
