//! Args are stored, compared, shown and moved as the text that they are.

use crate::cli_support::Place;

/// What a tree of values between the text and the reader would change.
const ODD: &str = r#"{"id":123456789012345678901234567890,"n":1e400,"a":1.0,"half":"\ud83d","a":-0}"#;

#[test]
fn args_are_shown_and_moved_as_their_text() {
    let place = Place::new();
    let id = place.enqueue(&["k", ODD]);
    let to = format!("sqlite:{}", place.path("new.db").display());
    place.run(["move", "--from", "sqlite:backroom.db", "--to", &to]).succeeded();
    for store in ["sqlite:backroom.db", &to] {
        for command in [&["job", &*id, "--json"][..], &["jobs", "--json"]] {
            let said = place.run(command.iter().copied().chain(["--store", store]));
            assert!(said.succeeded().out.contains(&format!(r#""args":{ODD}"#)), "{command:?}: {said:?}");
        }
        let page = place.run(["job", &id, "--store", store]);
        for line in [
            r#""id": 123456789012345678901234567890,"#,
            r#""n": 1e400,"#,
            r#""a": 1.0,"#,
            r#""a": -0"#,
            r#""\ud83d","#,
        ] {
            assert!(page.succeeded().out.contains(line), "{line:?}: {page:?}");
        }
    }
}

#[test]
fn unique_args_are_the_same_only_if_they_mean_the_same() {
    let place = Place::new();
    // Ids of 128 bits as numbers, all from the same millisecond.
    let first = 0x0190_a5d0_ac96_7000_8000_0000_0000_0000_u128;
    let lines: String = (0..1_000).map(|n| format!("{}\n", first + n)).collect();
    let enqueue = ["enqueue", "k", "--lines", "--unique-args", "--json"];
    let sum = place.run_with(lines.as_bytes(), &enqueue).succeeded().json();
    assert_eq!((&sum["created"], &sum["deduplicated"]), (&1_000.into(), &0.into()), "{sum}");
    let others =
        "1\n1.0\n1e0\n10e-1\n18446744073709551616\n18446744073709551617\n0.1\n0.10000000000000000001\n";
    let sum = place.run_with(others.as_bytes(), &enqueue).succeeded().json();
    assert_eq!((&sum["created"], &sum["deduplicated"]), (&5.into(), &3.into()), "{sum}");
}

#[test]
fn args_are_accepted_alike_with_and_without_a_unique_key() {
    let place = Place::new();
    for args in
        ["1e400", r#""\ud83d""#, r#"{"\ude00":1}"#, r#"{"a":1,"a":2}"#, "1e999999999999999999999", ODD]
    {
        let plain = place.enqueue(&["k", args]);
        let keyed = place.enqueue(&["k", args, "--unique-args"]);
        assert_ne!(plain, keyed);
        assert_eq!(place.enqueue(&["k", args, "--unique-args"]), keyed, "{args}");
    }
    place.run(["enqueue", "k", r#"{"a":1,"\u0061":2}"#, "--unique-args"]).succeeded();
    let all = place.run(["jobs", "-n", "100", "--json"]);
    // The same fields once more are no new job.
    assert_eq!(all.succeeded().out.matches(r#""args":"#).count(), 12, "{all:?}");
}
