//! The demo, killed with `kill -9` at any moment and started again.

mod demo_common;

use std::{fs, thread, time::Duration};

use backroom::State;
use demo_common::{Place, Running, assert_each_finished_once, count};

const PICTURES: usize = 20;

fn start(place: &Place) -> Running {
    place.start(&["--photos", "photos", "--out", "out", "--once", "--slots", "2"])
}

/// Runs until a line with `words` is said, then kills.
fn kill_at_words(place: &Place, words: &str) {
    let mut demo = start(place);
    assert!(demo.read_until(words), "it ended before it said {words:?}");
    demo.kill();
}

/// Runs until there are so many files in the thumbnails' folder, then kills.
fn kill_at_files(place: &Place, files: usize) {
    let demo = start(place);
    while fs::read_dir(place.path("out")).map_or(0, Iterator::count) < files {
        // Nothing tells when another process has written a file, so it is looked for.
        thread::park_timeout(Duration::from_millis(5));
    }
    demo.kill();
}

#[test]
fn a_killed_demo_goes_on_where_it_stopped_and_loses_nothing() {
    let place = Place::new();
    for number in 0..PICTURES {
        place.picture(&format!("{number:02}.png"), 600, 400);
    }
    place.file("notes.txt", b"not a picture at all");

    kill_at_words(&place, "Making thumbnails");
    kill_at_words(&place, "report 1: due in");
    // More deaths in the midst of thumbnails than the three that make a job poison.
    for files in [1, 6, 12, 18, 30] {
        kill_at_files(&place, files);
    }
    kill_at_words(&place, "order 1: paid");
    kill_at_words(&place, "mailed");

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
