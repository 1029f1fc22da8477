//! From bytes to pixels, within limits. All refusals are half sentences that say why, for
//! [`NotAPicture`](super::PictureError::NotAPicture).

use std::io::{self, Cursor};

use image::error::LimitErrorKind;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::{jpeg_end, jpeg_scans};

/// The longest side that is decoded, in pixels.
const SIDE_MAX: u32 = 20_000;

/// What the decoded pixels may take, in bytes. A file of a few kilobytes can announce gigabytes (a decompression
/// bomb), and an allocation that fails would end the whole process. Some decoders use about as much again for
/// themselves while they work.
const DECODED_BYTES_MAX: u64 = 512 << 20;

/// The largest colour profile that is carried over, in bytes; usual ones have 500 to 60,000.
const COLOUR_PROFILE_BYTES_MAX: usize = 1 << 20;

/// A picture as it is stored in its file: not yet upright.
pub(super) struct Picture {
    /// The pixels in the decoder's own layout, up to 16 bits a channel; at least 1x1.
    pub(super) pixels: DynamicImage,
    /// How the pixels must be turned to stand upright.
    pub(super) orientation: Orientation,
    /// The ICC profile, when it has one of a sane size: without it, the thumbnail of a wide-gamut photograph
    /// would look pale.
    pub(super) colour_profile: Option<Vec<u8>>,
}

/// Decodes a whole file; of an animation, the first frame.
pub(super) fn decode(content: &[u8]) -> Result<Picture, String> {
    let format = format_of(content)?;
    // The decoder fills what is missing of a JPEG with grey, and would call half a photograph a success.
    if format == ImageFormat::Jpeg && !jpeg_end::is_reached(content) {
        return Err(cut_short());
    }
    if format == ImageFormat::Jpeg && jpeg_scans::are_apart(content) {
        return Err("it is a JPEG whose components are stored one after the other (not interleaved), which would come out \
                    green; save it as a usual JPEG or a PNG"
            .to_owned());
    }
    let decoded = decode_as(format, content).map_err(|error| why(&error))?;
    if decoded.pixels.width() == 0 || decoded.pixels.height() == 0 {
        return Err("it has no pixels".to_owned());
    }
    Ok(decoded)
}

/// The format as told by the first bytes, when it is one of the four.
fn format_of(content: &[u8]) -> Result<ImageFormat, String> {
    if content.is_empty() {
        return Err("the file is empty".to_owned());
    }
    match image::guess_format(content) {
        Ok(known @ (ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP | ImageFormat::Gif)) => {
            Ok(known)
        }
        // Other crates in the same program may switch further decoders on; what we accept must not depend on it.
        Ok(other) => Err(format!(
            "it is a {} file; save it as JPEG, PNG, WebP or GIF",
            other.extensions_str().first().unwrap_or(&"picture")
        )),
        Err(_unknown) => Err("its content is not JPEG, PNG, WebP or GIF".to_owned()),
    }
}

fn decode_as(format: ImageFormat, content: &[u8]) -> Result<Picture, ImageError> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    limits.max_alloc = Some(DECODED_BYTES_MAX);

    let mut reader = ImageReader::with_format(Cursor::new(content), format);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder()?;
    // `into_decoder` limits the decoder's buffers, not the one that we hand it.
    limits.reserve(decoder.total_bytes())?;
    decoder.set_limits(limits)?;

    let orientation = decoder.orientation()?;
    let colour_profile = decoder.icc_profile()?.filter(|profile| profile.len() <= COLOUR_PROFILE_BYTES_MAX);
    Ok(Picture { pixels: DynamicImage::from_decoder(decoder)?, orientation, colour_profile })
}

/// The decoder's error in our words, and in its own where they say more.
fn why(error: &ImageError) -> String {
    match error {
        ImageError::Limits(limit) => match limit.kind() {
            LimitErrorKind::DimensionError => {
                format!("it has a side of more than {SIDE_MAX} pixels; save it smaller")
            }
            // The kinds are open-ended; all but the one above are about memory.
            _ => format!("it takes more than {} MiB to decode; save it smaller", DECODED_BYTES_MAX >> 20),
        },
        ImageError::IoError(io) if io.kind() == io::ErrorKind::UnexpectedEof => cut_short(),
        ImageError::Unsupported(unsupported) => format!("it cannot be decoded: {unsupported}"),
        // `IoError` too: we decode from memory, so that the disk has no part in it.
        ImageError::Decoding(_)
        | ImageError::Encoding(_)
        | ImageError::Parameter(_)
        | ImageError::IoError(_) => format!("it is broken: {error}"),
    }
}

fn cut_short() -> String {
    "it is cut short: the end of the picture is missing; copy the file again".to_owned()
}
