//! Triggers have one exclusive reader, values that only it writes, and dead letters.

use std::{sync::Arc, time::Duration};

use backroom_core::{Json, LeaseId, bounds::later};
use uuid::Uuid;

use super::env::Env;
use crate::store::{
    DEAD_LETTERS_MAX, DeadLetter, READERS_FORGOTTEN_AFTER, TriggerHold, TriggerPause, TriggerReader, TriggerRow,
    WriteState,
};

fn json(text: &str) -> Json {
    Json::parse(text).expect("JSON")
}

async fn define(env: &Env, name: &str) {
    env.store.put_trigger(name, json(r#"{"type":"folder"}"#), env.now).await.expect("store a trigger");
}

async fn find(env: &Env, name: &str) -> Option<TriggerRow> {
    env.store.trigger(name).await.expect("find a trigger")
}

async fn list(env: &Env, after: Option<&str>, limit: usize) -> Vec<String> {
    let rows = env.store.triggers(after, limit).await.expect("list triggers");
    rows.into_iter().map(|row| row.name).collect()
}

fn reader(env: &Env, lease: LeaseId, beats: u64) -> TriggerReader {
    TriggerReader {
        lease,
        holder: "host/1".into(),
        exclusive: true,
        beats,
        beat_at: env.now,
        status: json(r#"{"state":"running"}"#),
    }
}

async fn hold(env: &Env, reader: TriggerReader, dead: Option<(LeaseId, u64)>) -> TriggerReader {
    let hold = TriggerHold { trigger: "in".into(), reader, dead };
    env.store.hold_trigger(Arc::new(hold), env.now).await.expect("hold a trigger")
}

async fn write(env: &Env, lease: Option<LeaseId>, values: &[(&str, Option<&str>)]) -> bool {
    let values = values.iter().map(|(key, value)| ((*key).into(), value.map(str::to_owned)));
    let write = WriteState { trigger: "in".into(), lease, values: values.collect() };
    env.store.write_trigger_state(Arc::new(write)).await.expect("write values")
}

async fn state(env: &Env, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let found = env.store.trigger_state("in", prefix, after, limit).await.expect("read values");
    found.into_iter().map(|(key, value)| format!("{key}={value}")).collect()
}

fn letter(env: &Env, identity: &str, reason: &str) -> DeadLetter {
    DeadLetter {
        id: env.ids.job(env.now).0,
        trigger: "in".into(),
        identity: identity.into(),
        reason: reason.into(),
        at: env.now,
        delivery: json(r#"{"headers":[["a","\u0000"]]}"#),
        body_bytes: 3,
        body: Some(vec![0, 255, 7]),
    }
}

async fn put(env: &Env, letters: &[DeadLetter]) -> Vec<Uuid> {
    env.store.put_dead_letters(Arc::new(letters.to_vec())).await.expect("store dead letters")
}

async fn letters(env: &Env, trigger: Option<&str>, limit: usize) -> Vec<DeadLetter> {
    env.store.dead_letters(trigger, None, limit).await.expect("list dead letters")
}

pub(super) async fn a_trigger_is_defined_again_and_its_pause_stays(env: Env) {
    assert_eq!(find(&env, "in").await, None);
    define(&env, "in").await;
    let pause = TriggerPause { at: env.at(1), reason: "maintenance".into() };
    let later_pause = TriggerPause { at: env.at(2), reason: "another".into() };
    for pause in [&pause, &later_pause] {
        assert!(env.store.pause_trigger("in", Some(pause.clone())).await.expect("pause"));
    }
    env.store.put_trigger("in", json("[1]"), env.at(3)).await.expect("store a trigger");
    let row = find(&env, "in").await.expect("a trigger");
    assert_eq!((row.definition, row.defined_at, row.paused), (json("[1]"), env.at(3), Some(pause)));
    assert!(env.store.pause_trigger("in", None).await.expect("resume"));
    assert_eq!(find(&env, "in").await.expect("a trigger").paused, None);
    assert!(!env.store.pause_trigger("unknown", None).await.expect("resume"), "there is no such trigger");
    assert_eq!(find(&env, "IN").await, None, "the case counts");
}

pub(super) async fn triggers_come_by_name_in_pages(env: Env) {
    for name in ["b", "a", "c", "ä"] {
        define(&env, name).await;
    }
    assert_eq!(list(&env, None, 9).await, ["a", "b", "c", "ä"]);
    assert_eq!(list(&env, None, 2).await, ["a", "b"]);
    assert_eq!(list(&env, Some("b"), 9).await, ["c", "ä"]);
}

pub(super) async fn one_reader_at_a_time_has_an_exclusive_trigger(env: Env) {
    define(&env, "in").await;
    let (one, other) = (env.ids.lease(), env.ids.lease());
    assert_eq!(hold(&env, reader(&env, one, 1), None).await.lease, one);
    let known = hold(&env, reader(&env, other, 1), None).await;
    assert_eq!((known.lease, known.beats), (one, 1));
    assert_eq!(hold(&env, reader(&env, one, 2), None).await.beats, 2);
    let stale = hold(&env, reader(&env, other, 1), Some((one, 1))).await;
    assert_eq!(stale.lease, one, "it has beaten since it was observed");
    assert_eq!(hold(&env, reader(&env, other, 1), Some((one, 2))).await.lease, other);
    assert_eq!(hold(&env, reader(&env, one, 3), None).await.lease, other, "it lost the trigger");
    assert_eq!(find(&env, "in").await.expect("a trigger").readers, [reader(&env, other, 1)]);
}

pub(super) async fn a_released_trigger_is_free(env: Env) {
    define(&env, "in").await;
    let (one, other) = (env.ids.lease(), env.ids.lease());
    hold(&env, reader(&env, one, 1), None).await;
    env.store.release_trigger("in", other).await.expect("release");
    assert_eq!(hold(&env, reader(&env, other, 1), None).await.lease, one);
    env.store.release_trigger("in", one).await.expect("release");
    assert_eq!(hold(&env, reader(&env, other, 1), None).await.lease, other);
}

pub(super) async fn readers_that_share_a_trigger_never_meet(env: Env) {
    define(&env, "in").await;
    let shared = |lease| TriggerReader { exclusive: false, ..reader(&env, lease, 1) };
    let mut leases = [env.ids.lease(), env.ids.lease()];
    leases.sort_unstable();
    for lease in leases {
        assert_eq!(hold(&env, shared(lease), None).await.lease, lease);
    }
    let readers = find(&env, "in").await.expect("a trigger").readers;
    assert_eq!(readers.iter().map(|reader| reader.lease).collect::<Vec<_>>(), leases);
    let much_later = later(env.now, READERS_FORGOTTEN_AFTER + Duration::from_secs(1));
    let beat = TriggerReader { beat_at: much_later, beats: 2, ..shared(leases[0]) };
    let beat = TriggerHold { trigger: "in".into(), reader: beat, dead: None };
    env.store.hold_trigger(Arc::new(beat), much_later).await.expect("hold a trigger");
    assert_eq!(find(&env, "in").await.expect("a trigger").readers.len(), 1, "the other one is forgotten");
}

pub(super) async fn only_the_reader_writes_values(env: Env) {
    define(&env, "in").await;
    let (one, other) = (env.ids.lease(), env.ids.lease());
    assert!(!write(&env, Some(one), &[("a", Some("1"))]).await, "it has no reader");
    hold(&env, reader(&env, one, 1), None).await;
    assert!(write(&env, Some(one), &[("a", Some("1")), ("b", Some("2"))]).await);
    hold(&env, reader(&env, other, 1), Some((one, 1))).await;
    assert!(!write(&env, Some(one), &[("a", Some("3")), ("b", None)]).await, "it lost the trigger");
    assert_eq!(state(&env, "", None, 9).await, ["a=1", "b=2"]);
    assert!(write(&env, Some(other), &[("a", Some("4")), ("b", None)]).await);
    assert!(write(&env, None, &[("c", Some(""))]).await, "values without a lease are always written");
    assert_eq!(state(&env, "", None, 9).await, ["a=4", "c="]);
}

pub(super) async fn values_come_by_the_bytes_of_their_keys_in_pages(env: Env) {
    let keys = ["f/a", "f/a-b", "f/a/x", "f/Z", "f/ä", "f0", "g"];
    let values: Vec<_> = keys.iter().map(|key| (*key, Some("1"))).collect();
    write(&env, None, &values).await;
    let of_folder = ["f/Z=1", "f/a=1", "f/a-b=1", "f/a/x=1", "f/ä=1"];
    assert_eq!(state(&env, "f/", None, 9).await, of_folder);
    assert_eq!(state(&env, "f/", Some("f/a"), 2).await, of_folder[2..4]);
    assert_eq!(state(&env, "f/", Some("a"), 1).await, of_folder[..1]);
    assert_eq!(state(&env, "f/", Some("f/ä"), 9).await, [""; 0]);
    let keys = Arc::new(vec!["g".to_owned(), "none".into(), "f/a".into()]);
    let found = env.store.trigger_values("in", keys).await.expect("read values");
    assert_eq!(found, [Some("1".into()), None, Some("1".into())]);
    let found = env.store.trigger_values("out", Arc::new(vec!["g".into()])).await.expect("read values");
    assert_eq!(found, [None], "another trigger has values of its own");
}

pub(super) async fn a_dead_letter_comes_back_whole_and_lists_leave_out_bodies(env: Env) {
    define(&env, "in").await;
    let first = letter(&env, "1", "is no JSON");
    let second = DeadLetter { trigger: "out".into(), body: None, ..letter(&env, "1", "is too large") };
    put(&env, &[first.clone(), second.clone()]).await;
    assert_eq!(env.store.dead_letter(first.id).await.expect("read"), Some(first.clone()));
    assert_eq!(env.store.dead_letter(second.id).await.expect("read"), Some(second.clone()));
    let listed = DeadLetter { body: None, ..first.clone() };
    assert_eq!(letters(&env, None, 9).await, [second.clone(), listed.clone()]);
    assert_eq!(letters(&env, Some("in"), 9).await, std::slice::from_ref(&listed));
    assert_eq!(letters(&env, None, 1).await, std::slice::from_ref(&second));
    let older = env.store.dead_letters(None, Some(second.id), 9).await.expect("list dead letters");
    assert_eq!(older, [listed]);
    assert_eq!(find(&env, "in").await.expect("a trigger").dead_letters, 1);
    env.store.delete_dead_letters(Arc::new(vec![first.id])).await.expect("delete");
    assert_eq!(letters(&env, Some("in"), 9).await, []);
}

pub(super) async fn a_dead_letter_of_the_same_delivery_is_replaced(env: Env) {
    let first = letter(&env, "1", "is no JSON");
    let again = letter(&env, "1", "names no kind");
    assert_eq!(put(&env, std::slice::from_ref(&first)).await, [first.id]);
    let other = letter(&env, "2", "names no kind");
    let ids = put(&env, &[other.clone(), again.clone()]).await;
    assert_eq!(ids, [other.id, first.id], "the answer has the ids that are stored");
    let stored = env.store.dead_letter(first.id).await.expect("read");
    assert_eq!(stored, Some(DeadLetter { id: first.id, ..again }));
    assert_eq!(letters(&env, None, 9).await.len(), 2);
    let twice = [letter(&env, "3", "is no JSON"), letter(&env, "3", "names no kind")];
    let ids = put(&env, &twice).await;
    assert_eq!(ids[0], ids[1], "one call that has the same delivery twice stores one");
    assert!(env.store.dead_letter(ids[0]).await.expect("read").is_some());
}

pub(super) async fn the_oldest_dead_letters_are_dropped_and_counted(env: Env) {
    define(&env, "in").await;
    let many: Vec<_> = (0..DEAD_LETTERS_MAX + 3).map(|n| letter(&env, &n.to_string(), "no")).collect();
    for part in many.chunks(5000) {
        put(&env, part).await;
    }
    let row = find(&env, "in").await.expect("a trigger");
    assert_eq!(row.dead_letters, u64::from(DEAD_LETTERS_MAX));
    assert_eq!(env.store.dead_letter(many[2].id).await.expect("read"), None);
    assert_eq!(env.store.dead_letter(many[3].id).await.expect("read").as_ref(), Some(&many[3]));
    assert_eq!(row.dropped, 3);
}

pub(super) async fn a_deleted_trigger_leaves_nothing(env: Env) {
    define(&env, "in").await;
    let lease = env.ids.lease();
    hold(&env, reader(&env, lease, 1), None).await;
    write(&env, Some(lease), &[("a", Some("1"))]).await;
    put(&env, &[letter(&env, "1", "no")]).await;
    env.store.delete_trigger("in").await.expect("delete");
    assert_eq!(find(&env, "in").await, None);
    assert_eq!(state(&env, "", None, 9).await, [""; 0]);
    assert_eq!(letters(&env, None, 9).await, []);
    define(&env, "in").await;
    assert_eq!(find(&env, "in").await.expect("a trigger").readers, []);
}
