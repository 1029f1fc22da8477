//! From a picture to its thumbnail: read, decode, turn upright, shrink, write.
//!
//! The file is read whole before it is decoded. That tells the two kinds of error apart: past the reading, only the content can
//! be at fault.

use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::error::LimitErrorKind;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::{PictureError, jpeg, write_whole};

/// The largest file that is read, in bytes; a bound on memory, well above what cameras write.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// The longest side that is decoded, in pixels.
const SIDE_MAX: u32 = 20_000;
/// What the decoded pixels may take, in bytes. A file of a few kilobytes can announce gigabytes.
const DECODED_BYTES_MAX: u64 = 512 << 20;
/// At 85 of 100 a thumbnail shows no blocks and is about half as large as at 95.
const JPEG_QUALITY: u8 = 85;

/// A thumbnail as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Thumbnail {
    /// Where it is: the `target` that was asked for, with `.jpg` added.
    pub(crate) path: PathBuf,
    /// In pixels, upright; at most the width asked for, at least 1.
    pub(crate) width: u32,
    /// In pixels, upright; at least 1.
    pub(crate) height: u32,
    /// The size of the file.
    pub(crate) bytes: u64,
}

/// Makes the thumbnail of `source`, `width` pixels wide, and writes it as JPEG to `target` with `.jpg` added. Transparent parts
/// become white.
///
/// The picture is recognised by its content (JPEG, PNG, WebP, GIF), turned as its EXIF orientation says, and never
/// enlarged. Of an animation, the first frame counts. Doing it again gives the same file, so a job that is run twice does no
/// harm.
///
/// # Errors
/// [`NotAPicture`](PictureError::NotAPicture) when the content can never become a thumbnail,
/// [`Io`](PictureError::Io) when the source could not be read or the thumbnail not be written.
pub(crate) fn make(source: &Path, target: &Path, width: u32) -> Result<Thumbnail, PictureError> {
    let not_a_picture = |why| PictureError::NotAPicture { path: source.to_path_buf(), why };
    let content = read(source).map_err(PictureError::io("read", source))?.map_err(not_a_picture)?;
    let small = shrink(decode(&content).map_err(not_a_picture)?, width.max(1));
    let mut bytes = Vec::new();
    small
        .write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY))
        .expect("invariant: an 8-bit picture with sides under 65,536 pixels can be encoded");
    // Not `with_extension`, which would take `~320` from `a.jpg~320`.
    let mut path = target.as_os_str().to_owned();
    path.push(".jpg");
    let path = PathBuf::from(path);
    write_whole(&path, &bytes)?;
    Ok(Thumbnail { path, width: small.width(), height: small.height(), bytes: bytes.len() as u64 })
}

/// The file's content, or why it is not worth reading.
fn read(source: &Path) -> io::Result<Result<Vec<u8>, String>> {
    // Checked before opening: opening a named pipe would wait for a writer that may never come.
    let found = fs::metadata(source)?;
    if !found.is_file() {
        return Ok(Err("it is not a regular file".to_owned()));
    }
    let mut content = Vec::new();
    if found.len() <= FILE_BYTES_MAX {
        // Bounded all the same, by one byte more than allowed: the file may grow while it is read.
        File::open(source)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
    }
    Ok(if found.len().max(content.len() as u64) > FILE_BYTES_MAX {
        Err(format!("the file is larger than {} MiB; save it smaller", FILE_BYTES_MAX >> 20))
    } else {
        Ok(content)
    })
}

/// The picture, upright. Refusals are half sentences that say why.
fn decode(content: &[u8]) -> Result<DynamicImage, String> {
    if content.is_empty() {
        return Err("the file is empty".to_owned());
    }
    let format = match image::guess_format(content) {
        Ok(known @ (ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP | ImageFormat::Gif)) => known,
        // Other crates in the same program may switch further decoders on; what we accept must not depend on it.
        Ok(other) => {
            let name = other.extensions_str().first().unwrap_or(&"picture");
            return Err(format!("it is a {name} file; save it as JPEG, PNG, WebP or GIF"));
        }
        Err(_unknown) => return Err("its content is not JPEG, PNG, WebP or GIF".to_owned()),
    };
    if format == ImageFormat::Jpeg && !jpeg::is_whole(content) {
        return Err(cut_short());
    }
    if format == ImageFormat::Jpeg && jpeg::is_not_interleaved(content) {
        return Err("it is a JPEG whose components are stored one after the other (not interleaved), which would come out \
                    green; save it as a usual JPEG or a PNG"
            .to_owned());
    }
    let picture = decode_as(format, content).map_err(|error| why(&error))?;
    if picture.width() == 0 || picture.height() == 0 {
        return Err("it has no pixels".to_owned());
    }
    Ok(picture)
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

/// The decoder's error in our words, and in its own where they say more.
fn why(error: &ImageError) -> String {
    match error {
        ImageError::Limits(limit) if matches!(limit.kind(), LimitErrorKind::DimensionError) => {
            format!("it has a side of more than {SIDE_MAX} pixels; save it smaller")
        }
        ImageError::Limits(_) => {
            format!("it takes more than {} MiB to decode; save it smaller", DECODED_BYTES_MAX >> 20)
        }
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

/// At most `width` pixels wide and at least one high, in 8 bits a channel.
fn shrink(picture: DynamicImage, width: u32) -> DynamicImage {
    let height = u64::from(picture.height()) * u64::from(width) * 2 / u64::from(picture.width());
    let height = u32::try_from(height.div_ceil(2).max(1)).unwrap_or(u32::MAX);
    let picture = on_white(picture);
    if picture.width() <= width {
        return picture;
    }
    // Through `DynamicImage`: the generic functions would be compiled into this crate, and crawl in an unoptimised build.
    picture.thumbnail_exact(width, height)
}

/// JPEG knows no transparency: what shows through becomes white.
fn on_white(picture: DynamicImage) -> DynamicImage {
    match picture.color() {
        color if color.has_alpha() => {}
        color if color.has_color() => return picture.into_rgb8().into(),
        _ => return picture.into_luma8().into(),
    }
    let mut pixels = picture.into_rgba8();
    for pixel in pixels.pixels_mut() {
        let [channels @ .., alpha] = &mut pixel.0;
        for channel in channels {
            let mixed = u32::from(*channel) * u32::from(*alpha) + 255 * (255 - u32::from(*alpha));
            *channel = u8::try_from(mixed / 255).unwrap_or(u8::MAX);
        }
    }
    DynamicImage::ImageRgba8(pixels).into_rgb8().into()
}
