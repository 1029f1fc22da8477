//! Whether a JPEG is there to its end.
//!
//! Neither the file's last bytes nor a search for the end marker can tell: cameras append more after the end,
//! and the preview inside EXIF has an end marker of its own. So we hop from segment to segment (ITU T.81, B.1).

const MARKER: u8 = 0xff;
const TEMPORARY: u8 = 0x01;
const FIRST_RESTART: u8 = 0xd0;
const LAST_RESTART: u8 = 0xd7;
const START_OF_IMAGE: u8 = 0xd8;
const END_OF_IMAGE: u8 = 0xd9;
pub(super) const START_OF_SCAN: u8 = 0xda;

/// Whether the segments and scans of `jpeg` lead to the end-of-image marker.
///
/// A file without that marker is refused even if all pixels happen to be there, as nobody can know that.
pub(super) fn is_reached(jpeg: &[u8]) -> bool {
    let mut rest = jpeg;
    while let Some((marker, after)) = next_marker(rest) {
        match marker {
            END_OF_IMAGE => return true,
            // These stand alone, without a segment.
            START_OF_IMAGE | TEMPORARY | FIRST_RESTART..=LAST_RESTART => rest = after,
            _ => {
                let Some(behind) = skip_segment(after) else {
                    return false;
                };
                rest = if marker == START_OF_SCAN { skip_scan(behind) } else { behind };
            }
        }
    }
    false
}

/// The next marker, past fill bytes and past rubbish that decoders forgive, and what follows it.
pub(super) fn next_marker(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let at = (1..bytes.len()).find(|&at| bytes[at - 1] == MARKER && is_marker(bytes[at]))?;
    Some((bytes[at], &bytes[at + 1..]))
}

/// A segment begins with its length, two bytes that count themselves.
pub(super) fn skip_segment(bytes: &[u8]) -> Option<&[u8]> {
    let length = u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]);
    bytes.get(usize::from(length)..)
}

/// Compressed pixels run up to the next marker that is not one of theirs.
fn skip_scan(bytes: &[u8]) -> &[u8] {
    let is_own = |code: u8| matches!(code, FIRST_RESTART..=LAST_RESTART);
    let end = bytes.windows(2).position(|pair| pair[0] == MARKER && is_marker(pair[1]) && !is_own(pair[1]));
    &bytes[end.unwrap_or(bytes.len())..]
}

/// 0xff00 is a plain 0xff in compressed pixels, 0xffff a fill byte.
fn is_marker(code: u8) -> bool {
    code != 0x00 && code != MARKER
}
