//! What the decoder does not report about a JPEG: it fills missing pixels with grey, and makes some files green.

const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
const START_OF_SCAN: [u8; 2] = [0xff, 0xda];
/// A baseline and an extended frame. In a progressive JPEG many scans are usual, and are decoded as they should be.
const SEQUENTIAL: [u8; 2] = [0xc0, 0xc1];

/// Whether the picture is there to its end: behind its last scan stands the end marker. The preview inside EXIF has scans and
/// end markers of its own, but they stand before.
pub(super) fn is_whole(jpeg: &[u8]) -> bool {
    let last = jpeg.windows(2).rposition(|pair| pair == START_OF_SCAN);
    last.is_some_and(|at| jpeg[at..].windows(2).any(|pair| pair == END_OF_IMAGE))
}

/// Whether the components (brightness and two colours) of a sequential JPEG are stored one after the other, each in a scan
/// of its own: those are what the decoder makes green. It hops from segment to segment (ITU T.81, B.1).
pub(super) fn is_not_interleaved(jpeg: &[u8]) -> bool {
    // The first two bytes are the start of the image, which has no segment.
    let (mut rest, mut of_frame) = (jpeg.get(2..).unwrap_or_default(), None);
    while let [_, marker, length_high, length_low, ..] = *rest {
        match marker {
            // Fill byte.
            0xff => rest = &rest[1..],
            _ => {
                if SEQUENTIAL.contains(&marker) {
                    of_frame = rest.get(9);
                }
                if marker == START_OF_SCAN[1] {
                    return of_frame.zip(rest.get(4)).is_some_and(|(frame, scan)| scan < frame);
                }
                let length = usize::from(u16::from_be_bytes([length_high, length_low]));
                rest = rest.get(2 + length..).unwrap_or_default();
            }
        }
    }
    false
}
