//! `backroom demo` with its jobs on a real PostgreSQL server: the same as on a file, by nothing but the URL.

mod demo_common;
mod postgres_place;

use std::{fs, thread, time::Duration};

use backroom::State;
use demo_common::{Place, Running, assert_each_finished_once, count, stderr};
use postgres_place::{password, server, with_schema};

const PICTURES: usize = 12;

#[test]
fn brought_pictures_get_their_thumbnails_and_nothing_is_left_in_the_folder_but_them() {
    let (place, store) = (Place::new(), with_schema(&server(), "demo"));
    let summary = place.once(&["--pictures", "2", "--store", &store]);
    assert_eq!((&summary["pictures"], &summary["thumbnails_made"]), (&2.into(), &6.into()));
    assert_eq!(summary["order_steps"], "paid, packed, mailed at attempt 2");
    assert_eq!(place.thumbnails("backroom-demo/thumbnails").len(), 6);
    assert!(!place.path("backroom.db").exists(), "the jobs are on the server");
    let jobs = place.jobs_of(&store);
    assert_each_finished_once(&jobs);

    let again = place.demo(&["--once", "--pictures", "2", "--store", &store]).output().unwrap();
    assert!(again.status.success(), "{again:?}");
    assert_eq!(place.jobs_of(&store), jobs, "a second run does nothing again");
    let said = String::from_utf8(again.stdout.clone()).unwrap() + &stderr(&again);
    assert!(!said.contains(password(&server())), "the password is shown: {said}");
}

#[test]
fn a_killed_demo_goes_on_where_it_stopped_and_loses_nothing() {
    let (place, store) = (Place::new(), with_schema(&server(), "killed"));
    for number in 0..PICTURES {
        place.picture(&format!("{number:02}.png"), 600, 400);
    }
    place.file("notes.txt", b"not a picture at all");
    let args = ["--photos", "photos", "--out", "out", "--slots", "2", "--store", &store];
    let start = || place.start(&[args.as_slice(), &["--once"]].concat());

    kill_at_words(start(), "Making thumbnails");
    // More deaths in the midst of thumbnails than the three that make a job poison.
    for files in [1, 6, 12, 20] {
        kill_at_files(&place, start(), files);
    }
    kill_at_words(start(), "order 1: paid");

    let summary = place.once(&args);
    assert_eq!(summary["pictures"], PICTURES, "{summary}");
    assert_eq!(summary["discarded"].as_object().unwrap().len(), 1, "{summary}");
    assert!(summary["order_steps"].as_str().unwrap().starts_with("paid, packed, mailed"), "{summary}");
    assert_eq!(place.thumbnails("out").len(), 3 * PICTURES);

    let jobs = place.jobs_of(&store);
    assert_each_finished_once(&jobs);
    assert_eq!(count(&jobs, "make_thumbnail", State::Completed), 3 * PICTURES);
    assert_eq!(count(&jobs, "make_thumbnail", State::Discarded), 3);
    for kind in ["pay_order", "pack_order", "mail_receipt", "nightly_report"] {
        assert_eq!(count(&jobs, kind, State::Completed), 1, "{kind}");
    }
}

/// Runs until a line with `words` is said, then kills.
fn kill_at_words(mut demo: Running, words: &str) {
    assert!(demo.read_until(words), "it ended before it said {words:?}");
    demo.kill();
}

/// Runs until there are so many files in the thumbnails' folder, then kills.
fn kill_at_files(place: &Place, demo: Running, files: usize) {
    while fs::read_dir(place.path("out")).map_or(0, Iterator::count) < files {
        // Nothing tells when another process has written a file, so it is looked for.
        thread::park_timeout(Duration::from_millis(5));
    }
    demo.kill();
}
