//! What the user sees while the demo runs: bars that move on a terminal, plain lines elsewhere, and on stderr when
//! a program reads the answer.

use std::time::Duration;

use backroom::Timestamp;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{office::Run, watch::Tally};
use crate::{
    settings::Settings,
    terminal::{Problem, out, stderr, visible},
};

/// How often the spinner turns.
const TURN: Duration = Duration::from_millis(120);
/// How many plain lines there are about the thumbnails from the first to the last.
const LINES: u64 = 5;

/// Where the demo is shown.
pub(crate) struct Screen {
    /// Standard output is a terminal: the thumbnails, the order and the report, one bar each.
    bars: Option<(MultiProgress, [ProgressBar; 3])>,
    /// Whether lines go to stderr, because stdout is for the answer.
    is_aside: bool,
    /// What plain lines said last: the fifth of the thumbnails, the order and whether the report was written.
    said: (Option<u64>, String, Option<bool>),
}

impl Screen {
    /// The screen that fits standard output.
    pub(crate) fn open(settings: &Settings) -> Self {
        let is_live = settings.terminal && !settings.json;
        Self { bars: is_live.then(bars), is_aside: settings.json, said: (None, String::new(), None) }
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

    /// Shows this moment; `running` describes a thumbnail that is being made.
    pub(crate) fn show(
        &mut self,
        tally: Tally,
        running: &str,
        office: Option<(u32, &Run)>,
        now: Timestamp,
    ) -> Result<(), Problem> {
        let Some((number, run)) = office else { return Ok(()) };
        let Some((all, bars)) = &self.bars else { return self.show_plain(tally, number, run, now) };
        let [thumbnails, order, report] = bars;
        if thumbnails.is_hidden() {
            bars.iter().for_each(|bar| drop(all.add(bar.clone())));
            thumbnails.enable_steady_tick(TURN);
            stderr::bars_are(Some(all.clone()));
        }
        thumbnails.set_prefix("thumbnails");
        thumbnails.set_length(tally.jobs);
        thumbnails.set_position(tally.finished);
        let discarded =
            if tally.discarded > 0 { format!("{} discarded  ", tally.discarded) } else { String::new() };
        thumbnails.set_message(discarded + &visible::line(running));
        order.set_prefix(format!("order {number}"));
        order.set_message(visible::line(&run.order_line(now)).into_owned());
        report.set_prefix("report");
        report.set_message(visible::line(&run.report_line(now)).into_owned());
        Ok(())
    }

    /// One line when something happened, none because time passed.
    fn show_plain(&mut self, tally: Tally, number: u32, run: &Run, now: Timestamp) -> Result<(), Problem> {
        let fifth = (tally.finished * LINES).checked_div(tally.jobs).unwrap_or_default();
        if self.said.0 != Some(fifth) && tally.finished > 0 {
            self.say(format!("thumbnails: {} of {} jobs done", tally.finished, tally.jobs))?;
        }
        self.said.0 = Some(fifth);
        let news = run.news();
        if news != self.said.1 && !news.is_empty() {
            self.say(format!("order {number}: {}", run.order_line(now)))?;
        }
        self.said.1 = news;
        // When it is due, and that it is written; its snoozes in between are no news.
        let is_finished = run.report().map(|row| row.state.is_finished());
        if is_finished.is_some() && self.said.2 != is_finished && self.said.2 != Some(true) {
            self.say(format!("report {number}: {}", run.report_line(now)))?;
        }
        self.said.2 = is_finished;
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
