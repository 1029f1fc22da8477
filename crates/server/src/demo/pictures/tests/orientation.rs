//! Pictures from a camera that was held another way.

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::metadata::Orientation;
use image::{ImageDecoder, ImageEncoder, ImageReader, RgbImage};

use super::{Folder, assert_is_quarters, decoded, quarters};

#[test]
fn all_eight_orientations_give_the_same_upright_thumbnail() {
    let folder = Folder::new();
    for value in 1..=8 {
        let stored = as_stored(&quarters(160, 96), value);
        let content = jpeg_with_exif(&stored, value);
        let thumbnail = folder.thumbnail_of(&format!("{value}.jpg"), &content, 80).expect("it is a picture");
        assert_eq!((thumbnail.width, thumbnail.height), (80, 48), "value {value}");
        assert_is_quarters(&decoded(&thumbnail.path));
    }
}

#[test]
fn the_thumbnail_itself_asks_for_no_turn() {
    let folder = Folder::new();
    let content = jpeg_with_exif(&quarters(64, 64), 6);
    let thumbnail = folder.thumbnail_of("a.jpg", &content, 32).expect("it is a picture");
    let orientation = ImageReader::open(&thumbnail.path)
        .expect("the thumbnail is there")
        .into_decoder()
        .expect("it is a picture")
        .orientation()
        .expect("it can be read");
    assert_eq!(orientation, Orientation::NoTransforms);
}

#[test]
fn a_picture_that_is_narrow_enough_upright_is_not_shrunk() {
    let folder = Folder::new();
    let stored = as_stored(&quarters(40, 200), 6);
    let content = jpeg_with_exif(&stored, 6);
    let thumbnail = folder.thumbnail_of("a.jpg", &content, 80).expect("it is a picture");
    assert_eq!((thumbnail.width, thumbnail.height), (40, 200));
    assert_is_quarters(&decoded(&thumbnail.path));
}

#[test]
fn png_and_webp_are_turned_too() {
    let folder = Folder::new();
    let stored = as_stored(&quarters(160, 96), 8);
    let (mut png, mut webp) = (Vec::new(), Vec::new());
    write(PngEncoder::new(&mut png), &stored, exif(8));
    write(WebPEncoder::new_lossless(&mut webp), &stored, exif(8));
    for (name, content) in [("a.png", png), ("a.webp", webp)] {
        let thumbnail = folder.thumbnail_of(name, &content, 80).expect("it is a picture");
        assert_eq!((thumbnail.width, thumbnail.height), (80, 48), "{name}");
        assert_is_quarters(&decoded(&thumbnail.path));
    }
}

#[test]
fn an_orientation_that_does_not_exist_turns_nothing() {
    let folder = Folder::new();
    for value in [0, 9, 255] {
        let content = jpeg_with_exif(&quarters(160, 96), value);
        let thumbnail = folder.thumbnail_of("a.jpg", &content, 80).expect("it is a picture");
        assert_is_quarters(&decoded(&thumbnail.path));
    }
}

#[test]
fn broken_exif_turns_nothing() {
    let folder = Folder::new();
    let mut content = Vec::new();
    let rubbish = b"MM\0\x2a\xff\xff\xff\xff rubbish".to_vec();
    write(JpegEncoder::new_with_quality(&mut content, 100), &quarters(160, 96), rubbish);
    let thumbnail = folder.thumbnail_of("a.jpg", &content, 80).expect("it is a picture");
    assert_is_quarters(&decoded(&thumbnail.path));
}

/// How a camera stores an upright scene under an orientation. Written from the words of the standard (EXIF
/// 2.32, 4.6.4 A: which side of the scene the stored row 0 and column 0 are), not with `image`'s own turns.
fn as_stored(upright: &RgbImage, value: u8) -> RgbImage {
    let (width, height) = upright.dimensions();
    let (right, bottom) = (width - 1, height - 1);
    let size = if value >= 5 { (height, width) } else { (width, height) };
    RgbImage::from_fn(size.0, size.1, |column, row| {
        let (x, y) = match value {
            1 => (column, row),                  // row 0 is the top, column 0 the left side
            2 => (right - column, row),          // top, right
            3 => (right - column, bottom - row), // bottom, right
            4 => (column, bottom - row),         // bottom, left
            5 => (row, column),                  // left, top
            6 => (right - row, column),          // right, top
            7 => (right - row, bottom - column), // right, bottom
            8 => (row, bottom - column),         // left, bottom
            other => panic!("no such orientation: {other}"),
        };
        *upright.get_pixel(x, y)
    })
}

fn jpeg_with_exif(stored: &RgbImage, value: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(JpegEncoder::new_with_quality(&mut bytes, 100), stored, exif(value));
    bytes
}

fn write(mut encoder: impl ImageEncoder, stored: &RgbImage, exif: Vec<u8>) {
    encoder.set_exif_metadata(exif).expect("the format takes EXIF");
    stored.write_with_encoder(encoder).expect("it can be encoded");
}

/// A big-endian EXIF block.
fn exif(value: u8) -> Vec<u8> {
    let mut block = Vec::from(*b"MM\0\x2a\0\0\0\x08"); // the directory starts at byte 8
    block.extend([0, 1]); // one entry
    block.extend([0x01, 0x12, 0, 3, 0, 0, 0, 1]); // orientation: one SHORT
    block.extend([0, value, 0, 0]);
    block.extend([0, 0, 0, 0]); // no further directory
    block
}
