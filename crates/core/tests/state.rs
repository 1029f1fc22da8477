//! The stored states and how jobs are shown.

mod common;

use std::collections::BTreeSet;

use backroom_core::{AttemptEnd, DisplayState, JobId, JobRow, LeaseId, State};
use common::{at, finished, now, queued, running, starts};

#[test]
fn a_state_is_read_back_from_every_way_it_is_written() {
    for state in State::ALL {
        assert_eq!(state.as_str().parse(), Ok(state));
        assert_eq!(state.to_string(), state.as_str());
        let text = serde_json::to_string(&state).expect("encodes");
        assert_eq!(text, format!("{:?}", state.as_str()));
        assert_eq!(serde_json::from_str::<State>(&text).expect("decodes"), state);
    }
    let names: BTreeSet<_> = State::ALL.map(State::as_str).into();
    assert_eq!(names.len(), State::ALL.len(), "no two states share a name");
}

#[test]
fn an_unknown_state_is_refused_with_the_known_ones() {
    for text in ["", "Queued", " queued", "available", "failed"] {
        let said = text.parse::<State>().expect_err(text).to_string();
        assert!(said.contains("queued, running, waiting, completed, cancelled, discarded"), "{said}");
    }
}

#[test]
fn three_states_are_finished() {
    let finished: Vec<_> = State::ALL.into_iter().filter(|state| state.is_finished()).collect();
    assert_eq!(finished, [State::Completed, State::Cancelled, State::Discarded]);
}

#[test]
fn a_queued_job_is_shown_by_whether_it_is_due_and_was_tried() {
    let fresh = JobRow { attempt: 0, ..queued() };
    let cases = [
        (JobRow { scheduled_at: at(1), ..fresh.clone() }, DisplayState::Scheduled),
        (JobRow { scheduled_at: at(1), attempt: 1, ..fresh.clone() }, DisplayState::Retrying),
        (JobRow { scheduled_at: at(1), crashes: 1, ..fresh.clone() }, DisplayState::Retrying),
        (JobRow { scheduled_at: now(), ..fresh.clone() }, DisplayState::Available),
        (JobRow { scheduled_at: at(-1), attempt: 1, ..fresh }, DisplayState::Available),
        (running(), DisplayState::Running),
        (JobRow { state: State::Waiting, lease_until: None, ..running() }, DisplayState::Waiting),
        (finished(State::Completed), DisplayState::Completed),
        (finished(State::Cancelled), DisplayState::Cancelled),
        (finished(State::Discarded), DisplayState::Discarded),
    ];
    for (job, shown) in &cases {
        assert_eq!(job.shown(now()), *shown, "{job:?}");
    }
    let seen: BTreeSet<_> = cases.into_iter().map(|(_, shown)| shown).collect();
    assert_eq!(seen, DisplayState::ALL.into(), "each is shown for some job");
}

#[test]
fn only_a_queued_job_is_shown_under_another_name_than_its_state() {
    for (situation, job) in starts() {
        let same = job.shown(now()).as_str() == job.state.as_str();
        assert_eq!(same, job.state != State::Queued, "{situation}");
    }
}

#[test]
fn a_name_is_the_same_on_pages_and_in_json() {
    for shown in DisplayState::ALL {
        let text = serde_json::to_string(&shown).expect("encodes");
        assert_eq!(text, format!("\"{shown}\""));
    }
}

#[test]
fn names_are_padded_in_tables() {
    assert_eq!(format!("{:<10}|", State::Queued), "queued    |");
    assert_eq!(format!("{:>10}|", DisplayState::Retrying), "  retrying|");
}

#[test]
fn an_end_of_an_attempt_is_read_back_from_every_way_it_is_written() {
    for end in AttemptEnd::ALL {
        assert_eq!(end.to_string().parse(), Ok(end));
        assert_eq!(serde_json::to_string(&end).expect("encodes"), format!("\"{end}\""));
    }
    "late".parse::<AttemptEnd>().expect_err("unknown");
}

#[test]
fn ids_are_read_back_and_nonsense_is_refused() {
    let text = "01890a5d-ac96-774b-bcce-b302099a8057";
    assert_eq!(text.parse::<JobId>().expect("parses").to_string(), text);
    assert_eq!(format!(" {text}\n").parse::<JobId>().expect("trimmed").to_string(), text);
    assert_eq!(text.parse::<LeaseId>().expect("parses").to_string(), text);
    for nonsense in ["", "7", "01890a5d-ac96-774b-bcce-b302099a805"] {
        let said = nonsense.parse::<JobId>().expect_err("not an id").to_string();
        assert!(said.contains("is not a UUID, like"), "{said}");
        nonsense.parse::<LeaseId>().expect_err("not an id");
    }
}
