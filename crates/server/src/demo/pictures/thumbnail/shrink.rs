//! From a picture of any size and layout to a small upright one in 8 bits.

use image::imageops::FilterType;
use image::metadata::Orientation;
use image::{DynamicImage, RgbaImage};

const OPAQUE_FILTER: FilterType = FilterType::Lanczos3;

/// Softer, but without the overshoot of Lanczos beside hard edges: of opacity the overshoot would be cut off, of
/// colours not, and a light fringe would remain.
const TRANSPARENT_FILTER: FilterType = FilterType::Triangle;

/// How much larger than the result the first, fast pass leaves the picture. Averaging boxes alone looks coarse
/// and Lanczos alone is slow on a photograph; Lanczos over three pixels hides the boxes and is fast.
const FIRST_PASS_FACTOR: u32 = 3;

/// The side of the largest box that is averaged, in pixels. `image` sums the box in 32 bits, which 16-bit
/// channels overflow from 256x256 pixels on.
const BOX_SIDE_MAX: u32 = 128;

/// Shrinks `pixels` so that it is at most `width` (at least 1) wide once it is upright, and turns it upright.
/// The result is `ImageLuma8`, `ImageRgb8`, or, when something shows through, `ImageRgba8`.
pub(super) fn shrink(pixels: DynamicImage, orientation: Orientation, width: u32) -> DynamicImage {
    let stored = (pixels.width(), pixels.height());
    let wanted = if is_sideways(orientation) { swap(fit(swap(stored), width)) } else { fit(stored, width) };
    let mut small = resize_in_8_bits(pixels, wanted);
    // Last, because turning the small picture costs nothing, and turning the large one doubles the memory.
    small.apply_orientation(orientation);
    small
}

/// The size of a picture of `size` that is not wider than `width`, in the same proportions as far as whole
/// pixels allow.
fn fit(size: (u32, u32), width: u32) -> (u32, u32) {
    if size.0 <= width {
        return size;
    }
    // In 64 bits the product cannot overflow; rounded, and a pixel high even for a hairline.
    let (w, h) = (u64::from(size.0), u64::from(size.1));
    let height = (h * u64::from(width) + w / 2) / w;
    let height = u32::try_from(height).expect("invariant: shrinking does not enlarge");
    (width, height.max(1))
}

fn resize_in_8_bits(pixels: DynamicImage, to: (u32, u32)) -> DynamicImage {
    if pixels.color().has_alpha() {
        let pixels = pixels.into_rgba8();
        if pixels.pixels().any(|pixel| pixel.0[3] != u8::MAX) {
            return resize_transparent(pixels, to);
        }
        // An alpha channel that hides nothing is common in screenshots; the thumbnail does without.
        return resize(DynamicImage::ImageRgba8(pixels), to, OPAQUE_FILTER).into_rgb8().into();
    }
    let is_coloured = pixels.color().has_color();
    let small = resize(pixels, to, OPAQUE_FILTER);
    if is_coloured { small.into_rgb8().into() } else { small.into_luma8().into() }
}

/// Weighs each colour by its opacity before mixing. Else the invisible colour of transparent pixels, mostly
/// black, would show as a dark fringe.
fn resize_transparent(mut pixels: RgbaImage, to: (u32, u32)) -> DynamicImage {
    for pixel in pixels.pixels_mut() {
        let [channels @ .., alpha] = &mut pixel.0;
        for channel in channels {
            *channel = rounded(u32::from(*channel) * u32::from(*alpha), u32::from(u8::MAX));
        }
    }
    let mut small = resize(pixels.into(), to, TRANSPARENT_FILTER).into_rgba8();
    for pixel in small.pixels_mut() {
        let [channels @ .., alpha] = &mut pixel.0;
        for channel in channels {
            *channel = match *alpha {
                0 => 0,
                alpha => rounded(u32::from(*channel) * u32::from(u8::MAX), u32::from(alpha)),
            };
        }
    }
    small.into()
}

/// `dividend / divisor`, rounded, and no more than a channel holds: rounding may leave a colour above its opacity.
fn rounded(dividend: u32, divisor: u32) -> u8 {
    u8::try_from((dividend + divisor / 2) / divisor).unwrap_or(u8::MAX)
}

// Through `DynamicImage`, not the generic functions of `imageops`: those would be compiled into this crate, and
// crawl in an unoptimised build.
fn resize(pixels: DynamicImage, to: (u32, u32), filter: FilterType) -> DynamicImage {
    let size = (pixels.width(), pixels.height());
    if size == to {
        return pixels;
    }
    let first = (first_pass(size.0, to.0), first_pass(size.1, to.1));
    let pixels = if first == size { pixels } else { pixels.thumbnail_exact(first.0, first.1) };
    pixels.resize_exact(to.0, to.1, filter)
}

/// One side's length after the fast pass.
fn first_pass(from: u32, to: u32) -> u32 {
    to.saturating_mul(FIRST_PASS_FACTOR).max(from.div_ceil(BOX_SIDE_MAX)).min(from)
}

fn is_sideways(orientation: Orientation) -> bool {
    match orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => true,
        Orientation::NoTransforms
        | Orientation::Rotate180
        | Orientation::FlipHorizontal
        | Orientation::FlipVertical => false,
    }
}

fn swap((a, b): (u32, u32)) -> (u32, u32) {
    (b, a)
}
