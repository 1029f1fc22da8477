//! The drawn pictures. Few tests, as each picture takes about a second in an unoptimised build.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use image::metadata::Orientation;
use image::{GenericImageView, ImageDecoder, ImageFormat, ImageReader};

use super::super::{PictureError, draw, draw_broken, list, make};
use super::{Folder, decoded, refusal};

#[test]
fn eight_pictures_are_varied_and_all_become_thumbnails() {
    let folder = Folder::new();
    let drawn = draw(folder.path(), 8, 7).expect("they can be drawn");

    let out = folder.path().join("out");
    assert_eq!(list(folder.path(), &out).expect("it can be listed").candidates, drawn);
    let formats: BTreeSet<String> = drawn.iter().map(|path| format!("{:?}", seen(path).0)).collect();
    assert_eq!(formats.len(), 4, "{formats:?}");
    let sideways = drawn.iter().filter(|path| seen(path).1 == Orientation::Rotate90);
    assert_eq!(sideways.count(), 1);

    let (mut portraits, mut landscapes, mut transparent) = (0, 0, 0);
    for path in &drawn {
        let name = path.file_name().expect("a file has a name");
        let thumbnail = make(path, &out.join(name), 320).expect("it is a picture");
        assert_eq!(thumbnail.width, 320);
        portraits += u8::from(thumbnail.height > 320);
        landscapes += u8::from(thumbnail.height < 320);
        transparent += u8::from(thumbnail.path.extension().is_some_and(|it| it == "png"));
        assert!(is_lively(&thumbnail.path), "{name:?} is nearly of one colour");
    }
    assert!(portraits >= 2 && landscapes >= 4 && transparent == 1);
}

#[test]
fn the_picture_taken_sideways_shows_its_sky_at_the_top() {
    let folder = Folder::new();
    // What is there is not drawn, which saves the time.
    folder.file("01-hills.jpg", b"");
    folder.file("02-night.jpg", b"");
    let drawn = draw(folder.path(), 3, 1).expect("it can be drawn");
    let thumbnail = make(&drawn[2], &folder.path().join("out"), 320).expect("it is a picture");
    assert_eq!((thumbnail.width, thumbnail.height), (320, 427));
    let picture = decoded(&thumbnail.path).into_luma8();
    let brightness = |y: u32| picture.get_pixel(4, y).0[0];
    assert!(brightness(220) > brightness(420), "the sky above the horizon outshines the sea");
}

#[test]
fn the_same_seed_draws_the_same_and_what_is_there_is_kept() {
    let folder = Folder::new();
    folder.file("02-night.jpg", b"the user's own");
    let drawn = draw(folder.path(), 2, 5).expect("they can be drawn");
    let first = fs::read(&drawn[0]).expect("it is there");

    fs::remove_file(&drawn[0]).expect("it can be removed");
    assert_eq!(draw(folder.path(), 2, 5).expect("they can be drawn"), drawn);
    assert_eq!(fs::read(&drawn[0]).expect("it is there"), first);
    assert_eq!(fs::read(&drawn[1]).expect("it is there"), b"the user's own");

    fs::remove_file(&drawn[0]).expect("it can be removed");
    draw(folder.path(), 1, 6).expect("it can be drawn");
    assert_ne!(fs::read(&drawn[0]).expect("it is there"), first, "another seed");
}

#[test]
fn the_broken_picture_is_refused_and_not_drawn_twice() {
    let folder = Folder::new();
    let path = draw_broken(folder.path(), 7).expect("it can be drawn");
    let why = refusal(make(&path, &folder.path().join("out"), 320));
    assert!(why.starts_with("it is cut short"), "{why}");

    fs::write(&path, b"kept").expect("it can be written");
    assert_eq!(draw_broken(folder.path(), 7).expect("it is there"), path);
    assert_eq!(fs::read(&path).expect("it is there"), b"kept");
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
    let folder = Folder::new();
    let in_the_way = folder.file("pictures", b"a file");
    match draw(&in_the_way, 1, 7) {
        Err(PictureError::Io { path, .. }) => assert!(path.starts_with(&in_the_way)),
        other => panic!("{other:?}"),
    }
}

fn seen(path: &Path) -> (ImageFormat, Orientation) {
    let reader = ImageReader::open(path).expect("it is there").with_guessed_format().expect("it can be read");
    let format = reader.format().expect("it is a picture");
    let mut decoder = reader.into_decoder().expect("it is a picture");
    (format, decoder.orientation().expect("it can be read"))
}

fn is_lively(path: &Path) -> bool {
    let picture = decoded(path);
    let colours: BTreeSet<[u8; 3]> =
        picture.pixels().map(|(_, _, pixel)| [pixel.0[0] / 32, pixel.0[1] / 32, pixel.0[2] / 32]).collect();
    colours.len() >= 6
}
