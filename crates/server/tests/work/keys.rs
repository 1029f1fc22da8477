//! `backroom keys`: made, listed, replaced and removed, and which of them a store still needs.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::{Value, json};

use crate::{
    cli_support::Place,
    support::{Working, place, until},
};

/// Enqueues a sealed job with the key of this name; answers with its id.
fn sealed(place: &Place, keys: &str) -> String {
    place.enqueue(&["pay", "{\"iban\": \"DE02\"}", "--seal", "payroll", "--keys", keys])
}

/// What the store needs: ids, with the live and the finished jobs, and whether the file has the key.
fn needed(place: &Place) -> Vec<(Value, Value, Value, Value)> {
    let answer = place.json(["keys", "needed"]);
    let of = |key: &Value| {
        let field = |name: &str| key[name].clone();
        (field("id"), field("live"), field("finished"), field("here"))
    };
    answer["keys"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn keys_are_made_rotated_and_removed_and_the_store_says_which_it_needs() {
    let place = place("");
    assert_eq!(place.json(["keys", "make", "payroll"])["key"], "payroll.1");
    place.run(["keys", "make", "payroll"]).failed_naming("backroom keys rotate payroll");
    place.run(["keys", "rotate", "letters"]).failed_naming("has no key of this name");
    let file = place.path("keys.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let keys = file.display().to_string();
    let first = sealed(&place, &keys);
    let before = fs::read(&file).unwrap();
    assert_eq!(place.json(["keys", "rotate", "payroll"])["key"], "payroll.2");
    let second = sealed(&place, &keys);
    let one = |id: &str, here: bool| (json!(id), json!(1), json!(0), json!(here));
    assert_eq!(needed(&place), [one("payroll.1", true), one("payroll.2", true)]);
    let listed = place.json(["keys", "list"]);
    let uses: Vec<_> = listed["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| (&key["id"], &key["opens"], &key["seals"]))
        .collect();
    let (yes, no) = (&json!(true), &json!(false));
    assert_eq!(uses, [(&json!("payroll.1"), yes, no), (&json!("payroll.2"), yes, yes)]);
    // What the file has is shown by no command.
    let secrets: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    for secret in secrets["keys"].as_array().unwrap().iter().map(|key| key["k"].as_str().unwrap()) {
        for args in [["keys", "list"], ["keys", "needed"], ["keys", "--help"]] {
            assert!(!place.run(args).succeeded().out.contains(secret), "{args:?}");
        }
    }
    assert!(place.run(["job", &first, "--keys", &keys]).succeeded().out.contains("DE02"));
    // Without the key nothing opens, and the store says what is missing.
    place.run(["keys", "remove", "payroll.1"]).succeeded();
    place.run(["keys", "remove", "payroll.1"]).failed_naming("has no key of this id");
    assert_eq!(needed(&place), [one("payroll.1", false), one("payroll.2", true)]);
    assert!(!place.run(["job", &first, "--keys", &keys]).out.contains("DE02"));
    assert!(place.run(["job", &second, "--keys", &keys]).succeeded().out.contains("DE02"));
    // A file that others may read is refused.
    fs::write(&file, before).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    place.run(["keys", "list"]).failed_naming("keys.json");
}

#[test]
fn a_producer_with_the_public_part_seals_and_opens_nothing() {
    let place = place("[sensitive.pay]\nsealed = \"payroll\"\n[kinds.pay]\ncommand = [\"cat\"]\n");
    place.run(["keys", "make", "--public-private", "payroll"]).succeeded();
    let public = place.path("producers.json").display().to_string();
    place.run(["keys", "public", "--out", &public]).succeeded();
    let id = sealed(&place, &public);
    assert!(!place.run(["job", &id, "--keys", &public]).out.contains("DE02"));
    // The setting names a variable here.
    let mut command = place.command();
    command.args(["work", "--keys", "env:PAY_KEYS"]);
    command.env("PAY_KEYS", fs::read_to_string(place.path("keys.json")).unwrap());
    let worker = Working::spawn(command);
    until("the job has run", || place.job(&id)["state"] == "completed");
    worker.stop();
    let private = place.path("keys.json").display().to_string();
    let output = place.run(["job", &id, "--keys", &private, "--output"]);
    assert_eq!(output.succeeded().json(), json!({"iban": "DE02"}));
    assert!(place.job(&id)["output"]["ciphertext"].is_string());
}
