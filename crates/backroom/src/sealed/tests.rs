//! Attacks on sealed values, and the vectors that the clients in other languages share.

use backroom_core::{Draft, JobId, JobRow, Json, LeaseId, Timestamp, sealed::Sealed, unique::UniqueRule};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use uuid::Uuid;

use super::{Codec, Field, Key, KeyAlgorithm, KeySet, Keys, OpenError, Seals, jwe, place::Place};
use crate::ids::Ids;

/// The vectors that every client checks. The Python client made them; jwcrypto and jose open them.
const VECTORS: &str = include_str!("../../../../clients/vectors/sealed.json");

fn keys() -> KeySet {
    let mut set = KeySet::new();
    set.make("payroll", KeyAlgorithm::Symmetric).unwrap();
    set.make("letters", KeyAlgorithm::PublicPrivate).unwrap();
    set
}

fn key<'a>(set: &'a KeySet, name: &str) -> &'a Key {
    set.current(name).unwrap()
}

fn job(n: u128) -> JobId {
    JobId(Uuid::from_u128(n))
}

fn lease() -> LeaseId {
    LeaseId(Uuid::from_u128(7))
}

fn place(job: JobId, field: Field<'_>) -> String {
    Place { job, kind: "pay", field }.to_string()
}

/// One member of a sealed value replaced.
fn with(text: &str, member: &str, value: &str) -> String {
    let mut sealed: serde_json::Map<String, Value> = serde_json::from_str(text).unwrap();
    sealed[member] = value.into();
    // The order of the members is fixed.
    let members = ["protected", "encrypted_key", "iv", "ciphertext", "tag", "aad"];
    let written: Vec<_> = members.iter().map(|name| format!("\"{name}\":{}", sealed[*name])).collect();
    format!("{{{}}}", written.join(","))
}

fn header_of(text: &str) -> String {
    let protected = Sealed::of(text).unwrap().protected;
    String::from_utf8(URL_SAFE_NO_PAD.decode(protected).unwrap()).unwrap()
}

#[test]
fn what_is_sealed_opens_in_its_place_and_nowhere_else() {
    let (set, ids) = (keys(), Ids::from_entropy());
    for name in ["payroll", "letters"] {
        let here = place(job(1), Field::Args);
        let text = jwe::seal(key(&set, name), b"{\"amount\":7}", &here, &ids);
        assert_eq!(**jwe::open(&set, name, &text, &here).unwrap(), *b"{\"amount\":7}");
        for there in [
            place(job(2), Field::Args),
            place(job(1), Field::Output(lease())),
            Place { job: job(1), kind: "other", field: Field::Args }.to_string(),
        ] {
            assert_eq!(jwe::open(&set, name, &text, &there).unwrap_err(), OpenError::Misplaced);
            // The attacker writes the other place into the value.
            let moved = with(&text, "aad", &URL_SAFE_NO_PAD.encode(&there));
            assert_eq!(jwe::open(&set, name, &moved, &there).unwrap_err(), OpenError::Damaged);
        }
    }
}

#[test]
fn a_seal_of_another_run_or_another_line_does_not_open() {
    let (set, ids) = (keys(), Ids::from_entropy());
    let other = LeaseId(Uuid::from_u128(8));
    for (sealed, read) in [
        (Field::Output(lease()), Field::Output(other)),
        (Field::Progress(lease()), Field::Progress(other)),
        (Field::Log(lease(), 0), Field::Log(lease(), 1)),
        (Field::Log(lease(), 0), Field::Log(other, 0)),
        (Field::Error(lease()), Field::Output(lease())),
        (Field::Step("a"), Field::Step("b")),
    ] {
        let text = jwe::seal(key(&set, "payroll"), b"x", &place(job(1), sealed), &ids);
        let opened = jwe::open(&set, "payroll", &text, &place(job(1), read));
        assert_eq!(opened.unwrap_err(), OpenError::Misplaced, "{sealed} read as {read}");
    }
}

