//! `backroom schedules preview`: what an expression means and when it fires.

use backroom::core::schedule::FREQUENT_GAP;
use clap::Args;

use super::options::WhenOptions;
use crate::{
    bodies::schedule::PreviewBody,
    settings::Settings,
    terminal::{
        Problem, now, out,
        parse::{MomentText, moment},
        table::{self, Column, cell},
        words,
    },
    views::preview::{NEXT_DEFAULT, OccurrenceView, PreviewView, preview},
};

/// Show what an expression means and when it fires; needs no store
///
/// The description says whether the two fields for days are joined by AND or OR. Occurrences at which the clocks of the zone are changed
/// are marked. With --server the server computes it, with its own copy of the time zones.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backroom schedules preview '0 2 * * *' --zone Europe/Oslo --next 5
  backroom schedules preview 'every 90m' '@daily' --except '* * * * sun'
  backroom schedules preview '30 2 * * *' --zone Europe/Oslo --at 2027-03-27 --dst literal
  backroom schedules preview --name nightly --next 30

With --json: {\"description\", \"zone\", \"now\", \"next\": [{\"at\", \"local\", \"clocks\", \"offset_changed\"}], \"previous\",
\"shortest_gap_ms\", \"needs_frequent\"}.")]
pub(super) struct PreviewArgs {
    /// When it fires; several are a union
    #[arg(value_name = "EXPR", required_unless_present = "name")]
    when: Vec<String>,

    /// Preview this schedule of the store instead
    #[arg(long, value_name = "NAME", conflicts_with_all = ["when", "zone", "except", "starts_at", "ends_at", "dst"])]
    name: Option<String>,

    #[command(flatten)]
    options: WhenOptions,

    /// How many of the next occurrences, at most 1000
    #[arg(long, short, value_name = "N", default_value_t = NEXT_DEFAULT)]
    next: usize,

    /// How many of the previous occurrences, at most 1000
    #[arg(long, value_name = "N", default_value_t = 0)]
    previous: usize,

    /// Preview from this moment on [default: now]
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    at: Option<MomentText>,
}

impl PreviewArgs {
    /// Whether a store is used.
    pub(super) fn needs_a_store(&self) -> bool {
        self.name.is_some()
    }
}

pub(super) async fn run(args: PreviewArgs, settings: &Settings) -> Result<(), Problem> {
    let at = args.at.map(|at| at.ahead(now())).transpose();
    let at = at.map_err(|why| Problem::new("read --at", &why))?;
    if let Some(name) = &args.name {
        let read = async |target: &crate::target::Target| {
            target.preview_schedule(name, at, args.next, args.previous).await
        };
        return show(&settings.with_target(super::READ, read).await?, settings);
    }
    let schedule = args.options.form(&args.when)?.schedule("preview")?;
    let shown = match settings.remote()? {
        Some(remote) => {
            let body = PreviewBody::new(&schedule, at, args.next, args.previous);
            remote.send(hyper::Method::POST, "/v1/schedule-preview", &body).await?
        }
        None => preview(&schedule, at.unwrap_or_else(now), args.next, args.previous)?,
    };
    show(&shown, settings)
}

/// The preview as JSON, or as a description and a table.
pub(super) fn show(view: &PreviewView, settings: &Settings) -> Result<(), Problem> {
    if settings.json {
        return out::json(view, settings.terminal);
    }
    out::line(&view.description)?;
    if view.needs_frequent {
        let gap = words::span(FREQUENT_GAP);
        out::line(format_args!(
            "fires more often than every {gap}: a schedule must say `frequent` for that"
        ))?;
    }
    if view.next.is_empty() && view.previous.is_empty() {
        return out::line("no occurrence from there on");
    }
    let mut rows = table::table(
        settings.style(),
        &[
            Column::Number("#"),
            Column::Whole("LOCAL"),
            Column::Whole("UTC"),
            Column::Text("WHEN"),
            Column::Text("CLOCKS"),
        ],
    );
    let past = view.previous.iter().enumerate().rev().map(|(index, past)| (format!("-{}", index + 1), past));
    let ahead = view.next.iter().enumerate().map(|(index, next)| (format!("{}", index + 1), next));
    for (number, occurrence) in past.chain(ahead) {
        rows.add_row(vec![
            cell(number),
            cell(occurrence.local.replace('T', " ")),
            cell(occurrence.at.to_string()),
            cell(words::from_now(occurrence.at, view.now)),
            cell(clocks(occurrence)),
        ]);
    }
    table::narrow(&mut rows, &[3]);
    table::show(&rows)
}

/// What the clocks do there, in words.
pub(super) fn clocks(occurrence: &OccurrenceView) -> String {
    match &occurrence.clocks {
        Some(clocks) => clocks.words.clone(),
        None if occurrence.offset_changed => "the offset has changed".into(),
        None => String::new(),
    }
}
