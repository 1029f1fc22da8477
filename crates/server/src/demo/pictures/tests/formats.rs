//! What is accepted: by content, whatever the name.

use image::codecs::gif::GifEncoder;
use image::{DynamicImage, Frame, GenericImageView, ImageBuffer, ImageFormat, Rgb};

use super::{BLUE, Folder, RED, assert_is_quarters, assert_looks, decoded, encoded, jpeg, quarters};

const ALL: [ImageFormat; 4] = [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif];

#[test]
fn each_format_is_known_by_its_content_under_any_name() {
    let folder = Folder::new();
    for format in ALL {
        let content = encoded(&quarters(200, 120).into(), format);
        for name in ["a.txt", "a", "a.jpg", "a.png"] {
            let thumbnail = folder.thumbnail_of(name, &content, 100).expect("it is a picture");
            assert_eq!((thumbnail.width, thumbnail.height), (100, 60));
            assert_is_quarters(&decoded(&thumbnail.path));
        }
    }
}

#[test]
fn of_an_animation_the_first_frame_counts() {
    let folder = Folder::new();
    let mut content = Vec::new();
    let frames = [RED, BLUE].map(|colour| {
        let picture = ImageBuffer::from_pixel(60, 40, Rgb(colour));
        Frame::new(DynamicImage::ImageRgb8(picture).into_rgba8())
    });
    GifEncoder::new(&mut content).encode_frames(frames).expect("it can be encoded");
    let thumbnail = folder.thumbnail_of("a.gif", &content, 30).expect("it is a picture");
    assert_looks(decoded(&thumbnail.path).get_pixel(15, 10), RED, "the middle");
}

#[test]
fn sixteen_bits_a_channel_become_eight() {
    let folder = Folder::new();
    let wide = DynamicImage::ImageRgb8(quarters(200, 120)).into_rgb16();
    let content = encoded(&wide.into(), ImageFormat::Png);
    let thumbnail = folder.thumbnail_of("a.png", &content, 100).expect("it is a picture");
    let picture = decoded(&thumbnail.path);
    assert_eq!(picture.color(), image::ColorType::Rgb8);
    assert_is_quarters(&picture);
}

/// Several scans, each with tables before it, that the way to the end marker leads through.
#[test]
fn a_progressive_jpeg_is_read_to_its_end() {
    let folder = Folder::new();
    let content = include_bytes!("progressive.jpg");
    let thumbnail = folder.thumbnail_of("a.jpg", content, 24).expect("it is a picture");
    let picture = decoded(&thumbnail.path);
    assert_eq!(picture.dimensions(), (24, 16));
    assert!(picture.get_pixel(4, 8).0[0] > 200);
    assert!(picture.get_pixel(20, 8).0[2] > 200);
}

#[test]
fn bytes_behind_the_end_of_a_jpeg_do_no_harm() {
    let folder = Folder::new();
    let mut content = jpeg(&quarters(200, 120));
    content.extend(b"\0\0\xff\xd8 a camera's own notes");
    let thumbnail = folder.thumbnail_of("a.jpg", &content, 100).expect("it is a picture");
    assert_is_quarters(&decoded(&thumbnail.path));
}
