//! The close of a batch and its end jobs.

use backroom_core::{
    Draft,
    batch::{Adder, Batch, Counts, Crossed, EndJob, Gate, MemberState, Stripe, may_add},
    draft::When,
    unique::UniqueRule,
};

use crate::{
    batch_id,
    common::{at, json, now},
    opened, stripe,
};

/// The end jobs that are enqueued, in order, by kind and with how many members failed.
fn jobs(crossed: &Crossed) -> Vec<(String, u64)> {
    let of = |new: &backroom_core::draft::NewJob| {
        let summary = new.job.links.as_ref().unwrap().ends.unwrap().summary;
        (new.job.kind.clone(), summary.cancelled + summary.discarded)
    };
    crossed.jobs.iter().map(of).collect()
}

fn closed(stripes: &[Stripe]) -> (Batch, Crossed) {
    let u16_of = |len: usize| u16::try_from(len).unwrap();
    let closed = opened(u16_of(stripes.len())).close(stripes, at(10)).unwrap().unwrap();
    (closed.batch, closed.crossed)
}

fn sum(stripes: &[Stripe]) -> Counts {
    Counts::sum(stripes.iter().map(|stripe| stripe.counts))
}

#[test]
fn an_empty_batch_ends_at_its_close() {
    let (batch, crossed) = closed(&[stripe(0, 0, 0), stripe(0, 0, 0)]);
    assert!(batch.has_ended());
    assert_eq!(jobs(&crossed), [("report".into(), 0), ("publish".into(), 0)]);
    assert_eq!((batch.finished_at, batch.succeeded_at), (Some(at(10)), Some(at(10))));
    assert_eq!(batch.close(&[], at(20)), Ok(None), "a second close changes nothing");
}

#[test]
fn a_batch_whose_members_have_all_finished_ends_at_its_close() {
    let (batch, crossed) = closed(&[stripe(0, 3, 0), stripe(0, 2, 1)]);
    assert_eq!(jobs(&crossed), [("report".into(), 1)], "it finished, and did not succeed");
    assert_eq!((batch.as_member(), batch.succeeded_at), (MemberState::Discarded, None));
}

#[test]
fn the_last_stripe_that_runs_empty_ends_the_batch() {
    let (mut batch, crossed) = closed(&[stripe(1, 0, 0), stripe(2, 0, 0), stripe(0, 5, 0)]);
    assert_eq!((batch.filled, crossed), (2, Crossed::default()));
    let after = [stripe(0, 1, 0), stripe(2, 0, 0), stripe(0, 5, 0)];
    let crossings = Batch::crossings([(stripe(1, 0, 0).counts, after[0])]).unwrap();
    assert_eq!(crossings, -1);
    assert_eq!(batch.crossed(crossings, sum(&after), at(20)), Ok(Crossed::default()));
    let last = [stripe(0, 1, 0), stripe(0, 2, 0), stripe(0, 5, 0)];
    let crossed = batch.crossed(-1, sum(&last), at(30)).unwrap();
    assert_eq!(jobs(&crossed), [("report".into(), 0), ("publish".into(), 0)]);
}

#[test]
fn success_follows_the_retry_of_what_failed_and_the_end_is_reported_once() {
    let (mut batch, crossed) = closed(&[stripe(0, 9, 1)]);
    assert_eq!(jobs(&crossed), [("report".into(), 1)]);
    // The failed member is retried, and fails again.
    assert_eq!(batch.crossed(1, sum(&[stripe(1, 9, 0)]), at(20)), Ok(Crossed::default()));
    assert_eq!(batch.as_member(), MemberState::Live);
    assert_eq!(batch.crossed(-1, sum(&[stripe(0, 9, 1)]), at(30)), Ok(Crossed::default()));
    // Once more, and it completes.
    batch.crossed(1, sum(&[stripe(1, 9, 0)]), at(40)).unwrap();
    let crossed = batch.crossed(-1, sum(&[stripe(0, 10, 0)]), at(50)).unwrap();
    assert_eq!(jobs(&crossed), [("publish".into(), 0)]);
    assert_eq!((batch.finished_at, batch.succeeded_at), (Some(at(10)), Some(at(50))));
    // A completed member that is run again ends nothing a second time.
    batch.crossed(1, sum(&[stripe(1, 9, 0)]), at(60)).unwrap();
    assert_eq!(batch.crossed(-1, sum(&[stripe(0, 10, 0)]), at(70)), Ok(Crossed::default()));
}

