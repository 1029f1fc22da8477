//! Which changes inform the caller that enqueued the job, of what, and under which id.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod common;

use std::collections::BTreeMap;

use backroom_core::{
    AttemptEnd, Callback, Change, Draft, Effect, Event, Extras, JobId, JobRow, Json, Message, MessageBody,
    MessageKind, MessageKinds, Progress, Reply, State,
    bounds::{CRASH_SPAN, JSON_BYTES_MAX, JSON_DEPTH_MAX},
    draft::NewJob,
    message::{self, MessageLease, callback},
    transition::apply,
};
use common::{LEASE, at, claim, finished, id, json, losses, now, queued, reports, running, secs, starts};
use proptest::prelude::*;
use uuid::Uuid;

fn every() -> MessageKinds {
    MessageKind::ALL.into_iter().collect()
}

/// The job, whose caller wants messages of these kinds in the reply queue `replies` and at a URL.
fn informing(job: JobRow, on: MessageKinds) -> JobRow {
    let reply = Some(Reply { to: "replies".into(), correlation_id: Some("order 7".into()), on });
    let callback = Some(Callback { url: "https://example.org/done".into(), on });
    let extras = Extras { reply, callback, ..job.extras };
    JobRow { extras, ..job }
}

fn decide(job: &JobRow, event: Event) -> Change {
    apply(job, event, now()).unwrap().expect("something changes")
}

fn messages(effects: &[Effect]) -> Vec<&Message> {
    let of = |effect: &'_ Effect| matches!(effect, Effect::Message(_));
    let only = effects.iter().filter(|effect| of(effect));
    only.map(|effect| match effect {
        Effect::Message(message) => &**message,
        Effect::RecordAttempt(_)
        | Effect::Enqueue(_)
        | Effect::ReportRun(_)
        | Effect::Link { .. }
        | Effect::NotifyQueue { .. }
        | Effect::NotifyCancel => {
            unreachable!("filtered")
        }
    })
    .collect()
}

fn callbacks(effects: &[Effect]) -> Vec<&NewJob> {
    let mut found = Vec::new();
    for effect in effects {
        match effect {
            Effect::Enqueue(new) => found.push(&**new),
            Effect::RecordAttempt(_)
            | Effect::Message(_)
            | Effect::ReportRun(_)
            | Effect::Link { .. }
            | Effect::NotifyQueue { .. }
            | Effect::NotifyCancel => {}
        }
    }
    found
}

/// What the caller is informed of, both ways alike.
fn about(job: &JobRow, event: Event) -> Option<MessageKind> {
    let effects = decide(job, event).effects;
    let replies: Vec<MessageKind> = messages(&effects).iter().map(|message| message.body.about).collect();
    let sent: Vec<MessageKind> = callbacks(&effects)
        .iter()
        .map(|new| new.job.args.decode::<callback::CallbackArgs>().unwrap().event.about)
        .collect();
    assert_eq!(replies, sent);
    assert!(replies.len() <= 1, "a change informs of one thing: {replies:?}");
    replies.first().copied()
}

#[test]
fn each_end_of_a_run_informs_of_what_became_of_the_job() {
    let job = informing(running(), every());
    let expected = [
        Some(MessageKind::Completed),
        Some(MessageKind::FailedAttempt),
        Some(MessageKind::Discarded),
        Some(MessageKind::Cancelled),
        // Snooze, release and suspend go on.
        None,
        None,
        None,
    ];
    for (report, expected) in reports(LEASE).into_iter().zip(expected) {
        assert_eq!(about(&job, report.clone()), expected, "{report:?}");
    }
    let last = JobRow { attempt: 5, ..job };
    assert_eq!(about(&last, reports(LEASE).remove(1)), Some(MessageKind::Discarded));
}

