//! What is accepted: by content, whatever the name.

use image::codecs::gif::GifEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{
    DynamicImage, Frame, GenericImageView, ImageBuffer, ImageDecoder, ImageEncoder, ImageFormat, ImageReader,
    Rgb,
};

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

#[test]
fn a_colour_profile_is_kept() {
    let folder = Folder::new();
    let profile = profile(b"RGB ");
    let picture = quarters(64, 64);
    let (mut as_jpeg, mut as_png) = (Vec::new(), Vec::new());
    let mut encoder = JpegEncoder::new(&mut as_jpeg);
    encoder.set_icc_profile(profile.clone()).expect("JPEG takes profiles");
    picture.write_with_encoder(encoder).expect("it can be encoded");
    let mut encoder = PngEncoder::new(&mut as_png);
    encoder.set_icc_profile(profile.clone()).expect("PNG takes profiles");
    picture.write_with_encoder(encoder).expect("it can be encoded");

    for content in [as_jpeg, as_png] {
        let thumbnail = folder.thumbnail_of("a", &content, 32).expect("it is a picture");
        assert_eq!(profile_of(&thumbnail.path), Some(profile.clone()));
    }
}

#[test]
fn a_profile_for_other_colours_is_dropped() {
    let folder = Folder::new();
    let mut content = Vec::new();
    let mut encoder = JpegEncoder::new(&mut content);
    encoder.set_icc_profile(profile(b"CMYK")).expect("JPEG takes profiles");
    quarters(64, 64).write_with_encoder(encoder).expect("it can be encoded");
    let thumbnail = folder.thumbnail_of("a.jpg", &content, 32).expect("it is a picture");
    assert_eq!(profile_of(&thumbnail.path), None);
}

/// Only as much of a profile as is looked at: the colour space in its header.
fn profile(space: &[u8; 4]) -> Vec<u8> {
    let mut profile = vec![7; 128];
    profile[16..20].copy_from_slice(space);
    profile
}

fn profile_of(path: &std::path::Path) -> Option<Vec<u8>> {
    ImageReader::open(path)
        .expect("the thumbnail is there")
        .into_decoder()
        .expect("it is a picture")
        .icc_profile()
        .expect("it can be read")
}
