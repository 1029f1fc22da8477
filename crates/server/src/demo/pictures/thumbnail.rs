//! From a picture to its thumbnail: read, decode, shrink, turn upright, encode, write.
//!
//! The file is read whole before it is decoded. That is what tells the two kinds of error apart: past the
//! reading, nothing but the content can be at fault, whatever the decoder reports.

mod decode;
mod encode;
mod jpeg_end;
mod jpeg_scans;
mod shrink;
mod target_name;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::PictureError;
use super::atomically;
use encode::Format;

pub(crate) use target_name::target_name;

/// The largest file that is read, in bytes; a bound on memory, well above what cameras write.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// A thumbnail as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Thumbnail {
    /// Where it is: the `target` that was asked for, with `.jpg` or `.png` added.
    pub(crate) path: PathBuf,
    /// In pixels, upright; at most the width asked for, at least 1.
    pub(crate) width: u32,
    /// In pixels, upright; at least 1.
    pub(crate) height: u32,
    /// The size of the file.
    pub(crate) bytes: u64,
}

/// Makes the thumbnail of `source`, `width` pixels wide, and writes it to `target` with an extension added:
/// `.png` when something shows through the picture, else `.jpg`. Folders missing on the way are created.
///
/// The picture is told by its content (JPEG, PNG, WebP, GIF), turned as its EXIF orientation says, and never
/// enlarged: a narrower one keeps its size. Of an animation, the first frame counts. A `width` of 0 counts as 1.
///
/// Doing it again gives the same file, so a job that is run twice does no harm.
///
/// # Errors
/// [`NotAPicture`](PictureError::NotAPicture) when the content can never become a thumbnail,
/// [`Io`](PictureError::Io) when the source could not be read or the thumbnail not be written.
pub(crate) fn make(source: &Path, target: &Path, width: u32) -> Result<Thumbnail, PictureError> {
    let not_a_picture = |why| PictureError::NotAPicture { path: source.to_path_buf(), why };

    let content = read(source).map_err(PictureError::io("read", source))?.map_err(not_a_picture)?;
    let picture = decode::decode(&content).map_err(not_a_picture)?;
    let small = shrink::shrink(picture.pixels, picture.orientation, width.max(1));
    let (width, height) = (small.width(), small.height());
    let (format, bytes) = encode::encode(small, picture.colour_profile);
    let path = write(target, format, &bytes)?;

    Ok(Thumbnail { path, width, height, bytes: bytes.len() as u64 })
}

/// The file's content, or why it is not worth reading.
fn read(source: &Path) -> io::Result<Result<Vec<u8>, String>> {
    // Asked before opening: opening a named pipe would wait for a writer that may never come.
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

/// Writes the thumbnail and returns its path. An older one of the other format is removed: the source changed
/// since, and two thumbnails for one picture would disagree.
fn write(target: &Path, format: Format, bytes: &[u8]) -> Result<PathBuf, PictureError> {
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).map_err(PictureError::io("create the folder", folder))?;
    }
    let path = format.added_to(target);
    atomically::write(&path, bytes).map_err(PictureError::io("write", &path))?;

    let outdated = format.other().added_to(target);
    match fs::remove_file(&outdated) {
        Ok(()) => Ok(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path),
        Err(error) => Err(PictureError::io("remove the outdated", &outdated)(error)),
    }
}
