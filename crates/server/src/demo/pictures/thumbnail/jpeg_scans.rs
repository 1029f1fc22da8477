//! Whether the components of a JPEG are stored in one scan.
//!
//! A baseline JPEG may store its components (brightness and two colours) one after the other, each in a scan of its own. Our
//! decoder reads such a file without an error and makes it green, so it must not be handed over. In a progressive JPEG
//! many scans are usual, and are decoded as they should be.

use super::jpeg_end::{START_OF_SCAN, next_marker, skip_segment};

const BASELINE: u8 = 0xc0;
const EXTENDED: u8 = 0xc1;
/// In the frame's segment: length, precision, height, width, then the number of components.
const FRAME_COMPONENTS_AT: usize = 7;
/// In the scan's segment: length, then the number of components.
const SCAN_COMPONENTS_AT: usize = 2;

/// Whether this is a sequential JPEG whose first scan lacks components of its frame.
pub(super) fn are_apart(jpeg: &[u8]) -> bool {
    // The first two bytes are the start of the image, which has no segment.
    let (mut rest, mut components) = (jpeg.get(2..).unwrap_or_default(), None);
    while let Some((marker, after)) = next_marker(rest) {
        match marker {
            BASELINE | EXTENDED => components = after.get(FRAME_COMPONENTS_AT),
            START_OF_SCAN => {
                let of_scan = after.get(SCAN_COMPONENTS_AT);
                return components.is_some_and(|of_frame| of_scan.is_some_and(|of_scan| of_scan < of_frame));
            }
            _ => {}
        }
        let Some(behind) = skip_segment(after) else { return false };
        rest = behind;
    }
    false
}
