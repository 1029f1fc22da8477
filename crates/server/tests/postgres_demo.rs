//! `backroom demo` with its jobs on a real PostgreSQL server: the same as on a file, by nothing but the URL.

mod demo_common;
mod postgres_place;

use std::fs;

use backroom::State;
use demo_common::{Place, assert_each_finished_once, assert_orders_are_fulfilled, count, stderr};
use postgres_place::{password, server, with_schema};

const PICTURES: usize = 12;

#[test]
fn brought_pictures_get_their_thumbnails_and_nothing_is_left_in_the_folder_but_them() {
    let (place, store) = (Place::new(), with_schema(&server(), "demo"));
    let summary = place.once(&["--pictures", "2", "--store", &store]);
    assert_eq!((&summary["pictures"], &summary["thumbnails"]), (&2.into(), &6.into()));
    assert_eq!(summary["order_steps"], "paid at try 2, packed, shipped, mailed");
    assert_eq!(place.thumbnails("backroom-demo/thumbnails").len(), 6);
    assert!(!place.path("backroom.db").exists(), "the jobs are on the server");
    assert_each_finished_once(&place.jobs_of(&store));

    let again = place.demo(&["--once", "--pictures", "2", "--store", &store]).output().unwrap();
    assert!(again.status.success(), "{again:?}");
    let jobs = place.jobs_of(&store);
    assert_eq!(
        jobs.iter().filter(|job| job.kind == "make_thumbnail").count(),
        9,
        "no thumbnail is made again"
    );
    assert_eq!(assert_orders_are_fulfilled(&place, "backroom-demo/thumbnails", &jobs), 2);
    let said = String::from_utf8(again.stdout.clone()).unwrap() + &stderr(&again);
    assert!(!said.contains(password(&server())), "the password is shown: {said}");
}

#[test]
fn a_killed_demo_goes_on_where_it_stopped_and_loses_nothing() {
    let (place, store) = (Place::new(), with_schema(&server(), "killed"));
    for number in 0..PICTURES {
        place.picture(&format!("{number:02}.png"), 600, 400);
    }
    place.file("notes.jpg", b"not a picture at all");
    let args = ["--photos", "photos", "--out", "out", "--store", &store];
    let start = || place.start(&[args.as_slice(), &["--once"]].concat());

    start().kill_at("Making thumbnails");
    // More deaths in the midst of thumbnails than the three that make a job poison.
    for files in [1, 6, 12, 20] {
        start().kill_when(|| fs::read_dir(place.path("out")).map_or(0, Iterator::count) >= files);
    }
    // The charge is made, and may not be recorded yet.
    start().kill_when(|| !place.accounts("out").is_empty());
    for words in [": paid", "packed", "shipped"] {
        start().kill_at(words);
    }

    let summary = place.once(&args);
    assert_eq!(summary["pictures"], PICTURES, "{summary}");
    assert_eq!(summary["discarded"].as_object().unwrap().len(), 1, "{summary}");
    assert!(summary["order_steps"].as_str().unwrap().ends_with("packed, shipped, mailed"), "{summary}");
    assert_eq!(place.thumbnails("out").len(), 3 * PICTURES);

    let jobs = place.jobs_of(&store);
    assert_each_finished_once(&jobs);
    assert_eq!(count(&jobs, "make_thumbnail", State::Completed), 3 * PICTURES);
    assert_eq!(count(&jobs, "make_thumbnail", State::Discarded), 3);
    assert_orders_are_fulfilled(&place, "out", &jobs);
}
