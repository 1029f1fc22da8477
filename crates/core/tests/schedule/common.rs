//! What the tests of schedules share.

use backroom_core::{
    Json, Timestamp,
    schedule::{Schedule, ScheduledJob, Spec, Timetable, policy::Dst},
};

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().expect("a moment in the test")
}

pub(crate) fn spec(text: &str) -> Spec {
    text.parse().expect("a spec in the test")
}

pub(crate) fn schedule(text: &str) -> Schedule {
    Schedule::new("nightly", spec(text), ScheduledJob::new("report", Json::null()))
}

pub(crate) fn timetable(text: &str, zone: &str, dst: Dst) -> Timetable {
    Timetable::new(&[spec(text)], &[], zone, dst).expect("a timetable in the test")
}

/// The next occurrences on the wall clock of the zone.
pub(crate) fn next(timetable: &Timetable, after: &str, count: usize) -> Vec<String> {
    timetable.next_few(at(after), count).into_iter().map(|at| local(timetable, at)).collect()
}

pub(crate) fn local(timetable: &Timetable, at: Timestamp) -> String {
    at.display_with_offset(timetable.zone().to_offset(at)).to_string()
}
