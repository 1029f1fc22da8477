//! Messages about jobs are written with the changes that they report, and reach takers in order.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use backroom_core::{
    Callback, Change, Draft, Effect, Event, Extras, JobRow, LeaseId, Message, MessageId, MessageKind,
    MessageKinds, MessageLease, Reply, State, Timestamp,
    bounds::{BYTES_IN_HAND_MAX, earlier, later},
    message::{self, callback},
};

use super::env::{Env, cancel, decide, died, draft, draft_in, fail, json, lease, note, progress, succeed};
use crate::store::{Acknowledged, Call, Committed, DropMessages, MessageRow, ReplyQueue, TakeMessages};

/// The reply queue of jobs that need no other.
const REPLIES: &str = "replies";

fn every_kind() -> MessageKinds {
    MessageKind::ALL.into_iter().collect()
}

fn replying_on(on: MessageKinds, correlation_id: &str) -> Draft {
    let reply = Reply { to: REPLIES.into(), correlation_id: Some(correlation_id.into()), on };
    Draft { extras: Extras { reply: Some(reply), ..Extras::default() }, ..draft() }
}

fn replying(correlation_id: &str) -> Draft {
    replying_on(MessageKinds::END, correlation_id)
}

fn messages_in(effects: &[Effect]) -> Vec<Message> {
    let of = |effect: &Effect| match effect {
        Effect::Message(message) => Some((**message).clone()),
        Effect::RecordAttempt(_)
        | Effect::Enqueue(_)
        | Effect::ReportRun(_)
        | Effect::Link { .. }
        | Effect::NotifyQueue { .. }
        | Effect::NotifyCancel => None,
    };
    effects.iter().filter_map(of).collect()
}

impl Env {
    /// One job per correlation id, each cancelled a second after the one before: so each has one message. In two calls, because
    /// every call of a behaviour is lost in turn.
    async fn one_message_each(&self, correlation_ids: &[&str]) -> Vec<Message> {
        let jobs = self.put_many(correlation_ids.iter().map(|id| replying(id))).await;
        let changes: Vec<Change> =
            (0..).zip(&jobs).map(|(place, job)| decide(job, cancel(), self.at(place))).collect();
        let written = changes.iter().flat_map(|change| messages_in(&change.effects)).collect();
        assert_eq!(self.commit_many(changes).await, vec![Committed::Done; jobs.len()]);
        written
    }

    fn taking(&self, limit: usize, now: Timestamp) -> TakeMessages {
        let lease = MessageLease::new(self.ids.lease(), now, Duration::from_secs(30));
        TakeMessages { reply_to: REPLIES.into(), limit, bytes_max: BYTES_IN_HAND_MAX, lease }
    }

    async fn take_as(&self, take: TakeMessages, now: Timestamp) -> Vec<MessageRow> {
        self.store.take_messages(Arc::new(take), now, Call::First).await.expect("take messages")
    }

    async fn take_messages(&self, limit: usize, now: Timestamp) -> Vec<MessageRow> {
        self.take_as(self.taking(limit, now), now).await
    }

    async fn acknowledge(&self, lease: LeaseId, ids: &[MessageId]) -> Vec<Acknowledged> {
        self.store.acknowledge_messages(lease, Arc::new(ids.to_vec())).await.expect("acknowledge messages")
    }

    async fn messages(&self) -> Vec<MessageRow> {
        self.store.messages(None, 0, 1000).await.expect("messages")
    }

    async fn reply_queue(&self, now: Timestamp) -> ReplyQueue {
        let mut queues = self.store.reply_queues(None, 10, now).await.expect("reply queues");
        assert_eq!(queues.len(), 1, "{queues:?}");
        queues.remove(0)
    }
}

fn ids(rows: &[MessageRow]) -> Vec<MessageId> {
    rows.iter().map(|row| row.message.id).collect()
}

fn stored(rows: &[MessageRow]) -> Vec<Message> {
    rows.iter().map(|row| row.message.clone()).collect()
}

fn lease_of(row: &MessageRow) -> LeaseId {
    row.lease.expect("it was taken").id
}

fn correlation(rows: &[MessageRow]) -> Vec<&str> {
    rows.iter().map(|row| row.message.body.correlation_id.as_deref().unwrap_or_default()).collect()
}