#[test]
fn only_stripes_of_a_closed_batch_that_run_empty_or_fill_concern_its_row() {
    let counts = |live| stripe(live, 1, 0).counts;
    let written =
        |before, after, gate| Batch::crossings([(counts(before), Stripe { gate, ..stripe(after, 1, 0) })]);
    for (before, after, expected) in
        [(0, 0, None), (0, 1, Some(1)), (1, 0, Some(-1)), (1, 2, None), (2, 1, None)]
    {
        assert_eq!(written(before, after, Gate::Closed), expected);
        assert_eq!(written(before, after, Gate::Cancelled), expected);
        assert_eq!(written(before, after, Gate::Open), None);
    }
    let both = [(counts(1), stripe(0, 1, 0)), (counts(0), stripe(1, 1, 0))];
    assert_eq!(Batch::crossings(both), Some(0), "one ran empty, another filled");
}

#[test]
fn a_count_that_cannot_be_is_an_error() {
    let (mut batch, _) = closed(&[stripe(0, 1, 0)]);
    let refused = batch.crossed(-1, sum(&[stripe(0, 1, 0)]), at(20)).unwrap_err();
    assert!(refused.to_string().contains("counts -1 stripes with live members"), "{refused}");
}

#[test]
fn a_batch_in_a_batch_counts_as_one_member_by_its_own_end() {
    let parent = opened(1);
    let inner = Batch::open(batch_id(7), Some(&parent), 1, now()).unwrap();
    assert_eq!((inner.depth, inner.parent), (1, Some(parent.id)));
    let closed = inner.close(&[stripe(1, 0, 0)], at(10)).unwrap().unwrap();
    assert_eq!(closed.crossed.in_parent, None);
    let mut inner = closed.batch;
    let crossed = inner.crossed(-1, sum(&[stripe(0, 0, 1)]), at(20)).unwrap();
    assert_eq!(crossed.in_parent, Some((MemberState::Live, MemberState::Discarded)));
    let crossed = inner.crossed(1, sum(&[stripe(1, 0, 0)]), at(30)).unwrap();
    assert_eq!(crossed.in_parent, Some((MemberState::Discarded, MemberState::Live)));
    let crossed = inner.crossed(-1, sum(&[stripe(0, 1, 0)]), at(40)).unwrap();
    assert_eq!(crossed.in_parent, Some((MemberState::Live, MemberState::Completed)));
}

#[test]
fn batches_nest_to_a_bounded_depth() {
    let mut batch = opened(1);
    for _ in 0..16 {
        batch = Batch::open(batch_id(1), Some(&batch), 1, now()).unwrap();
    }
    let refused = Batch::open(batch_id(2), Some(&batch), 1, now()).unwrap_err();
    assert_eq!(refused.to_string(), "batch is nested 17 deep; at most 16 levels are allowed");
    assert!(Batch::open(batch_id(2), None, 0, now()).is_err());
    assert!(Batch::open(batch_id(2), None, 65, now()).is_err());
}

#[test]
fn a_cancelled_batch_is_closed_and_takes_no_member() {
    let stripes = [stripe(2, 1, 0)];
    let cancelled = opened(1).cancel(&stripes, at(10)).unwrap().unwrap();
    assert_eq!((cancelled.batch.cancelled_at, cancelled.batch.closed_at), (Some(at(10)), Some(at(10))));
    assert_eq!(cancelled.crossed, Crossed::default(), "its live members are cancelled next");
    assert_eq!(cancelled.batch.cancel(&stripes, at(20)), Ok(None));
    let after = closed(&stripes).0.cancel(&stripes, at(20)).unwrap().unwrap();
    assert_eq!((after.batch.cancelled_at, after.batch.closed_at), (Some(at(20)), Some(at(10))));
}