#[test]
fn a_value_with_one_bit_changed_does_not_open() {
    let (set, ids) = (keys(), Ids::from_entropy());
    let here = place(job(1), Field::Args);
    for name in ["payroll", "letters"] {
        let text = jwe::seal(key(&set, name), b"secret", &here, &ids);
        for member in ["encrypted_key", "iv", "ciphertext", "tag", "aad"] {
            let Value::String(value) = serde_json::from_str::<Value>(&text).unwrap()[member].take() else {
                panic!("a member is a text")
            };
            let mut bytes = URL_SAFE_NO_PAD.decode(value).unwrap();
            bytes[0] ^= 1;
            let changed = with(&text, member, &URL_SAFE_NO_PAD.encode(bytes));
            jwe::open(&set, name, &changed, &here).unwrap_err();
            for cut in ["", "AA"] {
                jwe::open(&set, name, &with(&text, member, cut), &here).unwrap_err();
            }
        }
    }
}

#[test]
fn a_downgraded_header_is_refused() {
    let (set, ids) = (keys(), Ids::from_entropy());
    let here = place(job(1), Field::Args);
    for name in ["payroll", "letters"] {
        let text = jwe::seal(key(&set, name), b"secret", &here, &ids);
        let header = header_of(&text);
        let alg = key(&set, name).algorithm().name();
        for (from, to) in [
            (alg, "none"),
            (alg, "dir"),
            (alg, "A128KW"),
            (alg, "RSA1_5"),
            (alg, "ECDH-ES"),
            ("A256GCM", "A128CBC-HS256"),
            ("A256GCM", "A128GCM"),
            ("\"kid\"", "\"zip\":\"DEF\",\"kid\""),
            ("\"kid\"", "\"crit\":[],\"kid\""),
            ("\"kid\"", "\"apu\":\"AA\",\"kid\""),
            ("\"kid\"", "\"alg\":\"none\",\"kid\""),
        ] {
            let forged = with(&text, "protected", &URL_SAFE_NO_PAD.encode(header.replace(from, to)));
            jwe::open(&set, name, &forged, &here).unwrap_err();
        }
        // The other algorithm under the id of this key.
        let other = if name == "payroll" { "ECDH-ES+A256KW" } else { "A256KW" };
        let forged = with(&text, "protected", &URL_SAFE_NO_PAD.encode(header.replace(alg, other)));
        assert_eq!(jwe::open(&set, name, &forged, &here).unwrap_err(), OpenError::Algorithm);
    }
}

#[test]
fn a_value_sealed_with_another_kinds_key_is_refused() {
    let (set, ids) = (keys(), Ids::from_entropy());
    let here = place(job(1), Field::Args);
    let text = jwe::seal(key(&set, "letters"), b"forged", &here, &ids);
    let id = key(&set, "letters").id().to_owned();
    assert_eq!(jwe::open(&set, "payroll", &text, &here).unwrap_err(), OpenError::NotOfKind(id));
}

#[test]
fn a_missing_key_is_named_and_so_is_a_wrong_one() {
    let (set, ids) = (keys(), Ids::from_entropy());
    let here = place(job(1), Field::Args);
    for name in ["payroll", "letters"] {
        let text = jwe::seal(key(&set, name), b"x", &here, &ids);
        let id = key(&set, name).id().to_owned();
        let opened = jwe::open(&KeySet::new(), name, &text, &here);
        assert_eq!(opened.unwrap_err(), OpenError::NoKey(id.clone()));
        // Another key of the same id.
        assert_eq!(jwe::open(&keys(), name, &text, &here).unwrap_err(), OpenError::WrongKey(id.clone()));
        let producers = set.for_producers();
        assert_eq!(jwe::open(&producers, name, &text, &here).unwrap_err(), OpenError::NoKey(id));
    }
}

#[test]
fn a_point_of_small_order_is_refused() {
    let (set, ids) = (keys(), Ids::from_entropy());
    let here = place(job(1), Field::Args);
    let text = jwe::seal(key(&set, "letters"), b"x", &here, &ids);
    let mut header: Value = serde_json::from_str(&header_of(&text)).unwrap();
    header["epk"]["x"] = "A".repeat(43).into();
    let forged = with(&text, "protected", &URL_SAFE_NO_PAD.encode(header.to_string()));
    assert_eq!(jwe::open(&set, "letters", &forged, &here).unwrap_err(), OpenError::Damaged);
}

