//! Which jobs a store may pack together with others.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::{collections::BTreeMap, time::Duration};

use backroom_core::{
    Callback, Draft, Extras, JobId, JobRow, Json, MessageKinds, Reply, State, Timestamp, draft::When,
    unique::UniqueRule,
};
use uuid::Uuid;

fn job(draft: Draft) -> JobRow {
    draft.check(JobId(Uuid::from_u128(1)), Timestamp::UNIX_EPOCH, 1000).unwrap().job
}

fn draft() -> Draft {
    Draft::new("work", Json::null())
}

#[test]
fn a_new_job_with_nothing_but_its_content_is_plain() {
    let content = Draft {
        queue: "mail".into(),
        priority: 0,
        start: When::In(Duration::from_secs(5)),
        tags: vec!["tag".into()],
        extras: Extras {
            timeout: Some(Duration::from_secs(1)),
            meta: BTreeMap::from([("key".into(), "value".into())]),
            ..Extras::default()
        },
        ..draft()
    };
    assert!(job(draft()).is_plain());
    assert!(job(content).is_plain());
}

#[test]
fn a_job_with_a_lane_a_key_or_an_expiry_is_not_plain() {
    assert!(!job(Draft { lane: Some("lane".into()), ..draft() }).is_plain());
    assert!(!job(Draft { unique: Some(UniqueRule::by_key("key")), ..draft() }).is_plain());
    assert!(!job(Draft { expiry: Some(When::In(Duration::from_secs(5))), ..draft() }).is_plain());
}

#[test]
fn a_job_whose_caller_wants_messages_is_not_plain() {
    let reply = Some(Reply { to: "replies".into(), ..Reply::default() });
    let callback = Some(Callback { url: "https://example.org".into(), on: MessageKinds::END });
    assert!(!job(Draft { extras: Extras { reply, ..Extras::default() }, ..draft() }).is_plain());
    assert!(!job(Draft { extras: Extras { callback, ..Extras::default() }, ..draft() }).is_plain());
}

#[test]
fn a_job_that_an_event_has_changed_is_not_plain() {
    let changes: [fn(&mut JobRow); 6] = [
        |job| job.revision = 1,
        |job| job.attempt = 1,
        |job| job.crashes = 1,
        |job| job.state = State::Running,
        |job| job.woken = true,
        |job| job.reason = Some("why".into()),
    ];
    for change in changes {
        let mut job = job(draft());
        change(&mut job);
        assert!(!job.is_plain(), "{job:?}");
    }
}
