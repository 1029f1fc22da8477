//! Whatever is within the bounds comes back as it was.

use std::sync::Arc;

use backroom_core::{
    Draft, Event, Extras, JobRow, Timestamp,
    bounds::{JSON_BYTES_MAX, META_VALUE_BYTES_MAX, NAME_BYTES_MAX, whole_micros},
    unique::UniqueRule,
};

use super::env::{Env, draft, draft_in, ids, json, lease, lines, note, progress};
use crate::store::{Claim, Filter, Record};

const SCRIPTS: &str = "Zażółć 漢字 العربية עברית 👩‍👩‍👧 e\u{301} \u{202e}x\u{10ffff}";

pub(super) async fn texts_of_all_scripts_come_back(env: Env) {
    let draft = Draft {
        kind: SCRIPTS.into(),
        args: json(&format!(r#"{{"{SCRIPTS}":"{SCRIPTS}"}}"#)),
        lane: Some(SCRIPTS.into()),
        unique: Some(UniqueRule::by_key(SCRIPTS)),
        tags: vec![SCRIPTS.into(), "\"quoted\", [x]".into()],
        extras: with_meta([(SCRIPTS.into(), format!("{SCRIPTS}\n\t\r"))]),
        ..draft_in(SCRIPTS)
    };
    let job = env.put(draft).await;
    assert_eq!(env.read(job.id).await, job);
    let claim = Claim { kinds: Arc::new(vec![SCRIPTS.into()].into()), ..env.claim_from(&[(SCRIPTS, 9)], 9) };
    let running = env.claim(claim).await.remove(0);
    let said = lines(&running, 0, &[SCRIPTS]);
    env.note(note(&running, Some(progress(1, SCRIPTS)), said.clone())).await;
    assert_eq!(env.logs(job.id).await, said);
    let running = env.read(job.id).await;
    assert_eq!(running.progress, Some(progress(1, SCRIPTS)));
    env.drive(&running, Event::Discard { lease: lease(&running), reason: SCRIPTS.into() }, env.now).await;
    assert_eq!(env.attempts(job.id).await[0].error, SCRIPTS);
    let filter = Filter { tag: Some(SCRIPTS.into()), kind: Some(SCRIPTS.into()), ..Filter::default() };
    assert_eq!(ids(&env.store.list(Arc::new(filter), None, 9).await.expect("list")), [job.id]);
}

pub(super) async fn escaped_nul_in_args_and_output_comes_back(env: Env) {
    let text = r#"{"a\u0000b":"\u0000","lone":"\ud800"}"#;
    let job = env.put(Draft { args: json(text), ..draft() }).await;
    assert_eq!(env.read(job.id).await.args.as_str(), text);
    let running = env.take().await;
    let output = Event::Succeed { lease: lease(&running), output: json(text) };
    let done = env.drive(&running, output, env.now).await;
    assert_eq!(done.output.as_ref().map(|output| output.as_str()), Some(text));
}

fn with_meta(entries: impl IntoIterator<Item = (String, String)>) -> Extras {
    Extras { meta: entries.into_iter().collect(), ..Extras::default() }
}

pub(super) async fn a_mebibyte_of_args_comes_back(env: Env) {
    let text = format!("\"{}\"", "x".repeat(JSON_BYTES_MAX - 2));
    let full = Draft {
        args: json(&text),
        lane: Some("l".repeat(NAME_BYTES_MAX)),
        extras: with_meta((0..64).map(|n| (format!("key {n}"), "v".repeat(META_VALUE_BYTES_MAX)))),
        tags: (0..32).map(|n| format!("{n:0>128}")).collect(),
        ..draft()
    };
    let job = env.put(full).await;
    let running = env.take().await;
    assert!(running.args == job.args && running.extras == job.extras && running.tags == job.tags);
    let output = Event::Succeed { lease: lease(&running), output: json(&text) };
    env.drive(&running, output, env.now).await;
}

pub(super) async fn json_comes_back_as_it_was_written(env: Env) {
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let texts = [
        "null", "1e400", "1.10", "-0", "123456789012345678901234567890", r#"{"b":1,"a":2,"b":3}"#,
        "[ 1 ,\n\t2 ]", r#""\u00e9\/é""#, r#"{"\ud83d":"\ude00"}"#, "{}", &deep,
    ];
    // The same with a unique key: what a job may carry does not depend on whether it has one.
    for unique in [None, Some(UniqueRule::by_args())] {
        let drafts = texts.map(|text| Draft { args: json(text), unique: unique.clone(), ..draft() });
        for job in env.put_many(drafts).await {
            assert_eq!(env.read(job.id).await.args.as_str(), job.args.as_str());
        }
    }
}

pub(super) async fn names_that_look_like_sql_are_only_names(env: Env) {
    for name in ["'; DROP TABLE backroom_jobs; --", "%", "_", "NULL", "{a,b}", "\"", "\\", "$1", "?1"] {
        let job = env.put(Draft { tags: vec![name.into()], kind: name.into(), ..draft_in(name) }).await;
        let claim = Claim { kinds: Arc::new(vec![name.into()].into()), ..env.claim_from(&[(name, 9)], 9) };
        assert_eq!(ids(&env.claim(claim).await), [job.id]);
        let filter = Filter { tag: Some(name.into()), queue: Some(name.into()), ..Filter::default() };
        assert_eq!(ids(&env.store.list(Arc::new(filter), None, 9).await.expect("list")), [job.id]);
    }
}

pub(super) async fn extreme_times_come_back(env: Env) {
    let job = env.new_job(draft()).job;
    let at = |at: Timestamp, job: &JobRow| {
        let id = env.new_job(draft()).job.id;
        let at = whole_micros(at);
        JobRow { id, created_at: at, scheduled_at: at, expires_at: Some(at), ..job.clone() }
    };
    let before_1970 = Timestamp::constant(-1, 999_000);
    // Years 1 to 9999: what a PostgreSQL timestamp and a Rust one can both say.
    let earliest = Timestamp::constant(-62_135_596_800, 0);
    let jobs = [at(before_1970, &job), at(Timestamp::MAX, &job), at(earliest, &job)];
    let records = jobs.clone().map(|job| Record { job, attempts: Vec::new(), lines: Vec::new(), edges: Vec::new(), journal: None });
    env.store.import(Arc::new(records.to_vec())).await.expect("import");
    for job in jobs {
        assert_eq!(env.read(job.id).await, job);
    }
}

pub(super) async fn names_and_keys_differ_by_case_and_by_bytes(env: Env) {
    // é as one character and as two, which look the same.
    let names = ["a", "A", "\u{e9}", "e\u{301}"];
    let keyed = |name: &str| Draft { unique: Some(UniqueRule::by_key(name)), ..draft_in(name) };
    let jobs = env.put_many(names.map(keyed)).await;
    for (name, job) in names.into_iter().zip(&jobs) {
        assert_eq!(ids(&env.claim(env.claim_from(&[(name, 9)], 9)).await), [job.id]);
    }
}