#[test]
fn a_claim_a_cancel_and_an_expiry_inform_too() {
    let waits = informing(queued(), every());
    assert_eq!(about(&waits, claim()), Some(MessageKind::Started));
    assert_eq!(about(&waits, Event::Cancel { reason: "no".into() }), Some(MessageKind::Cancelled));
    let expired = JobRow { expires_at: Some(at(-1)), ..waits };
    assert_eq!(about(&expired, Event::Expire), Some(MessageKind::Cancelled));
    let running = informing(running(), every());
    assert_eq!(
        about(&running, Event::Cancel { reason: "no".into() }),
        None,
        "it is asked to stop, and goes on"
    );
    assert_eq!(about(&informing(finished(State::Discarded), every()), Event::Retry), None);
}

#[test]
fn a_store_that_claims_many_jobs_at_once_writes_the_same_as_for_one() {
    let job = informing(queued(), every());
    let change = decide(&job, claim());
    let mut claimed = job.clone();
    change.write_to(&mut claimed);
    assert_eq!(message::of_claimed(&claimed, now()), change.effects);
    let stored = job.extras.stored().unwrap().unwrap();
    assert!(stored.contains(message::STARTED_IN_EXTRAS));
    let others = MessageKind::ALL.into_iter().filter(|kind| *kind != MessageKind::Started).collect();
    let stored = informing(queued(), others).extras.stored().unwrap().unwrap();
    assert!(!stored.contains(message::STARTED_IN_EXTRAS));
    let mut quoted = queued();
    quoted.extras.meta = BTreeMap::from([("on".into(), message::STARTED_IN_EXTRAS.into())]);
    assert!(!quoted.extras.stored().unwrap().unwrap().contains(message::STARTED_IN_EXTRAS));
}

#[test]
fn a_dead_worker_is_a_failed_attempt_unless_the_job_had_not_begun() {
    let job = informing(running(), every());
    for loss in losses() {
        let begun = !matches!(loss, backroom_core::Loss::NotBegun { .. });
        let expected = begun.then_some(MessageKind::FailedAttempt);
        assert_eq!(about(&job, Event::LeaseLost(loss.clone())), expected, "{loss:?}");
    }
    let prime =
        starts().into_iter().find(|(name, _)| *name == "running, crashed on trial and alone").unwrap().1;
    let died = backroom_core::Loss::Died { part: backroom_core::Part::Alone, span: CRASH_SPAN };
    assert_eq!(about(&informing(prime, every()), Event::LeaseLost(died)), Some(MessageKind::Discarded));
}

#[test]
fn only_the_chosen_kinds_are_written_and_by_default_these_are_the_ends() {
    let mut job = informing(queued(), MessageKinds::default());
    assert_eq!(about(&job, claim()), None);
    assert_eq!(about(&job, Event::Cancel { reason: "no".into() }), Some(MessageKind::Cancelled));
    job = informing(running(), MessageKinds::default());
    assert_eq!(about(&job, reports(LEASE).remove(1)), None, "a failed attempt is no end");
    assert_eq!(about(&job, reports(LEASE).remove(0)), Some(MessageKind::Completed));
    let ends: Vec<_> = MessageKinds::END.iter().collect();
    assert_eq!(ends, [MessageKind::Completed, MessageKind::Discarded, MessageKind::Cancelled]);
}

#[test]
fn a_job_whose_caller_asks_for_nothing_has_no_messages_in_any_situation() {
    for (_, job) in starts() {
        for event in reports(LEASE).into_iter().chain(common::calls()).chain([claim()]) {
            let Ok(Some(change)) = apply(&job, event, now()) else { continue };
            assert!(messages(&change.effects).is_empty() && callbacks(&change.effects).is_empty());
        }
    }
}

