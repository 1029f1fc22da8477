//! From the small picture to the bytes of its file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{DynamicImage, ImageEncoder};

/// At 85 of 100 a thumbnail shows no blocks and is about half as large as at 95.
const JPEG_QUALITY: u8 = 85;

/// The two formats that thumbnails are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// For pictures that nothing shows through.
    Jpeg,
    /// For the others, as JPEG knows no transparency.
    Png,
}

impl Format {
    /// `target` with the format's extension behind whatever name it has, as opposed to `Path::with_extension`,
    /// which would take `~320` from `a.jpg~320`.
    pub(super) fn added_to(self, target: &Path) -> PathBuf {
        let mut name = OsString::from(target);
        name.push(match self {
            Format::Jpeg => ".jpg",
            Format::Png => ".png",
        });
        PathBuf::from(name)
    }

    /// The format that this one is not.
    pub(super) fn other(self) -> Format {
        match self {
            Format::Jpeg => Format::Png,
            Format::Png => Format::Jpeg,
        }
    }
}

/// Encodes `small`, which must have 8 bits a channel and, for JPEG, sides under 65,536 pixels; decoding sees to
/// both. The profile is kept if it speaks of the same colours.
pub(super) fn encode(small: DynamicImage, colour_profile: Option<Vec<u8>>) -> (Format, Vec<u8>) {
    let mut bytes = Vec::new();
    let format = if small.color().has_alpha() {
        write(PngEncoder::new(&mut bytes), &small, colour_profile);
        Format::Png
    } else {
        let encoder = JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
        write(encoder, &small, colour_profile);
        Format::Jpeg
    };
    (format, bytes)
}

fn write(mut encoder: impl ImageEncoder, small: &DynamicImage, colour_profile: Option<Vec<u8>>) {
    if let Some(profile) = colour_profile.filter(|profile| describes(profile, small)) {
        encoder.set_icc_profile(profile).expect("invariant: both encoders write colour profiles");
    }
    small.write_with_encoder(encoder).expect("invariant: a small 8-bit picture can be encoded into memory");
}

/// Whether the profile's colour space (ICC.1, 7.2.6: bytes 16 to 19 of its header) is the thumbnail's. The
/// profile of a CMYK photograph is not: its pixels became RGB when they were decoded.
fn describes(profile: &[u8], small: &DynamicImage) -> bool {
    let space: &[u8] = if small.color().has_color() { b"RGB " } else { b"GRAY" };
    profile.get(16..20) == Some(space)
}
