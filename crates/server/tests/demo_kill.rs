//! The demo, killed with `kill -9` at any moment and started again.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod demo_common;

use backroom::State;
use demo_common::{Place, assert_each_finished_once, count};

const PICTURES: usize = 12;

/// Runs until a line with `words` is said, then kills.
fn kill_at(place: &Place, words: &str) {
    let mut demo = place.start(&["--photos", "photos", "--out", "out", "--once", "--slots", "2"]);
    assert!(demo.read_until(words), "it ended before it said {words:?}");
    demo.kill();
}

#[test]
fn a_killed_demo_goes_on_where_it_stopped_and_loses_nothing() {
    let place = Place::new();
    for number in 0..PICTURES {
        place.picture(&format!("{number:02}.png"), 600, 400);
    }
    place.file("notes.txt", b"not a picture at all");

    kill_at(&place, "Making thumbnails");
    kill_at(&place, "due in");
    // More deaths in the midst of thumbnails than the three that make a job poison.
    for _ in 0..4 {
        kill_at(&place, "thumbnails: ");
    }
    kill_at(&place, "order 1: paid");
    kill_at(&place, "mailed");

    let summary = place.once(&["--photos", "photos", "--out", "out"]);
    assert_eq!(summary["pictures"], PICTURES, "{summary}");
    assert_eq!(summary["discarded"].as_object().unwrap().len(), 1, "{summary}");
    assert!(summary["order_steps"].as_str().unwrap().starts_with("paid, packed, mailed"), "{summary}");
    assert_eq!(place.thumbnails("out").len(), 3 * PICTURES);

    let jobs = place.jobs();
    assert_each_finished_once(&jobs);
    assert_eq!(count(&jobs, "make_thumbnail", State::Completed), 3 * PICTURES);
    assert_eq!(count(&jobs, "make_thumbnail", State::Discarded), 3);
    for kind in ["pay_order", "pack_order", "mail_receipt", "nightly_report"] {
        assert_eq!(count(&jobs, kind, State::Completed), 1, "{kind}");
    }
}