#[test]
fn a_batch_that_is_opened_again_ends_again_without_a_second_end_job() {
    let parent = opened(1);
    let inner = Batch::open(batch_id(7), Some(&parent), 1, now()).unwrap();
    let ended = inner.close(&[stripe(0, 2, 0)], at(10)).unwrap().unwrap().batch;
    let again = ended.reopen().unwrap();
    assert_eq!(again.crossed.in_parent, Some((MemberState::Completed, MemberState::Live)));
    assert_eq!(again.batch.reopen(), None, "it is open");
    let closed = again.batch.close(&[stripe(1, 2, 0)], at(20)).unwrap().unwrap();
    assert_eq!((closed.batch.filled, closed.crossed), (1, Crossed::default()));
    let (batch, _) = self::closed(&[stripe(0, 2, 0)]);
    let closed = batch.reopen().unwrap().batch.close(&[stripe(0, 3, 0)], at(30)).unwrap().unwrap();
    assert_eq!(closed.crossed.jobs, [], "both were enqueued at the first end");
    let cancelled = opened(1).cancel(&[stripe(0, 1, 0)], at(10)).unwrap().unwrap().batch;
    assert_eq!(cancelled.reopen(), None);
}

#[test]
fn the_gate_decides_who_adds() {
    let allowed =
        |gate| [Adder::Outside, Adder::Member].map(|adder| may_add(batch_id(1), gate, adder).is_ok());
    assert_eq!(allowed(Gate::Open), [true, true]);
    assert_eq!(allowed(Gate::Closed), [false, true]);
    assert_eq!(allowed(Gate::Cancelled), [false, false]);
    let refused = may_add(batch_id(1), Gate::Closed, Adder::Outside).unwrap_err();
    assert!(refused.to_string().contains("is closed; only its own members may add"), "{refused}");
}

#[test]
fn end_jobs_have_ids_of_their_own_and_know_their_batch() {
    let (batch, crossed) = closed(&[stripe(0, 4, 0)]);
    let [finish, success] = &crossed.jobs[..] else { panic!("{crossed:?}") };
    assert_ne!(finish.job.id, success.job.id);
    assert_eq!(finish.job.id.0.get_version_num(), 7);
    let ends = |new: &backroom_core::draft::NewJob| new.job.links.as_ref().unwrap().ends.unwrap();
    assert_eq!(ends(finish).which, EndJob::Finish);
    let ends = ends(success);
    assert_eq!((ends.batch, ends.which), (batch.id, EndJob::Success));
    assert_eq!((ends.summary.total, ends.summary.completed), (4, 4));
    assert_eq!(closed(&[stripe(0, 4, 0)]).1, crossed, "the same decision makes the same jobs");
}

#[test]
fn an_end_job_that_could_not_be_enqueued_is_refused_at_the_open() {
    let with = |draft| Batch { on_success: Some(draft), ..opened(1) }.check(100);
    assert_eq!(with(Draft::new("publish", json("{}"))), Ok(()));
    let unique = Draft { unique: Some(UniqueRule::by_args()), ..Draft::new("publish", json("{}")) };
    assert!(with(unique).unwrap_err().to_string().contains("has a unique key"));
    assert!(with(Draft::new("", json("{}"))).is_err());
    assert!(with(Draft::new("publish", json(&format!("\"{}\"", "x".repeat(200))))).is_err());
    let moment = When::At(at(100));
    for draft in [
        Draft { start: moment, ..Draft::new("publish", json("{}")) },
        Draft { expiry: Some(moment), ..Draft::new("publish", json("{}")) },
    ] {
        assert!(with(draft).unwrap_err().to_string().contains("fixed moment"));
    }
    let span = When::In(std::time::Duration::from_secs(60));
    assert_eq!(with(Draft { start: span, ..Draft::new("publish", json("{}")) }), Ok(()));
    let described = Batch { description: Some("x".repeat(2000)), ..opened(1) };
    assert!(described.check(100).is_err());
}

#[test]
fn a_forgotten_batch_has_no_description_and_no_end_jobs_and_ends_as_others_do() {
    let tagged = Draft { tags: vec!["customer-7".into()], ..Draft::new("report", json("{}")) };
    let open = Batch { description: Some("Ada".into()), on_finish: Some(tagged), ..opened(1) };
    assert!(open.ends_with_tag("customer-7") && !open.ends_with_tag("customer"));
    let forgotten = open.forget().expect("it has what is forgotten");
    assert_eq!(forgotten.crossed, Crossed::default());
    assert_eq!(forgotten.batch, Batch { description: None, on_success: None, on_finish: None, ..open });
    assert_eq!(forgotten.batch.forget(), None, "nothing is left to forget");
    let closed = forgotten.batch.close(&[stripe(0, 1, 0)], at(5)).expect("counts").expect("it was open");
    assert!(closed.batch.has_ended() && closed.crossed.jobs.is_empty());
}
