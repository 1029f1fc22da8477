//! How large thumbnails are, from a single pixel to a hairline.

use std::fs;
use std::thread;

use image::{DynamicImage, GenericImageView, GrayImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbImage};

use super::super::make;
use super::{Folder, WHITE, assert_is_quarters, assert_looks, decoded, encoded, jpeg, quarters};

#[test]
fn a_thumbnail_is_as_wide_as_asked_and_keeps_its_proportions() {
    let folder = Folder::new();
    for (size, width, expected) in [
        ((1600, 1200), 320, (320, 240)),
        ((1200, 1600), 320, (320, 427)),
        ((1000, 1000), 333, (333, 333)),
        ((321, 241), 320, (320, 240)), // hardly smaller: no first pass
    ] {
        let thumbnail =
            folder.thumbnail_of("a.jpg", &jpeg(&quarters(size.0, size.1)), width).expect("it is a picture");
        assert_eq!((thumbnail.width, thumbnail.height), expected);
        let picture = decoded(&thumbnail.path);
        assert_eq!(picture.dimensions(), expected);
        assert_is_quarters(&picture);
    }
}

#[test]
fn a_small_picture_is_not_enlarged() {
    let folder = Folder::new();
    let thumbnail = folder.thumbnail_of("a.jpg", &jpeg(&quarters(50, 30)), 320).expect("it is a picture");
    assert_eq!((thumbnail.width, thumbnail.height), (50, 30));
}

#[test]
fn a_single_pixel_stays_one() {
    let folder = Folder::new();
    let pixel = DynamicImage::ImageRgb8(RgbImage::from_pixel(1, 1, Rgb(WHITE)));
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif] {
        let thumbnail = folder.thumbnail_of("a", &encoded(&pixel, format), 320).expect("it is a picture");
        assert_eq!((thumbnail.width, thumbnail.height), (1, 1), "{format:?}");
        assert_looks(decoded(&thumbnail.path).get_pixel(0, 0), WHITE, "the pixel");
    }
}

#[test]
fn a_very_wide_picture_is_at_least_a_pixel_high() {
    let folder = Folder::new();
    let hairline = encoded(&quarters(20_000, 2).into(), ImageFormat::Png);
    let thumbnail = folder.thumbnail_of("a.png", &hairline, 320).expect("it is a picture");
    assert_eq!((thumbnail.width, thumbnail.height), (320, 1));
    assert_eq!(decoded(&thumbnail.path).dimensions(), (320, 1));
}

#[test]
fn a_very_tall_picture_is_not_squeezed() {
    let folder = Folder::new();
    let tower = encoded(&quarters(40, 20_000).into(), ImageFormat::Png);
    let thumbnail = folder.thumbnail_of("a.png", &tower, 20).expect("it is a picture");
    assert_eq!((thumbnail.width, thumbnail.height), (20, 10_000));
    assert_is_quarters(&decoded(&thumbnail.path));
}

#[test]
fn a_width_of_nothing_counts_as_one_pixel() {
    let folder = Folder::new();
    let thumbnail = folder.thumbnail_of("a.jpg", &jpeg(&quarters(20, 20)), 0).expect("it is a picture");
    assert_eq!((thumbnail.width, thumbnail.height), (1, 1));
}

/// `image` sums the pixels of a box in 32 bits; 16-bit white, 2000 pixels wide, would overflow them.
#[test]
fn a_large_white_16_bit_picture_is_still_white_as_a_single_pixel() {
    let folder = Folder::new();
    let white: ImageBuffer<Luma<u16>, _> = ImageBuffer::from_pixel(2000, 2000, Luma([u16::MAX]));
    let content = encoded(&white.into(), ImageFormat::Png);
    let thumbnail = folder.thumbnail_of("a.png", &content, 1).expect("it is a picture");
    assert_looks(decoded(&thumbnail.path).get_pixel(0, 0), [255; 3], "the pixel");
}

#[test]
fn grey_pictures_stay_grey() {
    let folder = Folder::new();
    let grey = GrayImage::from_fn(200, 100, |x, _| Luma([if x < 100 { 40 } else { 200 }]));
    for format in [ImageFormat::Jpeg, ImageFormat::Png] {
        let content = encoded(&grey.clone().into(), format);
        let thumbnail = folder.thumbnail_of("a", &content, 100).expect("it is a picture");
        let picture = decoded(&thumbnail.path);
        assert!(!picture.color().has_color());
        assert_looks(picture.get_pixel(25, 25), [40; 3], "left");
        assert_looks(picture.get_pixel(75, 25), [200; 3], "right");
    }
}

#[test]
fn the_size_in_bytes_is_that_of_the_file_and_nothing_else_is_left() {
    let folder = Folder::new();
    let thumbnail = folder.thumbnail_of("a.jpg", &jpeg(&quarters(640, 480)), 320).expect("it is a picture");
    let length = fs::metadata(&thumbnail.path).expect("it is there").len();
    assert_eq!(thumbnail.bytes, length);
    assert_eq!(folder.made(), ["a.jpg.jpg"]);
}

#[test]
fn a_thumbnail_made_twice_is_the_same_to_the_byte() {
    let folder = Folder::new();
    let content = jpeg(&quarters(640, 480));
    let first = folder.thumbnail_of("a.jpg", &content, 320).expect("it is a picture");
    let bytes = fs::read(&first.path).expect("it is there");
    let second = folder.thumbnail_of("a.jpg", &content, 320).expect("it is a picture");
    assert_eq!(first, second);
    assert_eq!(bytes, fs::read(&second.path).expect("it is there"));
}

#[test]
fn two_makers_of_one_thumbnail_do_not_disturb_each_other() {
    let folder = Folder::new();
    let source = folder.file("a.jpg", &jpeg(&quarters(320, 240)));
    let target = folder.path().join("out").join("a.jpg");
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..10 {
                    let thumbnail = make(&source, &target, 160).expect("it is a picture");
                    assert_is_quarters(&decoded(&thumbnail.path));
                }
            });
        }
    });
    assert_eq!(folder.made(), ["a.jpg.jpg"]);
}
