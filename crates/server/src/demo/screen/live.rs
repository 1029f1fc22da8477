//! Bars that move, on a terminal.

use std::{io, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    demo::view::{View, order_line, report_line},
    terminal::{Problem, out, stderr, visible},
};

/// Most lines for thumbnails being made: the whole must fit on a screen.
const RUNNING_MAX: u32 = 8;
/// How often the spinners turn.
const TURN: Duration = Duration::from_millis(120);

/// The moving part of the screen.
pub(crate) struct Live {
    all: MultiProgress,
    thumbnails: ProgressBar,
    running: Vec<ProgressBar>,
    order: ProgressBar,
    report: ProgressBar,
    busy: ProgressStyle,
    free: ProgressStyle,
    is_attached: bool,
}

impl Live {
    pub(super) fn new(slots: u32, color: bool) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        // Hidden until there is something to show, so that the first line is not an empty bar.
        let line = |template: &ProgressStyle| {
            let bar = ProgressBar::hidden();
            bar.set_style(template.clone());
            bar
        };
        let [counted, busy, said] = if color {
            [
                "  {prefix:<11.bold} {bar:30.green/dim} {pos} of {len}  {wide_msg:.dim}",
                "  {spinner:>11.cyan} {wide_msg:.dim}",
                "  {prefix:<11.bold} {wide_msg}",
            ]
        } else {
            [
                "  {prefix:<11} {bar:30} {pos} of {len}  {wide_msg}",
                "  {spinner:>11} {wide_msg}",
                "  {prefix:<11} {wide_msg}",
            ]
        };
        let (busy, free, said) = (style(busy), style(" "), style(said));
        let thumbnails = line(&style(counted));
        let running = (0..slots.clamp(1, RUNNING_MAX)).map(|_| line(&free)).collect();
        let (order, report) = (line(&said), line(&said));
        Self { all, thumbnails, running, order, report, busy, free, is_attached: false }
    }

    pub(super) fn say(&self, line: &str) -> Result<(), Problem> {
        // Not through `println` of the bars: it pads each line to the width of the terminal.
        self.all.suspend(|| out::line(line))
    }

    pub(super) fn show(&mut self, view: &View) {
        self.attach();
        let tally = view.tally;
        self.thumbnails.set_prefix("thumbnails");
        self.thumbnails.set_length(tally.jobs as u64);
        self.thumbnails.set_position(tally.finished() as u64);
        self.thumbnails.set_message(match tally.refused {
            0 => String::new(),
            refused => format!("{refused} discarded"),
        });
        let doing = view.running.iter().map(|running| match running.doing.as_str() {
            "" => visible::line(&running.what).into_owned(),
            doing => visible::line(&format!("{}  {doing}", running.what)).into_owned(),
        });
        // A line without a job stays, empty: lines that come and go make the eye jump.
        for (bar, doing) in self.running.iter().zip(doing.map(Some).chain(std::iter::repeat(None))) {
            let (style, doing) = match doing {
                Some(doing) => (&self.busy, doing),
                None => (&self.free, String::new()),
            };
            // Each setting draws the whole screen anew.
            if bar.message() != doing {
                bar.set_style(style.clone());
                bar.set_message(doing);
            }
        }
        if let Some(run) = &view.run {
            self.order.set_prefix(format!("order {}", run.number));
            self.order.set_message(visible::line(&order_line(&run.order)).into_owned());
            self.report.set_prefix("report");
            self.report.set_message(visible::line(&report_line(&run.report, tally)).into_owned());
        }
    }

    pub(super) fn clear(&mut self) -> io::Result<()> {
        for bar in self.running.iter().chain([&self.thumbnails, &self.order, &self.report]) {
            bar.finish_and_clear();
        }
        stderr::bars_are(None);
        self.all.clear()
    }

    /// Puts the lines on the screen, once.
    fn attach(&mut self) {
        if !self.is_attached {
            self.is_attached = true;
            stderr::bars_are(Some(self.all.clone()));
            self.all.add(self.thumbnails.clone());
            for bar in &self.running {
                self.all.add(bar.clone());
                bar.enable_steady_tick(TURN);
            }
            self.all.add(self.order.clone());
            self.all.add(self.report.clone());
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("invariant: the templates are ours and parse")
        .progress_chars("━━╌")
        .tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
}
