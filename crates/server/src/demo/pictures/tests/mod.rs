//! What the pictures' code promises, checked on real files: written, made into thumbnails, and decoded again.

mod broken;
mod brought;
mod formats;
mod listing;
mod names;
mod orientation;
mod sizes;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, GenericImageView, ImageFormat, Rgb, RgbImage, Rgba};

use super::thumbnail::Thumbnail;
use super::{PictureError, make};

const RED: [u8; 3] = [220, 30, 30];
const GREEN: [u8; 3] = [30, 200, 60];
const BLUE: [u8; 3] = [40, 60, 220];
const WHITE: [u8; 3] = [250, 250, 250];

/// A folder of the test's own, removed when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("backroom-pictures-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("the temporary folder can be written to");
        Folder(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    /// A file with this content, in a new folder if need be.
    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        let parent = path.parent().expect("a file lies in a folder");
        fs::create_dir_all(parent).expect("a folder can be created");
        fs::write(&path, content).expect("a file can be written");
        path
    }

    /// Makes the thumbnail of a file with this content.
    fn thumbnail_of(&self, name: &str, content: &[u8], width: u32) -> Result<Thumbnail, PictureError> {
        let source = self.file(name, content);
        make(&source, &self.0.join("out").join(name), width)
    }

    /// The names of all files in the thumbnails' folder, hidden ones too.
    fn made(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.0.join("out"))
            .expect("the thumbnails' folder is there")
            .map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that is left in the system's temporary one does no harm, a panic while dropping would.
        if let Err(error) = fs::remove_dir_all(&self.0) {
            drop(error);
        }
    }
}

/// A picture with its quarters in four colours, so that each turn and flip shows.
fn quarters(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb(match (x < width / 2, y < height / 2) {
            (true, true) => RED,
            (false, true) => GREEN,
            (true, false) => BLUE,
            (false, false) => WHITE,
        })
    })
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("a picture can be encoded");
    bytes.into_inner()
}

/// At full quality, so that colours can be compared.
fn jpeg(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    picture
        .write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, 100))
        .expect("a picture can be encoded");
    bytes
}

fn decoded(path: &Path) -> DynamicImage {
    image::open(path).expect("the thumbnail can be decoded")
}

#[track_caller]
fn assert_is_quarters(picture: &DynamicImage) {
    let (width, height) = picture.dimensions();
    let at = |x: u32, y: u32| picture.get_pixel(width * x / 4, height * y / 4);
    assert_looks(at(1, 1), RED, "upper left");
    assert_looks(at(3, 1), GREEN, "upper right");
    assert_looks(at(1, 3), BLUE, "lower left");
    assert_looks(at(3, 3), WHITE, "lower right");
}

/// That the pixel is opaque and nearly of this colour; JPEG changes it a little.
#[track_caller]
fn assert_looks(pixel: Rgba<u8>, colour: [u8; 3], place: &str) {
    let [red, green, blue, alpha] = pixel.0;
    let is_near = [red, green, blue].iter().zip(colour).all(|(is, should)| is.abs_diff(should) <= 12);
    assert!(is_near && alpha == 255, "{place}: {pixel:?} for {colour:?}");
}

/// The reason of a refusal that will not change with a retry.
#[track_caller]
fn refusal(result: Result<Thumbnail, PictureError>) -> String {
    match result {
        Err(PictureError::NotAPicture { why, .. }) => why,
        other => panic!("not refused: {other:?}"),
    }
}