#[test]
fn a_message_has_what_its_reader_needs() {
    let job = informing(running(), every());
    let change = decide(&job, reports(LEASE).remove(0));
    let [message] = messages(&change.effects)[..] else { panic!("{:?}", change.effects) };
    let expected = serde_json::json!({
        "type": "completed", "job_id": id(), "kind": "make_thumbnail", "queue": "images", "attempt": 2,
        "max_attempts": 5, "state": "completed", "at": "2027-01-15T08:00:00Z", "correlation_id": "order 7",
        "output": {"ok": true}, "tags": ["tag"],
    });
    assert_eq!(serde_json::to_value(&message.body).unwrap(), expected);
    assert_eq!((message.reply_to.as_str(), message.order_key()), ("replies", "order 7".into()));
    let stored = message.body.stored().unwrap();
    assert_eq!(MessageBody::from_stored(&stored).unwrap(), message.body);

    let change = decide(&job, reports(LEASE).remove(1));
    let [failed] = messages(&change.effects)[..] else { panic!("{:?}", change.effects) };
    assert_eq!((failed.body.error.as_deref(), failed.body.end), (Some("boom"), Some(AttemptEnd::Failed)));
    assert_eq!((failed.body.next_attempt_at, failed.body.attempt), (Some(at(60)), 2));
    assert_eq!((failed.body.state, &failed.body.reason), (State::Queued, &None));
}

#[test]
fn an_output_of_nothing_is_null_and_survives_the_way_through_a_store() {
    let job = informing(running(), every());
    let change = decide(&job, Event::Succeed { lease: LEASE, output: Json::null() });
    let body = &messages(&change.effects)[0].body;
    assert_eq!(MessageBody::from_stored(&body.stored().unwrap()).unwrap().output, Some(Json::null()));
}

#[test]
fn without_a_correlation_id_the_messages_of_a_job_are_in_order_among_themselves() {
    let mut job = informing(running(), every());
    job.extras.reply.as_mut().unwrap().correlation_id = None;
    let change = decide(&job, reports(LEASE).remove(0));
    assert_eq!(messages(&change.effects)[0].order_key(), id().to_string());
}

#[test]
fn what_is_too_large_or_too_deep_is_left_out_and_the_message_says_so() {
    let job = informing(running(), every());
    let large = Json::encode(&"x".repeat(message::OUTPUT_BYTES_MAX)).unwrap();
    let deep = format!("{}{}", "[".repeat(JSON_DEPTH_MAX), "]".repeat(JSON_DEPTH_MAX));
    for output in [large, json(&deep)] {
        let bytes = output.as_str().len();
        let change = decide(&job, Event::Succeed { lease: LEASE, output });
        let body = &messages(&change.effects)[0].body;
        assert_eq!(body.output, None);
        let [left_out] = &body.left_out[..] else { panic!("{body:?}") };
        assert_eq!((left_out.field.as_str(), left_out.bytes), ("output", bytes));
        assert!(left_out.read.contains(&id().to_string()), "{left_out:?}");
        assert_eq!(callbacks(&change.effects).len(), 1);
    }
    let mut job = job;
    job.extras.meta = (0..64).map(|key| (key.to_string(), "\u{1}".repeat(4096))).collect::<BTreeMap<_, _>>();
    let change = decide(&job, reports(LEASE).remove(0));
    let body = &messages(&change.effects)[0].body;
    assert_eq!((body.left_out[0].field.as_str(), body.meta.len()), ("meta", 0));
}

#[test]
fn a_callback_is_a_job_of_its_own_that_any_store_takes() {
    let job = informing(running(), every());
    let change = decide(&job, reports(LEASE).remove(0));
    let [new] = callbacks(&change.effects)[..] else { panic!("{:?}", change.effects) };
    assert_eq!((new.job.kind.as_str(), new.job.queue.as_str()), (callback::KIND, callback::QUEUE));
    assert_eq!(new.job.max_attempts, 10);
    assert_eq!((new.job.extras.reply.as_ref(), new.job.extras.callback.as_ref()), (None, None));
    assert_eq!(common::invariants(&new.job), Ok(()));
    assert!(new.job.args.as_str().len() < JSON_BYTES_MAX);
    let waits: Vec<u64> =
        (1..=9).map(|attempt| callback::retry_policy().delay(attempt, 0.5).as_secs()).collect();
    assert_eq!(waits, [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]);
    let notified = Effect::NotifyQueue { queue: callback::QUEUE.into(), due_at: now() };
    assert!(change.effects.contains(&notified));
}

