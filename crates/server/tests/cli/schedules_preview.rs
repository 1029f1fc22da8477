//! `backroom schedules preview`: without a store, in plain language, and with errors that point at the character.

use crate::cli_support::Place;

#[test]
fn an_expression_is_previewed_without_a_store() {
    let place = Place::new();
    let args = [
        "schedules",
        "preview",
        "30 2 * * *",
        "--zone",
        "Europe/Oslo",
        "--at",
        "2027-03-27T12:00:00Z",
        "--next",
        "2",
    ];
    let said = place.run(args);
    let out = &said.succeeded().out;
    assert!(out.starts_with("at 02:30 every day, in Europe/Oslo\n"), "{out}");
    let rows: Vec<_> = out.lines().skip(2).collect();
    assert!(
        rows[0].contains("2027-03-28 03:00:00+02:00") && rows[0].contains("2027-03-28T01:00:00Z"),
        "{out}"
    );
    assert!(rows[0].ends_with("clocks go forward: 02:00 to 03:00 does not exist"), "{out}");
    assert_eq!(rows.len(), 2, "{out}");
    assert!(!place.path("backroom.db").exists());
    let view = place.json(args.into_iter().chain(["--previous", "1"]));
    assert_eq!(view["next"][0]["clocks"]["mark"], "end_of_gap");
    assert_eq!(view["previous"][0]["local"], "2027-03-27T02:30:00+01:00");
}

#[test]
fn a_broken_settings_file_does_not_stop_a_preview() {
    let place = Place::new();
    std::fs::write(place.path("backroom.toml"), "this is no TOML").unwrap();
    place.run(["schedules", "preview", "@daily"]).succeeded();
}

#[test]
fn the_description_says_whether_days_are_joined_by_and_or_or() {
    let place = Place::new();
    let either = place.run(["schedules", "preview", "0 2 1 * 1", "--next", "1"]);
    assert!(either.succeeded().out.contains("either is enough: OR"), "{either:?}");
    let both = place.run(["schedules", "preview", "0 2 */2 * 1", "--next", "1"]);
    assert!(both.succeeded().out.contains("both must fit: a field for days begins with `*`"), "{both:?}");
}

#[test]
fn an_error_points_at_the_character_and_names_the_remedy() {
    let place = Place::new();
    let refused = |args: &[&str], naming: &str| {
        let said = place.run(["schedules", "preview"].iter().chain(args));
        said.failed_naming(naming);
        said.err
    };
    let err = refused(&["0 0 32 * *"], "wrong at character 5");
    assert!(err.contains("    0 0 32 * *\n        ^^"), "{err}");
    refused(&["0 0 31 2 *"], "never");
    refused(&["0 0 30 2 *"], "never");
    refused(&["@daily", "--zone", "Europe/Olso"], "did you mean Europe/Oslo");
    refused(&["@daily", "--zone", "oslo"], "Europe/Oslo");
    refused(&["every 3 parsecs"], "is no span");
    refused(&["every 10ms"], "at least 1000");
    refused(&["at 10000-01-01T00:00:00Z"], "is no moment");
    refused(&["at -10000-01-01T00:00:00Z"], "is no moment");
    refused(&["@daily", "--next", "1001"], "1000");
    place
        .run(["schedules", "preview", "@daily", "--starts-at", "12026-01-01"])
        .refused_naming("-9999 and 9999");
    place
        .run(["schedules", "preview", "@daily", "--dst", "twice"])
        .refused_naming("neither once nor literal");
    let often = place.run(["schedules", "preview", "* * * * * *", "--next", "1"]);
    assert!(often.succeeded().out.contains("must say `frequent`"), "{often:?}");
}
