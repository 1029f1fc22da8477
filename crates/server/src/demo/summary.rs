//! The words at the beginning and at the end.

use std::time::Duration;

use backroom::{JobRow, State};

use super::{
    Places,
    jobs::PathText,
    office::{Begin, Run},
    view::{STEPS, Tally, pictures_with_reasons},
    watch::{End, Watch},
};

/// Most pictures that are named with their reason, of each sort.
const NAMED_MAX: usize = 6;

/// What was found from an earlier run; nothing when there was none.
pub(crate) fn left_by_earlier(begin: Begin, tally: Tally, missing: usize, held: usize) -> Vec<String> {
    let (before, jobs) = (tally.before, tally.jobs + missing);
    let mut lines = Vec::new();
    if before > 0 && before == jobs {
        lines.push(format!("From an earlier run: all {jobs} thumbnail jobs were done before."));
    } else if before > 0 || tally.jobs > 0 {
        lines.push(format!("Going on: {before} of {jobs} thumbnail jobs were done before."));
    }
    if let Begin::GoOn(number) = begin {
        lines.push(format!("Order {number} was not finished; it goes on."));
    }
    if held > 0 {
        lines.push(format!(
            "{held} jobs were in the hands of a process that is gone (or still at work): they come back when its \
             lease ends, within seconds."
        ));
    }
    lines
}

/// The end of a run, in lines; and whether all that it answers for was done.
pub(crate) fn of(watch: &Watch<'_>, places: &Places, end: End, took: Duration) -> (Vec<String>, bool) {
    let tally = Tally::of(&watch.ledger);
    let office = watch.office();
    let left = tally.jobs - tally.finished();
    let is_all = end == End::Done && tally.given_up == 0 && office.is_some_and(|(_, run)| run.is_done());

    let mut lines = vec![match end {
        End::Done if is_all => format!("Done in {:.1} s.", took.as_secs_f64()),
        End::Done | End::Unsettled => format!("Not all was done in {:.1} s:", took.as_secs_f64()),
        End::Stopped => format!("Stopped after {:.1} s.", took.as_secs_f64()),
    }];
    let mut line = |name: &str, what: String| lines.push(format!("  {name:<11} {what}"));

    let made = pictures_with_reasons(&watch.ledger, places, |state, _| state == State::Completed);
    let refused = pictures_with_reasons(&watch.ledger, places, |state, is_refused| {
        state == State::Discarded && is_refused
    });
    let given_up = pictures_with_reasons(&watch.ledger, places, |state, is_refused| {
        state == State::Discarded && !is_refused
    });
    let gone = pictures_with_reasons(&watch.ledger, places, |state, _| state == State::Cancelled);

    line("pictures", format!("{} with thumbnails, {} discarded", made.len(), refused.len()));
    let new = tally.made - tally.made_before;
    line(
        "thumbnails",
        match tally.made_before {
            0 => format!("{new} made, in {}", places.out_shown),
            before => format!("{new} made, {before} were made before, in {}", places.out_shown),
        },
    );
    for (name, pictures) in [("discarded", refused), ("given up", given_up), ("cancelled", gone)] {
        let more = pictures.len().saturating_sub(NAMED_MAX);
        for (picture, reason) in pictures.into_iter().take(NAMED_MAX) {
            line(name, format!("{picture}: {reason}"));
        }
        if more > 0 {
            line("", format!("and {more} more"));
        }
    }
    for file in watch.unsettled().iter().take(if end == End::Unsettled { NAMED_MAX } else { 0 }) {
        line("left", format!("{}: it goes on changing", file.display()));
    }
    if left > 0 {
        line("left", format!("{left} jobs; they wait in the store, start the demo again to go on"));
    }
    if let Some((number, run)) = office {
        line(&format!("order {number}"), order(run));
        line("report", report(run, places));
    }
    (lines, is_all)
}

fn order(run: &Run) -> String {
    let words = run.order().into_iter().zip(STEPS).map(|(row, word)| match row {
        Some(row) if row.state == State::Completed && row.attempt > 1 => {
            format!("{word} at attempt {}", row.attempt)
        }
        Some(row) if row.state == State::Completed => word.to_owned(),
        Some(JobRow { reason: Some(reason), .. }) => format!("not {word}: {reason}"),
        Some(_) | None => format!("not {word}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn report(run: &Run, places: &Places) -> String {
    let Some(row) = &run.report else { return "not written".into() };
    let written = row.output.as_ref().and_then(|output| output.decode::<PathText>().ok());
    match (written, &row.reason) {
        (Some(path), _) => places.show(path.as_path()),
        (None, Some(reason)) => format!("not written: {reason}"),
        (None, None) => "not written".into(),
    }
}