#[test]
fn the_id_is_the_same_for_the_same_change_and_another_for_every_other_one() {
    let job = informing(running(), every());
    let id_of = |job: &JobRow, report: usize| {
        let change = decide(job, reports(LEASE).remove(report));
        let (message, callback) = (messages(&change.effects)[0].id.0, callbacks(&change.effects)[0].job.id.0);
        assert_eq!(message, callback, "both report the same");
        message
    };
    assert_eq!(id_of(&job, 0), id_of(&job, 0));
    let others = [
        id_of(&job, 0),
        id_of(&job, 1),
        id_of(&JobRow { revision: 8, ..job.clone() }, 0),
        id_of(&JobRow { id: JobId(Uuid::from_u128(1)), ..job.clone() }, 0),
    ];
    for (place, one) in others.iter().enumerate() {
        assert!(!others[..place].contains(one));
        assert_eq!(one.get_version_num(), 7);
    }
}

#[test]
fn progress_informs_once_however_often_it_is_written() {
    let job = informing(running(), every());
    let half = Progress { percent: 50, message: "half".into() };
    let first = message::of_progress(&job, &half, now());
    assert_eq!(first, message::of_progress(&job, &half, now()));
    let [message] = messages(&first)[..] else { panic!("{first:?}") };
    assert_eq!((message.body.about, message.body.progress.as_ref()), (MessageKind::Progress, Some(&half)));
    let later = message::of_progress(&job, &half, at(1));
    assert_ne!(messages(&later)[0].id, message.id);
    assert!(message::of_progress(&informing(running(), MessageKinds::END), &half, now()).is_empty());
    assert!(message::of_progress(&running(), &half, now()).is_empty());
}

#[test]
fn a_lease_ends_with_its_span_and_does_not_outlive_a_clock_that_is_set_back() {
    let lease = MessageLease::new(LEASE, now(), secs(30));
    assert!(lease.holds(now()) && lease.holds(at(29)) && !lease.holds(at(30)));
    assert!(lease.holds(at(-60)), "clocks of two processes differ a little");
    assert!(!lease.holds(at(-61)) && !lease.holds(at(-3600)));
    let long = MessageLease::new(LEASE, now(), secs(1_000_000));
    assert!(!long.holds(at(12 * 3600)));
}

#[track_caller]
fn refused(why: &str, change: impl Fn(&mut Extras)) {
    let mut draft = Draft::new("work", Json::null());
    change(&mut draft.extras);
    let error = draft.check(id(), now(), JSON_BYTES_MAX).unwrap_err().to_string();
    assert!(error.contains(why), "{error} lacks {why:?}");
}

#[test]
fn a_reply_without_a_queue_or_a_kind_is_refused_by_name() {
    let to = |to: &str| Reply { to: to.into(), ..Reply::default() };
    refused("reply_to is empty", |extras| extras.reply = Some(to("")));
    refused("reply_to", |extras| extras.reply = Some(to(&"x".repeat(129))));
    refused("reply_on names no kind", |extras| {
        extras.reply = Some(Reply { on: [].into_iter().collect(), ..to("replies") });
    });
    for id in ["", "a\nb", &"x".repeat(257)] {
        refused("correlation_id", |extras| {
            extras.reply = Some(Reply { correlation_id: Some(id.into()), ..to("replies") });
        });
    }
    refused("callback url has no scheme", |extras| {
        extras.callback = Some(Callback { url: String::new(), on: MessageKinds::END });
    });
    refused("callback_on names no kind", |extras| {
        extras.callback = Some(Callback { url: "https://a".into(), on: [].into_iter().collect() });
    });
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_of_messages_panic(text in ".{0,60}") {
        _ = MessageBody::from_stored(&text);
    }
}
