//! Files that are no pictures, pretend to be others, or would burst the memory.

use std::fs;
use std::io;

use image::{DynamicImage, ImageFormat};

use super::super::{PictureError, make};
use super::{Folder, encoded, jpeg, quarters, refusal};

#[test]
fn an_empty_file_is_refused() {
    let folder = Folder::new();
    assert_eq!(refusal(folder.thumbnail_of("a.jpg", b"", 320)), "the file is empty");
}

#[test]
fn a_text_file_named_png_is_refused() {
    let folder = Folder::new();
    let why = refusal(folder.thumbnail_of("a.png", b"dear diary, today I was a picture", 320));
    assert_eq!(why, "its content is not JPEG, PNG, WebP or GIF");
}

#[test]
fn a_picture_of_another_format_is_refused_by_name() {
    let folder = Folder::new();
    let why = refusal(folder.thumbnail_of("a.jpg", b"BM and so on, as a bitmap begins", 320));
    assert_eq!(why, "it is a bmp file; save it as JPEG, PNG, WebP or GIF");
}

#[test]
fn the_message_names_the_file_and_continues_failed_to() {
    let folder = Folder::new();
    let error = folder.thumbnail_of("a.png", b"text", 320).expect_err("it is no picture");
    let path = folder.path().join("a.png");
    assert_eq!(
        error.to_string(),
        format!("make a thumbnail of {}: its content is not JPEG, PNG, WebP or GIF", path.display())
    );
}

#[test]
fn a_truncated_picture_is_refused_wherever_it_is_cut() {
    let folder = Folder::new();
    for (format, content) in samples() {
        for sixteenths in 1..16 {
            let cut = &content[..content.len() * sixteenths / 16];
            let why = refusal(folder.thumbnail_of("a", cut, 32));
            assert!(!why.is_empty(), "{format:?}");
        }
    }
}

#[test]
fn a_jpeg_cut_short_is_said_to_be() {
    let folder = Folder::new();
    let content = jpeg(&quarters(200, 120));
    for missing in [1, 2, 100, content.len() / 2] {
        let why = refusal(folder.thumbnail_of("a.jpg", &content[..content.len() - missing], 32));
        assert_eq!(why, "it is cut short: the end of the picture is missing; copy the file again");
    }
}

/// The preview inside EXIF is a whole JPEG with an end marker; it must not be taken for the picture's own.
#[test]
fn the_end_of_a_preview_is_not_the_end_of_the_picture() {
    let folder = Folder::new();
    let (picture, preview) = (jpeg(&quarters(200, 120)), jpeg(&quarters(16, 16)));
    let length = u16::try_from(preview.len() + 2).expect("a preview is small");
    let mut content = picture[..2].to_vec(); // start of image
    content.extend([0xff, 0xe1]);
    content.extend(length.to_be_bytes());
    content.extend(&preview);
    content.extend(&picture[2..]);

    folder.thumbnail_of("whole.jpg", &content, 32).expect("it is a picture");
    let why = refusal(folder.thumbnail_of("cut.jpg", &content[..content.len() - 300], 32));
    assert!(why.starts_with("it is cut short"), "{why}");
}

/// Whatever bytes a file has, it becomes a thumbnail or is refused; nothing panics, and nothing asks for a retry
/// that cannot help.
#[test]
fn damaged_bytes_never_panic_and_never_ask_for_a_retry() {
    const DAMAGES_PER_FORMAT: u32 = 250;

    let folder = Folder::new();
    let mut state = 1_u32;
    let mut any = |below: usize| {
        // Numerical Recipes' linear congruential generator; its upper bits are good enough to do damage.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    for (format, content) in samples() {
        for _ in 0..DAMAGES_PER_FORMAT {
            let mut damaged = content.clone();
            for _ in 0..=any(4) {
                // Headers are short, and damage to them is the more interesting.
                let reach = if any(2) == 0 { damaged.len().min(64) } else { damaged.len() };
                let at = any(reach);
                damaged[at] = u8::try_from(any(256)).expect("it is below 256");
            }
            match folder.thumbnail_of("a", &damaged, 32) {
                Ok(thumbnail) => assert!(thumbnail.width <= 32),
                Err(PictureError::NotAPicture { why, .. }) => assert!(!why.is_empty()),
                Err(error @ PictureError::Io { .. }) => panic!("{format:?}: {error}"),
            }
        }
    }
}

#[test]
fn a_picture_with_a_side_that_is_too_long_is_refused() {
    let folder = Folder::new();
    for content in [
        png_that_claims(20_001, 10),
        png_that_claims(10, 4_000_000_000),
        jpeg_that_claims(65_000, 10),
        gif_that_claims(10, 65_535),
    ] {
        let why = refusal(folder.thumbnail_of("a", &content, 320));
        assert_eq!(why, "it has a side of more than 20000 pixels; save it smaller");
    }
}

