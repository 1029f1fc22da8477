//! The stored forms of entries, headers and arrivals.

use backroom_core::{
    JobId,
    links::{ChildEnd, ChildPolicy},
    workflow::{Answer, Arrival, Arrived, Cause, Entry, EntryKind, EntryState, Header, Opened, Phase, Undo},
};
use uuid::Uuid;

use crate::common::{at, json};

fn every_entry() -> Vec<Entry> {
    let end = |end| Answer::Child { end };
    let answers = [
        (EntryKind::Step, Answer::Value { value: json(r#"{"a":[1,2.50]}"#) }),
        (EntryKind::Step, Answer::Failed { error: "no".into() }),
        (EntryKind::Timer, Answer::Fired),
        (EntryKind::Signal, Answer::Signal { value: json("null") }),
        (EntryKind::Signal, Answer::TimedOut),
        (EntryKind::Child, end(ChildEnd::Completed { output: json("1") })),
        (EntryKind::Child, end(ChildEnd::Cancelled { reason: "no".into() })),
        (EntryKind::Child, end(ChildEnd::Discarded { reason: "no".into() })),
        (EntryKind::Race, Answer::Won { branch: 2 }),
        (EntryKind::Patch, Answer::Patched { is_new: true }),
        (EntryKind::Now, Answer::Now { at: at(1) }),
    ];
    let opened = [
        (EntryKind::Step, Opened::Trying { tries: 2, due_at: at(9), error: "busy".into() }),
        (EntryKind::Timer, Opened::Timer { until: at(9) }),
        (EntryKind::Signal, Opened::Signal { name: "shipped".into(), until: None }),
        (EntryKind::Signal, Opened::Signal { name: "shipped".into(), until: Some(at(9)) }),
        (EntryKind::Child, Opened::Child { job: JobId(Uuid::from_u128(5)), policy: ChildPolicy::Abandon }),
    ];
    let closed = |answer| EntryState::Closed { seq: 3, at: at(2), answer };
    let states = answers.into_iter().map(|(kind, answer)| (kind, closed(answer)));
    let states = states.chain(opened.into_iter().map(|(kind, opened)| (kind, EntryState::Open(opened))));
    let states = states.chain([
        (EntryKind::Signal, EntryState::Lost),
        (EntryKind::Step, EntryState::Superseded { error: "no".into() }),
    ]);
    let undos = [
        None,
        Some(Undo::Due),
        Some(Undo::Trying { tries: 1, due_at: at(4), error: "busy".into() }),
        Some(Undo::Done { at: at(5) }),
    ];
    states
        .enumerate()
        .map(|(n, (kind, state))| Entry {
            key: format!("a/b#{n}"),
            kind,
            state,
            undo: undos[n % 4].clone(),
            began_at: (n % 2 == 0).then(|| at(1)),
            tries: u32::try_from(n % 3).unwrap(),
        })
        .collect()
}

#[test]
fn every_entry_comes_back_from_its_text() {
    for entry in every_entry() {
        let text = entry.stored().unwrap();
        assert!(text.starts_with(r#"{"v":1,"key":"a/b#"#), "{text}");
        assert_eq!(Entry::from_stored(&text).as_ref(), Ok(&entry), "{text}");
    }
    assert_eq!(
        every_entry()[0].stored().unwrap(),
        r##"{"v":1,"key":"a/b#0","kind":"step","state":{"closed":{"seq":3,"at":"2027-01-15T08:00:02Z","answer":{"value":{"value":{"a":[1,2.50]}}}}},"began_at":"2027-01-15T08:00:01Z"}"##
    );
    assert_eq!(
        every_entry()[5].stored().unwrap(),
        r##"{"v":1,"key":"a/b#5","kind":"child","state":{"closed":{"seq":3,"at":"2027-01-15T08:00:02Z","answer":{"child":{"end":{"completed":{"output":1}}}}}},"undo":"due","tries":2}"##
    );
}

#[test]
fn headers_and_arrivals_come_back_from_their_texts() {
    let causes = [Cause::Failed { error: "no".into() }, Cause::Cancelled { reason: "no".into() }];
    let phases = causes.map(|cause| Phase::Undoing { cause }).into_iter().chain([Phase::Forward]);
    for phase in phases {
        let header = Header {
            phase,
            published: Some(json(r#"{"step":1}"#)),
            ..Header::begin(Some("v3".into()), at(0))
        };
        assert_eq!(Header::from_stored(&header.stored().unwrap()), Ok(header));
    }
    let end = ChildEnd::Completed { output: json("1.0") };
    for what in [
        Arrived::Signal { name: "shipped".into(), value: json(r#""yes""#) },
        Arrived::Child { key: "ship".into(), job: JobId(Uuid::from_u128(5)), end },
    ] {
        let arrival = Arrival { n: 7, at: at(3), what };
        assert_eq!(Arrival::from_stored(&arrival.stored().unwrap()), Ok(arrival));
    }
}

#[test]
fn newer_unknown_and_damaged_texts_are_refused() {
    for entry in every_entry() {
        let text = entry.stored().unwrap();
        let newer = Entry::from_stored(&text.replacen(r#"{"v":1"#, r#"{"v":2"#, 1)).unwrap_err();
        assert!(newer.why.contains("written by a newer version"), "{newer}");
        assert!(Entry::from_stored(&text.replacen(r#""key""#, r#""more":1,"key""#, 1)).is_err(), "{text}");
        assert!(Entry::from_stored(&text[..text.len() - 1]).is_err());
    }
    let unknown = r#"{"v":1,"key":"a","kind":"timer","state":{"open":{"timer":{"until":"2027-01-15T08:00:02Z","zone":"UTC"}}}}"#;
    assert!(Entry::from_stored(unknown).is_err());
    let unknown = r#"{"v":1,"key":"a","kind":"timer","state":{"closed":{"seq":1,"at":"2027-01-15T08:00:02Z","answer":"fired","x":1}}}"#;
    assert!(Entry::from_stored(unknown).is_err(), "unknown fields of an answer");
    assert!(Header::from_stored("{}").is_err());
    assert!(Arrival::from_stored(r#"{"v":1,"n":1}"#).is_err());
}