#[tokio::test]
async fn equal_args_have_equal_unique_keys_that_show_nothing() {
    let keys = Keys::load(keys()).await.unwrap();
    let seals = Seals { keys: Some(keys), kinds: Default::default() };
    let ids = Ids::from_entropy();
    let unique_key = |args: &str, rule: UniqueRule| {
        let mut draft = Draft {
            seal: Some("payroll".into()),
            unique: Some(rule),
            ..Draft::new("pay", Json::parse(args).unwrap())
        };
        let now = Timestamp::UNIX_EPOCH;
        let new = seals.check(&mut draft, ids.job(now), now, 10_000, &ids).unwrap().unwrap();
        assert!(!new.job.args.as_str().contains("iban"));
        new.job.unique_key.unwrap()
    };
    let by_args = UniqueRule::by_args();
    let key = unique_key(r#"{"iban":"DE02","amount":1.0}"#, by_args.clone());
    assert_eq!(key, unique_key(r#"{ "amount": 1, "iban": "DE02" }"#, by_args.clone()));
    assert_ne!(key, unique_key(r#"{"iban":"DE03","amount":1}"#, by_args.clone()));
    let plain =
        by_args.resolve("pay", &Json::parse(r#"{"iban":"DE02","amount":1}"#).unwrap(), Timestamp::UNIX_EPOCH);
    assert_ne!(key, plain.unwrap().key, "a guess could be checked against a plain hash");
    let named = unique_key("{}", UniqueRule::by_key("iban-DE02"));
    assert!(named.starts_with("pay=") && !named.contains("DE02"), "{named}");
}

#[test]
fn the_vectors_are_what_every_client_opens() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let set = KeySet::parse(&vectors["keys"].to_string()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    for case in vectors["opens"].as_array().unwrap() {
        let opened = jwe::open(&set, &text(&case["key"]), &case["sealed"].to_string(), &text(&case["aad"]));
        assert_eq!(**opened.unwrap(), *text(&case["plain"]).as_bytes(), "{}", case["name"]);
    }
    for case in vectors["refused"].as_array().unwrap() {
        let opened = jwe::open(&set, &text(&case["key"]), &case["sealed"].to_string(), &text(&case["aad"]));
        opened.map(drop).expect_err(&case["name"].to_string());
    }
    for case in vectors["unique"].as_array().unwrap() {
        let hash = set.hash(&text(&case["key"])).unwrap();
        let rule = UniqueRule::by_key(text(&case["text"]));
        let plain = rule.resolve(&text(&case["kind"]), &Json::null(), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(super::seals::keyed(hash, &plain.key), text(&case["hashed"]));
    }
}

/// A job whose values are sealed.
fn sealed_row(set: &KeySet, ids: &Ids) -> JobRow {
    let new = Draft::new("pay", Json::null()).check(job(1), Timestamp::UNIX_EPOCH, 100).unwrap();
    let codec = Codec::new(std::sync::Arc::new(set.clone()), "payroll", job(1), "pay");
    JobRow {
        args: codec.seal_json(Field::Args, &Json::parse("[1]").unwrap(), ids),
        output: Some(codec.seal_json(Field::Output(lease()), &Json::parse("[2]").unwrap(), ids)),
        lease_id: Some(lease()),
        ..new.job
    }
}

#[tokio::test]
async fn a_whole_job_opens_and_a_field_in_the_place_of_another_does_not() {
    let (set, ids) = (keys(), Ids::from_entropy());
    let row = sealed_row(&set, &ids);
    let keys = Keys::load(set).await.unwrap();
    let open = keys.open_job(&row).unwrap();
    assert_eq!((open.args.as_str(), open.output.unwrap().as_str().to_owned()), ("[1]", "[2]".into()));
    let swapped = JobRow { args: row.output.clone().unwrap(), output: Some(row.args.clone()), ..row.clone() };
    assert_eq!(keys.open_job(&swapped).unwrap_err(), OpenError::Misplaced);
    let replayed = JobRow { lease_id: Some(LeaseId(Uuid::from_u128(9))), ..row };
    assert_eq!(keys.open_job(&replayed).unwrap_err(), OpenError::Misplaced);
}