#[test]
fn a_decompression_bomb_is_refused() {
    let folder = Folder::new();
    for content in [
        png_that_claims(20_000, 20_000),
        jpeg_that_claims(20_000, 20_000),
        gif_that_claims(20_000, 20_000),
        webp_that_claims(16_000, 16_000),
    ] {
        let why = refusal(folder.thumbnail_of("a", &content, 320));
        assert_eq!(why, "it takes more than 512 MiB to decode; save it smaller");
    }
}

#[test]
fn a_picture_without_pixels_is_refused() {
    let folder = Folder::new();
    for content in [png_that_claims(0, 10), jpeg_that_claims(0, 10), gif_that_claims(0, 0)] {
        refusal(folder.thumbnail_of("a", &content, 320));
    }
}

#[test]
fn a_file_that_is_too_large_is_refused_unread() {
    let folder = Folder::new();
    let source = folder.file("a.jpg", b"");
    // Sparse: it takes no room on the disk.
    fs::File::create(&source)
        .and_then(|file| file.set_len((256 << 20) + 1))
        .expect("a file can be made longer");
    let why = refusal(make(&source, &folder.path().join("a"), 320));
    assert_eq!(why, "the file is larger than 256 MiB; save it smaller");
}

#[test]
fn a_folder_is_refused() {
    let folder = Folder::new();
    let why = refusal(make(folder.path(), &folder.path().join("a"), 320));
    assert_eq!(why, "it is not a regular file");
}

#[test]
fn a_missing_source_may_come_back() {
    let folder = Folder::new();
    let source = folder.path().join("gone.jpg");
    match make(&source, &folder.path().join("a"), 320) {
        Err(PictureError::Io { doing: "read", path, error }) => {
            assert_eq!(path, source);
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_target_that_cannot_be_written_may_be_later() {
    let folder = Folder::new();
    let source = folder.file("a.jpg", &jpeg(&quarters(64, 64)));
    let in_the_way = folder.file("out", b"a file where the folder should be");
    match make(&source, &in_the_way.join("a.jpg"), 32) {
        Err(PictureError::Io { doing, path, .. }) => {
            assert_eq!((doing, path), ("create the folder", in_the_way));
        }
        other => panic!("{other:?}"),
    }
    // The rename fails, as a folder has the name.
    let occupied = folder.path().join("made.jpg");
    fs::create_dir(&occupied).expect("a folder can be created");
    match make(&source, &folder.path().join("made"), 32) {
        Err(PictureError::Io { doing, path, .. }) => assert_eq!((doing, path), ("write", occupied)),
        other => panic!("{other:?}"),
    }
    let hidden = fs::read_dir(folder.path()).expect("the folder is there").filter(|entry| {
        let name = entry.as_ref().expect("it can be read").file_name();
        name.as_encoded_bytes().starts_with(b".")
    });
    assert_eq!(hidden.count(), 0, "a temporary file was left");
}

/// A whole picture in each format, small, so that many can be decoded.
fn samples() -> Vec<(ImageFormat, Vec<u8>)> {
    let picture = DynamicImage::ImageRgb8(quarters(96, 64));
    [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif]
        .map(|format| (format, encoded(&picture, format)))
        .into()
}

/// A PNG whose header tells another size than its pixels have.
fn png_that_claims(width: u32, height: u32) -> Vec<u8> {
    let mut content = encoded(&quarters(8, 8).into(), ImageFormat::Png);
    content[16..20].copy_from_slice(&width.to_be_bytes());
    content[20..24].copy_from_slice(&height.to_be_bytes());
    // The header's checksum covers its name and fields.
    let checksum = crc32(&content[12..29]);
    content[29..33].copy_from_slice(&checksum.to_be_bytes());
    content
}

fn jpeg_that_claims(width: u16, height: u16) -> Vec<u8> {
    let mut content = jpeg(&quarters(8, 8));
    let frame = content.windows(2).position(|pair| pair == [0xff, 0xc0]).expect("a JPEG has a frame header");
    content[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    content[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    content
}

fn gif_that_claims(width: u16, height: u16) -> Vec<u8> {
    let mut content = encoded(&quarters(8, 8).into(), ImageFormat::Gif);
    content[6..8].copy_from_slice(&width.to_le_bytes());
    content[8..10].copy_from_slice(&height.to_le_bytes());
    content
}

/// A lossless WebP: after the signature, width and height less one, 14 bits each.
fn webp_that_claims(width: u32, height: u32) -> Vec<u8> {
    let mut content = encoded(&quarters(8, 8).into(), ImageFormat::WebP);
    assert_eq!((&content[12..16], content[20]), (&b"VP8L"[..], 0x2f));
    let size = (width - 1) | ((height - 1) << 14);
    content[21..25].copy_from_slice(&size.to_le_bytes());
    content
}

/// As in PNG, appendix D.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
    })
}
