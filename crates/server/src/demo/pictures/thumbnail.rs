//! From a picture to its thumbnail: read, decode, turn upright, shrink, write.

use std::{
    fs::File,
    io::{self, Cursor, Read as _},
    path::{Path, PathBuf},
};

use backroom::Failure;
use image::{
    DynamicImage, ImageDecoder as _, ImageError, ImageFormat, ImageReader, Limits, Rgba, RgbaImage,
    codecs::jpeg::JpegEncoder, imageops,
};
use serde::{Deserialize, Serialize};

use super::write_whole;

/// The largest file that is read, in bytes; a bound on memory, well above what cameras write.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// The longest side that is decoded, in pixels.
const SIDE_MAX: u32 = 20_000;
/// What the decoded pixels may take, in bytes. A file of a few kilobytes can announce gigabytes.
const DECODED_BYTES_MAX: u64 = 512 << 20;
/// At 85 of 100 a thumbnail shows no blocks and is about half as large as at 95.
const JPEG_QUALITY: u8 = 85;

/// A thumbnail as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    /// Its file.
    pub(crate) path: PathBuf,
    /// In pixels; at most the width asked for.
    pub(crate) width: u32,
    /// In pixels.
    pub(crate) height: u32,
    /// The size of the file.
    pub(crate) bytes: u64,
}

/// Makes the thumbnail of `source`, at most `width` pixels wide, and writes it as JPEG to `target`. The picture is recognised by
/// its content, turned as its EXIF orientation says, and never enlarged. Of an animation the first frame counts. Made again, it
/// is the same file, so a job that runs twice does no harm.
///
/// Fails with a discard if the content can never become a thumbnail, and with a retry if the disk failed.
pub(crate) fn make(source: &Path, target: &Path, width: u32) -> Result<Made, Failure> {
    let reading = |error: io::Error| Failure::retry(format!("read {}: {error}", source.display()));
    let mut content = Vec::new();
    // One byte more than allowed shows that there are more.
    let file = File::open(source).map_err(reading)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content).map_err(reading)?;
    let picture = decode(&content).map_err(Failure::discard)?;
    let small = shrink(picture, width.max(1));
    let mut bytes = Vec::new();
    small
        .write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY))
        .expect("invariant: an 8-bit picture with sides under 65,536 pixels can be encoded");
    write_whole(target, &bytes)
        .map_err(|error| Failure::retry(format!("write {}: {error}", target.display())))?;
    let path = target.to_path_buf();
    Ok(Made { path, width: small.width(), height: small.height(), bytes: bytes.len() as u64 })
}

/// The picture, upright; or half a sentence that says what is wrong with the file.
fn decode(content: &[u8]) -> Result<DynamicImage, String> {
    if content.is_empty() {
        return Err("the file is empty".into());
    }
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("the file is larger than {} MiB; save it smaller", FILE_BYTES_MAX >> 20));
    }
    let format = match image::guess_format(content) {
        Ok(known @ (ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP | ImageFormat::Gif)) => known,
        Ok(_) | Err(_) => return Err("its content is not JPEG, PNG, WebP or GIF".into()),
    };
    // The decoder fills what is missing of a JPEG with grey.
    if format == ImageFormat::Jpeg && !is_whole(content) {
        return Err(CUT_SHORT.into());
    }
    decode_as(format, content).map_err(|error| match error {
        ImageError::Limits(_) => format!(
            "a side is longer than {SIDE_MAX} pixels, or it takes more than {} MiB to decode; save it smaller",
            DECODED_BYTES_MAX >> 20
        ),
        ImageError::IoError(io) if io.kind() == io::ErrorKind::UnexpectedEof => CUT_SHORT.into(),
        // An input error too: what is decoded is in memory, so the disk has no part in it.
        error => format!("it cannot be decoded: {error}"),
    })
}

const CUT_SHORT: &str = "it is cut short: the end of the picture is missing; copy the file again";

/// Whether a JPEG has its end: behind its last scan stands the end marker. The preview inside EXIF has markers of its own, but
/// they stand before.
fn is_whole(jpeg: &[u8]) -> bool {
    let last = jpeg.windows(2).rposition(|pair| pair == [0xff, 0xda]);
    last.is_some_and(|at| jpeg[at..].windows(2).any(|pair| pair == [0xff, 0xd9]))
}

fn decode_as(format: ImageFormat, content: &[u8]) -> Result<DynamicImage, ImageError> {
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
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

/// At most `width` pixels wide and at least one high; in 8 bits a channel. JPEG knows no transparency: what shows through becomes
/// white.
fn shrink(mut picture: DynamicImage, width: u32) -> DynamicImage {
    if picture.width() > width {
        let height = f64::from(picture.height()) * f64::from(width) / f64::from(picture.width());
        // Through `DynamicImage`: the generic functions would be compiled into this crate, and crawl in an unoptimised build.
        picture = picture.thumbnail_exact(width, (height.round() as u32).max(1));
    }
    let mut page = RgbaImage::from_pixel(picture.width(), picture.height(), Rgba([255; 4]));
    imageops::overlay(&mut page, &picture.into_rgba8(), 0, 0);
    DynamicImage::ImageRgba8(page).into_rgb8().into()
}
