//! Pictures that something shows through become PNG, all others JPEG.

use image::{ColorType, DynamicImage, GenericImageView, ImageBuffer, ImageFormat, Rgba, RgbaImage};

use super::{Folder, assert_is_quarters, decoded, encoded, quarters};

#[test]
fn transparency_is_kept_as_png() {
    let folder = Folder::new();
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif] {
        let content = encoded(&half_white().into(), format);
        let thumbnail = folder.thumbnail_of("a", &content, 50).expect("it is a picture");
        assert_eq!(thumbnail.path.extension().and_then(|it| it.to_str()), Some("png"));
        let picture = decoded(&thumbnail.path);
        assert_eq!(picture.color(), ColorType::Rgba8);
        assert_eq!(picture.dimensions(), (50, 30));
        assert_eq!(picture.get_pixel(5, 15).0, [255; 4]);
        assert_eq!(picture.get_pixel(45, 15).0[3], 0);
    }
}

/// The invisible pixels are black; mixed in by number, they would darken the edge.
#[test]
fn what_is_invisible_does_not_colour_the_edge() {
    const SHADE: u8 = 120;

    let folder = Folder::new();
    let half =
        ImageBuffer::from_fn(
            100,
            60,
            |x, _| {
                if x < 50 { Rgba([SHADE, SHADE, SHADE, 255]) } else { Rgba([0; 4]) }
            },
        );
    let content = encoded(&DynamicImage::ImageRgba8(half), ImageFormat::Png);
    let thumbnail = folder.thumbnail_of("a.png", &content, 33).expect("it is a picture");
    let picture = decoded(&thumbnail.path).into_rgba8();
    assert!(picture.pixels().any(|pixel| (32..224).contains(&pixel.0[3])), "no soft edge");
    for pixel in picture.pixels().filter(|pixel| pixel.0[3] >= 32) {
        assert!(pixel.0[0].abs_diff(SHADE) <= 4, "a fringe: {pixel:?}");
    }
}

#[test]
fn an_alpha_channel_that_hides_nothing_gives_a_jpeg() {
    let folder = Folder::new();
    let opaque = DynamicImage::ImageRgb8(quarters(200, 120)).into_rgba8();
    let content = encoded(&opaque.into(), ImageFormat::Png);
    let thumbnail = folder.thumbnail_of("a.png", &content, 100).expect("it is a picture");
    assert_eq!(thumbnail.path.extension().and_then(|it| it.to_str()), Some("jpg"));
    assert_is_quarters(&decoded(&thumbnail.path));
}

#[test]
fn sixteen_bit_and_grey_transparency_is_kept() {
    let folder = Folder::new();
    let half = DynamicImage::ImageRgba8(half_white());
    for picture in [
        DynamicImage::ImageRgba16(half.to_rgba16()),
        DynamicImage::ImageLumaA8(half.to_luma_alpha8()),
        DynamicImage::ImageLumaA16(half.to_luma_alpha16()),
    ] {
        let content = encoded(&picture, ImageFormat::Png);
        let thumbnail = folder.thumbnail_of("a.png", &content, 50).expect("it is a picture");
        let picture = decoded(&thumbnail.path);
        assert_eq!(picture.get_pixel(5, 15).0, [255; 4]);
        assert_eq!(picture.get_pixel(45, 15).0[3], 0);
    }
}

#[test]
fn a_source_that_loses_its_transparency_does_not_keep_two_thumbnails() {
    let folder = Folder::new();
    let transparent = encoded(&half_white().into(), ImageFormat::Png);
    let opaque = encoded(&quarters(100, 60).into(), ImageFormat::Png);

    folder.thumbnail_of("a.png", &transparent, 50).expect("it is a picture");
    assert_eq!(folder.made(), ["a.png.png"]);
    folder.thumbnail_of("a.png", &opaque, 50).expect("it is a picture");
    assert_eq!(folder.made(), ["a.png.jpg"]);
    folder.thumbnail_of("a.png", &transparent, 50).expect("it is a picture");
    assert_eq!(folder.made(), ["a.png.png"]);
}

/// The left half white, the right half nothing (and black).
fn half_white() -> RgbaImage {
    ImageBuffer::from_fn(100, 60, |x, _| if x < 50 { Rgba([255; 4]) } else { Rgba([0; 4]) })
}
