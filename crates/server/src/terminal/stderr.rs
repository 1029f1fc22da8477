//! Lines on stderr while bars move on stdout: on a terminal the two share the screen.

use std::{
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

use indicatif::MultiProgress;

/// The bars on the screen, if there are any. Global, because notices are written from anywhere in the program.
static BARS: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// stderr for notices: takes the bars off the screen while it writes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BesideBars;

/// From now on these bars share the screen with notices; none when they are gone.
pub(crate) fn bars_are(bars: Option<MultiProgress>) {
    *BARS.lock().unwrap_or_else(PoisonError::into_inner) = bars;
}

impl Write for BesideBars {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let bars = BARS.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let write = || io::stderr().lock().write(line);
        match bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
