//! The demo without `--once`: it watches on until the user stops it.
#![cfg(unix)]

mod demo_common;

use std::fs;

use demo_common::{Place, assert_each_finished_once};

#[test]
fn a_file_added_while_it_watches_is_picked_up_and_ctrl_c_stops_it() {
    let place = Place::new();
    place.picture("a.png", 200, 20);
    let mut demo = place.start(&["--photos", "photos", "--out", "out"]);
    assert!(demo.read_until("3 thumbnails are in out. Watching photos"));
    place.picture("later/b.png", 200, 20);
    place.file("notes.txt", b"not a picture at all");
    assert!(demo.read_until("discarded notes.txt: "));
    assert!(demo.read_until("6 thumbnails are in out. Watching photos"));
    assert_eq!(place.thumbnails("out").len(), 6);

    let (code, said) = demo.interrupt();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Stopped after") && said.contains("2 with thumbnails, 1 discarded"), "{said}");
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
