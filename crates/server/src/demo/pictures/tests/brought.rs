//! The pictures that the demo brings along.

use std::fs;

use image::metadata::Orientation;
use image::{ImageDecoder, ImageReader};

use super::super::{PictureError, bring, list, make};
use super::{Folder, decoded, refusal};

#[test]
fn all_become_thumbnails_but_the_broken_one() {
    let folder = Folder::new();
    assert_eq!(bring(folder.path(), 14).expect("they can be written"), 15);
    let out = folder.path().join("out");
    let files = list(folder.path(), &out).expect("it can be listed").candidates;
    assert_eq!(files.len(), 15);
    let (broken, whole): (Vec<_>, Vec<_>) = files.iter().partition(|file| file.ends_with("cut-short.jpg"));
    for file in whole {
        let thumbnail =
            make(file, &out.join(file.file_name().expect("a name")), 160).expect("it is a picture");
        assert_eq!(thumbnail.width, 160);
    }
    let why = refusal(make(broken[0], &out.join("cut"), 160));
    assert!(why.starts_with("it is cut short"), "{why}");
    assert_eq!(bring(folder.path(), 14).expect("they are there"), 0);
}

#[test]
fn the_picture_taken_sideways_shows_its_sky_at_the_top() {
    let folder = Folder::new();
    bring(folder.path(), 3).expect("they can be written");
    let sideways = folder.path().join("03-sea-sideways.jpg");
    let mut decoder = ImageReader::open(&sideways).expect("it is there").into_decoder().expect("a picture");
    assert_eq!(decoder.orientation().expect("it can be read"), Orientation::Rotate90);
    let thumbnail = make(&sideways, &folder.path().join("out"), 320).expect("it is a picture");
    assert_eq!((thumbnail.width, thumbnail.height), (320, 427));
    let picture = decoded(&thumbnail.path).into_luma8();
    let brightness = |y: u32| picture.get_pixel(4, y).0[0];
    assert!(brightness(220) > brightness(420), "the sky above the horizon outshines the sea");
}

#[test]
fn a_file_that_is_there_stays_as_it_is() {
    let folder = Folder::new();
    folder.file("02-night.jpg", b"the user's own");
    bring(folder.path(), 2).expect("they can be written");
    assert_eq!(fs::read(folder.path().join("02-night.jpg")).expect("it is there"), b"the user's own");
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
    let folder = Folder::new();
    let in_the_way = folder.file("pictures", b"a file");
    match bring(&in_the_way, 1) {
        Err(PictureError::Io { path, .. }) => assert!(path.starts_with(&in_the_way)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn transparent_parts_become_white() {
    let folder = Folder::new();
    let half = image::RgbaImage::from_fn(100, 60, |x, _| {
        image::Rgba(if x < 50 { [200, 0, 0, 255] } else { [0; 4] })
    });
    let content = super::encoded(&half.into(), image::ImageFormat::Png);
    let thumbnail = folder.thumbnail_of("a.png", &content, 50).expect("it is a picture");
    let picture = decoded(&thumbnail.path).into_rgb8();
    assert!(picture.get_pixel(40, 15).0.iter().all(|channel| *channel > 245));
    assert!(picture.get_pixel(10, 15).0[0] > 180 && picture.get_pixel(10, 15).0[1] < 20);
}
