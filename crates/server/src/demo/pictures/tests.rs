//! What the pictures' code promises, checked on real files: written, made into thumbnails, and decoded again.

use std::{fs, io::Cursor, path::Path};

use backroom::Failure;
use image::{DynamicImage, GenericImageView as _, ImageFormat, Rgb, RgbImage, RgbaImage};
use tempfile::{TempDir, tempdir};

use super::{Made, bring, make};

const RED: [u8; 3] = [220, 30, 30];
const GREEN: [u8; 3] = [30, 200, 60];
const BLUE: [u8; 3] = [40, 60, 220];
const WHITE: [u8; 3] = [250, 250, 250];

/// A picture with its quarters in four colours, so that each turn and flip shows.
fn quarters(width: u32, height: u32) -> DynamicImage {
    let pixels = RgbImage::from_fn(width, height, |x, y| {
        Rgb(match (x < width / 2, y < height / 2) {
            (true, true) => RED,
            (false, true) => GREEN,
            (true, false) => BLUE,
            (false, false) => WHITE,
        })
    });
    pixels.into()
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("a picture can be encoded");
    bytes.into_inner()
}

fn thumbnail(folder: &TempDir, content: &[u8], width: u32) -> Result<Made, Failure> {
    let source = folder.path().join("picture");
    fs::write(&source, content).expect("a file");
    make(&source, &folder.path().join("out/thumbnail.jpg"), width)
}

/// The colours in the middle of the four quarters; JPEG changes them a little.
#[track_caller]
fn assert_is_quarters(path: &Path, colours: [[u8; 3]; 4]) {
    let picture = image::open(path).expect("the thumbnail can be decoded");
    let (width, height) = picture.dimensions();
    for ((x, y), colour) in [(1, 1), (3, 1), (1, 3), (3, 3)].into_iter().zip(colours) {
        let is = picture.get_pixel(width * x / 4, height * y / 4).0;
        assert!(is.iter().zip(colour).all(|(is, should)| is.abs_diff(should) <= 25), "{is:?} for {colour:?}");
    }
}

#[test]
fn a_thumbnail_of_each_format_is_narrow_and_looks_like_its_picture() {
    let folder = tempdir().expect("a folder");
    let picture = quarters(400, 200);
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif] {
        let made = thumbnail(&folder, &encoded(&picture, format), 100).expect("a thumbnail");
        assert_eq!((made.width, made.height), (100, 50), "{format:?}");
        assert_eq!(made.bytes, fs::metadata(&made.path).expect("a file").len());
        assert_is_quarters(&made.path, [RED, GREEN, BLUE, WHITE]);
    }
    let made = thumbnail(&folder, &encoded(&picture, ImageFormat::Png), 1000).expect("a thumbnail");
    assert_eq!((made.width, made.height), (400, 200), "a picture is not enlarged");
    let line = encoded(&quarters(2000, 2), ImageFormat::Png);
    assert_eq!(thumbnail(&folder, &line, 20).expect("a thumbnail").height, 1, "one pixel stays");
    let hidden = fs::read_dir(folder.path().join("out")).expect("a folder").count();
    assert_eq!(hidden, 1, "nothing is left beside the thumbnail");
}

#[test]
fn a_picture_taken_sideways_comes_out_upright() {
    let folder = tempdir().expect("a folder");
    let jpeg = encoded(&quarters(400, 200), ImageFormat::Jpeg);
    // Behind the start of the image: EXIF with the one entry that says "turn by 90 degrees clockwise".
    let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let turned = [&jpeg[..2], exif, &jpeg[2..]].concat();
    let made = thumbnail(&folder, &turned, 100).expect("a thumbnail");
    assert_eq!((made.width, made.height), (100, 200));
    assert_is_quarters(&made.path, [BLUE, RED, WHITE, GREEN]);
}

#[test]
fn transparent_parts_become_white() {
    let folder = tempdir().expect("a folder");
    let clear = DynamicImage::ImageRgba8(RgbaImage::new(40, 40));
    let made = thumbnail(&folder, &encoded(&clear, ImageFormat::Png), 20).expect("a thumbnail");
    assert_is_quarters(&made.path, [[255; 3]; 4]);
}

#[test]
fn what_is_no_picture_is_discarded_with_the_reason() {
    let folder = tempdir().expect("a folder");
    let jpeg = encoded(&quarters(400, 200), ImageFormat::Jpeg);
    let png = encoded(&quarters(400, 200), ImageFormat::Png);
    let mut wide = png.clone();
    wide[16..20].copy_from_slice(&30_000u32.to_be_bytes());
    for (content, why) in [
        (&b""[..], "empty"),
        (b"text", "not JPEG, PNG, WebP or GIF"),
        (&jpeg[..jpeg.len() / 2], "cut short"),
        (&png[..png.len() / 2], "cut short"),
        (&wide, ""),
    ] {
        let failure = thumbnail(&folder, content, 100).expect_err("no thumbnail");
        let said = format!("{failure:?}");
        assert!(said.contains("Discard") && said.contains(why), "{said} for {why:?}");
    }
    let gone = make(&folder.path().join("gone"), &folder.path().join("out/x.jpg"), 10);
    assert!(format!("{gone:?}").contains("Retry"), "{gone:?}");
}

#[test]
fn brought_pictures_become_thumbnails_and_are_not_written_again() {
    let folder = tempdir().expect("a folder");
    assert_eq!(bring(folder.path(), 13).expect("written"), 14);
    assert_eq!(bring(folder.path(), 13).expect("written"), 0);
    for entry in fs::read_dir(folder.path()).expect("a folder") {
        let path = entry.expect("an entry").path();
        let made = make(&path, &folder.path().join("out/x.jpg"), 160);
        assert_eq!(made.is_err(), path.ends_with("cut-short.jpg"), "{path:?}: {made:?}");
    }
}
