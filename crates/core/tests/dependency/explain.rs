//! Why a dependant waits.

use backroom_core::{
    State,
    dependency::{OnFailure, Waited, WaitsFor},
    explain::{Facts, Reason, explain},
};

use crate::{common::now, job_id, job_in};

fn waited(n: u128, state: State) -> Waited {
    Waited { job: job_id(n), kind: "charge".into(), state, on_failure: OnFailure::Wait }
}

#[test]
fn a_held_job_names_the_predecessors_that_are_waited_for() {
    let predecessors = vec![
        waited(1, State::Running),
        waited(2, State::Queued),
        waited(3, State::Discarded),
        waited(4, State::Waiting),
    ];
    let waits_for = Some(WaitsFor::new(12, predecessors));
    let reasons = explain(&job_in(9, State::Waiting), &Facts { waits_for, ..Facts::default() }, now());
    let [reason] = &reasons[..] else { panic!("{reasons:?}") };
    assert_eq!(
        reason.to_string(),
        "waits for 12 jobs: 00000000-0000-0000-0000-000000000003 (charge, discarded) until it is retried, \
         00000000-0000-0000-0000-000000000001 (charge, running), \
         00000000-0000-0000-0000-000000000002 (charge, queued), and 9 more"
    );
    let text = serde_json::to_string(reason).unwrap();
    assert!(text.starts_with(r#"{"reason":"waits_for","open":12,"predecessors":[{"job":"#), "{text}");
    assert_eq!(serde_json::from_str::<Reason>(&text).unwrap(), *reason);
}

#[test]
fn one_predecessor_is_named_alone() {
    let waits = WaitsFor::new(1, vec![waited(1, State::Running)]);
    assert_eq!(
        waits.to_string(),
        "waits for one job: 00000000-0000-0000-0000-000000000001 (charge, running)"
    );
}