pub(super) async fn messages_of_forgotten_jobs_are_deleted_whoever_holds_them(env: Env) {
    let written = env.one_message_each(&["a", "b", "c"]).await;
    let taken = env.take_messages(1, env.at(3)).await;
    assert_eq!(correlation(&taken), ["a"]);
    let forgotten = written[..2].iter().map(|message| message.body.job_id).collect();
    let counted = env.store.forget_messages(Arc::new(forgotten)).await.expect("forget messages");
    // The first answer may be lost.
    assert!(counted == 2 || counted == 0, "{counted}");
    assert_eq!(stored(&env.messages().await), written[2..]);
    let nothing = env.store.forget_messages(Arc::default()).await.expect("forget messages");
    assert_eq!(nothing, 0);
}

pub(super) async fn every_change_writes_what_the_state_machine_says_and_in_that_order(env: Env) {
    let job = env.put(replying_on(every_kind(), "order 7")).await;
    let mut expected = Vec::new();
    let mut claimed = |before: &JobRow, after: &JobRow| {
        let effects = message::of_claimed(after, env.now);
        let event = Event::Claim {
            lease: lease(after),
            until: after.lease_until.expect("it runs"),
            due: env.now,
            worker: after.worker.clone().expect("it runs"),
        };
        assert_eq!(messages_in(&effects), messages_in(&decide(before, event, env.now).effects));
        expected.extend(messages_in(&effects));
    };
    let running = env.take().await;
    claimed(&job, &running);
    let half = progress(50, "half");
    let progressed = messages_in(&message::of_progress(&running, &half, env.now));
    env.note(note(&running, Some(half), Vec::new())).await;
    let running = env.read(running.id).await;
    let failed = decide(&running, fail(&running), env.now);
    let of_failure = messages_in(&failed.effects);
    assert_eq!(env.commit(failed).await, Committed::Done);
    let waits = env.read(job.id).await;
    let waits = env.drive(&waits, Event::Retry, env.now).await;
    let again = env.take().await;
    let first: Vec<Message> = expected.drain(..).chain(progressed).chain(of_failure).collect();
    let event = Event::Claim {
        lease: lease(&again),
        until: again.lease_until.expect("it runs"),
        due: env.now,
        worker: again.worker.clone().expect("it runs"),
    };
    let second = messages_in(&decide(&waits, event, env.now).effects);
    let done = decide(&again, succeed(&again), env.now);
    let last = messages_in(&done.effects);
    assert_eq!(env.commit(done).await, Committed::Done);
    let all: Vec<Message> = first.into_iter().chain(second).chain(last).collect();
    let about: Vec<_> = all.iter().map(|message| message.body.about.as_str()).collect();
    assert_eq!(about, ["started", "progress", "failed_attempt", "started", "completed"]);
    assert_eq!(stored(&env.messages().await), all);
    let taken = env.take_messages(10, env.now).await;
    assert_eq!(stored(&taken), all);
    assert_eq!(taken[4].message.body.output, Some(json(r#"{"path":"out.jpg"}"#)));
}

pub(super) async fn a_claim_of_many_writes_for_those_that_ask_for_it(env: Env) {
    let jobs = env
        .put_many(
            (0..40).map(|n| if n % 2 == 0 { replying_on(every_kind(), "one") } else { replying("other") }),
        )
        .await;
    let taken = env.claim(env.claim_of(40)).await;
    assert_eq!(taken.len(), 40);
    let mut expected: Vec<_> = jobs.iter().step_by(2).map(|job| job.id).collect();
    let mut found: Vec<_> = env.messages().await.iter().map(|row| row.message.body.job_id).collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
    // The next claim knows of such jobs.
    env.put_many([draft(), replying_on(every_kind(), "one")]).await;
    assert_eq!(env.claim(env.claim_of(40)).await.len(), 2);
    assert_eq!(env.messages().await.len(), 21);
}

pub(super) async fn a_repeated_claim_writes_its_message_once(env: Env) {
    env.put(replying_on(every_kind(), "order 7")).await;
    let claim = env.claim_of(1);
    let taken = env.claim(claim.clone()).await;
    assert_eq!(env.claim_again(claim, env.now).await, taken);
    assert_eq!(env.messages().await.len(), 1);
}

pub(super) async fn a_cancel_an_expiry_a_rescue_and_the_end_by_hand_write_theirs(env: Env) {
    let expiring =
        Draft { expiry: Some(backroom_core::draft::When::In(Duration::from_secs(1))), ..replying("a") };
    let expiring = env.put(expiring).await;
    env.drive(&expiring, Event::Expire, env.at(2)).await;
    let asked = env.put(replying("b")).await;
    env.drive(&asked, cancel(), env.at(3)).await;
    env.put(replying_on(every_kind(), "c")).await;
    let running = env.take().await;
    env.drive(&running, died(), env.at(31)).await;
    let running = env.take_at(env.at(32)).await;
    let stop = Event::Discard { lease: lease(&running), reason: "no use".into() };
    env.drive(&running, stop, env.at(33)).await;
    let about: Vec<_> = env.messages().await.iter().map(|row| row.message.body.about.as_str()).collect();
    assert_eq!(about, ["cancelled", "cancelled", "started", "failed_attempt", "started", "discarded"]);
}

pub(super) async fn a_change_whose_guard_does_not_match_writes_no_message(env: Env) {
    let job = env.put(replying("order 7")).await;
    let late = decide(&job, cancel(), env.at(1));
    let running = env.take().await;
    assert_eq!(env.commit(late).await, Committed::Stale);
    let done = decide(&running, succeed(&running), env.at(2));
    assert_eq!(env.commit(done.clone()).await, Committed::Done);
    // The answer was lost, and the worker asks again.
    assert_eq!(env.commit(done).await, Committed::Done);
    let foreign = Change { lease: Some(env.ids.lease()), ..decide(&running, fail(&running), env.at(3)) };
    assert_eq!(env.commit(foreign).await, Committed::Stale);
    assert_eq!(env.messages().await.len(), 1);
}

pub(super) async fn a_job_that_begins_again_ends_with_another_message(env: Env) {
    let job = env.put(replying("order 7")).await;
    let cancelled = env.drive(&job, cancel(), env.at(1)).await;
    env.drive(&cancelled, Event::Retry, env.at(2)).await;
    let running = env.take_at(env.at(3)).await;
    env.drive(&running, succeed(&running), env.at(4)).await;
    let taken = env.take_messages(10, env.at(5)).await;
    let about: Vec<_> = taken.iter().map(|row| row.message.body.about).collect();
    assert_eq!(about, [MessageKind::Cancelled, MessageKind::Completed]);
    assert_ne!(taken[0].message.id, taken[1].message.id);
}

pub(super) async fn a_callback_is_a_job_that_is_stored_once_with_the_change(env: Env) {
    let on = every_kind();
    let callback = Some(Callback { url: "https://example.org/done".into(), on });
    let job = env.put(Draft { extras: Extras { callback, ..Extras::default() }, ..draft() }).await;
    let running = env.take().await;
    env.note(note(&running, Some(progress(50, "half")), Vec::new())).await;
    let done = decide(&running, succeed(&running), env.now);
    for _ in 0..2 {
        assert_eq!(env.commit(done.clone()).await, Committed::Done);
    }
    let mut callbacks: Vec<JobRow> =
        env.all().await.into_iter().filter(|other| other.queue == callback::QUEUE).collect();
    callbacks.sort_by_key(|job| job.args.decode::<callback::CallbackArgs>().expect("args").event.about);
    let about: Vec<_> = callbacks
        .iter()
        .map(|job| job.args.decode::<callback::CallbackArgs>().expect("args").event.about)
        .collect();
    assert_eq!(about, [MessageKind::Started, MessageKind::Progress, MessageKind::Completed]);
    assert!(callbacks.iter().all(|job| job.state == State::Queued && job.kind == callback::KIND));
    let last = callbacks[2].args.decode::<callback::CallbackArgs>().expect("args");
    assert_eq!((last.url.as_str(), last.event.job_id), ("https://example.org/done", job.id));
    // Its queue exists, and a worker may claim it.
    let queues = env.store.queues().await.expect("queues");
    assert!(queues.iter().any(|queue| queue.name == callback::QUEUE), "{queues:?}");
    let claim = env.claim_from(&[(callback::QUEUE, 9)], 9);
    let claim = crate::store::Claim { kinds: Arc::new(vec![callback::KIND.into()].into()), ..claim };
    assert_eq!(env.claim_at(claim, env.at(1)).await.len(), 3);
    assert!(env.messages().await.is_empty());
}

pub(super) async fn takes_the_oldest_first_and_no_more_than_the_limit(env: Env) {
    let written = env.one_message_each(&["a", "b", "c", "d"]).await;
    let first = env.take_messages(3, env.now).await;
    assert_eq!(stored(&first), written[..3]);
    let seqs: Vec<_> = first.iter().map(|row| row.seq).collect();
    assert!(seqs.is_sorted() && first.iter().all(|row| row.deliveries == 1), "{first:?}");
    assert_eq!(stored(&env.take_messages(3, env.now).await), written[3..]);
    assert_eq!(env.take_messages(3, env.now).await, []);
    assert_eq!(env.take_messages(0, env.at(60)).await, []);
}

pub(super) async fn a_taker_gets_at_least_one_message_however_large(env: Env) {
    env.one_message_each(&["a", "b", "c"]).await;
    let small = TakeMessages { bytes_max: 1, ..env.taking(10, env.now) };
    assert_eq!(correlation(&env.take_as(small, env.now).await), ["a"]);
}

pub(super) async fn takes_from_the_reply_queue_asked_for_only(env: Env) {
    env.one_message_each(&["a"]).await;
    let other = TakeMessages { reply_to: "other".into(), ..env.taking(10, env.now) };
    assert_eq!(env.take_as(other, env.now).await, []);
}

pub(super) async fn a_correlation_id_is_in_one_hand_at_a_time(env: Env) {
    env.one_message_each(&["a", "a", "b", "a", "b", "c"]).await;
    let first = env.take_messages(2, env.now).await;
    assert_eq!(correlation(&first), ["a", "a"]);
    let second = env.take_messages(2, env.now).await;
    assert_eq!(correlation(&second), ["b", "b"], "the third a waits for the first two");
    let third = env.take_messages(9, env.now).await;
    assert_eq!(correlation(&third), ["c"]);
    // One of two is acknowledged: the other is still in that hand.
    assert_eq!(env.acknowledge(lease_of(&first[0]), &ids(&first[..1])).await, [Acknowledged::Done]);
    assert_eq!(env.take_messages(9, env.now).await, []);
    assert_eq!(env.acknowledge(lease_of(&first[0]), &ids(&first[1..])).await, [Acknowledged::Done]);
    assert_eq!(correlation(&env.take_messages(9, env.now).await), ["a"]);
}

pub(super) async fn without_a_correlation_id_each_job_is_in_order_by_itself(env: Env) {
    let reply = Reply { to: REPLIES.into(), correlation_id: None, on: every_kind() };
    let draft = || Draft { extras: Extras { reply: Some(reply.clone()), ..Extras::default() }, ..draft() };
    env.put_many([draft(), draft()]).await;
    for job in env.claim(env.claim_of(2)).await {
        env.drive(&job, succeed(&job), env.now).await;
    }
    let first = env.take_messages(1, env.now).await;
    let others = env.take_messages(9, env.now).await;
    let held = first[0].message.body.job_id;
    assert_eq!(others.len(), 2, "{others:?}");
    assert!(others.iter().all(|row| row.message.body.job_id != held));
}

pub(super) async fn a_message_is_delivered_again_when_its_lease_has_ended(env: Env) {
    env.one_message_each(&["a", "a"]).await;
    let slow = env.take_messages(2, env.now).await;
    assert_eq!(env.take_messages(2, env.at(29)).await, []);
    let second = env.take_messages(2, env.at(30)).await;
    assert_eq!(ids(&second), ids(&slow));
    assert!(second.iter().all(|row| row.deliveries == 2), "{second:?}");
    assert_eq!(env.acknowledge(lease_of(&slow[0]), &ids(&slow)).await, [Acknowledged::Lost; 2]);
    assert_eq!(env.acknowledge(lease_of(&second[0]), &ids(&second)).await, [Acknowledged::Done; 2]);
    assert_eq!(env.messages().await, []);
    // They are gone, so there is nothing left to do.
    assert_eq!(env.acknowledge(lease_of(&slow[0]), &ids(&slow)).await, [Acknowledged::Done; 2]);
}

pub(super) async fn a_late_acknowledgement_counts_unless_the_message_was_taken_again(env: Env) {
    env.one_message_each(&["a"]).await;
    let slow = env.take_messages(1, env.now).await;
    assert_eq!(env.acknowledge(lease_of(&slow[0]), &ids(&slow)).await, [Acknowledged::Done]);
    assert_eq!(env.take_messages(1, env.at(60)).await, []);
}

pub(super) async fn a_clock_that_is_set_makes_a_message_come_again_and_withholds_none(env: Env) {
    env.one_message_each(&["a"]).await;
    let hour = Duration::from_secs(3600);
    let first = env.take_messages(1, env.now).await;
    let forwards = env.take_messages(1, later(env.now, hour)).await;
    assert_eq!(ids(&forwards), ids(&first), "an hour forwards ends the lease");
    let back = env.take_messages(1, env.now).await;
    assert_eq!(ids(&back), ids(&first), "an hour back ends it as well");
    assert_eq!(
        env.take_messages(1, earlier(env.now, Duration::from_secs(30))).await,
        [],
        "clocks differ a little"
    );
    assert_eq!(env.acknowledge(lease_of(&back[0]), &ids(&back)).await, [Acknowledged::Done]);
}

pub(super) async fn a_repeated_take_answers_with_what_the_lost_one_took(env: Env) {
    env.one_message_each(&["a", "b", "c"]).await;
    let take = env.taking(2, env.now);
    let taken = env.take_as(take.clone(), env.now).await;
    let again = env.store.take_messages(Arc::new(take), env.at(1), Call::Repeated).await.expect("take again");
    assert_eq!(again, taken);
    let unanswered = env.store.take_messages(Arc::new(env.taking(2, env.now)), env.now, Call::Repeated).await;
    assert_eq!(correlation(&unanswered.expect("take")), ["c"], "the first call never arrived");
}

pub(super) async fn a_repeated_take_leaves_out_what_follows_a_message_that_another_taker_has(env: Env) {
    env.one_message_each(&["a", "a", "b"]).await;
    let take = env.taking(3, env.now);
    assert_eq!(env.take_as(take.clone(), env.now).await.len(), 3);
    // The answer is on its way for so long that the lease ends.
    let other = env.take_messages(1, env.at(31)).await;
    assert_eq!(correlation(&other), ["a"]);
    let again =
        env.store.take_messages(Arc::new(take), env.at(32), Call::Repeated).await.expect("take again");
    assert_eq!(correlation(&again), ["b"], "the second a waits for the first");
}

pub(super) async fn what_is_given_back_is_delivered_at_once_and_in_its_place(env: Env) {
    env.one_message_each(&["a", "b", "a"]).await;
    let taken = env.take_messages(2, env.now).await;
    let foreign = env.store.release_messages(env.ids.lease(), Arc::new(ids(&taken))).await;
    foreign.expect("release");
    assert_eq!(env.take_messages(9, env.now).await, [], "another lease gives nothing back");
    env.store.release_messages(lease_of(&taken[0]), Arc::new(ids(&taken[..1]))).await.expect("release");
    let again = env.take_messages(9, env.now).await;
    assert_eq!(correlation(&again), ["a", "a"]);
    assert_eq!(again[0].deliveries, 2);
    assert_eq!(
        env.acknowledge(lease_of(&taken[0]), &ids(&taken)).await,
        [Acknowledged::Lost, Acknowledged::Done]
    );
}

pub(super) async fn messages_are_listed_in_their_order_without_being_taken(env: Env) {
    let written = env.one_message_each(&["a", "b", "c"]).await;
    let all = env.messages().await;
    assert_eq!(stored(&all), written);
    assert!(all.iter().all(|row| row.deliveries == 0 && row.lease.is_none()), "{all:?}");
    let after = env.store.messages(Some(REPLIES), all[0].seq, 1).await.expect("messages");
    assert_eq!(after, all[1..2]);
    assert_eq!(env.store.messages(Some("other"), 0, 9).await.expect("messages"), []);
    assert_eq!(env.take_messages(9, env.now).await.len(), 3);
}

pub(super) async fn reply_queues_are_counted_by_name(env: Env) {
    assert_eq!(env.store.reply_queues(None, 9, env.now).await.expect("reply queues"), []);
    env.one_message_each(&["a", "b"]).await;
    env.take_messages(1, env.now).await;
    let queue = env.reply_queue(env.at(1)).await;
    assert_eq!((queue.name.as_str(), queue.messages, queue.taken, queue.dropped), (REPLIES, 2, 1, 0));
    assert_eq!(queue.oldest_at, Some(env.now));
    let bytes: usize =
        env.messages().await.iter().map(|row| row.message.body.stored().expect("text").len()).sum();
    assert_eq!(queue.bytes, bytes as u64);
    assert_eq!(env.reply_queue(env.at(31)).await.taken, 0);
    assert_eq!(env.store.reply_queues(Some(REPLIES), 9, env.now).await.expect("reply queues"), []);
    assert_eq!(env.store.reply_queues(Some("a"), 0, env.now).await.expect("reply queues"), []);
}

fn keeping_all() -> DropMessages {
    let (messages_max, bytes_max) = (u64::MAX, u64::MAX);
    DropMessages {
        reply_to: REPLIES.into(),
        before: Timestamp::UNIX_EPOCH,
        messages_max,
        bytes_max,
        limit: 100,
    }
}

pub(super) async fn what_is_too_old_or_too_much_is_dropped_and_counted(env: Env) {
    env.one_message_each(&["a", "b", "c", "d", "e"]).await;
    let drop = async |bounds: DropMessages| {
        env.store.drop_messages(Arc::new(bounds), env.at(10)).await.expect("drop messages");
        (env.messages().await, env.reply_queue(env.at(10)).await.dropped)
    };
    let (left, dropped) = drop(keeping_all()).await;
    assert_eq!((left.len(), dropped), (5, 0));
    let (left, dropped) = drop(DropMessages { before: env.at(1), ..keeping_all() }).await;
    assert_eq!((correlation(&left), dropped), (vec!["b", "c", "d", "e"], 1));
    let (left, dropped) = drop(DropMessages { messages_max: 3, ..keeping_all() }).await;
    assert_eq!((correlation(&left), dropped), (vec!["c", "d", "e"], 2));
    let bytes_max = left[2].message.body.stored().expect("text").len() as u64;
    let (left, dropped) = drop(DropMessages { bytes_max, ..keeping_all() }).await;
    assert_eq!((correlation(&left), dropped), (vec!["e"], 4));
    // What a taker has in hand stays.
    env.take_messages(1, env.at(9)).await;
    let (left, dropped) = drop(DropMessages { messages_max: 0, ..keeping_all() }).await;
    assert_eq!((left.len(), dropped), (1, 4));
}

pub(super) async fn imported_messages_keep_their_order_and_come_once(env: Env) {
    let written = env.one_message_each(&["a", "b", "a"]).await;
    let taken = env.take_messages(9, env.now).await;
    env.acknowledge(lease_of(&taken[0]), &ids(&taken)).await;
    assert_eq!(env.messages().await, []);
    for _ in 0..2 {
        env.store.import_messages(Arc::new(written.clone())).await.expect("import messages");
    }
    assert_eq!(stored(&env.messages().await), written);
    assert_eq!(stored(&env.take_messages(9, env.now).await), written);
}

pub(super) async fn messages_outlive_their_job(env: Env) {
    let job = env.put(replying("a")).await;
    env.drive(&job, cancel(), env.at(1)).await;
    env.store.delete(job.id, env.now).await.expect("delete");
    assert_eq!(env.messages().await.len(), 1);
}

pub(super) async fn a_taker_that_waits_is_notified(env: Env) {
    let job = env.put(replying("a")).await;
    let listener = env.store.notifier().subscribe_replies(REPLIES);
    env.drive(&job, cancel(), env.at(1)).await;
    let heard = tokio::time::timeout(Duration::from_secs(20), listener.notified()).await;
    assert!(heard.is_ok(), "a message without a notification");
}

pub(super) async fn takers_at_once_never_share_a_correlation_id(env: Env) {
    let keys: Vec<String> = (0..24).map(|n| format!("order {}", n % 4)).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let written = env.one_message_each(&keys).await;
    let env = Arc::new(env);
    let mut seen: BTreeMap<String, Vec<MessageId>> = BTreeMap::new();
    let mut count = 0;
    while count < written.len() {
        let takers = (0..3).map(|_| {
            let env = Arc::clone(&env);
            tokio::spawn(async move { env.take_messages(5, env.at(100)).await })
        });
        let mut hands = Vec::new();
        for taker in takers.collect::<Vec<_>>() {
            hands.push(taker.await.expect("a taker"));
        }
        let mut holders: BTreeMap<String, LeaseId> = BTreeMap::new();
        for row in hands.iter().flatten() {
            let holder = *holders.entry(row.message.order_key()).or_insert_with(|| lease_of(row));
            assert_eq!(holder, lease_of(row), "two takers have {}", row.message.order_key());
        }
        for hand in hands {
            count += hand.len();
            for row in &hand {
                seen.entry(row.message.order_key()).or_default().push(row.message.id);
            }
            if let Some(first) = hand.first() {
                env.acknowledge(lease_of(first), &ids(&hand)).await;
            }
        }
    }
    for (key, found) in seen {
        let expected: Vec<_> =
            written.iter().filter(|message| message.order_key() == key).map(|message| message.id).collect();
        assert_eq!(found, expected, "{key}");
    }
}

pub(super) async fn jobs_that_ask_for_nothing_write_no_message(env: Env) {
    env.put(draft_in("other")).await;
    env.completed().await;
    assert_eq!(env.messages().await, []);
    assert_eq!(env.store.reply_queues(None, 9, env.now).await.expect("reply queues"), []);
}
