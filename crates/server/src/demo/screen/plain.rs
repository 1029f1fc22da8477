//! Plain lines for files, pipes and logs: one when something happened, none because time passed.

use std::mem::discriminant;

use crate::{
    demo::view::{Step, View, order_line, report_line},
    terminal::{Problem, out},
};

/// How many lines tell of the thumbnails from the first to the last.
const LINES: usize = 5;

/// Remembers what was said, so as not to say it twice.
pub(crate) struct Plain {
    /// Whether the lines go to stderr, because stdout is for the answer.
    is_aside: bool,
    said: Option<View>,
    fifth: usize,
}

impl Plain {
    pub(super) fn new(is_aside: bool) -> Self {
        Self { is_aside, said: None, fifth: 0 }
    }

    pub(super) fn say(&self, line: &str) -> Result<(), Problem> {
        if self.is_aside {
            out::note(line);
            return Ok(());
        }
        out::line(line)
    }

    pub(super) fn show(&mut self, view: &View) -> Result<(), Problem> {
        let tally = view.tally;
        let fifth = (tally.finished() * LINES).checked_div(tally.jobs).unwrap_or_default();
        let was_finished = self.said.as_ref().map_or(tally.before, |said| said.tally.finished());
        if fifth != self.fifth && tally.finished() > was_finished {
            self.say(&format!("thumbnails: {} of {} jobs done", tally.finished(), tally.jobs))?;
        }
        self.fifth = fifth;
        if let Some(run) = &view.run {
            let before = self.said.as_ref().and_then(|said| said.run.as_ref());
            let news = run.order.clone().map(told);
            let was_told = before.map(|before| before.order.clone().map(told));
            if is_news(&news, was_told.as_ref()) {
                self.say(&format!("order {}: {}", run.number, order_line(&news)))?;
            }
            // When it is due, and that it is written; its snoozes in between are no news.
            let report_is_news = match (&run.report, before.map(|before| is_end(&before.report))) {
                (Step::Scheduled(_), None) => true,
                (report, Some(false) | None) => is_end(report),
                (_, Some(true)) => false,
            };
            if report_is_news {
                self.say(&format!("report {}: {}", run.number, report_line(&run.report, tally)))?;
            }
        }
        self.said = Some(view.clone());
        Ok(())
    }
}

fn is_end(step: &Step) -> bool {
    matches!(step, Step::Done(_) | Step::Ended(_))
}

/// What of a step is worth a line: how it ended, or that it failed and is tried again.
fn told(step: Step) -> Step {
    match step {
        Step::Done(_) | Step::Retrying(..) | Step::Ended(_) => step,
        Step::NotYet | Step::Available | Step::Scheduled(_) | Step::Running(_) => Step::NotYet,
    }
}

/// Whether a step is told that was not told so before.
fn is_news(told: &[Step; 3], before: Option<&[Step; 3]>) -> bool {
    told.iter().enumerate().any(|(index, step)| {
        let before = before.map_or(&Step::NotYet, |before| &before[index]);
        *step != Step::NotYet && discriminant(step) != discriminant(before)
    })
}
