//! What each happening does to each edge.

use backroom_core::dependency::{EdgeState, EdgesOf, Happening, OnFailure, Rule};

use crate::{common::id, job_in};
use backroom_core::State;

/// By policy and happening: the state of an open edge; of a met one whose dependant waits; of one whose dependant does not wait.
const TABLE: [(OnFailure, Happening, [EdgeState; 3]); 15] = {
    use EdgeState::{Broken, Met, Open};
    use Happening::{Again, Cancelled, Completed, Deleted, Discarded};
    use OnFailure::{Cancel, Run, Wait};
    [
        (Cancel, Completed, [Met, Met, Met]),
        (Cancel, Cancelled, [Broken, Met, Met]),
        (Cancel, Discarded, [Broken, Met, Met]),
        (Cancel, Deleted, [Broken, Met, Met]),
        (Cancel, Again, [Open, Open, Met]),
        (Run, Completed, [Met, Met, Met]),
        (Run, Cancelled, [Met, Met, Met]),
        (Run, Discarded, [Met, Met, Met]),
        (Run, Deleted, [Met, Met, Met]),
        (Run, Again, [Open, Open, Met]),
        (Wait, Completed, [Met, Met, Met]),
        (Wait, Cancelled, [Open, Met, Met]),
        (Wait, Discarded, [Open, Met, Met]),
        (Wait, Deleted, [Broken, Met, Met]),
        (Wait, Again, [Open, Open, Met]),
    ]
};

#[test]
fn every_edge_takes_the_state_of_the_table() {
    for (policy, happening, [open, met_waits, met]) in TABLE {
        let case = format!("{policy}, {happening:?}");
        for waits in [false, true] {
            let after = |state: EdgeState| state.after(policy, happening, waits);
            assert_eq!(after(EdgeState::Open), open, "{case}");
            assert_eq!(after(EdgeState::Met), if waits { met_waits } else { met }, "{case}");
            assert_eq!(after(EdgeState::Broken), EdgeState::Broken, "{case}");
            assert_eq!(after(EdgeState::Waived), EdgeState::Waived, "{case}");
        }
    }
    assert_eq!(TABLE.len(), OnFailure::ALL.len() * Happening::ALL.len());
}

#[test]
fn the_rules_for_statements_say_the_same_as_the_table() {
    for happening in Happening::ALL {
        let rules = happening.rules();
        for policy in OnFailure::ALL {
            for from in EdgeState::ALL {
                for waits in [false, true] {
                    let is_meant = |rule: &&Rule| {
                        rule.on_failure == policy && rule.from == from && (waits || !rule.only_waiting)
                    };
                    let to = rules.iter().find(is_meant).map_or(from, |rule| rule.to);
                    assert_eq!(to, from.after(policy, happening, waits), "{policy} {from:?} {happening:?}");
                }
            }
        }
    }
}

#[test]
fn a_second_report_of_the_same_happening_changes_nothing() {
    for happening in Happening::ALL {
        for policy in OnFailure::ALL {
            for from in EdgeState::ALL {
                for waits in [false, true] {
                    let once = from.after(policy, happening, waits);
                    assert_eq!(once.after(policy, happening, waits), once);
                }
            }
        }
    }
}

#[test]
fn names_come_back_and_others_are_refused() {
    for policy in OnFailure::ALL {
        assert_eq!(policy.as_str().parse(), Ok(policy));
        assert_eq!(serde_json::to_string(&policy).unwrap(), format!("{:?}", policy.as_str()));
    }
    for state in EdgeState::ALL {
        assert_eq!(state.as_str().parse(), Ok(state));
    }
    let refused = "never".parse::<OnFailure>().unwrap_err();
    assert_eq!(refused.to_string(), r#"policy of an edge "never" is unknown; use cancel, run or wait"#);
}

#[test]
fn edges_that_are_left_are_stored_and_go_by_what_the_predecessor_is_by_then() {
    let (kind, reason) = ("charge".to_owned(), Some("no funds".to_owned()));
    let left = EdgesOf { predecessor: id(), kind, happening: Happening::Discarded, reason };
    let text = left.stored().unwrap();
    assert_eq!(
        text,
        r#"{"v":1,"predecessor":"00000000-0000-0000-0000-00000000010b","kind":"charge","happening":"discarded","reason":"no funds"}"#
    );
    assert_eq!(EdgesOf::from_stored(&text), Ok(left.clone()));
    let newer = EdgesOf::from_stored(&text.replace(r#"{"v":1"#, r#"{"v":2"#)).unwrap_err();
    assert!(newer.why.contains("newer version"), "{newer}");
    assert!(EdgesOf::from_stored(&text.replace("kind", "sort")).is_err());
    assert_eq!(
        left.reason_of_cancel(),
        "predecessor 00000000-0000-0000-0000-00000000010b (charge) was discarded: no funds"
    );
    for (state, happening) in [
        (State::Queued, Happening::Again),
        (State::Running, Happening::Again),
        (State::Waiting, Happening::Again),
        (State::Completed, Happening::Completed),
        (State::Cancelled, Happening::Cancelled),
        (State::Discarded, Happening::Discarded),
    ] {
        assert_eq!(left.read_again(Some(&job_in(1, state))).happening, happening);
    }
    assert_eq!(left.read_again(None).happening, Happening::Deleted);
    assert_eq!(left.read_again(None).reason, None);
}
