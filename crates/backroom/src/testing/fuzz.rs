//! What every parser of core and library must do with any bytes: the targets of `cargo xtask fuzz`.
//!
//! Each target takes bytes, and panics if a rule is broken. `tests/fuzz_corpus.rs` runs all of them over the seed corpora in `fuzz/corpus`.

use std::{panic::catch_unwind, path::Path};

use backroom_core::{
    Callback, Extras, Json, Reply, RetryPolicy, Timestamp,
    http_url::HttpUrl,
    schedule::{
        Spec, Timetable,
        policy::Dst,
        template::{Template, Values},
        zone,
    },
    trace::check_traceparent,
    unique::UniqueRule,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{Cursor, store::StoreUrl};

/// A target: its name, which is also the folder of its corpus, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// Every target of this crate.
pub const TARGETS: &[Target] = &[
    ("command_output", command_output),
    ("cursor", cursor),
    ("extras", extras),
    ("json", json),
    ("schedule", schedule),
    ("template", template),
    ("url", url),
];

/// Calls a target with every seed of its corpus, and then with so many inputs that are made from them by chance. The chance is that of
/// `seed`. An input that breaks a rule is printed.
pub fn over_corpus(target: Target, folder: &Path, rounds: u64, seed: u64) {
    let (name, _) = target;
    let folder = folder.join(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("an entry of the corpus").path());
    let mut seeds: Vec<_> = paths.map(|path| std::fs::read(path).expect("the bytes of a seed")).collect();
    // The order of a folder is none.
    seeds.sort();
    assert!(seeds.len() > 1, "{} has {} seeds", folder.display(), seeds.len());
    for bytes in &seeds {
        call(target, bytes);
    }
    let mut chance = StdRng::seed_from_u64(seed);
    for _ in 0..rounds {
        let mut bytes = seeds[chance.random_range(0..seeds.len())].clone();
        for _ in 0..chance.random_range(1..6) {
            mutate(&mut bytes, &seeds, &mut chance);
        }
        call(target, &bytes);
    }
}

fn call((name, rule): Target, bytes: &[u8]) {
    if let Err(panic) = catch_unwind(|| rule(bytes)) {
        let why = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        panic!("{name} breaks a rule for {:?}: {why}", String::from_utf8_lossy(bytes));
    }
}

/// Texts that parsers know.
const WORDS: &[&str] = &[
    "\0",
    "\"",
    "\\u0000",
    "\\ud800",
    "{",
    "}",
    "[",
    "]",
    "{{",
    "}}",
    ":",
    ",",
    "-",
    "1e400",
    "-1",
    "0",
    "9007199254740993",
    "18446744073709551616",
    "null",
    "true",
    "*",
    "/",
    "?",
    "L",
    "W",
    "#",
    ";",
    "=",
    "\n",
    "\r\n",
    " ",
    "%00",
    "%",
    "&",
    "@",
    "://",
    "\u{1f980}",
    "\u{130}",
    "2026-12-24T18:00:00Z",
    "9999-12-31",
    "P1D",
];

fn mutate(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], chance: &mut StdRng) {
    let at = chance.random_range(0..=bytes.len());
    let end = chance.random_range(at..=bytes.len().min(at + 16));
    match chance.random_range(0..6) {
        0 => drop(bytes.drain(at..end)),
        1 => drop(bytes.splice(at..end, WORDS[chance.random_range(0..WORDS.len())].bytes())),
        2 => {
            let again = bytes[at..end].repeat(chance.random_range(1..20));
            drop(bytes.splice(at..at, again));
        }
        3 => {
            let other = &seeds[chance.random_range(0..seeds.len())];
            let from = chance.random_range(0..=other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        4 if at < bytes.len() => bytes[at] = chance.random(),
        _ if at < bytes.len() => bytes[at] = bytes[at].wrapping_add(1),
        _ => bytes.push(chance.random_range(b' '..=b'~')),
    }
    bytes.truncate(8192);
}

/// A moment of every target that needs one.
fn now() -> Timestamp {
    Timestamp::from_second(1_775_000_000).expect("invariant: a moment in range")
}

/// JSON: accepted exactly if serde_json accepts it, within the depth that we allow, and stored as it was written.
pub fn json(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(json) = Json::parse(text) else { return };
    assert_eq!(json.as_str(), text.trim_matches([' ', '\t', '\r', '\n']), "the text of a value changed");
    let canonical = json.canonical().expect("a value within the depth has a canonical text");
    let again = Json::parse(canonical.as_str()).expect("the canonical text is JSON");
    assert_eq!(again.canonical().as_deref(), Ok(canonical.as_str()), "the canonical text has another one");
    let pretty = Json::parse(json.pretty()).expect("the pretty text is JSON");
    assert_eq!(pretty.canonical(), Ok(canonical), "the pretty text means another value");
    // These may refuse it, and must not panic.
    let _ = UniqueRule::by_args().resolve("kind", &json, now());
    let _ = UniqueRule::by_fields(["a", "b"]).resolve("kind", &json, now());
    let _ = json.decode::<serde_json::Value>();
}

/// What callers choose beside the args: JSON that the types read, and write again as they read it.
pub fn extras(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = Extras::from_stored(Some(text));
    fn comes_back<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(
        text: &str,
    ) {
        let Ok(value) = serde_json::from_str::<T>(text) else { return };
        let written = serde_json::to_string(&value).expect("what was read can be written");
        assert_eq!(serde_json::from_str::<T>(&written).ok(), Some(value), "{written}");
    }
    comes_back::<RetryPolicy>(text);
    comes_back::<UniqueRule>(text);
    comes_back::<Reply>(text);
    comes_back::<Callback>(text);
    if let Ok(policy) = serde_json::from_str::<RetryPolicy>(text)
        && policy.check().is_ok()
    {
        for attempt in [1, 2, 20, u32::MAX] {
            let _ = policy.delay(attempt, 0.5);
        }
    }
}

/// The first line is the name of a zone, the rest a spec in its short form. What is accepted has ordered occurrences, forwards
/// and backwards the same.
pub fn schedule(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some((zone, text)) = text.split_once('\n') else { return };
    let Ok(spec) = text.parse::<Spec>() else { return };
    for dst in [Dst::Once, Dst::Literal] {
        let Ok(timetable) = Timetable::new(std::slice::from_ref(&spec), &[], zone, dst) else { return };
        let described = spec.describe(zone).expect("what has a timetable can be described");
        assert!(!described.is_empty());
        let mut after = now();
        for _ in 0..5 {
            let Some(next) = timetable.next_after(after) else { break };
            assert!(next > after, "{text:?} in {zone}: {next} does not follow {after}");
            assert!(timetable.includes(next), "{text:?} in {zone}: {next} is no occurrence");
            let Ok(later) = next.checked_add(jiff::SignedDuration::from_nanos(1)) else { break };
            assert_eq!(timetable.previous_before(later), Some(next), "{text:?} in {zone}");
            after = next;
        }
    }
}

/// The args of a schedule: what is accepted becomes JSON whatever it is filled with.
pub fn template(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(args) = Json::parse(text) else { return };
    let Ok(template) = Template::parse(&args) else { return };
    let zone = zone::find("Europe/Berlin").expect("a zone that there is");
    for (last_success, schedule) in [(None, "nightly"), (Some(now()), "a \"quoted\" \\ name \u{1f980}")] {
        let values = Values { schedule, zone: &zone, nominal: now(), last_success, run_number: u64::MAX };
        template.fill(&values).expect("what was accepted can be filled");
    }
}

/// URLs: of callbacks, whose spelling is read back as the same, and of stores, whose passwords are not shown.
pub fn url(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(url) = HttpUrl::parse(text) {
        let spelled = url.to_string();
        assert_eq!(HttpUrl::parse(&spelled).as_ref(), Ok(&url), "{text:?} is spelled {spelled:?}");
        assert!(!url.authority().is_empty());
    }
    if let Err(error) = StoreUrl::of(text) {
        assert!(!error.to_string().is_empty());
    }
    let _ = crate::without_password(text);
    #[cfg(feature = "postgres")]
    let _ = crate::store::postgres::PostgresOptions::default().with_url(text);
}

/// What readers of event streams and callers of the API send in headers.
pub fn cursor(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string(), text);
    }
    if check_traceparent(text).is_ok() {
        assert!(text.is_ascii() && text.len() >= 55);
    }
    if let Ok(id) = text.parse::<backroom_core::JobId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}

/// What a command writes: log lines and reports on stderr, its output on stdout. The first byte chooses how both are cut.
pub fn command_output(bytes: &[u8]) {
    #[cfg(all(feature = "exec", target_os = "linux"))]
    if let Some((size, written)) = bytes.split_first() {
        crate::command::fuzz::output(usize::from(*size).max(1), written);
    }
    #[cfg(not(all(feature = "exec", target_os = "linux")))]
    let _ = bytes;
}
