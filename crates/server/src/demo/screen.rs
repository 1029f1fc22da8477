//! What the user sees while the demo runs: bars that move on a terminal, plain lines elsewhere, and on stderr when
//! a program reads the answer.

use std::{collections::BTreeSet, time::Duration};

use backroom::Timestamp;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{office::Run, watch::Tally};
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
    /// Standard output is a terminal: the thumbnails, the order and the report, one bar each.
    bars: Option<(MultiProgress, [ProgressBar; 3])>,
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

    /// Writes a line unless it was written before, which `key` decides.
    pub(crate) fn say_once(&mut self, key: String, line: &str) -> Result<(), Problem> {
        // A bound on memory: each file could have a reason of its own.
        if self.said.len() < LINES_MAX && self.said.insert(key) { self.say(line) } else { Ok(()) }
    }

    /// Shows this moment; `running` describes a thumbnail that is being made.
    pub(crate) fn show(
        &mut self,
        tally: Tally,
        running: &str,
        (number, run): (u32, &Run),
        now: Timestamp,
    ) -> Result<(), Problem> {
        let (order, report) = (run.order_line(now), run.report_line(now));
        let Some((all, bars)) = &self.bars else {
            let fifth = (tally.finished * 5).checked_div(tally.jobs).unwrap_or_default();
            let thumbnails = format!("thumbnails: {} of {} jobs done", tally.finished, tally.jobs);
            self.say_once(format!("{fifth} of {}", tally.jobs), &thumbnails)?;
            // A line when something happened, none because time passed.
            let without_numbers = |text: &str| text.replace(|letter: char| letter.is_ascii_digit(), "");
            self.say_once(without_numbers(&order), &format!("order {number}: {order}"))?;
            return self.say_once(without_numbers(&report), &format!("report {number}: {report}"));
        };
        if bars[0].is_hidden() {
            bars.iter().for_each(|bar| drop(all.add(bar.clone())));
            bars[0].enable_steady_tick(TURN);
            stderr::bars_are(Some(all.clone()));
        }
        bars[0].set_length(tally.jobs);
        bars[0].set_position(tally.finished);
        let discarded =
            if tally.discarded > 0 { format!("{} discarded  ", tally.discarded) } else { String::new() };
        let rows = [
            ("thumbnails".into(), discarded + running),
            (format!("order {number}"), order),
            ("report".into(), report),
        ];
        for (bar, (name, text)) in bars.iter().zip(rows) {
            bar.set_prefix(name);
            bar.set_message(visible::line(&text).into_owned());
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
fn bars() -> (MultiProgress, [ProgressBar; 3]) {
    let line = "  {prefix:<11} {wide_msg}";
    let bars = ["  {prefix:<11} {spinner} {bar:30} {pos} of {len}  {wide_msg}", line, line].map(|template| {
        let style =
            ProgressStyle::with_template(template).expect("invariant: the templates are ours and parse");
        ProgressBar::hidden().with_style(style.progress_chars("━━╌"))
    });
    (MultiProgress::with_draw_target(ProgressDrawTarget::stdout()), bars)
}
