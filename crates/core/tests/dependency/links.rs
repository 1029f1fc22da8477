//! What follows from a change for other jobs, and the stored form of links.

use backroom_core::{
    Effect, Event, JobRow, State,
    batch::{BatchId, MemberChange, MemberState},
    dependency::{EdgesOf, Happening},
    links::{
        After, ChildEnd, ChildEnded, ChildPolicy, LinkEffect, Links, Parent, effects_of, effects_of_deletion,
        follow,
    },
    transition::apply,
};
use uuid::Uuid;

use crate::{
    common::{LEASE, calls, claim, id, json, now, reports, starts},
    job_id,
};

const BATCH: BatchId = BatchId(Uuid::from_u128(0xba7c));

fn tied() -> Links {
    let parent = Parent { workflow: job_id(1), key: "ship".into(), policy: ChildPolicy::Cancel };
    Links { followed: true, batch: Some(BATCH), parent: Some(parent), ..Links::default() }
}

#[test]
fn a_job_without_links_has_no_link_effects() {
    for (case, job) in starts() {
        for event in reports(LEASE).into_iter().chain(calls()).chain([claim()]) {
            if let Ok(Some(change)) = apply(&job, event, now()) {
                assert_eq!(effects_of(&job, None, &change), [], "{case}");
                assert_eq!(effects_of(&job, Some(&Links::default()), &change), [], "{case}");
            }
        }
    }
}

/// What the effects must be, worked out from the states alone.
fn expected(job: &JobRow, after: State, reason: Option<&str>) -> Vec<LinkEffect> {
    if job.state.is_finished() == after.is_finished() {
        return Vec::new();
    }
    let happening = match after {
        State::Completed => Happening::Completed,
        State::Cancelled => Happening::Cancelled,
        State::Discarded => Happening::Discarded,
        State::Queued | State::Running | State::Waiting => Happening::Again,
    };
    let (kind, why) = (job.kind.clone(), reason.map(ToOwned::to_owned));
    let edges = EdgesOf { predecessor: id(), kind, happening, reason: why };
    let (from, to) = (MemberState::of(job.state), MemberState::of(after));
    let mut effects = vec![
        LinkEffect::Edges(edges),
        LinkEffect::Member(MemberChange { batch: BATCH, job: id(), from, to }),
    ];
    let reason = reason.unwrap_or_default().to_owned();
    let end = match after {
        State::Completed => Some(ChildEnd::Completed { output: json(r#"{"ok":true}"#) }),
        State::Cancelled => Some(ChildEnd::Cancelled { reason }),
        State::Discarded => Some(ChildEnd::Discarded { reason }),
        State::Queued | State::Running | State::Waiting => None,
    };
    let ended = |end| ChildEnded { workflow: job_id(1), key: "ship".into(), child: id(), end };
    effects.extend(end.map(ended).map(LinkEffect::Child));
    effects
}

#[test]
fn ends_and_retries_have_effects_and_no_other_change_has() {
    let mut seen = 0;
    for (case, job) in starts() {
        for event in reports(LEASE).into_iter().chain(calls()).chain([claim()]) {
            let name = event.name();
            if let Ok(Some(change)) = apply(&job, event, now()) {
                let effects = effects_of(&job, Some(&tied()), &change);
                assert_eq!(effects, expected(&job, change.state, change.reason.as_deref()), "{case}, {name}");
                seen += usize::from(!effects.is_empty());
            }
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn every_change_of_a_job_with_links_has_their_effects() {
    let (case, job) = starts().remove(0);
    let job = JobRow { links: Some(Box::new(tied())), ..job };
    let change = apply(&job, Event::Cancel { reason: "no".into() }, now()).unwrap().unwrap();
    let of = |effect: &Effect| match effect {
        Effect::Link { at, effect } => Some((*at, (**effect).clone())),
        _ => None,
    };
    let found: Vec<_> = change.effects.iter().filter_map(of).collect();
    let expected = effects_of(&job, Some(&tied()), &change);
    assert_eq!(found, expected.into_iter().map(|effect| (now(), effect)).collect::<Vec<_>>(), "{case}");
    assert!(change.has_stored_effects() && !job.is_plain());
}

#[test]
fn a_deleted_job_that_lived_leaves_its_batch_as_cancelled_and_one_that_had_finished_leaves_it_as_it_was() {
    for (case, job) in starts() {
        let effects = effects_of_deletion(&job, Some(&tied()));
        let edges = matches!(&effects[0], LinkEffect::Edges(EdgesOf { happening: Happening::Deleted, .. }));
        assert!(edges, "{case}");
        assert_eq!(effects.len(), if job.state.is_finished() { 1 } else { 3 }, "{case}");
    }
    assert_eq!(effects_of_deletion(&starts()[0].1, None), []);
}

#[test]
fn the_mark_of_a_followed_job_counts_up_its_revision_once() {
    let job = starts().remove(0).1;
    let change = follow(&job).unwrap();
    let mut after = job.clone();
    change.write_to(&mut after);
    let links = Some(Box::new(Links { followed: true, ..Links::default() }));
    assert_eq!(after, JobRow { revision: job.revision + 1, links, ..job.clone() });
    assert_eq!(follow(&after), None);
    // A worker that decided without the mark finds its guard broken, and decides again.
    let decided = apply(&job, Event::Cancel { reason: "no".into() }, now()).unwrap().unwrap();
    assert!(decided.revision_before < after.revision && !decided.is_written_to(&after));
}

#[test]
fn only_the_end_of_a_predecessor_wakes_a_held_job() {
    let with = |after| Links { after, ..Links::default() }.may_be_woken();
    assert_eq!([None, Some(After::Held), Some(After::Released)].map(with), [true, false, true]);
}

#[test]
fn policies_of_children_go_by_the_end_of_the_workflow() {
    for state in State::ALL {
        let cancels = ChildPolicy::ALL.map(|policy| policy.cancels(state));
        let expected = match state {
            State::Queued | State::Running | State::Waiting => [false, false, false],
            State::Completed => [true, false, false],
            State::Cancelled | State::Discarded => [true, true, false],
        };
        assert_eq!(cancels, expected, "{state}");
    }
}

#[test]
fn links_are_stored_as_versioned_text_that_refuses_unknown_fields() {
    assert_eq!(Links::default().stored(), Ok(None));
    assert_eq!(Links::from_stored(None), Ok(Links::default()));
    let links = Links { after: Some(After::Held), journal: true, ..tied() };
    let text = links.stored().unwrap().unwrap();
    assert_eq!(
        text,
        r#"{"v":1,"followed":true,"after":"held","batch":"00000000-0000-0000-0000-00000000ba7c","parent":{"workflow":"00000000-0000-0000-0000-000000000001","key":"ship","policy":"cancel"},"journal":true}"#
    );
    assert_eq!(Links::from_stored(Some(&text)), Ok(links));
    for damaged in
        [r#"{"v":1,"followd":true}"#, r#"{"v":2,"followed":true}"#, r#"{"followed":true}"#, "[]", ""]
    {
        assert!(Links::from_stored(Some(damaged)).is_err(), "{damaged}");
    }
}
