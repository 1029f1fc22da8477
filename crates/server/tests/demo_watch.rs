//! The demo without `--once`: it watches on until the user stops it.
#![cfg(unix)]

mod demo_common;

use std::{fs, process::Command};

use demo_common::{Place, assert_each_finished_once};

#[test]
fn the_command_that_it_says_makes_jobs_of_one_more_picture_and_ctrl_c_stops_it() {
    let place = Place::new();
    let mut demo = place.start(&["--pictures", "1"]);
    assert!(demo.read_until("3 thumbnails are in backroom-demo/thumbnails. Watching backroom-demo/photos"));
    let line = demo.line_with("Try, in another terminal: ").unwrap();
    let command = line.split_once(": ").unwrap().1;
    let done = Command::new("sh").args(["-c", command]).current_dir(place.path("")).status().unwrap();
    assert!(done.success(), "{command}");
    assert!(demo.read_until("6 thumbnails are in backroom-demo/thumbnails."));
    assert_eq!(place.thumbnails("backroom-demo/thumbnails").len(), 6);

    let (code, said) = demo.interrupt();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Stopped after") && said.contains("2 with thumbnails, 1 discarded"), "{said}");
    assert!(said.contains("backroom demo --refuse"), "{said}");
    assert_each_finished_once(&place.jobs());
}

#[test]
fn an_empty_folder_is_watched_until_a_picture_comes() {
    let place = Place::new();
    fs::create_dir(place.path("photos")).unwrap();
    let mut demo = place.start(&["--photos", "photos", "--out", "out"]);
    assert!(demo.read_until("There is no picture in photos yet."));
    place.picture("a.gif", 20, 20);
    assert!(demo.read_until("3 thumbnails are in out."));
    let (code, said) = demo.interrupt();
    assert_eq!(code, Some(0), "{said}");
}
