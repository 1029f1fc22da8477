//! The demo, killed with `kill -9` at any moment and started again.

mod demo_common;

use std::fs;

use backroom::State;
use demo_common::{Place, Running, assert_each_finished_once, assert_orders_are_fulfilled, count};

const PICTURES: usize = 20;

fn start(place: &Place) -> Running {
    place.start(&["--photos", "photos", "--out", "out", "--once"])
}

#[test]
fn a_killed_demo_goes_on_where_it_stopped_and_loses_nothing() {
    let place = Place::new();
    for number in 0..PICTURES {
        place.picture(&format!("{number:02}.png"), 600, 400);
    }
    place.file("notes.jpg", b"not a picture at all");

    start(&place).kill_at("Making thumbnails");
    start(&place).kill_at("order 1: ");
    // More deaths in the midst of thumbnails than the three that make a job poison.
    for files in [1, 6, 12, 18, 30] {
        start(&place).kill_when(|| fs::read_dir(place.path("out")).map_or(0, Iterator::count) >= files);
    }
    // The charge is made, and may not be recorded yet.
    start(&place).kill_when(|| !place.accounts("out").is_empty());
    for words in [": paid", "packed", "shipped", "mailed"] {
        start(&place).kill_at(words);
    }

    let summary = place.once(&["--photos", "photos", "--out", "out"]);
    assert_eq!(summary["pictures"], PICTURES, "{summary}");
    assert_eq!(summary["discarded"].as_object().unwrap().len(), 1, "{summary}");
    assert!(summary["order_steps"].as_str().unwrap().ends_with("packed, shipped, mailed"), "{summary}");
    assert_eq!(place.thumbnails("out").len(), 3 * PICTURES);

    let jobs = place.jobs();
    assert_each_finished_once(&jobs);
    assert_eq!(count(&jobs, "make_thumbnail", State::Completed), 3 * PICTURES);
    assert_eq!(count(&jobs, "make_thumbnail", State::Discarded), 3);
    assert_orders_are_fulfilled(&place, "out", &jobs);
}

#[test]
fn a_refused_order_is_charged_once_and_paid_back_however_often_the_demo_is_killed() {
    let place = Place::new();
    place.picture("a.png", 20, 20);
    let args = ["--photos", "photos", "--out", "out", "--refuse"];
    let start = || place.start(&[args.as_slice(), &["--once"]].concat());

    start().kill_when(|| !place.accounts("out").is_empty());
    start().kill_at(": paid");
    // The payment is returned, and that may not be recorded yet.
    start().kill_when(|| place.accounts("out").iter().any(|account| account.contains("paid back")));

    let summary = place.once(&args);
    let steps = summary["order_steps"].as_str().unwrap();
    assert!(steps.contains("paid back") && steps.ends_with("no frame of this size is left"), "{steps}");
    let jobs = place.jobs();
    assert_each_finished_once(&jobs);
    let orders = count(&jobs, "order", State::Discarded);
    assert!((1..=2).contains(&orders), "a second one begins only if the first had ended: {jobs:?}");
    assert_eq!(place.accounts("out"), vec!["990 cents charged, 990 cents paid back\n"; orders]);
    assert!(
        jobs.iter().all(|job| job.kind == "order" || job.kind == "make_thumbnail"),
        "nothing was shipped"
    );
}
