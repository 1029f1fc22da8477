//! How a drawn picture is stored.

use std::io::Cursor;

use image::codecs::gif::GifEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, ImageEncoder, ImageFormat, RgbaImage};

const JPEG_QUALITY: u8 = 90;

/// From 1 (slow) to 30 (coarse); at 10 our drawings show no difference.
const GIF_SPEED: i32 = 10;

/// A format, and what is special about it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Encoding {
    Jpeg,
    /// As from a camera held sideways: the pixels lie on their side, and EXIF tells how to turn them.
    JpegSideways,
    /// The only one of ours that keeps transparency.
    Png,
    /// Lossless.
    WebP,
    Gif,
}

impl Encoding {
    /// The end of the file's name.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Encoding::Jpeg => ".jpg",
            Encoding::JpegSideways => "-sideways.jpg",
            Encoding::Png => ".png",
            Encoding::WebP => ".webp",
            Encoding::Gif => ".gif",
        }
    }

    /// The file's content.
    pub(super) fn encode(self, picture: RgbaImage) -> Vec<u8> {
        let picture = DynamicImage::ImageRgba8(picture);
        let mut bytes = Vec::new();
        match self {
            Encoding::Jpeg => jpeg(picture, Orientation::NoTransforms, &mut bytes),
            Encoding::JpegSideways => jpeg(picture.rotate270(), Orientation::Rotate90, &mut bytes),
            Encoding::Png => picture.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png),
            Encoding::WebP => {
                let opaque = DynamicImage::ImageRgb8(picture.into_rgb8());
                opaque.write_to(&mut Cursor::new(&mut bytes), ImageFormat::WebP)
            }
            Encoding::Gif => GifEncoder::new_with_speed(&mut bytes, GIF_SPEED).encode(
                picture.as_bytes(),
                picture.width(),
                picture.height(),
                ExtendedColorType::Rgba8,
            ),
        }
        .expect("invariant: a canvas can be encoded into memory");
        bytes
    }
}

fn jpeg(
    picture: DynamicImage,
    orientation: Orientation,
    into: &mut Vec<u8>,
) -> Result<(), image::ImageError> {
    let mut encoder = JpegEncoder::new_with_quality(into, JPEG_QUALITY);
    if orientation != Orientation::NoTransforms {
        encoder.set_exif_metadata(exif(orientation)).expect("invariant: the JPEG encoder writes EXIF");
    }
    picture.into_rgb8().write_with_encoder(encoder)
}

/// The smallest EXIF block: a TIFF header and one directory (TIFF 6.0, section 2) with the orientation alone
/// (tag 0x0112, one SHORT), little-endian.
fn exif(orientation: Orientation) -> Vec<u8> {
    let mut block = Vec::from(*b"II\x2a\x00\x08\x00\x00\x00"); // the directory starts at byte 8
    block.extend([1, 0]); // it has one entry
    block.extend([0x12, 0x01]); // tag
    block.extend([3, 0]); // type: SHORT
    block.extend([1, 0, 0, 0]); // count
    block.extend([orientation.to_exif(), 0, 0, 0]); // value
    block.extend([0, 0, 0, 0]); // no further directory
    block
}
