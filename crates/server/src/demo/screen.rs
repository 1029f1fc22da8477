//! What the user sees while the demo runs: bars that move on a terminal, plain lines elsewhere, and on stderr when
//! a program reads the answer.

use std::{collections::BTreeSet, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{office::Office, summary::Tally};
use crate::{
    settings::Settings,
    terminal::{Problem, out, stderr, visible},
};

/// How often the spinner turns.
const TURN: Duration = Duration::from_millis(120);
/// Most lines that are remembered; the summary has what is beyond.
const LINES_MAX: usize = 100;

/// Where the demo is shown.
pub(crate) struct Screen {
    /// Standard output is a terminal: the thumbnails and the order, one bar each.
    bars: Option<(MultiProgress, [ProgressBar; 2])>,
    /// Whether lines go to stderr, because stdout is for the answer.
    is_aside: bool,
    /// Lines that were written and are not written again.
    said: BTreeSet<String>,
}

impl Screen {
    /// The screen that fits standard output.
    pub(crate) fn open(settings: &Settings) -> Self {
        let is_live = settings.terminal && !settings.json;
        Self { bars: is_live.then(bars), is_aside: settings.json, said: BTreeSet::new() }
    }

    /// Writes a line that stays.
    pub(crate) fn say(&self, line: impl AsRef<str>) -> Result<(), Problem> {
        match &self.bars {
            // Not through `println` of the bars: it pads each line to the width of the terminal.
            Some((all, _)) => all.suspend(|| out::line(line.as_ref())),
            None if self.is_aside => {
                out::note(line.as_ref());
                Ok(())
            }
            None => out::line(line.as_ref()),
        }
    }

    /// Writes a line unless it was written before.
    pub(crate) fn say_once(&mut self, line: &str) -> Result<(), Problem> {
        // A bound on memory: each file could have a reason of its own.
        if self.said.len() < LINES_MAX && self.said.insert(line.to_owned()) { self.say(line) } else { Ok(()) }
    }

    /// The same for a line in which numbers change as time passes.
    fn say_news(&mut self, line: &str) -> Result<(), Problem> {
        let without_numbers = line.replace(|letter: char| letter.is_ascii_digit(), "");
        if self.said.insert(without_numbers) { self.say(line) } else { Ok(()) }
    }

    /// Shows this moment; `running` describes a thumbnail that is being made.
    pub(crate) fn show(&mut self, tally: Tally, running: &str, office: &Office) -> Result<(), Problem> {
        let order = format!("order {}", office.number);
        let Tally { thumbnails, finished, .. } = tally;
        let Some((all, bars)) = &self.bars else {
            let quarters = (finished * 4).checked_div(thumbnails).unwrap_or_default() as usize;
            let part = ["", "a quarter", "half", "three quarters", "all"][quarters];
            if quarters > 0 {
                self.say_news(&format!("thumbnails: {part} of {thumbnails} jobs finished"))?;
            }
            return self.say_news(&format!("{order}: {}", office.steps));
        };
        if bars[0].is_hidden() {
            bars.iter().for_each(|bar| drop(all.add(bar.clone())));
            bars[0].enable_steady_tick(TURN);
            stderr::bars_are(Some(all.clone()));
        }
        // A bar of nothing would be full.
        bars[0].set_length(thumbnails.max(1));
        bars[0].set_position(finished);
        let made = format!("{finished} of {thumbnails}  {running}");
        for (bar, (name, text)) in bars.iter().zip([("thumbnails", &made), (&order, &office.steps)]) {
            bar.set_prefix(name.to_owned());
            bar.set_message(visible::line(text).into_owned());
        }
        Ok(())
    }

    /// Takes the moving part away; what was said stays.
    pub(crate) fn clear(&mut self) -> Result<(), Problem> {
        let Some((all, bars)) = &self.bars else { return Ok(()) };
        bars.iter().for_each(ProgressBar::finish_and_clear);
        stderr::bars_are(None);
        all.clear().map_err(|error| Problem::of_writing(&error))
    }
}

/// Hidden until there is something to show, so that the first line is not an empty bar.
fn bars() -> (MultiProgress, [ProgressBar; 2]) {
    let templates = ["  {prefix:<11} {spinner} {bar:24} {wide_msg}", "  {prefix:<11} {wide_msg}"];
    let bars = templates.map(|template| {
        let style =
            ProgressStyle::with_template(template).expect("invariant: the templates are ours and parse");
        ProgressBar::hidden().with_style(style.progress_chars("━━╌"))
    });
    (MultiProgress::with_draw_target(ProgressDrawTarget::stdout()), bars)
}
