//! Schedules that are overdue, fail, missed occurrences lately, or that no process runs.

use std::time::Duration;

use backroom::{
    Backroom, Error, HealthCheck, Timestamp,
    core::bounds::{earlier, span_until},
    schedule::{ScheduleRow, What},
};

use super::check::check;
use crate::terminal::words;

/// Schedules in one read.
const PAGE: usize = 1000;
/// Most schedules that are looked at.
const READ_MAX: usize = 100_000;
/// Most names in one finding.
const NAMED: usize = 5;
/// A turn that has been due for so long is taken by no process.
const LATE: Duration = Duration::from_secs(120);
/// How far back missed occurrences are reported.
const LATELY: Duration = Duration::from_secs(24 * 3600);
/// Most schedules whose history is read, and entries of each.
const HISTORIES: usize = 100;
const ENTRIES: usize = 50;

/// What was found of the schedules.
#[derive(Debug, Default)]
struct Found {
    total: usize,
    overdue: Vec<String>,
    failing: Vec<String>,
    unreadable: Vec<String>,
    late: Vec<String>,
    missed: Vec<String>,
}

pub(super) async fn schedules(backroom: &Backroom, now: Timestamp) -> HealthCheck {
    check("schedules", async {
        let mut found = Found::default();
        let mut with_missed = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = backroom.store().schedules(after.as_deref(), PAGE).await?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|last| last.name.clone());
            for row in &page {
                found.add(row, now, &mut with_missed);
            }
            if is_last || found.total >= READ_MAX {
                break;
            }
        }
        for name in with_missed.iter().take(HISTORIES) {
            if let Some(said) = missed(backroom, name, now).await? {
                found.missed.push(said);
            }
        }
        Ok(found.said())
    })
    .await
}

/// What a schedule missed lately, by its history.
async fn missed(backroom: &Backroom, name: &str, now: Timestamp) -> Result<Option<String>, Error> {
    let since = earlier(now, LATELY);
    let entries = backroom.store().entries(name, None, ENTRIES).await?;
    let missed = entries.iter().filter(|entry| entry.at >= since);
    let count: u64 = missed
        .filter(|entry| matches!(entry.what, What::Passed(why) if why.is_missed()))
        .map(|entry| entry.count)
        .sum();
    Ok((count > 0).then(|| format!("{name} ({})", words::thousands(count))))
}

impl Found {
    fn add(&mut self, row: &ScheduleRow, now: Timestamp, with_missed: &mut Vec<String>) {
        self.total += 1;
        let (definition, state) = match (row.schedule(), row.state()) {
            (Ok(definition), Ok(state)) => (definition, state),
            (Err(_), _) | (_, Err(_)) => return self.unreadable.push(row.name.clone()),
        };
        if let Some(since) = state.overdue_since {
            self.overdue.push(format!("{} ({})", row.name, words::from_now(since, now)));
        }
        if let Some(failing) = &state.failing {
            let why: String = failing.why.lines().next().unwrap_or_default().chars().take(120).collect();
            self.failing.push(format!("{} ({}: {why})", row.name, words::from_now(failing.since, now)));
        }
        let is_paused = definition.paused || state.paused.is_some();
        if !is_paused && state.failing.is_none() && row.next_at.is_some_and(|at| span_until(at, now) > LATE) {
            self.late.push(row.name.clone());
        }
        if state.counters.missed > 0 {
            with_missed.push(row.name.clone());
        }
    }

    fn said(&self) -> (bool, String) {
        let Self { total, overdue, failing, unreadable, late, missed } = self;
        let parts = [
            (late, "due for minutes, and no process runs them; start a worker or `backroom serve`"),
            (overdue, "overdue: no run succeeded in time"),
            (failing, "failing"),
            (unreadable, "put by a newer version or damaged; this version cannot read them"),
            (missed, "missed occurrences within the last day; `backroom schedules history NAME` says why"),
        ];
        let wrong: Vec<_> = parts
            .into_iter()
            .filter(|(names, _)| !names.is_empty())
            .map(|(names, what)| format!("{what}: {}", few(names)))
            .collect();
        match wrong.is_empty() {
            true => (true, format!("{}, none overdue or failing", words::count(*total as u64, "schedule"))),
            // What was missed is over; it is said, and is no fault of now.
            false => (wrong.len() == 1 && !missed.is_empty(), wrong.join("; ")),
        }
    }
}

fn few(names: &[String]) -> String {
    let shown = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_and_what_was_missed_is_said_without_a_fault() {
        let (ok, said) = Found { total: 3, ..Found::default() }.said();
        assert!(ok && said == "3 schedules, none overdue or failing", "{said}");
        let (ok, said) = Found { missed: vec!["nightly (2)".into()], ..Found::default() }.said();
        assert!(ok && said.ends_with("nightly (2)"), "{said}");
        let overdue = (0..7).map(|n| format!("s{n}")).collect();
        let (ok, said) = Found { overdue, missed: vec!["m (1)".into()], ..Found::default() }.said();
        assert!(!ok && said.contains("s4 and 2 more; missed"), "{said}");
    }
}
